"""Unknown outcomes: the provider's own listing is asked, and what stays unknown follows the written policy.

The table of DESIGN section 6: SMS service one resend, voice never, e-mail service one resend with the same
Message-ID after an hour; everything else is given up and shown to staff.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, func, insert, select, update

from messaging.candidates import UNTOLD
from messaging.channels.base import Channel as Way
from messaging.channels.base import Sighting
from messaging.claims import attempt, evidence, message
from messaging.taken_back import take_back
from models.database import reading, writing
from models.vocabulary import AttemptState, Channel, MessageState, Purpose, Reason

MOST = 100


@dataclass(frozen=True)
class Settling:
    """What is done about unknown outcomes of a channel. ``waits`` is the settle window since the try was armed.

    ``lists``: the provider keeps a listing, so that absence from it is proof of a kind.
    """

    waits: timedelta
    resends: frozenset[Purpose]
    lists: bool


SETTLING: dict[Channel, Settling] = {
    Channel.SMS: Settling(timedelta(minutes=15), frozenset({Purpose.SERVICE}), lists=True),
    Channel.VOICE: Settling(timedelta(minutes=15), frozenset(), lists=True),
    Channel.EMAIL: Settling(timedelta(hours=1), frozenset({Purpose.SERVICE}), lists=False),
}

PATIENCE = timedelta(hours=24)
"""After this long without an answer from the provider's listing, staff must look."""


@dataclass(frozen=True)
class Unknown:
    """The newest unknown try of a message, and how many ``unknowns`` it has had."""

    attempt_id: int
    message_id: int
    channel: Channel
    address: str
    purpose: Purpose
    expires_at: datetime | None
    armed_at: datetime
    lease_until: datetime
    fingerprint: str
    unknowns: int


@dataclass(frozen=True)
class SettleReport:
    """How many were found at the provider, sent once more, and given up."""

    found: int = 0
    resent: int = 0
    given_up: int = 0


@dataclass(frozen=True)
class Decision:
    """What becomes of an unknown message; ``sighting`` where the provider's listing has it."""

    state: MessageState
    reason: Reason | None = None
    sighting: Sighting | None = None


def settle(
    engine: Engine,
    channels: Mapping[Channel, Way],
    now: datetime,
    *,
    send_timeout: float,
    settle_after: timedelta,
    most: int = MOST,
) -> SettleReport:
    """Look for up to ``most`` unknown messages a channel in the provider's listing and decide where the window is over.

    ``settle_after`` is the window for channels with a listing, at least twice the send timeout (in seconds).
    """
    decided = []
    window = max(settle_after, timedelta(seconds=2 * send_timeout))
    for unknown in [one for name in channels for one in _waiting(engine, name, now, window, most)]:
        way = channels[unknown.channel]
        seen = way.find(unknown.address, unknown.fingerprint, unknown.armed_at, unknown.lease_until)
        decided.append((unknown, seen))
    if not decided:
        return SettleReport()
    with writing(engine) as connection:
        return _settle_all(connection, decided, now)


def decide(unknown: Unknown, seen: Sequence[Sighting] | None, now: datetime) -> Decision | None:
    """What becomes of an unknown message after its window. ``seen`` None: nothing is proven. None: wait on. Pure."""
    rule = SETTLING[unknown.channel]
    if seen:
        return Decision(MessageState.ACCEPTED, sighting=seen[0])
    if seen is None and rule.lists:
        waited = now - unknown.armed_at
        return Decision(MessageState.UNKNOWN, Reason.GAVE_UP) if waited >= PATIENCE else None
    if unknown.purpose in rule.resends and unknown.unknowns == 1:
        if unknown.expires_at is None or unknown.expires_at > now:
            return Decision(MessageState.QUEUED)
        return Decision(MessageState.EXPIRED if rule.lists else MessageState.UNKNOWN, Reason.TOO_LATE)
    # without a listing nothing says that it did not arrive: the state stays what is known
    return Decision(MessageState.FAILED if rule.lists else MessageState.UNKNOWN, Reason.GAVE_UP)


def _waiting(engine: Engine, name: Channel, now: datetime, window: timedelta, most: int) -> list[Unknown]:
    a, m, rule = attempt.c, message.c, SETTLING[name]
    over = now - max(rule.waits, window)
    of_message = (a.message_id == m.id) & (a.state == AttemptState.UNKNOWN)
    newest = select(func.max(a.id)).where(of_message).correlate(message).scalar_subquery()
    many = select(func.count()).where(of_message).correlate(message).scalar_subquery()
    rows = (
        select(m.id, m.channel, m.address, m.purpose, m.expires_at, many.label("unknowns"))
        .add_columns(a.id.label("attempt_id"), a.armed_at, a.lease_until, a.fingerprint)
        .join(attempt, a.id == newest)
        .where(m.state == MessageState.UNKNOWN, m.ended_at.is_(None), m.channel == name, a.armed_at <= over)
        .order_by(m.id)
        .limit(most)
    )
    with reading(engine) as connection:
        return [_unknown(row) for row in connection.execute(rows)]


def _unknown(row: Any) -> Unknown:
    return Unknown(
        attempt_id=row.attempt_id,
        message_id=row.id,
        channel=Channel(row.channel),
        address=row.address,
        purpose=Purpose(row.purpose),
        expires_at=row.expires_at,
        armed_at=row.armed_at,
        lease_until=row.lease_until,
        fingerprint=row.fingerprint or "",
        unknowns=row.unknowns,
    )


def _settle_all(
    connection: Connection, looked: Sequence[tuple[Unknown, list[Sighting] | None]], now: datetime
) -> SettleReport:
    found = resent = given_up = 0
    for unknown, seen in looked:
        free = None if seen is None else _unbound(connection, seen)
        decision = decide(unknown, free, now)
        if decision is None or not _apply(connection, unknown, decision, now):
            continue
        found += decision.state is MessageState.ACCEPTED
        resent += decision.state is MessageState.QUEUED
        given_up += decision.reason is not None
    return SettleReport(found, resent, given_up)


def _unbound(connection: Connection, seen: Sequence[Sighting]) -> list[Sighting]:
    """Sightings that belong to no other attempt yet: two messages of one text to one person are two messages."""
    ids = [sighting.provider_id for sighting in seen]
    bound = set(connection.execute(select(attempt.c.provider_id).where(attempt.c.provider_id.in_(ids))).scalars())
    return [sighting for sighting in seen if sighting.provider_id not in bound]


def _apply(connection: Connection, unknown: Unknown, decision: Decision, now: datetime) -> bool:
    m = message.c
    # attempts before messages, as in every other transaction here, so that nobody waits in a circle
    connection.execute(select(attempt.c.id).where(attempt.c.id == unknown.attempt_id).with_for_update())
    change: dict[str, Any] = {"state": decision.state, "reason": decision.reason}
    if decision.state is MessageState.ACCEPTED:
        change |= {"accepted_at": now}
    elif decision.state is MessageState.QUEUED:
        change |= {"due_at": now}
    else:
        change |= {"ended_at": now}
    # while the provider was asked, others may have settled this and sent it once more
    newer = select(attempt.c.id).where(attempt.c.message_id == m.id, attempt.c.id > unknown.attempt_id)
    still = (m.id == unknown.message_id) & (m.state == MessageState.UNKNOWN) & m.ended_at.is_(None) & ~newer.exists()
    moved = connection.execute(update(message).where(still).values(change).returning(m.match_id)).scalars().all()
    if not moved:
        return False
    if decision.state in UNTOLD:
        take_back(connection, moved, now)
    if decision.sighting:
        bind = {
            "state": AttemptState.ACCEPTED,
            "outcome": AttemptState.ACCEPTED,
            "code": "listed",
            "provider_id": decision.sighting.provider_id,
        }
        connection.execute(update(attempt).where(attempt.c.id == unknown.attempt_id).values(bind))
    seen = {"found": decision.sighting.provider_id if decision.sighting else None, "becomes": decision.state.value}
    row = {"attempt_id": unknown.attempt_id, "kind": "listing", "seen_at": now, "content": seen}
    connection.execute(insert(evidence), [row])
    return True
