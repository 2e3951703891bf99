"""What a provider tells us by itself: kept, matched to its attempt now or later, applied once.

A callback may come before our own answer, twice, late, or in any order. It is the passive proof as well: an address
that we signed names the attempt, so that the first callback for one whose outcome is open tells the provider's id.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, and_, exists, insert, or_, select, update

from messaging import receipts
from messaging.breaker import call_staff
from messaging.channels.base import Sighting
from messaging.claims import attempt, evidence, message
from messaging.consents import PROVIDERS_STOP, silence
from messaging.onlookers import Refused, tell_once_committed
from messaging.recording import KNOWN, OPEN_TO_RESULTS, storable
from models.database import dialect_insert, reading, writing
from models.delivery import Callback
from models.vocabulary import AttemptState, MessageState

_log = logging.getLogger(__name__)

callback = Callback.__table__  # type: ignore[attr-defined]

KEPT_FOR = timedelta(days=3)
"""For how long a callback for an unknown id is looked at again. Providers tell nothing new after that."""

MOST = 500

BY_CALLBACK = "callback"
"""The code of an attempt whose outcome was open until a callback told its id; also the kind of evidence."""


@dataclass(frozen=True)
class Told:
    """One thing that a provider told us. ``kind`` is the channel, or what else it is (``bounce``, say).

    ``attempt_id`` is what our own signed address said, None where there was none. ``state`` None: it changes nothing.
    ``digest`` is a hash over what was signed; ``address_hash`` that of the person it speaks of, where it says so.
    ``content`` goes into the callback's row and holds no addresses and no texts.
    """

    provider: str
    kind: str
    provider_id: str | None
    attempt_id: int | None
    state: MessageState | None
    code: str
    digest: str
    happened_at: datetime | None = None
    content: Mapping[str, Any] = field(default_factory=dict)
    address_hash: str = ""


@dataclass(frozen=True)
class _Try:
    """An attempt that a callback may speak of."""

    id: int
    message_id: int
    state: AttemptState
    provider: str | None
    provider_id: str | None
    address_hash: str | None
    channel: str


def keep(connection: Connection, told: Told, now: datetime) -> bool:
    """Keep what was told, and apply it where its attempt is known. False: we knew it, or it was refused; no effect.

    A callback whose attempt nobody knows yet is kept, and :func:`match_waiting` applies it.
    """
    told = replace(
        told, code=storable(told.code), provider_id=storable(told.provider_id), content=storable(told.content)
    )
    if told.code == PROVIDERS_STOP:
        silence(connection)
    key = _write(connection, told, now)
    if key is None:
        return False
    return _match(connection, key, told, now)


def match_waiting(connection: Connection, now: datetime, *, most: int = MOST) -> int:
    """Apply the callbacks that came before anybody knew their id. Returns how many."""
    rows = connection.execute(_waiting(now).limit(most)).all()
    # all at once and in the order of every other transaction here, so that nobody waits in a circle
    ours = or_(
        attempt.c.id.in_([row.attempt_id for row in rows]), attempt.c.provider_id.in_([r.provider_id for r in rows])
    )
    connection.execute(select(attempt.c.id).where(ours).order_by(attempt.c.id).with_for_update())
    return sum(_match(connection, row.id, _told(row), now) for row in rows)


def match_if_any(engine: Engine, now: datetime) -> int:
    """:func:`match_waiting` in a transaction of its own, which is opened only where something waits."""
    with reading(engine) as connection:
        if connection.execute(_waiting(now).limit(1)).first() is None:
            return 0
    with writing(engine) as connection:
        return match_waiting(connection, now)


def contradiction(told: Told, found: Sequence[_Try]) -> str | None:
    """Why a callback cannot be what it says, or None. Pure. ``found``: by the provider's id, and by our signed one."""
    by_name = next((one for one in found if one.provider_id and one.provider_id == told.provider_id), None)
    by_token = next((one for one in found if one.id == told.attempt_id), None)
    if told.attempt_id is None or (by_name is None and by_token is None):
        return None
    if by_name is not None:
        return None if by_name.id == told.attempt_id else f"its id belongs to attempt {by_name.id}"
    if by_token is None or told.provider_id is None:
        return None
    if by_token.provider_id is not None:
        return "that attempt has another id: the provider may have it twice"
    if by_token.state not in OPEN_TO_RESULTS:
        return f"that attempt is {by_token.state}, which no provider has taken"
    if by_token.provider not in (None, told.provider) or by_token.channel != told.kind:
        return f"that attempt went by {by_token.channel}"
    if told.address_hash and by_token.address_hash and told.address_hash != by_token.address_hash:
        return "that attempt went to somebody else"
    return None


def _match(connection: Connection, key: int, told: Told, now: datetime) -> bool:
    """Apply a callback that is on record as ``key``; one that nobody can match yet waits. False: it was refused."""
    found = _tries(connection, told)
    if (wrong := contradiction(told, found)) is not None:
        _refuse(connection, told, key, wrong, now)
        return False
    if found:
        _apply(connection, key, told, found[0], now)
    return True


def _write(connection: Connection, told: Told, now: datetime) -> int | None:
    row = {
        "provider": told.provider,
        "kind": told.kind,
        "provider_id": told.provider_id,
        "attempt_id": told.attempt_id,
        "state": told.state.value if told.state else None,
        "code": told.code[:40],
        "digest": told.digest,
        "content": dict(told.content),
        "happened_at": told.happened_at,
        "received_at": now,
    }
    put = dialect_insert(connection, callback).values(row).on_conflict_do_nothing(index_elements=["digest"])
    return connection.execute(put.returning(callback.c.id)).scalar_one_or_none()


def _told(row: Any) -> Told:
    return Told(
        provider=row.provider,
        kind=row.kind,
        provider_id=row.provider_id,
        attempt_id=row.attempt_id,
        state=MessageState(row.state) if row.state else None,
        code=row.code,
        digest=row.digest,
        happened_at=row.happened_at,
        content=row.content or {},
    )


def _waiting(now: datetime) -> Any:
    c, a = callback.c, attempt.c
    open_to = and_(a.id == c.attempt_id, or_(a.provider_id.is_not(None), a.state.in_(OPEN_TO_RESULTS)))
    known = exists().where(or_(a.provider_id == c.provider_id, open_to)).correlate(callback)
    return select(callback).where(c.matched_at.is_(None), c.received_at > now - KEPT_FOR, known).order_by(c.id)


def _tries(connection: Connection, told: Told) -> list[_Try]:
    """The attempts that a callback may speak of, locked: by the provider's id first, then by our own."""
    a = attempt.c
    named: list[ColumnElement[bool]] = []
    if told.provider_id is not None:
        named.append(a.provider_id == told.provider_id)
    if told.attempt_id is not None:
        named.append(a.id == told.attempt_id)
    if not named:
        return []
    rows = connection.execute(
        select(a.id, a.message_id, a.state, a.provider, a.provider_id, a.address_hash, message.c.channel)
        .join(message, message.c.id == a.message_id)
        .where(or_(*named))
        .order_by(a.id)
        .with_for_update(of=attempt)
    )
    found = [_Try(row.id, row.message_id, AttemptState(row.state), *row[3:]) for row in rows]
    return sorted(found, key=lambda one: one.provider_id != told.provider_id)


def _apply(connection: Connection, key: int, told: Told, one: _Try, now: datetime) -> None:
    """Bind an id that was open, move the message, write evidence."""
    if told.provider_id and one.provider_id is None and one.state in OPEN_TO_RESULTS:
        _bind(connection, one, told.provider_id, now)
    said = {"state": told.state.value if told.state else None, "code": told.code, "id": told.provider_id}
    row = {"attempt_id": one.id, "kind": BY_CALLBACK, "seen_at": now, "content": said | {"callback": key}}
    connection.execute(insert(evidence), [row])
    connection.execute(update(callback).where(callback.c.id == key).values(matched_at=now, attempt_id=one.id))
    if told.state is not None:
        name = told.provider_id or one.provider_id or ""
        receipts.apply(connection, [Sighting(name, told.state, told.code, attempt_id=one.id)], now)


def _bind(connection: Connection, one: _Try, provider_id: str, now: datetime) -> None:
    """The passive proof: the provider has it. What was concluded meanwhile gives way, as with a late answer."""
    connection.execute(
        update(attempt)
        .where(attempt.c.id == one.id, attempt.c.provider_id.is_(None), attempt.c.state.in_(OPEN_TO_RESULTS))
        .values(
            state=AttemptState.ACCEPTED,
            outcome=AttemptState.ACCEPTED,
            code=BY_CALLBACK,
            provider_id=provider_id,
            ended_at=now,
        )
    )
    connection.execute(
        update(message)
        .where(message.c.id == one.message_id, message.c.state.not_in(KNOWN))
        .values(state=MessageState.ACCEPTED, reason=None, accepted_at=now, ended_at=None)
    )


def _refuse(connection: Connection, told: Told, key: int, wrong: str, now: datetime) -> None:
    """Refuse what contradicts what we know: it stays on record, and staff are called."""
    said = f"a callback of {told.provider} for attempt {told.attempt_id} was refused: {wrong}"
    _log.error("%s (callback %s)", said, key)
    connection.execute(update(callback).where(callback.c.id == key).values(matched_at=now))
    call_staff(connection, f"callback:{told.provider}", said, now)
    tell_once_committed(connection, Refused(["contradiction"]))
