"""Receipts: the provider's later word on what it accepted. States only move forward, in whatever order words come."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, Engine, and_, or_, select, update

from messaging.channels.base import Channel as Way
from messaging.channels.base import Sighting
from messaging.claims import attempt, message
from messaging.recording import insert_new
from models.database import reading, writing
from models.delivery import Receipt
from models.vocabulary import Channel, MessageState

receipt = Receipt.__table__  # type: ignore[attr-defined]

FORWARD = (MessageState.ACCEPTED, MessageState.SENT, MessageState.UNDELIVERED, MessageState.DELIVERED)
"""From the least to the most that is known. Any order of any of these words ends in the same state."""

ENDS = (MessageState.UNDELIVERED, MessageState.DELIVERED)

ASKING: tuple[tuple[timedelta, timedelta], ...] = (
    (timedelta(minutes=2), timedelta(seconds=2)),
    (timedelta(hours=1), timedelta(minutes=1)),
    (timedelta(days=3), timedelta(minutes=30)),
)
"""How often a provider is asked: up to this age of the acceptance, this long after the last question. Then no more."""

MOST = 200


@dataclass(frozen=True)
class PollReport:
    """How many messages were asked about, and how many moved, by their new state."""

    asked: int = 0
    moved: dict[MessageState, int] = field(default_factory=dict)


def poll(engine: Engine, channels: Mapping[Channel, Way], now: datetime, *, most: int = MOST) -> PollReport:
    """Ask the providers about accepted and sent messages, at most ``most``, those first that were asked longest ago."""
    asking = _to_ask(engine, channels, now, most)
    seen = [sighting for name, ids in asking.items() for sighting in channels[name].look(list(ids))]
    asked = [key for ids in asking.values() for key in ids.values()]
    if not asked:
        return PollReport()
    with writing(engine) as connection:
        connection.execute(update(message).where(message.c.id.in_(asked)).values(asked_at=now))
        return PollReport(len(asked), apply(connection, seen, now))


def apply(connection: Connection, seen: Sequence[Sighting], now: datetime) -> dict[MessageState, int]:
    """Write receipts for what providers say, and move the messages forward. Unknown ids are left alone.

    Returns how many messages moved, by new state. Saying a thing twice has no effect.
    """
    names = {sighting.provider_id for sighting in seen}
    found = select(attempt.c.provider_id, attempt.c.message_id).where(attempt.c.provider_id.in_(names))
    owner = {row.provider_id: row.message_id for row in connection.execute(found)}
    rows = [
        {"message_id": owner[s.provider_id], "state": s.state.value, "code": s.code[:40], "seen_at": now}
        for s in seen
        if s.provider_id in owner and s.state in FORWARD
    ]
    insert_new(connection, receipt, [row for row in rows if row["state"] != MessageState.ACCEPTED])
    moved = {}
    for rank, state in enumerate(FORWARD[1:], start=1):
        keys = [row["message_id"] for row in rows if row["state"] == state]
        count = _move(connection, keys, state, FORWARD[:rank], now) if keys else 0
        if count:
            moved[state] = count
    return moved


def _move(
    connection: Connection, keys: list[int], state: MessageState, below: Sequence[MessageState], now: datetime
) -> int:
    still = message.c.id.in_(keys) & message.c.state.in_(below)
    ended = now if state in ENDS else None
    return connection.execute(update(message).where(still).values(state=state, ended_at=ended)).rowcount


def _to_ask(engine: Engine, channels: Mapping[Channel, Way], now: datetime, most: int) -> dict[Channel, dict[str, int]]:
    """Provider ids with their message ids, by channel."""
    a, m = attempt.c, message.c
    rows = (
        select(m.channel, a.provider_id, m.id)
        .join(attempt, a.message_id == m.id)
        .where(
            m.state.in_([MessageState.ACCEPTED, MessageState.SENT]),
            m.channel.in_([name for name in channels if name is not Channel.EMAIL]),
            m.accepted_at > now - ASKING[-1][0],
            a.provider_id.is_not(None),
            _worth_asking(now),
        )
        .order_by(m.asked_at.is_not(None), m.asked_at, m.id)
        .limit(most)
    )
    asking: dict[Channel, dict[str, int]] = defaultdict(dict)
    with reading(engine) as connection:
        for channel, provider_id, key in connection.execute(rows):
            asking[Channel(channel)][provider_id] = key
    return asking


def _worth_asking(now: datetime) -> ColumnElement[bool]:
    m = message.c
    due: list[ColumnElement[bool]] = [m.asked_at.is_(None)]
    for age, gap in ASKING:
        due.append(and_(m.accepted_at > now - age, m.asked_at <= now - gap))
    # the tiers nest: a younger message also meets the older tiers, whose gaps are longer, so OR is right
    return or_(*due)
