"""That something happened which event rules wait for: one row an event, whose moment always moves on."""

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import Connection, Table, bindparam, select

from models.database import dialect_insert
from models.housekeeping import Change

change: Table = Change.__table__  # type: ignore[attr-defined]

A_MOMENT = timedelta(microseconds=1)


def touch(connection: Connection, names: Collection[str], now: datetime) -> None:
    """Note that something happened that event rules wait for, such as ``survey.answered``.

    The moment always moves on: rules look at whether it changed, and the batches of one ingest share their ``now``.
    """
    news = sorted(names)
    there = select(change.c.event, change.c.changed_at).where(change.c.event.in_(news)).order_by(change.c.event)
    before = dict(connection.execute(there.with_for_update()).tuples().all())
    rows = [{"e": name, "at": max(now, before[name] + A_MOMENT) if name in before else now} for name in news]
    statement = dialect_insert(connection, change).values(event=bindparam("e"), changed_at=bindparam("at"))
    moved = {"changed_at": statement.excluded.changed_at}
    connection.execute(statement.on_conflict_do_update(index_elements=["event"], set_=moved), rows)
