"""What every gate is told, and the one way in which a gate withholds."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, update

from messaging.candidates import candidate, open_for_decision
from messaging.policy import Policy
from messaging.steps import Run
from models.terms import Terms
from models.vocabulary import Reason


@dataclass(frozen=True)
class Case:
    """One decision over all candidates: the rule's terms, the run of steps in question, the policy, the moment.

    ``first`` is True for subjects a rule has just found, False for the later steps of matches that have begun.
    ``pretend_live`` decides as if the rule were live (preview). ``last_pass`` is when the rule was last evaluated.
    """

    terms: Terms
    run: Run
    policy: Policy
    now: datetime
    first: bool = True
    pretend_live: bool = False
    last_pass: datetime | None = None


def withhold(connection: Connection, reason: Reason | ColumnElement[Any], *where: ColumnElement[bool]) -> None:
    """Give every still open candidate that ``where`` selects its reason, in one statement."""
    connection.execute(update(candidate).where(open_for_decision(), *where).values(reason=reason))
