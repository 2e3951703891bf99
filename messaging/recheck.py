"""The last look before a message goes: owner, suppression, consent, guest list, send-by and quiet hours, by the batch.

Everything is read in two statements; the verdicts are pure, because an address's hash and a zone's clock
are things that SQL cannot work out.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, ScalarSelect, literal_column, select, true, update

from messaging.addresses import address_hash, family, normal_address
from messaging.candidates import UNTOLD, match
from messaging.claims import message
from messaging.consents import EVERY, consent, suppression
from messaging.owners import changed_hands
from messaging.policy import Policy
from messaging.quiet import Hours, free_at
from messaging.taken_back import take_back
from messaging.whereabouts import AREA, law_of, zones_of
from models.customer import Customer, Preference
from models.delivery import Reply
from models.vocabulary import Channel, ConsentVerdict, MessageState, Purpose, Reason

customer = Customer.__table__  # type: ignore[attr-defined]
reply = Reply.__table__  # type: ignore[attr-defined]
preference = Preference.__table__  # type: ignore[attr-defined]

LOST = timedelta(days=1)
"""A message to somebody who may be anywhere on earth rests so long: their zone may be put right meanwhile."""


@dataclass(frozen=True)
class Verdict:
    """Why a message does not go now: it ends in ``state``, or comes back at ``until``."""

    reason: Reason
    state: MessageState = MessageState.SUPPRESSED
    until: datetime | None = None


@dataclass(frozen=True)
class Looked:
    """What is known of one due message at the last look.

    ``address`` is the customer's own by now, empty where it was taken out; ``moved``: the message has another one.
    ``moved_on``: what the message is about belongs to somebody else by now. ``cites`` is the entry of the consent
    ledger that the message names, ``newest`` the one that counts now. ``held``: a reply from this address may mean
    STOP, and nobody has read it yet. ``zone`` is where the customer may be (``A|B``), ``hours`` when they may be spoken
    to.
    """

    message_id: int
    channel: str
    address: str
    moved: bool
    hash: str
    purpose: Purpose
    expires_at: datetime | None
    zone: str
    hours: Hours
    consent: str | None
    moved_on: bool = False
    cites: int | None = None
    newest: int | None = None
    held: bool = False


def recheck(
    connection: Connection, ids: Sequence[int], now: datetime, policy: Policy, *, as_of: datetime | None = None
) -> tuple[dict[int, str], dict[Reason, int]]:
    """Look at the due messages ``ids`` again and put aside those that may not go.

    Returns the address hashes of those that may, by message id, and how many may not, by reason. ``as_of`` (a replay):
    consent and suppressions of later than that are not known yet. A real claim minds every one, whatever its date.
    """
    looked, verdicts = _verdicts(connection, ids, now, policy, as_of)
    no = {key: found for key, found in verdicts.items() if found}
    _take_over(connection, [seen for seen in looked if seen.moved and seen.message_id not in no])
    _cite(connection, [seen for seen in looked if seen.newest != seen.cites and seen.message_id not in no])
    _put_aside(connection, no, now)
    withheld: dict[Reason, int] = defaultdict(int)
    for found in no.values():
        withheld[found.reason] += 1
    return {seen.message_id: seen.hash for seen in looked if seen.message_id not in no}, dict(withheld)


def objection(connection: Connection, message_id: int, now: datetime, policy: Policy) -> Reason | None:
    """Why we must not speak to this message's customer any more, or None: of a call that has just been answered.

    The hour and the send-by do not count: the call was made while they held.
    """
    _, verdicts = _verdicts(connection, [message_id], now, policy, None)
    found = verdicts.get(message_id)
    return found.reason if found and found.reason not in (Reason.QUIET_HOURS, Reason.TOO_LATE) else None


def _verdicts(
    connection: Connection, ids: Sequence[int], now: datetime, policy: Policy, as_of: datetime | None
) -> tuple[list[Looked], dict[int, Verdict | None]]:
    looked = _load(connection, ids, policy, as_of)
    hashes = {seen.hash for seen in looked}
    barred = suppressed(connection, hashes, as_of)
    if as_of is None and (unread := _unread(connection, hashes)):
        looked = [replace(seen, held=seen.hash in unread) for seen in looked]
    guests = _guests(policy)
    verdicts = {seen.message_id: verdict(seen, now, policy, barred, guests) for seen in looked}
    return looked, verdicts


def verdict(
    seen: Looked, now: datetime, policy: Policy, barred: Mapping[tuple[str, str], set[str]], guests: set[str] | None
) -> Verdict | None:
    """Why this message may not go now, or None. ``barred`` maps (hash, channel word) to the purposes barred."""
    if seen.moved_on:
        return Verdict(Reason.OWNER_CHANGED)
    if not seen.address:
        return Verdict(Reason.UNREACHABLE)
    if is_barred(seen.channel, seen.hash, seen.purpose, barred):
        return Verdict(Reason.SUPPRESSED)
    if guests is not None and normal_address(seen.channel, seen.address) not in guests:
        return Verdict(Reason.NOT_ON_GUEST_LIST)
    if seen.consent == ConsentVerdict.WITHDRAWN:
        return Verdict(Reason.OPTED_OUT)
    if seen.purpose in policy.consent_needed and seen.consent != ConsentVerdict.GRANTED:
        return Verdict(Reason.NO_CONSENT)
    if seen.expires_at is not None and seen.expires_at <= now:
        return Verdict(Reason.TOO_LATE, MessageState.EXPIRED)
    if seen.held:
        return Verdict(Reason.MAYBE_STOP, MessageState.HELD)
    return _hour(seen, now)


def _hour(seen: Looked, now: datetime) -> Verdict | None:
    """Whether it is a quiet hour now, and how long."""
    until = free_at(now, seen.zone, seen.hours)
    if until is None:
        return Verdict(Reason.NO_COMMON_HOUR, MessageState.QUEUED, now + LOST)
    if until <= now:
        return None
    if seen.expires_at is not None and seen.expires_at <= until:
        return Verdict(Reason.TOO_LATE, MessageState.EXPIRED)
    return Verdict(Reason.QUIET_HOURS, MessageState.QUEUED, until)


def is_barred(channel: str, hashed: str, purpose: Purpose, barred: Mapping[tuple[str, str], set[str]]) -> bool:
    """Whether an address must not be used on a channel for a purpose; ``barred`` as :func:`suppressed` gives it."""
    words = (channel, family(channel), EVERY)
    return any(barred.get((hashed, word), set()) & {EVERY, purpose.value} for word in words)


def newest_consent(as_of: datetime | None = None, column: ColumnElement[Any] = consent.c.verdict) -> ScalarSelect[Any]:
    """The newest entry of the consent ledger for a message's customer, channel and purpose (by id at a tie).

    Its verdict, or another ``column`` of it.
    """
    by_then = true() if as_of is None else consent.c.given_at <= as_of
    return (
        select(column)
        .where(
            consent.c.customer_id == message.c.customer_id,
            consent.c.channel.in_([message.c.channel, EVERY]),
            consent.c.purpose.in_([message.c.purpose, EVERY]),
            by_then,
        )
        .order_by(consent.c.given_at.desc(), consent.c.id.desc())
        .limit(1)
        .correlate(message)
        .scalar_subquery()
    )


def _load(connection: Connection, ids: Sequence[int], policy: Policy, as_of: datetime | None) -> list[Looked]:
    m = message.c
    rows = connection.execute(
        select(
            m.id,
            m.channel,
            m.address,
            m.purpose,
            m.expires_at,
            m.consent_id,
            customer.c.time_zone,
            customer.c.phone,
            customer.c.email,
            customer.c.country,
            (preference.c.quiet_from + "-" + preference.c.quiet_until).label("own"),
            newest_consent(as_of).label("verdict"),
            newest_consent(as_of, consent.c.id).label("newest"),
            changed_hands(match.c.subject, match.c.subject_id, m.customer_id).label("moved_on"),
        )
        .join(match, match.c.id == m.match_id)
        .join(customer, customer.c.id == m.customer_id)
        .outerjoin(preference, preference.c.customer_id == m.customer_id)
        .where(m.id.in_(ids))
    )
    return [_looked(row, policy) for row in rows]


def _looked(row: Row[Any], policy: Policy) -> Looked:
    address = _current(row.channel, row.address, row.phone, row.email)
    purpose, law = Purpose(row.purpose), law_of((row.phone or "")[:AREA], row.country)
    return Looked(
        message_id=row.id,
        channel=row.channel,
        address=address,
        moved=address != row.address,
        hash=address_hash(policy.secret, row.channel, address),
        purpose=purpose,
        expires_at=row.expires_at,
        zone=zones_of(row.time_zone, row.phone, row.country, policy.zone),
        hours=policy.hours(purpose, Channel(row.channel), *law, row.own or ""),
        consent=row.verdict,
        moved_on=bool(row.moved_on),
        cites=row.consent_id,
        newest=row.newest,
    )


def _current(channel: str, planned: str, phone: str | None, email: str | None) -> str:
    """The customer's address by now: a number put right overnight may be somebody else's. Empty: there is none."""
    current = (email if channel == Channel.EMAIL else phone) or ""
    same = bool(current) and normal_address(channel, current) == normal_address(channel, planned)
    return planned if same else current


def _take_over(connection: Connection, moved: Sequence[Looked]) -> None:
    """Write the customers' new addresses into their messages: the row says where it goes."""
    for seen in moved:
        connection.execute(update(message).where(message.c.id == seen.message_id).values(address=seen.address))


def _cite(connection: Connection, looked: Sequence[Looked]) -> None:
    """Let messages name the entry of the consent ledger that lets them go: the newest, not the one of their plan."""
    groups: dict[int | None, list[int]] = defaultdict(list)
    for seen in looked:
        groups[seen.newest].append(seen.message_id)
    for entry, keys in groups.items():
        connection.execute(update(message).where(message.c.id.in_(keys)).values(consent_id=entry))


def suppressed(
    connection: Connection, hashes: Collection[str], as_of: datetime | None = None
) -> dict[tuple[str, str], set[str]]:
    """The purposes for which these addresses (hashes) must not be used, by hash and channel word."""
    s = suppression.c
    by_then = true() if as_of is None else s.since <= as_of
    rows = connection.execute(select(s.address_hash, s.channel, s.scope).where(s.address_hash.in_(hashes), by_then))
    barred: dict[tuple[str, str], set[str]] = defaultdict(set)
    for found, channel, scope in rows:
        barred[found, channel].add(scope)
    return barred


def _unread(connection: Connection, hashes: Collection[str]) -> set[str]:
    """Those of these addresses from which a reply came that may mean STOP and that nobody has read yet."""
    r = reply.c
    unread = select(r.address_hash).where(
        r.address_hash.in_(hashes), r.handled_at.is_(None), r.said == literal_column("'maybe_stop'")
    )
    return set(connection.execute(unread).scalars())


def _guests(policy: Policy) -> set[str] | None:
    if policy.guests is None:
        return None
    return {normal_address("email" if "@" in guest else "sms", guest) for guest in policy.guests}


def _put_aside(connection: Connection, no: Mapping[int, Verdict], now: datetime) -> None:
    groups: dict[Verdict, list[int]] = defaultdict(list)
    for key, found in no.items():
        groups[found].append(key)
    for found, keys in groups.items():
        change: dict[str, Any] = {"state": found.state, "reason": found.reason}
        if found.state != MessageState.HELD:
            change |= {"due_at": found.until} if found.until else {"ended_at": now}
        connection.execute(update(message).where(message.c.id.in_(keys)).values(change))
        if found.state in UNTOLD:
            take_back(connection, select(message.c.match_id).where(message.c.id.in_(keys)), now)
