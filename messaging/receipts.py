"""Receipts: the provider's later word on what it accepted. States only move forward, in whatever order words come."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, and_, func, or_, select, update

from messaging.aftermath import Asked, Becomes, Sent, Word, becomes, follow, open_breakers
from messaging.channels.base import Channel as Way
from messaging.channels.base import Sighting
from messaging.claims import attempt, message
from messaging.consents import PROVIDERS_STOP, silence
from messaging.onlookers import Receipted, Received, tell_once_committed
from messaging.outcomes import after
from models.database import dialect_insert, reading, writing
from models.delivery import Receipt
from models.vocabulary import AttemptState, Channel, MessageState, Purpose, Reason

receipt = Receipt.__table__  # type: ignore[attr-defined]

FORWARD = (MessageState.ACCEPTED, MessageState.SENT, MessageState.UNDELIVERED, MessageState.DELIVERED)
"""From the least to the most that is known. Any order of any of these words ends in the same state."""

ENDS = (MessageState.UNDELIVERED, MessageState.DELIVERED)

WAITING = (MessageState.QUEUED, MessageState.HELD, MessageState.CLAIMED)

TAKEN = (AttemptState.IN_FLIGHT, AttemptState.ACCEPTED, AttemptState.UNKNOWN)
"""Tries that the provider may have: one that came back to us unsent says nothing of the message."""

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
        if any(sighting.code == PROVIDERS_STOP for sighting in seen):
            silence(connection)
        moved = apply(connection, seen, now)  # first: everybody locks attempts before messages
        connection.execute(update(message).where(message.c.id.in_(asked)).values(asked_at=now))
        return PollReport(len(asked), moved)


def apply(connection: Connection, seen: Sequence[Sighting], now: datetime) -> dict[MessageState, int]:
    """Write receipts for what providers say, move the messages, and follow what the codes ask for.

    Unknown ids are left alone. Saying a thing twice has no effect, nor has the order in which things are said; what is
    said of an earlier try never ends a later one. A message whose code lets it be sent again goes back to QUEUED
    (the policy is in docs/reference/delivery.md). Returns how many messages moved, by new state.
    """
    tries = _tries(connection, seen)
    rows = {
        (one.attempt_id, sighting.state.value, sighting.code[:40]): one
        for sighting in seen
        if (one := tries.get(sighting.provider_id) or tries.get(sighting.attempt_id)) and sighting.state in FORWARD
    }
    new = _write(connection, rows, now)
    if not rows:
        return {}
    moved = _move(connection, {one.message_id for one in rows.values()}, now)
    asked = [_asked(rows[key], key[2]) for key in new if key[1] == MessageState.UNDELIVERED]
    follow(connection, asked, now)
    open_breakers(connection, asked, now)
    if new:
        told = [_receipted(rows[key], key) for key in new]
        tell_once_committed(connection, Received(connection.engine, told, now))
    return moved


@dataclass(frozen=True)
class _Try:
    """A try that providers speak of."""

    attempt_id: int
    message_id: int
    rule_id: str
    channel: Channel
    address_hash: str


def _tries(connection: Connection, seen: Sequence[Sighting]) -> dict[str | int | None, _Try]:
    """The tries by the provider's id and by our own, locked; attempts before messages, as everywhere."""
    a, m = attempt.c, message.c
    names, keys = {one.provider_id for one in seen} - {""}, {one.attempt_id for one in seen} - {None}
    rows = connection.execute(
        select(a.id, a.provider_id, a.message_id, m.rule_id, m.channel, a.address_hash)
        .join(message, m.id == a.message_id)
        .where(or_(a.provider_id.in_(names), a.id.in_(keys)))
        .order_by(a.id)
        .with_for_update(of=attempt)
    )
    found: dict[str | int | None, _Try] = {}
    for row in rows:
        one = _Try(row.id, row.message_id, row.rule_id, Channel(row.channel), row.address_hash or "")
        found[row.id] = one
        if row.provider_id is not None:
            found[row.provider_id] = one
    return found


def _write(
    connection: Connection, rows: Mapping[tuple[int, str, str], _Try], now: datetime
) -> list[tuple[int, str, str]]:
    """Write what was not written before; returns that."""
    values = [
        {"message_id": one.message_id, "attempt_id": key, "state": state, "code": code, "seen_at": now}
        for (key, state, code), one in rows.items()
        if state != MessageState.ACCEPTED
    ]
    if not values:
        return []
    put = dialect_insert(connection, receipt).on_conflict_do_nothing()
    written = connection.execute(put.returning(receipt.c.attempt_id, receipt.c.state, receipt.c.code), values)
    return [(row.attempt_id, row.state, row.code) for row in written]


def _move(connection: Connection, keys: Collection[int], now: datetime) -> dict[MessageState, int]:
    """Bring messages to where all that was said of their newest try leaves them."""
    moved: Counter[MessageState] = Counter()
    for row, words in _standing(connection, keys):
        state = MessageState(row.state)
        goes = becomes(words, _sent(row, state), now)
        if state is goes.state or not _may_go(state, goes.state, row.resends):
            continue
        change = _change(goes, row, now)
        connection.execute(update(message).where(message.c.id == row.id, message.c.state == state).values(change))
        moved[goes.state] += 1
    return dict(moved)


def _standing(connection: Connection, keys: Collection[int]) -> list[tuple[Any, set[Word]]]:
    """The messages, locked, each with what was said of the newest try that the provider may have."""
    m, a, r = message.c, attempt.c, receipt.c
    rows = connection.execute(select(message).where(m.id.in_(keys)).order_by(m.id).with_for_update()).all()
    newest = select(func.max(a.id)).where(a.message_id.in_(keys), a.state.in_(TAKEN)).group_by(a.message_id)
    said: dict[int, set[Word]] = defaultdict(set)
    for row in connection.execute(select(r.message_id, r.state, r.code).where(r.attempt_id.in_(newest))):
        said[row.message_id].add((MessageState(row.state), row.code))
    return [(row, said[row.id]) for row in rows if said[row.id]]


def _sent(row: Any, state: MessageState) -> Sent:
    # what waits to be sent again has been judged: only a word that ends it counts, however often the others come
    judged = state in WAITING and row.resends > 0
    resends, until = (row.resends - 1, None) if judged else (row.resends, row.expires_at)
    return Sent(Channel(row.channel), Purpose(row.purpose), resends, until)


def _may_go(state: MessageState, to: MessageState, resends: int) -> bool:
    """Whether a word may still move a message in ``state``: forward, or out of the queue of what is sent again."""
    if state in WAITING:
        return resends > 0 and to in ENDS
    if state not in FORWARD:
        return False
    return to is MessageState.QUEUED or FORWARD.index(to) > FORWARD.index(state)


def _change(goes: Becomes, row: Any, now: datetime) -> dict[str, Any]:
    change: dict[str, Any] = {"state": goes.state, "ended_at": now if goes.state in ENDS else None}
    if goes.state is MessageState.QUEUED:
        change |= {"due_at": goes.again_at, "resends": row.resends + 1, "reason": None, "accepted_at": None}
    else:
        change["reason"] = Reason.BAD_ADDRESS if goes.bad_address else None
    return change


def _receipted(one: _Try, key: tuple[int, str, str]) -> Receipted:
    return Receipted(one.message_id, one.attempt_id, one.channel, MessageState(key[1]), key[2])


def _asked(one: _Try, code: str) -> Asked:
    return Asked(after(one.channel, code), code, one.channel, one.rule_id, one.address_hash, source="receipt")


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
