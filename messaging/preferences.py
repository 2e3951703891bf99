"""What one customer agreed to and chose, and how they change it: the ledger, the suppressions, the preference row."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from itertools import product
from typing import Any

from sqlalchemy import Connection, select

from messaging.addresses import address_hash, family
from messaging.consents import EVERY, NEVER_CALL_CAUSE, STOP_CAUSE, lift, record_consent
from models.customer import Consent, Customer, Preference, Suppression
from models.database import dialect_insert
from models.vocabulary import Channel, ConsentVerdict, Purpose

consent = Consent.__table__  # type: ignore[attr-defined]
customer = Customer.__table__  # type: ignore[attr-defined]
preference = Preference.__table__  # type: ignore[attr-defined]
suppression = Suppression.__table__  # type: ignore[attr-defined]

Way = tuple[Channel, Purpose]
WAYS: tuple[Way, ...] = tuple(product(Channel, Purpose))
"""Each channel with each purpose: what a customer may allow or not."""

LIFTED_BY_A_YES: Mapping[Channel, str] = {Channel.EMAIL: STOP_CAUSE, Channel.VOICE: NEVER_CALL_CAUSE}
"""Suppressions that the customer's own later yes takes back. After STOP by SMS the carrier blocks until START."""


@dataclass(frozen=True)
class Choices:
    """What a customer chose for themselves; an empty text where they left it to us. Times are ``HH:MM``."""

    language: str = ""
    channel: str = ""
    quiet_from: str = ""
    quiet_until: str = ""


@dataclass(frozen=True)
class Standing:
    """How we may reach a customer now.

    ``refused`` are the ways of which the ledger's last word is no; ``blocked``: why a way is closed whatever they say
    here, by its cause.
    """

    allowed: frozenset[Way]
    refused: frozenset[Way] = frozenset()
    blocked: Mapping[Way, str] = field(default_factory=dict)
    choices: Choices = field(default_factory=Choices)

    def hears_by(self, channel: Channel) -> bool:
        """Whether anything at all is allowed on a channel."""
        return any(way[0] is channel for way in self.allowed)


def standing_of(
    connection: Connection, customer_id: int, *, secret: bytes, consent_needed: Collection[Purpose], now: datetime
) -> Standing:
    """Read how a customer stands: what the claim would say of each way, and what they chose."""
    said, causes = _newest(connection, customer_id, now), _causes(connection, customer_id, secret, now)
    allowed, blocked = set(), {}
    for channel, purpose in WAYS:
        against = causes.get((channel, purpose), set())
        if said.get((channel, purpose), purpose not in consent_needed) and not against:
            allowed.add((channel, purpose))
        if left := sorted(against - {LIFTED_BY_A_YES.get(channel, "")}):
            blocked[channel, purpose] = left[0]
    refused = frozenset(way for way, yes in said.items() if not yes)
    return Standing(frozenset(allowed), refused, blocked, _choices(connection, customer_id))


def _newest(connection: Connection, customer_id: int, now: datetime) -> dict[Way, bool]:
    """What the newest entry of the ledger says of each way; ways without one are left out."""
    c = consent.c
    entries = (
        select(c.channel, c.purpose, c.verdict)
        .where(c.customer_id == customer_id, c.given_at <= now)
        .order_by(c.given_at, c.id)
    )
    said: dict[Way, bool] = {}
    for channel, purpose, verdict in connection.execute(entries):
        yes = verdict == ConsentVerdict.GRANTED
        said.update(dict.fromkeys((way for way in WAYS if _meant(way, channel, purpose)), yes))
    return said


def _meant(way: Way, channel: str, purpose: str) -> bool:
    return channel in (way[0], EVERY) and purpose in (way[1], EVERY)


def _causes(connection: Connection, customer_id: int, secret: bytes, now: datetime) -> dict[Way, set[str]]:
    """Why an address of the customer must not be used, way by way."""
    c = customer.c
    row = connection.execute(select(c.email, c.phone).where(c.id == customer_id)).one_or_none()
    if row is None:
        return {}
    hashes = {
        channel: address_hash(secret, channel, address)
        for channel in Channel
        if (address := row.email if channel is Channel.EMAIL else row.phone)
    }
    s = suppression.c
    here = select(s.address_hash, s.channel, s.scope, s.cause).where(
        s.address_hash.in_(set(hashes.values())), s.since <= now
    )
    causes: dict[Way, set[str]] = {}
    for found in connection.execute(here):
        for channel, purpose in WAYS:
            named = found.channel in (channel, family(channel), EVERY) and found.scope in (purpose, EVERY)
            if named and hashes.get(channel) == found.address_hash:
                causes.setdefault((channel, purpose), set()).add(found.cause)
    return causes


def _choices(connection: Connection, customer_id: int) -> Choices:
    p, c = preference.c, customer.c
    said = select(c.language, c.preferred_channel, p.language, p.channel, p.quiet_from, p.quiet_until).select_from(
        customer.outerjoin(preference, p.customer_id == c.id)
    )
    row = connection.execute(said.where(c.id == customer_id)).one_or_none()
    if row is None:
        return Choices()
    theirs, channel, own, own_channel, quiet_from, quiet_until = (value or "" for value in row)
    return Choices(own or theirs, own_channel or channel, quiet_from, quiet_until)


def own_choice(connection: Connection, customer_id: int) -> str:
    """What the customer chose on the preference page, in words; an empty text where they chose nothing."""
    p = preference.c
    said = select(p.language, p.channel, p.quiet_from, p.quiet_until).where(p.customer_id == customer_id)
    row = connection.execute(said).one_or_none()
    if row is None:
        return ""
    words = [f"{name} {value}" for name, value in (("language", row.language), ("channel", row.channel)) if value]
    if row.quiet_from and row.quiet_until:
        words.append(f"quiet from {row.quiet_from} to {row.quiet_until}")
    return ", ".join(words)


def withdraw(
    connection: Connection,
    customer_ids: Collection[int],
    *,
    channel: str,
    purpose: str,
    source: str,
    text_version: str,
    now: datetime,
) -> None:
    """Record that these customers want no more of this. Call :func:`messaging.consents.silence` before."""
    record_consent(
        connection,
        customer_ids,
        channel=channel,
        purpose=purpose,
        verdict=ConsentVerdict.WITHDRAWN,
        source=source,
        text_version=text_version,
        at=now,
        now=now,
    )


def allow(
    connection: Connection,
    customer_id: int,
    ways: Mapping[Way, bool],
    *,
    secret: bytes,
    source: str,
    text_version: str,
    now: datetime,
) -> None:
    """Record a yes or a no for each of these ways. A yes takes back what the customer's own no had closed."""
    for (channel, purpose), yes in ways.items():
        verdict = ConsentVerdict.GRANTED if yes else ConsentVerdict.WITHDRAWN
        record_consent(
            connection,
            [customer_id],
            channel=channel,
            purpose=purpose,
            verdict=verdict,
            source=source,
            text_version=text_version,
            at=now,
            now=now,
        )
    for channel in {channel for (channel, _), yes in ways.items() if yes} & LIFTED_BY_A_YES.keys():
        address = _address(connection, customer_id, channel)
        if address:
            lift(connection, channel=channel, secret=secret, address=address, causes=(LIFTED_BY_A_YES[channel],))


def _address(connection: Connection, customer_id: int, channel: Channel) -> str:
    column = customer.c.email if channel is Channel.EMAIL else customer.c.phone
    return connection.execute(select(column).where(customer.c.id == customer_id)).scalar_one_or_none() or ""


def prefer(connection: Connection, customer_id: int, before: Choices, after: Choices, now: datetime) -> None:
    """Keep what a customer changed of their choices; an empty text leaves it to what the sources say."""
    was, said = asdict(before), asdict(after)
    changed: dict[str, Any] = {name: value or None for name, value in said.items() if value != was[name]}
    if changed:
        changed["updated_at"] = now
        row = dialect_insert(connection, preference).values(customer_id=customer_id, **changed)
        connection.execute(row.on_conflict_do_update(index_elements=["customer_id"], set_=changed))


def same_address(connection: Connection, customer_id: int, channel: Channel, address: str) -> set[int]:
    """This customer and whoever else is known by the same address: one mail box, one word."""
    if not address:
        return {customer_id}
    column = customer.c.email if channel is Channel.EMAIL else customer.c.phone
    alike = select(customer.c.id).where(column.in_({address, address.lower()}))
    return {customer_id, *connection.execute(alike).scalars()}
