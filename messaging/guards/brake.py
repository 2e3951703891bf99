"""The brake: whether a pass reaches so many that a second person must say yes, and the gates around a held run."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from statistics import median
from typing import Any

from sqlalchemy import JSON, ColumnElement, Connection, and_, case, func, literal, select, type_coerce

from messaging.candidates import TABLES, candidate, customer, match, open_for_decision
from messaging.guards.backlog import is_backlog
from messaging.guards.case import Case, withhold
from messaging.policy import Brakes
from models.vocabulary import BRAKE_TEXT, BrakeLimit, HeldState, Reason, RuleStatus

held_run = TABLES["held_run"]
rule_pass = TABLES["rule_pass"]

REACHED = "reached"
"""In the counts of a pass: how many it reached, in customers or in subjects, whichever is more."""

LAST, LEAST = 20, 5
"""What is usual comes from so many passes that reached anybody; of fewer than the second nothing can be said."""

LATELY = timedelta(hours=1)
"""Runs of a rule within this count as one, so that many small ones are held as the large one that they are."""

REFUSED = (HeldState.REFUSED, HeldState.EXPIRED)


@dataclass(frozen=True)
class Over:
    """A run that goes over a limit: ``count`` is more than ``most``.

    It reaches so many ``customers`` and ``subjects``; what ``count`` has beyond them the rule began in the hour before.
    """

    why: BrakeLimit
    most: int
    count: int
    subjects: int
    customers: int

    @property
    def because(self) -> str:
        """Why such a run is held, in a sentence."""
        return why_held(self.why, self.most, self.count, self.subjects, self.customers)

    def as_json(self) -> dict[str, Any]:
        """The verdict as JSON values."""
        return {
            "why": self.why.value,
            "limit": self.most,
            "reached": self.count,
            "subjects": self.subjects,
            "customers": self.customers,
        }


def why_held(why: BrakeLimit, most: int, count: int, subjects: int, customers: int) -> str:
    """Over which limit a run goes, in a sentence."""
    before = count - max(subjects, customers)
    after = f" after {before:,} within an hour" if before > 0 else ""
    of = f"{customers:,} customers" if subjects == customers else f"{subjects:,} subjects of {customers:,} customers"
    return f"It would reach {of}{after}: {BRAKE_TEXT[why]}, which is {most:,}."


def over(connection: Connection, case_: Case) -> Over | None:
    """The limit that the decided candidates go over, or None: the run goes.

    Asked once all gates have decided. Only subjects that a live rule has just found are counted; in a preview those
    that its next live pass would not leave alone. With a share of all customers is compared what the rule began in the
    hour before, too.
    """
    brakes, terms = case_.policy.brakes, case_.terms
    if brakes is None or not case_.first or not (case_.pretend_live or terms.status is RuleStatus.LIVE):
        return None
    subjects, customers = _reached(connection, case_)
    alone = max(subjects, customers)
    if not alone:
        return None
    together = alone + _lately(connection, case_)
    if together <= brakes.canary:
        return None
    for why, most in _limits(connection, case_, brakes):
        count = alone if why is BrakeLimit.USUAL else together
        if count > max(most, brakes.canary):
            return Over(why, most, count, subjects, customers)
    return None


def _reached(connection: Connection, case_: Case) -> tuple[int, int]:
    going = [open_for_decision()]
    if case_.pretend_live:
        going.append(case((is_backlog(case_), literal(1)), else_=literal(0)) == 0)
    counted = select(func.count(), func.count(candidate.c.customer_id.distinct())).select_from(candidate)
    subjects, customers = connection.execute(counted.where(*going)).one()
    return subjects, customers


def _lately(connection: Connection, case_: Case) -> int:
    """How many matches the rule began in the hour before; those that a second person let go do not count again."""
    m = match.c
    began = and_(m.rule_id == case_.terms.rule_id, m.started_at > case_.now - LATELY, m.held_run_id.is_(None))
    return int(connection.execute(select(func.count()).select_from(match).where(began)).scalar_one())


def _limits(connection: Connection, case_: Case, brakes: Brakes) -> Iterator[tuple[BrakeLimit, int]]:
    own = case_.terms.brake_percent
    everybody = int(connection.execute(select(func.count()).select_from(customer)).scalar_one())
    percent = brakes.percent if own is None else own
    yield BrakeLimit.HOUSE if own is None else BrakeLimit.RULE, int(everybody * percent / 100)
    usually = usual(connection, case_.terms.rule_id)
    if usually is not None:
        yield BrakeLimit.USUAL, int(usually * brakes.times)


def usual(connection: Connection, rule_id: str) -> float | None:
    """What a rule usually reaches: the median of its last live passes that reached anybody. None: too few yet.

    A run that was held counts once it has gone to its end, with what it reached then; a refused one never.
    """
    reached = type_coerce(rule_pass.c.counts, JSON)[REACHED].as_integer()
    live = (rule_pass.c.status == RuleStatus.LIVE, rule_pass.c.finished_at.is_not(None))
    newest = select(reached).where(rule_pass.c.rule_id == rule_id, *live, reached > 0)
    found = connection.execute(newest.order_by(rule_pass.c.id.desc()).limit(LAST)).scalars().all()
    return float(median(found)) if len(found) >= LEAST else None


def refused(connection: Connection, case_: Case) -> None:
    """Withhold what a held run of this very text found, and a person refused: for as long as it stays as it was."""
    if case_.policy.brakes is None:
        return
    still = match.c.seen_at >= case_.last_pass if case_.last_pass else literal(1) == literal(1)
    joined = match.join(held_run, held_run.c.id == match.c.held_run_id)
    mine = (match.c.id == candidate.c.match_id, held_run.c.version == case_.terms.version, still)
    no = select(match.c.id).select_from(joined).where(*mine, held_run.c.state.in_(REFUSED)).correlate(candidate)
    withhold(connection, Reason.BRAKE_REFUSED, no.exists())


def held(connection: Connection, case_: Case) -> None:
    """Withhold all else that a rule finds while a run of it is held: the list of that run is fixed."""
    one = select(held_run.c.id).where(is_open(case_.terms.rule_id)).limit(1)
    if case_.policy.brakes is not None and connection.execute(one).first() is not None:
        withhold(connection, Reason.BRAKE)


def is_open(rule_id: str) -> ColumnElement[bool]:
    """A condition on ``held_run``: a run of this rule that has not come to its end."""
    return and_(held_run.c.rule_id == rule_id, held_run.c.ended_at.is_(None))
