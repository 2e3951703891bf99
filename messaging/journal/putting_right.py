"""Rows put right by what a journal knows: the attempt is there again, and its message says what became of it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select, text, update

from messaging.claims import attempt, evidence, message
from messaging.consents import suppress
from messaging.journal.lines import Entry
from models.vocabulary import AttemptState, MessageState, OutcomeClass, Reason

BEYOND = (MessageState.ACCEPTED, MessageState.SENT, MessageState.DELIVERED, MessageState.UNDELIVERED)
"""States in which a message is known to have been accepted: a journal has nothing to add."""

OPEN = (
    MessageState.PLANNED,
    MessageState.HELD,
    MessageState.QUEUED,
    MessageState.CLAIMED,
    MessageState.IN_FLIGHT,
    MessageState.UNKNOWN,
)

CHUNK = 500


def put_right(
    connection: Connection,
    found: Mapping[int, Sequence[Entry]],
    now: datetime,
    *,
    reason: Reason | None = Reason.SENT_BEFORE,
) -> dict[MessageState, int]:
    """Bring the attempts of these messages (by id) in line with the journal, and the messages with their attempts.

    ``reason`` is what accepted messages are marked with. Doing it twice has no effect. Returns how many messages moved,
    by new state.
    """
    moved: dict[MessageState, int] = defaultdict(int)
    ids = sorted(found)
    for start in range(0, len(ids), CHUNK):
        some = {key: found[key] for key in ids[start : start + CHUNK]}
        entries = [entry for group in some.values() for entry in group]
        _write_attempts(connection, some, now)
        _suppress(connection, entries)
        for state in _move(connection, some, reason):
            moved[state] += 1
    return dict(moved)


def _state(entry: Entry) -> AttemptState:
    return AttemptState(entry.result.kind.value) if entry.result else AttemptState.UNKNOWN


def _write_attempts(connection: Connection, some: Mapping[int, Sequence[Entry]], now: datetime) -> None:
    # attempts before messages, as in every other transaction, so that nobody waits in a circle
    entries = [entry for group in some.values() for entry in group]
    known = {
        (row.message_id, row.lease): row
        for row in connection.execute(
            select(attempt.c.id, attempt.c.message_id, attempt.c.lease, attempt.c.state)
            .where(attempt.c.message_id.in_(some))
            .order_by(attempt.c.id)
            .with_for_update()
        )
    }
    taken = set(
        connection.execute(
            select(attempt.c.id).where(attempt.c.id.in_([entry.attempt_id for entry in entries]))
        ).scalars()
    )
    names = [entry.result.provider_id for entry in entries if entry.result and entry.result.provider_id]
    holders = select(attempt.c.provider_id, attempt.c.lease).where(attempt.c.provider_id.in_(names))
    bound = dict(connection.execute(holders).tuples().all())
    for message_id, group in some.items():
        count = sum(key == message_id for key, _ in known)
        for entry in group:
            values = _values(entry, bound, now)
            there = known.get((message_id, entry.lease))
            if there is None:
                count += 1
                row = values | {"message_id": message_id, "number": count, "claimed_at": entry.armed_at}
                own_id = {} if entry.attempt_id in taken else {"id": entry.attempt_id}
                key = connection.execute(insert(attempt).values(row | own_id).returning(attempt.c.id)).scalar_one()
                taken.add(key)
            elif there.state in (AttemptState.ACCEPTED, AttemptState.REFUSED, AttemptState.NOT_ACCEPTED):
                continue
            else:
                key = there.id
                connection.execute(update(attempt).where(attempt.c.id == key).values(values))
            _note(connection, key, entry, now)


def _values(entry: Entry, bound: Mapping[str, str], now: datetime) -> dict[str, Any]:
    result = entry.result
    provider_id = result.provider_id if result else None
    free = provider_id is None or bound.get(provider_id, entry.lease) == entry.lease
    return {
        "state": _state(entry),
        "outcome": _state(entry).value,
        "code": result.code if result else "restored",
        "lease": entry.lease,
        "lease_until": entry.lease_until,
        "armed_at": entry.armed_at,
        "ended_at": result.at if result else now,
        "fingerprint": entry.fingerprint or None,
        "provider": entry.provider,
        "provider_id": provider_id if free else None,
    } | ({"address_hash": entry.address_hash} if "address_hash" in attempt.c else {})


def _note(connection: Connection, key: int, entry: Entry, now: datetime) -> None:
    content = {"outcome": _state(entry).value, "was": entry.attempt_id, "armed_at": entry.armed_at.isoformat()}
    connection.execute(insert(evidence).values(attempt_id=key, kind="journal", seen_at=now, content=content))


def _suppress(connection: Connection, entries: Iterable[Entry]) -> None:
    for entry in entries:
        if entry.result and entry.result.suppress:
            suppress(
                connection,
                channel=entry.channel,
                cause=f"provider_{entry.result.code}",
                address_hash=entry.address_hash,
                source="journal",
                at=entry.result.at,
            )


def _move(connection: Connection, some: Mapping[int, Sequence[Entry]], reason: Reason | None) -> list[MessageState]:
    m = message.c
    standing = connection.execute(select(m.id, m.state).where(m.id.in_(some)).order_by(m.id).with_for_update()).all()
    armed = select(attempt.c.message_id, func.count()).where(
        attempt.c.message_id.in_(some), attempt.c.armed_at.is_not(None)
    )
    tries = dict(connection.execute(armed.group_by(attempt.c.message_id)).tuples().all())
    moved = []
    for row in standing:
        change = _change(MessageState(row.state), some[row.id], reason)
        if change:
            connection.execute(update(message).where(m.id == row.id).values(change | {"tries": tries.get(row.id, 1)}))
            moved.append(MessageState(change["state"]))
    return moved


def _change(state: MessageState, group: Sequence[Entry], reason: Reason | None) -> dict[str, Any] | None:
    """What a message becomes by its attempts, or None: it stays. Pure."""
    if state in BEYOND:
        return None
    accepted = [entry for entry in group if entry.result and entry.result.kind is OutcomeClass.ACCEPTED]
    if accepted and accepted[0].result:
        at = accepted[0].result.at
        return {"state": MessageState.ACCEPTED, "reason": reason, "accepted_at": at, "ended_at": None}
    if state not in OPEN:
        return None
    last = group[-1]
    if _state(last) is AttemptState.UNKNOWN:
        return {"state": MessageState.UNKNOWN, "reason": None, "ended_at": None}
    if _state(last) is AttemptState.REFUSED and last.result:
        return {"state": MessageState.FAILED, "reason": Reason.REFUSED, "ended_at": last.result.at}
    return {"state": MessageState.QUEUED, "reason": None}


def go_past(connection: Connection, entries: Iterable[Entry]) -> None:
    """Give out no id of an attempt again that a provider may still name: in a bounce, or in a late callback."""
    highest = max((entry.attempt_id for entry in entries), default=0)
    if highest and connection.dialect.name == "sqlite":
        _take_id(connection, highest)
    elif highest:
        sequence = "pg_get_serial_sequence('attempt', 'id')"
        beyond = f"SELECT setval({sequence}, greatest(nextval({sequence}), :id))"
        connection.execute(text(beyond), {"id": highest})


def _take_id(connection: Connection, highest: int) -> None:
    """SQLite counts on from the highest id there is, so a row that was never sent takes it."""
    there = connection.execute(select(func.max(attempt.c.id))).scalar_one() or 0
    last = select(message.c.id, message.c.created_at).order_by(message.c.id.desc()).limit(1)
    home = connection.execute(last).first()
    if there < highest and home is not None:
        at = home.created_at
        row = {"id": highest, "message_id": home.id, "number": 0, "state": AttemptState.RETURNED, "lease": "taken"}
        row |= {"lease_until": at, "claimed_at": at, "ended_at": at, "code": "id_taken"}
        connection.execute(insert(attempt).values(row))
