"""A customer rings us: a row of ``call``, as the sources would tell it, so that rules see that we have spoken."""

from datetime import datetime

from sqlalchemy import Connection, func, literal, or_, update

from messaging.candidates import TABLES
from messaging.replies.hearing import Heard
from models.changes import touch
from models.database import dialect_insert
from models.types import UTCDateTime
from models.vocabulary import CallDirection, CallOutcome

call = TABLES["call"]

UPDATED, ENDED = ("call.updated",), ("call.updated", "call.ended")


def ring(connection: Connection, heard: Heard, customer_id: int | None, queue: str, now: datetime) -> None:
    """Keep a call to us, once a call; ``queue`` is the desk it goes to."""
    row = {
        "external_id": _key(heard.provider_id),
        "changed_at": now,
        "customer_id": customer_id,
        "direction": CallDirection.INBOUND.value,
        "started_at": now,
        "phone": heard.address[:20],
        "queue": queue or None,
    }
    put = dialect_insert(connection, call).values(row).on_conflict_do_nothing(index_elements=["external_id"])
    if connection.execute(put.returning(call.c.id)).first() is not None:
        touch(connection, UPDATED, now)


def ring_ended(connection: Connection, provider_id: str, outcome: CallOutcome | None, now: datetime) -> bool:
    """Note that a call to us is over, and how its line to the desk ended (None: not said). False: nothing is new."""
    news = or_(call.c.ended_at.is_(None), call.c.outcome.is_(None) if outcome else call.c.ended_at.is_(None))
    change = (
        update(call)
        .where(call.c.external_id == _key(provider_id), news)
        .values(
            ended_at=func.coalesce(call.c.ended_at, literal(now, UTCDateTime()), type_=UTCDateTime()),
            outcome=func.coalesce(call.c.outcome, outcome.value if outcome else None),
            changed_at=now,
        )
    )
    if not connection.execute(change).rowcount:
        return False
    touch(connection, ENDED, now)
    return True


def _key(provider_id: str) -> str:
    return f"twilio/{provider_id}"
