"""What the house notes for itself from one time to the next, each on its topic."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from models.database import dialect_insert
from models.staff import Memo

memo: Any = Memo.__table__  # type: ignore[attr-defined]

BRIEF = "brief"
"""The topic of the last morning brief: ``at`` is the moment up to which it told."""


def note(connection: Connection, topic: str, said: str, now: datetime) -> None:
    """Note something, in the place of what was noted on this topic before."""
    put = dialect_insert(connection, memo).values(topic=topic, said=said, at=now)
    connection.execute(put.on_conflict_do_update(index_elements=["topic"], set_={"said": said, "at": now}))


def noted(connection: Connection, topic: str) -> tuple[str, datetime] | None:
    """What was noted on a topic, and when; None where nothing was."""
    row = connection.execute(select(memo.c.said, memo.c.at).where(memo.c.topic == topic)).first()
    return (row.said, row.at) if row else None
