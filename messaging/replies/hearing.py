"""A reply comes in: it is understood, kept once, and takes effect before the transaction ends.

STOP ends every text to that number, whatever its purpose, for everybody who shares it (the carriers' rule). It also
ends marketing and surveys by phone in the consent ledger: who revokes by one way has revoked (47 CFR 64.1200(a)(10)).
Calls of service end by key 9. START takes back what a STOP made, and is no consent to anything else.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import product

from sqlalchemy import Connection, func, or_, select, update

from messaging.addresses import address_hash, family, normal_address
from messaging.breaker import call_staff, dismiss
from messaging.candidates import TABLES, customer, message
from messaging.claims import attempt
from messaging.consents import (
    EVERY,
    NEVER_CALL_CAUSE,
    PROVIDERS_STOP,
    STOP_CAUSE,
    lift,
    record_ways,
    silence,
    suppress,
    suppression,
)
from messaging.policy import Policy
from messaging.recheck import is_barred, suppressed
from messaging.recording import storable
from messaging.replies.again import ring_later
from messaging.replies.answers import Answer, Ours, answer
from messaging.replies.surveys import take_answer
from messaging.replies.understanding import KEYS, Said, Understood, understand
from messaging.replies.waiting import customers_at, hold, let_everybody_go, let_go, put_aside
from models.database import dialect_insert
from models.vocabulary import Channel, ConsentVerdict, Purpose

reply = TABLES["reply"]
preference = TABLES["preference"]

NOTICE = "replies"
"""The topic by which staff are called to replies that may mean STOP."""

LIFTED = (STOP_CAUSE, f"provider_{PROVIDERS_STOP}")
"""What START takes back: a STOP that we heard, and one that only the provider heard (Twilio's 21610)."""

NEEDS_A_YES = (Purpose.MARKETING, Purpose.SURVEY)
"""Purposes that a STOP ends in the consent ledger, too: START alone does not bring them back."""

PROVIDERS = {"STOP": Said.STOP, "START": Said.START, "HELP": Said.HELP}
"""Twilio's OptOutType, of a Messaging Service with Advanced Opt-Out."""

LONGEST_TEXT = 5000


@dataclass(frozen=True)
class Heard:
    """A reply as it came in. ``text`` of a message, or ``key`` pressed in a call.

    ``provider_id`` tells it from every other (a MessageSid; for keys the CallSid); ``address`` is the customer's,
    ``to`` ours. ``attempt_id`` or ``message_id`` say what it answers, where that is known.
    ``providers`` is the provider's own reading, where it has acted and answered already (Twilio's ``OptOutType``).
    """

    channel: Channel
    provider_id: str
    address: str
    received_at: datetime
    to: str = ""
    text: str = ""
    key: str = ""
    attempt_id: int | None = None
    message_id: int | None = None
    providers: str = ""

    @property
    def name(self) -> str:
        """What this reply is kept by: a call may bring several keys."""
        return f"{self.provider_id}/{self.key}" if self.key else self.provider_id


@dataclass(frozen=True)
class Sender:
    """Who a reply comes from: address hash, everybody who has this address, and the message that it answers."""

    address: str
    hash: str
    customers: Sequence[int]
    customer_id: int | None
    message_id: int | None
    languages: tuple[str, ...]


def hear(connection: Connection, heard: Heard, now: datetime, policy: Policy, ours: Ours | None = None) -> Answer:
    """Keep a reply and let it take effect. Must run in a write transaction, as its first statement.

    The same reply again has no effect and gets no answer. ``ours`` says who answers; without it nothing is said.
    """
    said_how = {name: storable(getattr(heard, name)) for name in ("provider_id", "address", "to", "text")}
    heard = replace(heard, **said_how)
    found = _understand(heard)
    if found.said in (Said.STOP, Said.NEVER, Said.MAYBE_STOP, Said.START, Said.YES):
        silence(connection)
    sender = sender_of(connection, heard, policy)
    said = _in_context(connection, heard, found, sender, now)
    if not _keep(connection, heard, said, sender):
        return Answer(said, known=True)
    news = act(connection, said, heard, sender, now)
    speaks = news and not heard.providers
    return Answer(said, answer(said, heard.text, ours, (*sender.languages, found.language)) if speaks else None)


def _understand(heard: Heard) -> Understood:
    if heard.providers in PROVIDERS:
        return Understood(PROVIDERS[heard.providers])
    return Understood(KEYS.get(heard.key, Said.OTHER)) if heard.key else understand(heard.text)


def _in_context(connection: Connection, heard: Heard, found: Understood, sender: Sender, now: datetime) -> Said:
    """What a word means from this sender: ``yes`` is START only after a STOP, a number answers an open survey.

    Anybody can write any sender into an e-mail, so that one breaks a silence only by an address that we gave them.
    """
    if found.said in (Said.START, Said.YES) and not _is_theirs(heard, sender):
        return Said.OTHER
    if found.said is Said.YES:
        return Said.START if _has_stopped(connection, heard.channel, sender.hash) else Said.OTHER
    if (
        found.said is Said.OTHER
        and heard.text
        and take_answer(connection, sender.customers, heard.channel, heard.text, now)
    ):
        return Said.ANSWER
    return found.said


def _is_theirs(heard: Heard, sender: Sender) -> bool:
    """Whether it is surely the sender who speaks: a carrier says so, or our own token of a message to them."""
    answers = heard.attempt_id is not None and sender.customer_id in sender.customers
    return heard.channel is not Channel.EMAIL or answers


def sender_of(connection: Connection, heard: Heard, policy: Policy) -> Sender:
    """Look the sender up by the address that a reply came from."""
    address = normal_address(heard.channel, heard.address)
    everybody = customers_at(connection, heard.channel, address)
    answered = _answered(connection, heard, everybody)
    who = answered[1] if answered else (everybody[0] if everybody else None)
    return Sender(
        address=address,
        hash=address_hash(policy.secret, heard.channel, address),
        customers=everybody,
        customer_id=who,
        message_id=answered[0] if answered else None,
        languages=_languages(connection, who),
    )


def _answered(connection: Connection, heard: Heard, everybody: Collection[int]) -> tuple[int, int] | None:
    """The message that a reply answers, with its customer: the one it names, else the last that went there."""
    m = message.c
    asked = select(m.id, m.customer_id)
    if heard.attempt_id is not None:
        asked = asked.join(attempt, attempt.c.message_id == m.id).where(attempt.c.id == heard.attempt_id)
    elif heard.message_id is not None:
        asked = asked.where(m.id == heard.message_id)
    else:
        sent = (m.customer_id.in_(everybody), m.channel == heard.channel, m.accepted_at.is_not(None))
        asked = asked.where(*sent).order_by(m.accepted_at.desc(), m.id.desc()).limit(1)
    row = connection.execute(asked).first()
    return (row.id, row.customer_id) if row else None


def _languages(connection: Connection, who: int | None) -> tuple[str, ...]:
    if who is None:
        return ()
    chosen = select(func.coalesce(preference.c.language, customer.c.language))
    joined = chosen.select_from(customer.outerjoin(preference, preference.c.customer_id == customer.c.id))
    language = connection.execute(joined.where(customer.c.id == who)).scalar_one_or_none()
    return (language,) if language else ()


def _keep(connection: Connection, heard: Heard, said: Said, sender: Sender) -> bool:
    """Write the reply; False where it is there already."""
    row = {
        "channel": heard.channel.value,
        "provider_id": heard.name[:200],
        "address_hash": sender.hash,
        "customer_id": sender.customer_id,
        "message_id": sender.message_id,
        "text": (heard.key or heard.text)[:LONGEST_TEXT],
        "said": said.value,
        "received_at": heard.received_at,
        "handled_at": None if said is Said.MAYBE_STOP else heard.received_at,
    }
    put = dialect_insert(connection, reply).values(row).on_conflict_do_nothing(index_elements=["provider_id"])
    return connection.execute(put.returning(reply.c.id)).first() is not None


def act(connection: Connection, said: Said, heard: Heard, sender: Sender, now: datetime) -> bool:
    """Let what was said take effect. Returns whether there is something to say back."""
    if said is Said.STOP:
        return stop(connection, heard.channel, sender, now, source=heard.channel.value)
    if said is Said.NEVER:
        return stop(connection, Channel.VOICE, sender, now, source="key", cause=NEVER_CALL_CAUSE)
    if said is Said.START:
        return start(connection, heard.channel, sender)
    if said is Said.MAYBE_STOP:
        hold(connection, sender.customers, _channels_of(heard.channel))
        call_staff(connection, NOTICE, "a reply may mean STOP; what waits is held: beforehand replies", now)
    if said is Said.LATER:
        return ring_later(connection, sender.message_id, now)
    return said in (Said.HELP, Said.CONNECT)


def _channels_of(channel: Channel) -> list[Channel]:
    """The channels that use the same address."""
    return [other for other in Channel if family(other) == family(channel)]


def stop(
    connection: Connection, channel: Channel, sender: Sender, now: datetime, *, source: str, cause: str = STOP_CAUSE
) -> bool:
    """End everything that goes to an address on a channel. Returns whether that is news. Needs :func:`silence`."""
    news = not _has_stopped(connection, channel, sender.hash, (cause,))
    suppress(connection, channel=channel, address_hash=sender.hash, cause=cause, at=now, source=source)
    ended = product(_channels_of(channel) if cause == STOP_CAUSE else [channel], NEEDS_A_YES)
    why = f"{source}: {cause}"
    record_ways(
        connection, sender.customers, list(ended), verdict=ConsentVerdict.WITHDRAWN, source=why, at=now, now=now
    )
    put_aside(connection, sender.customers, channel, now)
    if cause == STOP_CAUSE:
        settle_unread(connection, sender, now, by=source)
    return news


def start(connection: Connection, channel: Channel, sender: Sender) -> bool:
    """Take back what a STOP made. Returns whether messages may go there again (a bounce, say, stays)."""
    if not lift(connection, channel=channel, address_hash=sender.hash, causes=LIFTED):
        return False
    left = suppressed(connection, {sender.hash})
    return not is_barred(channel, sender.hash, Purpose.SERVICE, left)


def settle_unread(connection: Connection, sender: Sender, now: datetime, *, by: str) -> None:
    """Close what nobody has read yet of this sender, and put back in the queue what it held and may still go."""
    r = reply.c
    unread = (r.address_hash == sender.hash, r.said == Said.MAYBE_STOP, r.handled_at.is_(None))
    if connection.execute(update(reply).where(*unread).values(handled_at=now, handled_by=by[:100])).rowcount:
        let_go(connection, sender.customers)
        all_read(connection)


def all_read(connection: Connection) -> None:
    """Take the call to staff back where no reply is left to read; then nothing is held any more, whosever it is."""
    r = reply.c
    left = select(r.id).where(r.said == Said.MAYBE_STOP, r.handled_at.is_(None)).limit(1)
    if connection.execute(left).first() is None:
        let_everybody_go(connection)
        dismiss(connection, NOTICE)


def _has_stopped(connection: Connection, channel: Channel, hashed: str, causes: Sequence[str] = LIFTED) -> bool:
    s = suppression.c
    there = (s.address_hash == hashed, or_(s.channel == channel, s.channel == EVERY), s.cause.in_(causes))
    return connection.execute(select(s.id).where(*there).limit(1)).first() is not None
