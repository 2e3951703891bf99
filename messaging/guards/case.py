"""What every gate is told, and the one way in which a gate withholds."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, update

from messaging.candidates import candidate, open_for_decision
from messaging.policy import Policy
from messaging.steps import Run, leading_waits
from models.terms import Terms
from models.vocabulary import Reason


@dataclass(frozen=True)
class Backlog:
    """What a rule leaves alone at the first live pass of a text: what was so at the moment ``at``.

    ``found``: the subjects it would have found then (one column of ids); None: all that it finds now. ``began``: those
    of them whom the text before finds now and had not found then (None: nobody). ``known_only``: it asks the same
    question as the text before, so that only whom an earlier pass found can be backlog. ``anew``: rows that are backlog
    already are judged again.
    """

    at: datetime
    found: Select[Any] | None = None
    began: Select[Any] | None = None
    known_only: bool = False
    anew: bool = False


@dataclass(frozen=True)
class Case:
    """One decision over all candidates: the rule's terms, the run of steps in question, the policy, the moment.

    ``first`` is True for subjects a rule has just found, False for the later steps of matches that have begun.
    ``pretend_live`` decides as if the rule were live (preview). ``last_pass`` is when the rule was last evaluated.
    ``backlog`` is None where the rule's text has had a live pass before.
    """

    terms: Terms
    run: Run
    policy: Policy
    now: datetime
    first: bool = True
    pretend_live: bool = False
    last_pass: datetime | None = None
    backlog: Backlog | None = None

    @property
    def begins_with_wait(self) -> bool:
        """Whether nothing is said yet, because the rule begins with a wait."""
        return self.first and bool(leading_waits(self.terms.steps))


def withhold(connection: Connection, reason: Reason | ColumnElement[Any], *where: ColumnElement[bool]) -> None:
    """Give every still open candidate that ``where`` selects its reason, in one statement."""
    connection.execute(update(candidate).where(open_for_decision(), *where).values(reason=reason))
