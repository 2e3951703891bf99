"""A duty that one process holds for a while: a row, taken over when its holder is silent for too long."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine, delete, or_, select

from models.database import dialect_insert, reading, writing
from models.housekeeping import Lease

LEASE: Any = Lease.__table__  # type: ignore[attr-defined]

CLOCKS_DIFFER = timedelta(minutes=5)
"""So much the clocks of two machines may differ, and no more."""


def take(engine: Engine, duty: str, holder: str, now: datetime, lasts: timedelta) -> bool:
    """Take or renew ``duty`` for ``holder`` until ``now + lasts``, in one statement. False while another holds it.

    Who holds it for much longer than that has taken it by a clock that was ahead.
    """
    row = {"holder": holder, "until": now + lasts}
    free = or_(LEASE.c.holder == holder, LEASE.c.until <= now, LEASE.c.until > now + lasts + CLOCKS_DIFFER)
    with writing(engine) as connection:
        put = dialect_insert(connection, LEASE).values(duty=duty, **row)
        taken = put.on_conflict_do_update(index_elements=["duty"], set_=row, where=free).returning(LEASE.c.duty)
        return connection.execute(taken).first() is not None


def is_free(engine: Engine, duty: str, now: datetime, lasts: timedelta) -> bool:
    """Whether ``duty`` may be taken now: nobody has it, or who has it is silent. A read, for whoever waits for it."""
    held = select(LEASE.c.holder).where(
        LEASE.c.duty == duty, LEASE.c.until > now, LEASE.c.until <= now + lasts + CLOCKS_DIFFER
    )
    with reading(engine) as connection:
        return connection.execute(held).first() is None


def give_back(engine: Engine, duty: str, holder: str) -> None:
    """Let go of ``duty``, so that the next process need not wait for it to run out."""
    with writing(engine) as connection:
        connection.execute(delete(LEASE).where(LEASE.c.duty == duty, LEASE.c.holder == holder))
