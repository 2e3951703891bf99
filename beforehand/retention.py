"""Rows that the house kept for itself and that nobody needs any more. The story of a message is never touched."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Table, delete, select

from beforehand.wiring import App
from messaging.candidates import TABLES
from models.database import writing

CALLBACKS = timedelta(days=90)
"""Longer than any provider repeats what it said: a callback is known again by its row."""

PROCESSES = timedelta(days=7)
"""A process that was not seen for so long comes back under another name."""

CHUNK = 5_000
"""Rows in one transaction, so that nobody waits long for the database."""


def clear_old_rows(app: App, now: datetime) -> dict[str, int]:
    """Delete what is old, by table: told events, callbacks, processes. Returns how many went."""
    told_before = now - timedelta(days=app.settings.prefect_days)
    event_out, callback, process = TABLES["event_out"], TABLES["callback"], TABLES["process"]
    return {
        "events told to Prefect": _clear(app, event_out, event_out.c.id, event_out.c.told_at < told_before),
        "callbacks of providers": _clear(app, callback, callback.c.id, callback.c.received_at < now - CALLBACKS),
        "processes that are gone": _clear(app, process, process.c.boot, process.c.seen_at < now - PROCESSES),
    }


def _clear(app: App, table: Table, key: ColumnElement[Any], old: ColumnElement[bool]) -> int:
    some = delete(table).where(key.in_(select(key).where(old).order_by(key).limit(CHUNK)))
    cleared = 0
    while True:
        with writing(app.engine) as connection:
            count = connection.execute(some).rowcount
        cleared += count
        if count < CHUNK:
            return cleared
