"""Events for Prefect: written where something happens, in its transaction, and told when Prefect is up."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from models.staff import EventOut

event_out: Any = EventOut.__table__  # type: ignore[attr-defined]

RULE_MATCHED = "beforehand.rule.matched"
MESSAGE_UNKNOWN = "beforehand.message.unknown"
BRAKE_PULLED = "beforehand.brake.pulled"
BRAKE_ANSWERED = "beforehand.brake.answered"
BRAKE_STOPPED_AGAIN = "beforehand.brake.stopped-again"
BRAKE_WARNING = "beforehand.brake.warning"
RULES_REFUSED = "beforehand.rules.refused"
PROVIDER_DOWN = "beforehand.provider.down"
PROVIDER_UP = "beforehand.provider.up"
PART_DIED = "beforehand.part.died"
STOPPED = "beforehand.sending.stopped"
RESUMED = "beforehand.sending.resumed"


@dataclass(frozen=True)
class Happened:
    """An event that Prefect has not been told of."""

    id: int
    event: str
    about: str
    content: Mapping[str, Any]
    happened_at: datetime


def happened(
    connection: Connection, event: str, about: str, now: datetime, content: Mapping[str, Any] | None = None
) -> None:
    """Write down that ``event`` happened to ``about`` (``rule:ID``, ``provider:ACCOUNT`` ...); ids and counts only."""
    row = {"event": event, "about": about[:120], "content": dict(content or {}), "happened_at": now}
    connection.execute(insert(event_out).values(row))


def untold(connection: Connection, limit: int = 200) -> list[Happened]:
    """The oldest events that Prefect has not been told of."""
    c = event_out.c
    rows = connection.execute(select(event_out).where(c.told_at.is_(None)).order_by(c.id).limit(limit))
    return [Happened(row.id, row.event, row.about, row.content or {}, row.happened_at) for row in rows]


def note_told(connection: Connection, ids: Collection[int], now: datetime) -> None:
    """Prefect has taken these."""
    connection.execute(update(event_out).where(event_out.c.id.in_(ids)).values(told_at=now))
