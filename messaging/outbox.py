"""The outbox's transactions: claim, arm, record, reap (DESIGN section 6).

*Claimed* is certainly not sent. *Armed* is committed before the first byte and may have been sent. What is armed and
never recorded becomes UNKNOWN; time alone never brings it back to the queue.
"""

import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Select,
    and_,
    bindparam,
    false,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)

from messaging import breaker
from messaging.breaker import PAUSE
from messaging.claims import CLAIMABLE, Claim, Claimed, attempt, claim_of, evidence, message
from messaging.consents import heed
from messaging.events_out import happened_unknown
from messaging.journal import Journal
from messaging.journal.past import recall
from messaging.pace import Rates, room, take_turns
from messaging.points import At, Point, nowhere
from messaging.policy import Policy
from messaging.recheck import is_barred, newest_consent, recheck, suppressed
from messaging.recording import record, record_all
from messaging.switches import is_held, stopped
from messaging.taken_back import take_back
from models.database import reading, writing
from models.types import UTCDateTime
from models.vocabulary import AttemptState, Channel, ConsentVerdict, MessageState, Reason

NO_LEASE = timedelta(days=2)
"""A lease that ends later than this was given by a clock that was far ahead: nobody may wait for its end."""

Stops = Callable[[Connection, datetime, Sequence[int]], Mapping[Reason, int]]
"""``(connection, now, message_ids) -> counts``: marks those that their rule stops by now CANCELLED (it is retired, or
its ``stop_if`` holds), puts off those that cannot be asked, and says how many were cancelled, by reason."""


def claim(
    connection: Connection,
    now: datetime,
    *,
    limit: int,
    lease_seconds: float,
    policy: Policy,
    channels: Collection[Channel] = tuple(Channel),
    stops: Stops | None = None,
    rates: Rates = MappingProxyType({}),
    journal: Journal | None = None,
    halted: Collection[str] = (),
) -> Claimed:
    """Give out up to ``limit`` due messages of ``channels``, the more urgent first, each with an attempt and a lease.

    Must run in a write transaction. Looks again at the kill switch, the rule (``stops``), the owner, suppression,
    guest list, consent, send-by and quiet hours. What may not go gets its named reason in the same transaction.
    Channels whose account is at fault are passed over, but for one probe when they have rested; nothing is claimed that
    the senders' ``rates`` leave no turn for. A database that is behind the ``journal`` gives out nothing; what it had
    forgotten and knows again does not go a second time. ``halted`` are the scopes that the stop file names.
    """
    heed(connection)
    if journal is not None:
        journal.look(connection, now)
    stops_now = stopped(connection, message.c.rule_id, "channel", message.c.channel, halted=halted)
    withheld = _mark_stopped(connection, now, stops_now, channels)
    awake, half = breaker.standing(connection, channels, now)
    awake, most = _in_pace(connection, awake, rates, now)
    ids = _due(connection, now, min([limit, *most, *[1 for _ in half]]), stops_now, awake)
    if not ids or not breaker.probe(connection, half, now):
        return Claimed(withheld=withheld)
    known = recall(connection, ids, now, policy.secret)
    withheld |= {Reason.SENT_BEFORE: known} if known else {}
    withheld |= stops(connection, now, ids) if stops else {}
    left = _still_claimable(connection, ids, now) if stops or known else ids
    hashes, no = recheck(connection, left, now, policy)
    withheld |= no
    claims = _give_out(connection, now, hashes, lease_seconds) if hashes else []
    if not claims:
        breaker.unprobe(connection, half)
    return Claimed(claims, withheld, len(ids))


def _is_due(now: datetime, channels: Collection[str]) -> ColumnElement[bool]:
    m = message.c
    return and_(m.state.in_(CLAIMABLE), m.due_at <= now, m.channel.in_(list(channels)))


def _mark_stopped(
    connection: Connection, now: datetime, stops_now: ColumnElement[bool], channels: Collection[str]
) -> dict[Reason, int]:
    """Say on due messages why they stay: they keep their place in the queue until the switch is taken back."""
    if stops_now.compare(false()):
        return {}
    why = Reason.RESTORED if is_held(connection) else Reason.KILL_SWITCH
    unsaid = or_(message.c.reason.is_(None), message.c.reason != why)
    due = select(message.c.id).where(_is_due(now, channels), stops_now, unsaid).with_for_update(skip_locked=True)
    marked = update(message).where(message.c.id.in_(due)).values(reason=why)
    count = connection.execute(marked).rowcount
    return {why: count} if count else {}


def _in_pace(
    connection: Connection, channels: Collection[Channel], rates: Rates, now: datetime
) -> tuple[list[Channel], list[int]]:
    """The channels whose sender has a turn now, and how many messages that is at most, where it is bounded."""
    rooms = {channel: room(connection, channel.value, rates.get(channel), now) for channel in channels}
    return [channel for channel in rooms if rooms[channel] != 0], [most for most in rooms.values() if most]


def _due(
    connection: Connection, now: datetime, limit: int, stops_now: ColumnElement[bool], channels: Collection[str]
) -> list[int]:
    m = message.c
    due = (
        select(m.id)
        .where(_is_due(now, channels), ~stops_now)
        .order_by(m.priority.desc(), m.due_at, m.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return list(connection.execute(due).scalars())


def _still_claimable(connection: Connection, ids: Sequence[int], now: datetime) -> list[int]:
    m = message.c
    still = select(m.id).where(m.id.in_(ids), m.state.in_(CLAIMABLE), m.due_at <= now)
    return list(connection.execute(still).scalars())


def _give_out(connection: Connection, now: datetime, hashes: Mapping[int, str], lease_seconds: float) -> list[Claim]:
    token, until = uuid.uuid4().hex, now + timedelta(seconds=lease_seconds)
    m = message.c
    names = ["message_id", "number", "state", "lease", "lease_until", "claimed_at"]
    rows = select(
        m.id,
        m.tries + 1,
        literal(AttemptState.CLAIMED.value),
        literal(token),
        literal(until, UTCDateTime()),
        literal(now, UTCDateTime()),
    ).where(m.id.in_(hashes))
    connection.execute(insert(attempt).from_select(names, rows))
    connection.execute(update(message).where(m.id.in_(hashes)).values(state=MessageState.CLAIMED, reason=None))
    taken = select(message, attempt.c.id.label("attempt_id"), attempt.c.number).join(
        attempt, attempt.c.message_id == m.id
    )
    found = connection.execute(taken.where(attempt.c.lease == token, m.id.in_(hashes)).order_by(attempt.c.id))
    return [claim_of(row, token, until, hashes[row["id"]]) for row in found.mappings()]


def arm(
    engine: Engine,
    claims: Sequence[Claim],
    now: datetime,
    *,
    lease_seconds: float = 60,
    provider: str = "",
    fingerprints: Mapping[int, str] | None = None,
    rates: Rates = MappingProxyType({}),
    units: Mapping[int, int] = MappingProxyType({}),
    at: At = nowhere,
    journal: Journal | None = None,
    keys: Mapping[int, str] | None = None,
    halted: Collection[str] = (),
) -> list[Claim]:
    """Commit that these claims are about to be on the wire. Only what is returned may be sent.

    A compare-and-set on the lease: a claim whose lease is over, that was reaped, whose message came too late or under
    a kill switch, or whose customer has said stop meanwhile, is not armed and goes back to the queue, where the next
    claim gives it its reason. So does, with the moment of its turn, what goes beyond the senders' ``rates``; ``units``
    (1 where left out), ``fingerprints`` and the ``keys`` for the journal are by attempt id. After this returns, a crash
    leaves these attempts UNKNOWN, so the caller hands in few at a time. Raises JournalError where what
    was committed could not be written down, and Restored where the database has lost what this process wrote before.
    """
    until = now + timedelta(seconds=lease_seconds)
    leases = {c.attempt_id: c for c in claims}
    with writing(engine) as connection:
        heed(connection)
        fit = _fit(connection, [leases[key] for key in _lock_held(connection, claims, now)], now, halted)
        wanted = [(c.attempt_id, c.channel, units.get(c.attempt_id, 1)) for c in fit]
        waits = take_turns(connection, wanted, rates, now)
        fit = [c for c in fit if c.attempt_id not in waits]
        change = (
            update(attempt)
            .where(attempt.c.id.in_([c.attempt_id for c in fit]))
            .values(state=AttemptState.IN_FLIGHT, armed_at=now, lease_until=until, provider=provider)
            .returning(attempt.c.id)
        )
        armed = sorted(connection.execute(change).scalars())
        _set_marks(connection, [leases[key] for key in armed], fingerprints or {})
        connection.execute(
            update(message)
            .where(message.c.id.in_([leases[key].message_id for key in armed]))
            .values(state=MessageState.IN_FLIGHT, tries=message.c.tries + 1)
        )
        _return(connection, [c for c in claims if c.attempt_id not in set(armed)], now)
        _await_turns(connection, {leases[key].message_id: turn for key, turn in waits.items()})
        number = journal.step(connection, now) if journal and armed else None
        at(Point.ARMING)
    at(Point.ARMED)
    going = [replace(leases[key], lease_until=until) for key in armed]
    if journal and number:
        journal.armed(number, going, keys or {}, fingerprints or {}, provider, now)
    return going


def _lock_held(connection: Connection, claims: Sequence[Claim], now: datetime) -> list[int]:
    """Lock the attempts that are ours by a lease that holds. Attempts before messages, as everywhere."""
    ours = select(attempt.c.id).where(_held(claims), attempt.c.lease_until > now)
    return list(connection.execute(ours.order_by(attempt.c.id).with_for_update()).scalars())


def _fit(connection: Connection, claims: Sequence[Claim], now: datetime, halted: Collection[str]) -> list[Claim]:
    """Lock the messages and keep those that may go. Without the lock a result that comes late could be overwritten."""
    keys = [c.message_id for c in claims]
    standing = select(message.c.id).where(message.c.id.in_(keys), message.c.state == MessageState.CLAIMED)
    locked = list(connection.execute(standing.order_by(message.c.id).with_for_update()).scalars())
    barred = suppressed(connection, {c.address_hash for c in claims})
    may = select(message.c.id).where(
        message.c.id.in_(locked),
        func.coalesce(newest_consent(), "") != ConsentVerdict.WITHDRAWN,
        or_(message.c.expires_at.is_(None), message.c.expires_at > now),
        ~stopped(connection, message.c.rule_id, "channel", message.c.channel, halted=halted),
    )
    going = set(connection.execute(may).scalars())
    free = [c for c in claims if not is_barred(c.channel, c.address_hash, c.purpose, barred)]
    return [c for c in free if c.message_id in going]


def stand_down(engine: Engine, claims: Sequence[Claim], now: datetime) -> None:
    """Return claims of which nobody knows whether they were armed, and everybody knows that nothing was sent.

    That is so where the line to the database broke while arm committed.
    """
    with writing(engine) as connection:
        ours = _ours(claims, (AttemptState.CLAIMED, AttemptState.IN_FLIGHT))
        found = connection.execute(
            select(attempt.c.id, attempt.c.message_id, attempt.c.state)
            .where(ours)
            .order_by(attempt.c.id)
            .with_for_update()
        ).all()
        _end(connection, [row.id for row in found], AttemptState.RETURNED, now)
        _requeue(connection, [row.message_id for row in found if row.state == AttemptState.CLAIMED])
        flying = [row.message_id for row in found if row.state == AttemptState.IN_FLIGHT]
        back = update(message).where(message.c.id.in_(flying), message.c.state == MessageState.IN_FLIGHT)
        connection.execute(back.values(state=MessageState.QUEUED, tries=message.c.tries - 1))


def _held(claims: Sequence[Claim]) -> ColumnElement[bool]:
    """Attempts that are still ours, each by its own lease, and not armed."""
    return _ours(claims, (AttemptState.CLAIMED,))


def _ours(claims: Sequence[Claim], states: Collection[AttemptState]) -> ColumnElement[bool]:
    by_lease: dict[str, list[int]] = defaultdict(list)
    for c in claims:
        by_lease[c.lease].append(c.attempt_id)
    ours = [(attempt.c.lease == lease) & attempt.c.id.in_(keys) for lease, keys in by_lease.items()]
    return and_(attempt.c.state.in_(states), or_(false(), *ours))


def _set_marks(connection: Connection, armed: Sequence[Claim], fingerprints: Mapping[int, str]) -> None:
    rows = [{"key": c.attempt_id, "mark": fingerprints.get(c.attempt_id), "where_to": c.address_hash} for c in armed]
    if rows:
        change = update(attempt).where(attempt.c.id == bindparam("key"))
        marks = change.values(fingerprint=bindparam("mark"), address_hash=bindparam("where_to"))
        connection.execute(marks, rows)


def _await_turns(connection: Connection, turns: Mapping[int, datetime]) -> None:
    """Put messages off until their sender has a turn for them."""
    rows = [{"key": key, "turn": turn} for key, turn in turns.items()]
    if rows:
        ours = update(message).where(message.c.id == bindparam("key"), message.c.state == MessageState.QUEUED)
        connection.execute(ours.values(due_at=bindparam("turn"), reason=Reason.PACE), rows)


def give_back(engine: Engine, claims: Sequence[Claim], now: datetime) -> None:
    """Return claims that were not armed to the queue: they are certainly not sent."""
    if claims:
        with writing(engine) as connection:
            _return(connection, claims, now)


def _return(connection: Connection, claims: Sequence[Claim], now: datetime) -> None:
    if not claims:
        return
    change = update(attempt).where(_held(claims)).values(state=AttemptState.RETURNED, ended_at=now)
    ours = list(connection.execute(change.returning(attempt.c.message_id)).scalars())
    _requeue(connection, ours)


def _requeue(connection: Connection, message_ids: Sequence[int]) -> None:
    back = update(message).where(message.c.id.in_(message_ids), message.c.state == MessageState.CLAIMED)
    connection.execute(back.values(state=MessageState.QUEUED))


def fail(engine: Engine, failed: Sequence[tuple[Claim, Reason]], now: datetime) -> None:
    """End claimed messages that cannot be put on the wire at all (a template that could not be filled, say)."""
    if not failed:
        return
    with writing(engine) as connection:
        change = update(attempt).where(_held([c for c, _ in failed])).values(state=AttemptState.RETURNED, ended_at=now)
        ours = set(connection.execute(change.returning(attempt.c.message_id)).scalars())
        for reason in {why for _, why in failed}:
            keys = [c.message_id for c, why in failed if why is reason and c.message_id in ours]
            ended = update(message).where(message.c.id.in_(keys), message.c.state == MessageState.CLAIMED)
            connection.execute(ended.values(state=MessageState.FAILED, reason=reason, ended_at=now))
        take_back(connection, [c.match_id for c, _ in failed if c.message_id in ours], now)


@dataclass(frozen=True)
class ReapReport:
    """What the reaper found: claims returned to the queue, and attempts whose outcome is not known."""

    returned: int = 0
    unknown: int = 0


def reap(engine: Engine, now: datetime, *, at: At = nowhere) -> ReapReport:
    """Put right what a dead process left: claimed goes back to the queue, armed becomes UNKNOWN."""
    with reading(engine) as connection:
        if connection.execute(_lapsed(now).limit(1)).first() is None:
            return ReapReport()
    with writing(engine) as connection:
        rows = connection.execute(_lapsed(now).with_for_update(skip_locked=True)).all()
        claimed = [row.id for row in rows if row.state == AttemptState.CLAIMED]
        flying = [row.id for row in rows if row.state == AttemptState.IN_FLIGHT]
        _end(connection, claimed, AttemptState.RETURNED, now)
        _requeue(connection, [row.message_id for row in rows if row.state == AttemptState.CLAIMED])
        _end(connection, flying, AttemptState.UNKNOWN, now, outcome=AttemptState.UNKNOWN, code="lease_over")
        lost = [row.message_id for row in rows if row.state == AttemptState.IN_FLIGHT]
        unknown = update(message).where(message.c.id.in_(lost), message.c.state == MessageState.IN_FLIGHT)
        connection.execute(unknown.values(state=MessageState.UNKNOWN))
        if flying:
            seen = {"kind": "lease_over", "seen_at": now, "content": None}
            connection.execute(insert(evidence), [{"attempt_id": key, **seen} for key in flying])
            happened_unknown(connection, lost, now)
        at(Point.REAPING)
    return ReapReport(len(claimed), len(flying))


def _lapsed(now: datetime) -> Select[Any]:
    a = attempt.c
    open_ones = a.state.in_([AttemptState.CLAIMED, AttemptState.IN_FLIGHT])
    over = or_(a.lease_until <= now, a.lease_until > now + NO_LEASE)
    return select(a.id, a.message_id, a.state).where(open_ones, over).order_by(a.id)


def _end(connection: Connection, ids: Sequence[int], state: AttemptState, now: datetime, **more: Any) -> None:
    if ids:
        connection.execute(update(attempt).where(attempt.c.id.in_(ids)).values(state=state, ended_at=now, **more))


__all__ = [
    "PAUSE",
    "ReapReport",
    "Stops",
    "arm",
    "claim",
    "fail",
    "give_back",
    "reap",
    "record",
    "record_all",
    "stand_down",
]
