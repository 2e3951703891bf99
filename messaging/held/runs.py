"""The rows of held runs: read, written once, and moved from state to state by compare-and-set."""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, and_, or_, select, update

from messaging.guards.brake import held_run, why_held
from models.terms import Send, Terms, after
from models.vocabulary import HELD_TEXT, BrakeLimit, HeldState

ASKS = (HeldState.WAITING, HeldState.STOPPED)
"""States in which a person must say what becomes of the run."""

GOES = (HeldState.CANARY, HeldState.GOING)
"""States in which some of the run goes out, and what comes back is watched."""

BY_ITSELF = "beforehand"
"""Who did it, where no person did."""


@dataclass(frozen=True)
class HeldRunView:
    """A held run as its row has it; the fields are those of :class:`models.staff.HeldRun`."""

    id: int
    rule_id: str
    version: str
    why: BrakeLimit
    most: int
    count: int
    subjects: int
    customers: int
    author: str | None
    texts: str | None
    text_authors: list[str] | None
    state: HeldState
    held_at: datetime
    expires_at: datetime
    decided_at: datetime | None
    decided_by: str | None
    canary: int
    canary_at: datetime | None
    rest_at: datetime | None
    ended_at: datetime | None
    said: str | None
    asked_in: str | None

    @property
    def asks(self) -> bool:
        """Whether a person must say what becomes of it."""
        return self.state in ASKS

    @property
    def because(self) -> str:
        """Why it is held, in a sentence."""
        return why_held(self.why, self.most, self.count, self.subjects, self.customers)

    @property
    def stands(self) -> str:
        """Where it stands, in words."""
        return HELD_TEXT[self.state]

    def as_json(self) -> dict[str, Any]:
        """The run as JSON values; moments as ISO 8601."""
        told = {key: value.isoformat() if isinstance(value, datetime) else value for key, value in asdict(self).items()}
        return told | {"because": self.because, "stands": self.stands}


def topic_of(run_id: int) -> str:
    """The topic of a run's notice to staff."""
    return f"brake:{run_id}"


def view_of(row: Row[Any]) -> HeldRunView:
    """A row of ``held_run`` as a value."""
    told = dict(row._mapping)
    return HeldRunView(**told | {"why": BrakeLimit(told["why"]), "state": HeldState(told["state"])})


def run_of(connection: Connection, run_id: int, *, lock: bool = False) -> HeldRunView | None:
    """One held run; ``lock`` keeps it for a change. None: there is none of that number."""
    asked = select(held_run).where(held_run.c.id == run_id)
    row = connection.execute(asked.with_for_update() if lock else asked).first()
    return view_of(row) if row else None


def open_runs(connection: Connection) -> list[HeldRunView]:
    """The runs that have not come to their end, the oldest first."""
    rows = connection.execute(select(held_run).where(held_run.c.ended_at.is_(None)).order_by(held_run.c.id))
    return [view_of(row) for row in rows]


def with_window(connection: Connection) -> list[HeldRunView]:
    """The runs that ask, and those that a flow run still asks about."""
    asks = and_(held_run.c.ended_at.is_(None), held_run.c.state.in_(ASKS))
    rows = connection.execute(
        select(held_run).where(or_(asks, held_run.c.asked_in.is_not(None))).order_by(held_run.c.id)
    )
    return [view_of(row) for row in rows]


def move(connection: Connection, run_id: int, before: Collection[HeldState], **values: Any) -> bool:
    """Change a run that is in one of the states ``before``; False where it is not any more."""
    moved = update(held_run).where(held_run.c.id == run_id, held_run.c.state.in_(before)).values(values)
    return connection.execute(moved.returning(held_run.c.id)).first() is not None


def expires(terms: Terms, now: datetime, hours: float) -> datetime:
    """When nobody needs to answer any more: after ``hours``, or when what the rule says is too late to be of use."""
    waits = now + timedelta(hours=hours)
    return min(waits, after(now, terms.valid_for)) if terms.valid_for else waits


def templates_in(terms: Terms) -> set[str]:
    """The templates that a rule's steps name."""
    sends = [step for step in terms.steps if isinstance(step, Send)]
    return {one.template for send in sends for one in (send, send.otherwise) if one is not None}
