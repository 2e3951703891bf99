"""What a provider's words mean to us: one literal table per provider, and when a try is made again.

Sources: Twilio's error dictionary and status callbacks documentation; RFC 5321 sections 4.2 and 4.5.4.1; RFC 3463 and
its IANA registry of enhanced status codes. Everything that no table names is UNKNOWN (DESIGN section 6).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from messaging.channels.base import Asks, Outcome
from models.vocabulary import Channel, MessageState, OutcomeClass, Purpose

ACCEPTED, NOT_ACCEPTED, REFUSED, UNKNOWN = (
    OutcomeClass.ACCEPTED,
    OutcomeClass.NOT_ACCEPTED,
    OutcomeClass.REFUSED,
    OutcomeClass.UNKNOWN,
)


@dataclass(frozen=True)
class Verdict(Asks):
    """What the answer to a try means."""

    kind: OutcomeClass


@dataclass(frozen=True)
class After(Asks):
    """What a code means that comes after the provider had accepted the message.

    ``waits``: it may be sent again, so long after each failure; after the last one no more. ``purposes``: only for
    these.
    """

    waits: tuple[timedelta, ...] = ()
    purposes: frozenset[Purpose] = field(default=frozenset(Purpose))


TWILIO_CODES: dict[int, Verdict] = {
    # the account: https://www.twilio.com/docs/api/errors/20003 and so on
    10001: Verdict(NOT_ACCEPTED, stops=True),  # account is not active
    20003: Verdict(NOT_ACCEPTED, stops=True),  # authentication failed: wrong token, no permission, suspended
    20005: Verdict(NOT_ACCEPTED, stops=True),  # account not active
    20006: Verdict(NOT_ACCEPTED, stops=True),  # access denied
    20429: Verdict(NOT_ACCEPTED, slow=True),  # too many requests
    # our sender: nobody at all can be reached from it
    21210: Verdict(NOT_ACCEPTED, stops=True),  # not verified for calls
    21212: Verdict(NOT_ACCEPTED, stops=True),  # not a phone number, short code or sender id
    21601: Verdict(NOT_ACCEPTED, stops=True),  # not an SMS-capable number of ours
    21603: Verdict(NOT_ACCEPTED, stops=True),  # the sender is missing
    21606: Verdict(NOT_ACCEPTED, stops=True),  # not a number of ours that can send messages
    21660: Verdict(NOT_ACCEPTED, stops=True),  # the sender belongs to another account
    21611: Verdict(NOT_ACCEPTED, slow=True),  # ten hours of messages wait at Twilio for our sender already
    22005: Verdict(NOT_ACCEPTED, slow=True),  # 24 hours of calls wait at Twilio already
    # the person
    21610: Verdict(REFUSED, suppress=True),  # has sent STOP
    # the address
    21211: Verdict(REFUSED, bad_address=True),  # not a phone number
    21214: Verdict(REFUSED, bad_address=True),  # the number cannot be called
    21217: Verdict(REFUSED, bad_address=True),  # not a phone number (calls)
    21265: Verdict(REFUSED, bad_address=True),  # a short code cannot be reached
    21612: Verdict(REFUSED, bad_address=True),  # no route from our sender to this number
    21614: Verdict(REFUSED, bad_address=True),  # not a mobile number
    21635: Verdict(REFUSED, bad_address=True),  # a landline, in a country where Twilio does not try
    # our permissions: not the address's fault, and not the whole account's
    21215: Verdict(REFUSED),  # no permission to call this country
    21216: Verdict(REFUSED),  # Twilio holds the destination for risky
    21408: Verdict(REFUSED),  # no permission to text this region
    21608: Verdict(REFUSED),  # trial account: the number is not verified
    # the text
    21602: Verdict(REFUSED),  # it is missing
    21617: Verdict(REFUSED),  # it is too long
    30007: Verdict(REFUSED, blocked=True),  # filtered before it was taken
}
"""Twilio error codes of the create calls, in a JSON error body. https://www.twilio.com/docs/api/errors"""

SENDER_CODES = frozenset({"21210", "21212", "21601", "21603", "21606", "21660"})
"""Faults of one channel's sender: the account's other channel goes on."""

SLOWED = timedelta(seconds=30)
QUEUE_FULL = timedelta(minutes=10)
FULL_CODES = frozenset({"21611", "22005", "30001", "30023", "30036"})
"""Codes that say that hours of messages wait at the provider already: a few seconds do not help."""

HALF_AN_HOUR = (timedelta(minutes=30), timedelta(hours=2))
QUEUE_DRAINS = (timedelta(minutes=10), timedelta(minutes=30), timedelta(hours=1), timedelta(hours=2))

TWILIO_AFTER: dict[int, After] = {
    30001: After(slow=True, waits=QUEUE_DRAINS),  # queue overflow: "try again after waiting for some time"
    30002: After(stops=True),  # the account was suspended after it took the message
    30003: After(waits=HALF_AN_HOUR),  # handset off or out of reach: often passes by itself
    30004: After(blocked=True),  # the recipient's side blocks us
    30005: After(bad_address=True),  # unknown or no longer in service
    30006: After(bad_address=True),  # a landline, or a carrier that cannot be reached
    30007: After(blocked=True),  # filtered as unwanted by Twilio or the carrier
    30008: After(waits=HALF_AN_HOUR[:1], purposes=frozenset({Purpose.SERVICE})),  # the carrier gives no cause
    30023: After(slow=True, waits=QUEUE_DRAINS),  # the carrier's daily limit for us is used up
    30032: After(blocked=True),  # toll-free number not verified
    30034: After(blocked=True),  # US number not registered for A2P 10DLC
    30036: After(slow=True, waits=QUEUE_DRAINS),  # waited at Twilio beyond its validity: certainly not sent
    30500: After(waits=HALF_AN_HOUR[:1], purposes=frozenset({Purpose.SERVICE})),  # Twilio's own error: "try again"
    21610: After(suppress=True),  # has sent STOP meanwhile
}
"""Twilio's ErrorCode of a message that ended ``undelivered`` or ``failed``. https://www.twilio.com/docs/api/errors

A code that is not here (and a word without a code) ends the message as undelivered and asks nothing more. The rest of
the policy, in plain words: docs/reference/delivery.md.
"""

TWILIO_STATUSES: dict[int, Verdict] = {
    400: Verdict(REFUSED),
    401: Verdict(NOT_ACCEPTED, stops=True),
    403: Verdict(NOT_ACCEPTED, stops=True),
    404: Verdict(NOT_ACCEPTED, stops=True),
    429: Verdict(NOT_ACCEPTED, slow=True),
}
"""HTTP statuses of the create calls, where the body is Twilio's own JSON error and its code is not in the table.

429 counts with any body: a rate limiter in front of the API has no JSON.
"""

TWILIO_MESSAGE_STATUSES: dict[str, MessageState] = {
    "accepted": MessageState.ACCEPTED,
    "scheduled": MessageState.ACCEPTED,
    "queued": MessageState.ACCEPTED,
    "sending": MessageState.ACCEPTED,
    "sent": MessageState.SENT,
    "delivered": MessageState.DELIVERED,
    "read": MessageState.DELIVERED,
    "partially_delivered": MessageState.DELIVERED,
    "undelivered": MessageState.UNDELIVERED,
    "failed": MessageState.UNDELIVERED,
    "canceled": MessageState.UNDELIVERED,
}
"""The enum message_enum_status of Twilio's OpenAPI file, less the inbound ones."""

TWILIO_CALL_STATUSES: dict[str, MessageState] = {
    "queued": MessageState.ACCEPTED,
    "initiated": MessageState.ACCEPTED,
    "ringing": MessageState.ACCEPTED,
    "in-progress": MessageState.SENT,
    "completed": MessageState.DELIVERED,
    "busy": MessageState.UNDELIVERED,
    "failed": MessageState.UNDELIVERED,
    "no-answer": MessageState.UNDELIVERED,
    "canceled": MessageState.UNDELIVERED,
}
"""The enum call_enum_status of Twilio's OpenAPI file. A call that was answered is delivered."""

TWILIO_MACHINES = frozenset(
    {"machine", "machine_start", "machine_end_beep", "machine_end_silence", "machine_end_other", "fax"}
)
"""What ``AnsweredBy`` says where no person answered; ``human`` and ``unknown`` are taken for a person.

https://www.twilio.com/docs/voice/answering-machine-detection
"""

MACHINE = "machine"
"""Our code for a call that a machine answered: the state is UNDELIVERED, and the rule's ``else`` is taken."""

SMTP_REPLIES: dict[tuple[str, int], Verdict] = {
    ("connect", 4): Verdict(NOT_ACCEPTED, stops=True),
    ("connect", 5): Verdict(NOT_ACCEPTED, stops=True),
    ("hello", 4): Verdict(NOT_ACCEPTED, stops=True),
    ("hello", 5): Verdict(NOT_ACCEPTED, stops=True),
    ("starttls", 4): Verdict(NOT_ACCEPTED, stops=True),
    ("starttls", 5): Verdict(NOT_ACCEPTED, stops=True),
    ("login", 4): Verdict(NOT_ACCEPTED, stops=True),
    ("login", 5): Verdict(NOT_ACCEPTED, stops=True),
    ("mail", 4): Verdict(NOT_ACCEPTED),
    ("mail", 5): Verdict(REFUSED),
    ("mail", 530): Verdict(NOT_ACCEPTED, stops=True),  # login needed, or STARTTLS first
    ("mail", 535): Verdict(NOT_ACCEPTED, stops=True),
    ("mail", 538): Verdict(NOT_ACCEPTED, stops=True),
    ("rcpt", 4): Verdict(NOT_ACCEPTED),
    ("rcpt", 5): Verdict(REFUSED),
    ("rcpt", 551): Verdict(REFUSED, bad_address=True),  # the user is not local: RFC 5321 3.4
    ("rcpt", 552): Verdict(NOT_ACCEPTED),  # full; RFC 5321 4.5.3.1.10 has a client treat it as 452
    ("rcpt", 553): Verdict(REFUSED, bad_address=True),  # mailbox name not allowed
    ("rcpt", 556): Verdict(REFUSED, bad_address=True),  # the domain takes no mail: RFC 7504
    ("data", 4): Verdict(NOT_ACCEPTED),
    ("data", 5): Verdict(REFUSED),
    ("data", 552): Verdict(NOT_ACCEPTED),  # the mailbox is full, says a server of few words
    ("body", 4): Verdict(NOT_ACCEPTED),
    ("body", 5): Verdict(REFUSED),
    ("body", 552): Verdict(NOT_ACCEPTED),  # the mailbox is full, says a server of few words
    ("dot", 2): Verdict(ACCEPTED),
    ("dot", 4): Verdict(NOT_ACCEPTED),
    ("dot", 5): Verdict(REFUSED),
    ("dot", 552): Verdict(NOT_ACCEPTED),  # the mailbox is full, says a server of few words
}
"""SMTP by phase and reply: the whole code where it is named, else its first digit."""

SMTP_ENHANCED: dict[str, Verdict] = {
    "5.1.1": Verdict(REFUSED, bad_address=True),  # no such mailbox
    "5.1.2": Verdict(REFUSED, bad_address=True),  # no such domain
    "5.1.3": Verdict(REFUSED, bad_address=True),  # no valid address
    "5.1.6": Verdict(REFUSED, bad_address=True),  # the mailbox has moved, nobody knows where to
    "5.1.10": Verdict(REFUSED, bad_address=True),  # the domain takes no mail: RFC 7505
    "5.2.1": Verdict(REFUSED, bad_address=True),  # the mailbox is disabled
    "5.1.7": Verdict(NOT_ACCEPTED, stops=True),  # our sender address is no address
    "5.1.8": Verdict(NOT_ACCEPTED, stops=True),  # our sender's domain is none
    "5.2.2": Verdict(NOT_ACCEPTED),  # the mailbox is full: many servers say so with a 5, and it passes
    "5.2.3": Verdict(REFUSED),  # longer than the mailbox takes
    "5.3.4": Verdict(REFUSED),  # longer than the server takes
    "5.7": Verdict(REFUSED, blocked=True),  # 5.7.1 and the like: policy, spam, reputation, no right to send
    "5.7.8": Verdict(NOT_ACCEPTED, stops=True),  # our login is wrong: RFC 4954
    "5.7.9": Verdict(NOT_ACCEPTED, stops=True),  # our way to log in is too weak
    "5.7.25": Verdict(NOT_ACCEPTED, stops=True),  # our server's reverse DNS: RFC 7372
}
"""Enhanced status codes (RFC 3463, RFC 5248) where they say more than the reply's three digits.

Looked up whole, then by class and subject (``5.7``), for MAIL, RCPT, DATA, the body and the dot, and only where the
reply is of the same class: the digits of the reply come first (RFC 2034 section 4). Every 4 is NOT_ACCEPTED by its
first digit: 4.2.2 (full), 4.7.1 (greylisted) and the like are tried again.
"""

SMTP_TRANSACTION = frozenset({"mail", "rcpt", "data", "body", "dot"})

LOGIN_NEEDED = (530, 535, 538)
"""Replies about our login (RFC 4954), whatever their enhanced code says."""

MAIL_FULL = (timedelta(hours=3), timedelta(hours=12))

MAIL_AFTER: dict[str, After] = {
    "5.1.1": After(bad_address=True),
    "5.1.2": After(bad_address=True),
    "5.1.3": After(bad_address=True),
    "5.1.6": After(bad_address=True),
    "5.1.10": After(bad_address=True),
    "5.2.1": After(bad_address=True),
    "5.2.2": After(waits=MAIL_FULL),
    "5.7": After(blocked=True),
    "hard": After(bad_address=True),  # a provider's event that says "hard bounce" and no more
}
"""What a bounce says that comes later, by its enhanced status code; see SMTP_ENHANCED."""

SMTP_BEFORE_DOT = frozenset({"connect", "hello", "starttls", "login", "mail", "rcpt", "data", "body"})
"""A connection that dies in one of these phases has not delivered: the final dot was not yet on the wire."""

ANY_CHANNEL = (timedelta(seconds=30), timedelta(minutes=2), timedelta(minutes=8), timedelta(minutes=30))
RETRY_WAITS: dict[Channel, tuple[timedelta, ...]] = {
    Channel.SMS: ANY_CHANNEL,
    Channel.VOICE: ANY_CHANNEL,
    # RFC 5321 4.5.4.1: at least 30 minutes between tries, two tries in the first hour, then one every two or three
    # hours, and no giving up for four to five days; valid_for ends it earlier where the rule says so
    Channel.EMAIL: (timedelta(minutes=30), timedelta(hours=2), *[timedelta(hours=3)] * 34),
}
"""How long to wait after the first, second ... try that was not accepted. After the last one we give up."""

JITTER = 0.5
"""How much longer a wait may get, as a part of itself, so that what failed together does not come back together."""

ACCOUNT_WAIT = timedelta(minutes=1)
"""How long a message waits after a fault of the account or the server; such tries are not used up.

The breaker (messaging.breaker) may keep its channel longer.
"""

LONGEST_RETRY_AFTER = timedelta(hours=6)


def retry_at(
    attempt: int,
    outcome: Outcome,
    now: datetime,
    channel: Channel = Channel.SMS,
    *,
    jitter: float = 0.0,
    until: datetime | None = None,
) -> datetime | None:
    """When a message that was not accepted is tried again, or None: never. Pure.

    ``attempt`` is the try that just failed, from 1; ``jitter`` a random number from 0 to 1, which mail needs none of:
    its schedule is the RFC's. A Retry-After is obeyed (up to six hours) where it is longer than our own wait. Nothing
    is tried at ``until`` (the message's send-by) or later.
    """
    if outcome.kind is not NOT_ACCEPTED:
        return None
    waits = RETRY_WAITS[channel]
    if outcome.stops:
        wait = ACCOUNT_WAIT
    elif attempt > len(waits):
        return None
    else:
        wait = waits[attempt - 1]
    if channel is not Channel.EMAIL:
        wait *= 1 + JITTER * min(max(jitter, 0.0), 1.0)
    asked = timedelta(seconds=min(outcome.retry_after_seconds or 0, LONGEST_RETRY_AFTER.total_seconds()))
    due = now + max(wait, asked)
    return due if until is None or due < until else None


def slower_until(code: str, retry_after_seconds: float | None, now: datetime) -> datetime:
    """Until when a sender rests that was told that it is too fast. Pure."""
    if retry_after_seconds is not None:
        return now + min(timedelta(seconds=min(retry_after_seconds, 1e6)), LONGEST_RETRY_AFTER)
    return now + (QUEUE_FULL if code in FULL_CODES else SLOWED)


def resend_at(
    after: After, resends: int, purpose: Purpose, now: datetime, until: datetime | None = None
) -> datetime | None:
    """When a message is sent again that the provider had accepted and could not deliver, or None: never. Pure.

    ``resends`` is how often that was done before; ``until`` the message's send-by.
    """
    if purpose not in after.purposes or resends >= len(after.waits):
        return None
    due = now + after.waits[resends]
    return due if until is None or due < until else None


def after(channel: str, code: str) -> After:
    """What a code asks for that came after acceptance; a word that no table knows asks nothing."""
    if channel == Channel.EMAIL:
        return _enhanced(MAIL_AFTER, code) or After()
    return TWILIO_AFTER.get(int(code), After()) if code.isascii() and code.isdigit() else After()


def _enhanced(table: Mapping[str, Any], code: str) -> Any:
    return table.get(code) or table.get(".".join(code.split(".")[:2]))


def of_twilio(status: int, code: int | None) -> Verdict:
    """Class an HTTP answer of Twilio that is not a success; ``code`` is the JSON error's, None without one."""
    if code is not None and code in TWILIO_CODES and 400 <= status < 500:
        return TWILIO_CODES[code]
    if code is not None or status == 429:
        return TWILIO_STATUSES.get(status, Verdict(UNKNOWN))
    return Verdict(UNKNOWN)


def of_smtp(phase: str, reply: int, enhanced: str = "") -> Verdict:
    """Class a reply of a mail server in a phase; ``enhanced`` is its enhanced status code, empty without one.

    A reply that RFC 5321 does not know is UNKNOWN after the dot; before any mail is named it is the server's fault.
    """
    if phase in SMTP_TRANSACTION and enhanced[:1] == str(reply)[:1] == "5" and reply not in LOGIN_NEEDED:
        said: Verdict | None = _enhanced(SMTP_ENHANCED, enhanced)
        if said:
            # to MAIL, nobody but our sender has been named yet
            return Verdict(NOT_ACCEPTED, stops=True) if phase == "mail" and said.blocked else said
    found = SMTP_REPLIES.get((phase, reply)) or SMTP_REPLIES.get((phase, reply // 100))
    if found:
        return found
    if phase not in SMTP_BEFORE_DOT:
        return Verdict(UNKNOWN)
    return Verdict(NOT_ACCEPTED, stops=phase not in SMTP_TRANSACTION)
