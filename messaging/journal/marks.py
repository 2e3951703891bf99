"""The database's side of the journals: how far each has come by it, and the hold where it is behind one."""

import uuid
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, Engine, delete, select, update

from messaging.claims import CLAIMABLE, message
from messaging.switches import HOLD, switch
from models.database import dialect_insert, reading, writing
from models.delivery import Mark
from models.housekeeping import Notice
from models.vocabulary import Reason

mark = Mark.__table__  # type: ignore[attr-defined]
notice = Notice.__table__  # type: ignore[attr-defined]

DATABASE = "database"
"""The row whose number is the database's own id: a backup keeps it, a new database has another."""

SECRET = "secret"  # noqa: S105
"""The row whose number is a keyed hash: it says nothing of the secret key, and another key gives another."""

HOLDER = "journal"


def marks_of(connection: Connection) -> dict[str, int]:
    """How far each journal has come by this database, and its id under :data:`DATABASE`."""
    return dict(connection.execute(select(mark.c.journal, mark.c.number)).tuples().all())


def identify(engine: Engine, now: datetime) -> None:
    """Give the database its id, where it has none yet."""
    with reading(engine) as connection:
        if DATABASE in marks_of(connection):
            return
    with writing(engine) as connection:
        new_identity(connection, now)


def new_identity(connection: Connection, now: datetime) -> int:
    """Give the database its id, once. Must run in a write transaction."""
    row = {"journal": DATABASE, "number": uuid.uuid4().int >> 66, "written_at": now}
    connection.execute(dialect_insert(connection, mark).values(row).on_conflict_do_nothing())
    return int(connection.execute(select(mark.c.number).where(mark.c.journal == DATABASE)).scalar_one())


def advance(connection: Connection, journal: str, now: datetime) -> int:
    """Count one more line of a journal. The row stays locked until the commit, so numbers come in commit order."""
    put = dialect_insert(connection, mark).values(journal=journal, number=1, written_at=now)
    changed = {"number": mark.c.number + 1, "written_at": now}
    counted = put.on_conflict_do_update(index_elements=["journal"], set_=changed).returning(mark.c.number)
    return int(connection.execute(counted).scalar_one())


def catch_up(connection: Connection, numbers: Mapping[str, int], now: datetime) -> None:
    """Say that the database knows these journals up to these numbers."""
    rows = [{"journal": journal, "number": number, "written_at": now} for journal, number in numbers.items()]
    if rows:
        put = dialect_insert(connection, mark)
        put = put.on_conflict_do_update(index_elements=["journal"], set_={"number": put.excluded.number})
        connection.execute(put, rows)


def forget(connection: Connection, journal: str) -> None:
    """Drop the mark of a journal that was taken away."""
    connection.execute(delete(mark).where(mark.c.journal == journal))


def hold(connection: Connection, said: str, now: datetime) -> bool:
    """Stop everything until somebody has reconciled, and tell staff. Returns False where it is stopped so already."""
    put = dialect_insert(connection, switch).values(scope=HOLD, stopped_at=now, by=HOLDER)
    unset = switch.c.stopped_at.is_(None)
    again = put.on_conflict_do_update(index_elements=["scope"], set_={"stopped_at": now, "by": HOLDER}, where=unset)
    news = connection.execute(again.returning(switch.c.scope)).first() is not None
    told = dialect_insert(connection, notice).values(topic=HOLD, said=said, since=now)
    connection.execute(told.on_conflict_do_nothing())
    return news


def release(connection: Connection) -> None:
    """Let everything go on."""
    connection.execute(update(switch).where(switch.c.scope == HOLD).values(stopped_at=None))
    connection.execute(delete(notice).where(notice.c.topic == HOLD))
    waits = message.c.state.in_(CLAIMABLE) & (message.c.reason == Reason.RESTORED)
    connection.execute(update(message).where(waits).values(reason=None))


def held_since(connection: Connection) -> datetime | None:
    """Since when everything is held after a restore; None: it is not."""
    stopped_at = select(switch.c.stopped_at).where(switch.c.scope == HOLD)
    found: datetime | None = connection.execute(stopped_at).scalar_one_or_none()
    return found
