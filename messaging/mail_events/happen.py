"""What an event does: the message moves on by the same door as every callback; complaints and wishes silence."""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, or_, select

from messaging.addresses import address_hash, normal_address
from messaging.breaker import call_staff
from messaging.channels.callbacks import attempt_of, attempt_token
from messaging.claims import attempt, message
from messaging.consents import EVERY, record_consent, silence, suppress
from messaging.mail_events.event import Kind, MailEvent, Reject
from messaging.outcomes import after
from messaging.recording import storable
from messaging.replies.waiting import customers_at, put_aside
from messaging.told import Told, keep
from models.vocabulary import Channel, ConsentVerdict, MessageState, Purpose

_log = logging.getLogger(__name__)

STATES: Mapping[Kind, MessageState] = {
    Kind.SENT: MessageState.SENT,
    Kind.DELIVERED: MessageState.DELIVERED,
    Kind.BOUNCED: MessageState.UNDELIVERED,
    Kind.REJECTED: MessageState.UNDELIVERED,
    Kind.FAILED: MessageState.UNDELIVERED,
}
"""What moves a message. The others are kept as evidence; an opening or a click may be a machine's."""

WITHDRAWS = (Kind.COMPLAINED, Kind.UNSUBSCRIBED)

COMPLAINT = "complaint"
"""The cause of a suppression after somebody called our mail spam; START does not lift it."""

OLDEST = timedelta(days=30)
"""No provider tells anything later than this."""

NEED_A_YES = (Purpose.MARKETING, Purpose.SURVEY)
"""What an unsubscribing ends where nobody knows of which message."""


@dataclass(frozen=True)
class _About:
    """The try that an event speaks of."""

    attempt_id: int
    customer_id: int
    purpose: str
    address: str
    address_hash: str | None


def happen(
    connection: Connection,
    provider: str,
    events: Sequence[tuple[Mapping[str, Any], MailEvent]],
    *,
    secret: bytes,
    now: datetime,
) -> int:
    """Take a provider's events in, each beside what was said; one that was told before has no effect.

    Must run in a write transaction that has done nothing yet. Returns how many were new.
    """
    if any(_withdraws(event) for _, event in events):
        silence(connection)
    _lock(connection, [event for _, event in events], secret)
    return sum(_one(connection, provider, raw, event, secret, now) for raw, event in events)


def _lock(connection: Connection, events: Sequence[MailEvent], secret: bytes) -> None:
    """Lock all tries that are spoken of at once and in one order, so that two batches do not wait in a circle."""
    keys = {attempt_of(secret, event.token) for event in events if event.token} - {None}
    named = {_reference(event) for event in events} - {""}
    ours = or_(
        attempt.c.id.in_(keys), attempt.c.message_id.in_(select(message.c.id).where(message.c.reference.in_(named)))
    )
    connection.execute(select(attempt.c.id).where(ours).order_by(attempt.c.id).with_for_update())


def _reference(event: MailEvent) -> str:
    """The message's reference in the Message-ID that we gave, empty where there is none."""
    said: str = storable(event.smtp_id)
    return said.strip().strip("<>").partition("@")[0]


def digest_of(provider: str, raw: Mapping[str, Any]) -> str:
    """SHA-256 over one event as the provider said (and signed) it, 64 hex digits."""
    said = json.dumps(raw, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(f"{provider}\n{said}".encode("utf-8", "surrogatepass")).hexdigest()


def _when(event: MailEvent, now: datetime) -> datetime:
    """When it was said, where that can be: a moment to come would outlast every later word, an old one none."""
    said = event.happened_at
    return said if said is not None and now - OLDEST <= said <= now else now


def _withdraws(event: MailEvent) -> bool:
    return event.kind in WITHDRAWS or event.reason in (Reject.UNSUBSCRIBED, Reject.SPAM)


def _one(
    connection: Connection, provider: str, raw: Mapping[str, Any], event: MailEvent, secret: bytes, now: datetime
) -> bool:
    said = {each.name: getattr(event, each.name) for each in fields(event)}
    event = replace(event, **{name: storable(one) for name, one in said.items() if type(one) is str})
    about = _about(connection, event, secret)
    key = about.attempt_id if about else None
    told = Told(
        provider="smtp",
        kind=Channel.EMAIL.value,
        provider_id=attempt_token(secret, key) if key is not None else None,
        attempt_id=key,
        state=STATES.get(event.kind),
        code=event.code if event.kind in STATES else event.kind.value,
        digest=digest_of(provider, raw),
        happened_at=event.happened_at,
        content={"by": provider, "event": event.kind.value, "reason": event.reason, "id": event.message_id},
    )
    if not keep(connection, told, now):
        return False
    if _withdraws(event):
        _withdraw(connection, provider, event, about, secret, now)
    elif about is None and event.recipient and event.kind in STATES and after(Channel.EMAIL, event.code).bad_address:
        suppress(
            connection,
            channel=Channel.EMAIL,
            cause=f"{provider}_{event.code}",
            address=event.recipient,
            secret=secret,
            source=provider,
            at=now,
        )
    return True


def _about(connection: Connection, event: MailEvent, secret: bytes) -> _About | None:
    """The try: by our token, else by our Message-ID (``<reference@...>``), the newest try of that message."""
    key = attempt_of(secret, event.token) if event.token else None
    reference = _reference(event)
    if key is None and not reference:
        return None
    named = attempt.c.id == key if key is not None else message.c.reference == reference
    m, a = message.c, attempt.c
    row = connection.execute(
        select(a.id, m.customer_id, m.purpose, m.address, a.address_hash)
        .join(message, m.id == a.message_id)
        .where(named, m.channel == Channel.EMAIL)
        .order_by(a.id.desc())
        .limit(1)
    ).first()
    return _About(*row) if row else None


def _withdraw(
    connection: Connection, provider: str, event: MailEvent, about: _About | None, secret: bytes, now: datetime
) -> None:
    address = normal_address(Channel.EMAIL, about.address if about else event.recipient or "")
    customers = customers_at(connection, Channel.EMAIL, address) or ([about.customer_id] if about else [])
    source = f"{provider} {event.kind.value}"
    withdrawn: dict[str, Any] = {
        "verdict": ConsentVerdict.WITHDRAWN,
        "source": source,
        "at": _when(event, now),
        "now": now,
    }
    if event.kind is Kind.COMPLAINED or event.reason is Reject.SPAM:
        hashed = (about.address_hash if about else None) or address_hash(secret, Channel.EMAIL, address)
        suppress(connection, channel=Channel.EMAIL, cause=COMPLAINT, address_hash=hashed, source=source, at=now)
        record_consent(connection, customers, channel=Channel.EMAIL, purpose=EVERY, **withdrawn)
        put_aside(connection, customers, Channel.EMAIL, now)
        said = f"an e-mail was called spam ({provider}); that address is not used again"
        call_staff(connection, "mail:complaint", said, now)
        return
    purposes = [about.purpose] if about and about.purpose in NEED_A_YES else list(NEED_A_YES)
    for purpose in purposes:
        record_consent(connection, customers, channel=Channel.EMAIL, purpose=purpose, **withdrawn)
