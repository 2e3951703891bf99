"""What a provider's words mean to us: one literal table per provider, and when a try is made again.

Sources: Twilio's error dictionary and status callbacks documentation; RFC 5321 sections 4.2 and 4.5.4.1.
Everything that no table names is UNKNOWN (DESIGN section 6).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from messaging.channels.base import Outcome
from models.vocabulary import Channel, MessageState, OutcomeClass

ACCEPTED, NOT_ACCEPTED, REFUSED, UNKNOWN = (
    OutcomeClass.ACCEPTED,
    OutcomeClass.NOT_ACCEPTED,
    OutcomeClass.REFUSED,
    OutcomeClass.UNKNOWN,
)


@dataclass(frozen=True)
class Verdict:
    """What a code means: its class, whether the address is to be suppressed, whether the account is at fault."""

    kind: OutcomeClass
    suppress: bool = False
    stops: bool = False


TWILIO_CODES: dict[int, Verdict] = {
    20003: Verdict(NOT_ACCEPTED, stops=True),  # authentication failed
    20005: Verdict(NOT_ACCEPTED, stops=True),  # account not active
    20429: Verdict(NOT_ACCEPTED),  # too many requests
    21210: Verdict(NOT_ACCEPTED, stops=True),  # our number is not verified for calls
    21211: Verdict(REFUSED),  # not a phone number
    21214: Verdict(REFUSED),  # the number cannot be called
    21217: Verdict(REFUSED),  # not a phone number (calls)
    21265: Verdict(REFUSED),  # a short code cannot be reached
    21408: Verdict(REFUSED),  # no permission for this region
    21602: Verdict(REFUSED),  # the text is missing
    21606: Verdict(NOT_ACCEPTED, stops=True),  # our sender number is not ours
    21608: Verdict(REFUSED),  # trial account: the number is not verified
    21610: Verdict(REFUSED, suppress=True),  # the person has sent STOP
    21611: Verdict(NOT_ACCEPTED),  # our sender's queue is full
    21612: Verdict(REFUSED),  # no route from our sender to this number
    21614: Verdict(REFUSED),  # not a mobile number
    21617: Verdict(REFUSED),  # the text is too long
    21635: Verdict(REFUSED),  # a landline
    21660: Verdict(NOT_ACCEPTED, stops=True),  # the sender belongs to another account
}
"""Twilio error codes of the create calls, in a JSON error body. https://www.twilio.com/docs/api/errors"""

TWILIO_STATUSES: dict[int, Verdict] = {
    400: Verdict(REFUSED),
    401: Verdict(NOT_ACCEPTED, stops=True),
    403: Verdict(NOT_ACCEPTED, stops=True),
    404: Verdict(NOT_ACCEPTED, stops=True),
    429: Verdict(NOT_ACCEPTED),
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
    ("data", 4): Verdict(NOT_ACCEPTED),
    ("data", 5): Verdict(REFUSED),
    ("body", 4): Verdict(NOT_ACCEPTED),
    ("body", 5): Verdict(REFUSED),
    ("dot", 2): Verdict(ACCEPTED),
    ("dot", 4): Verdict(NOT_ACCEPTED),
    ("dot", 5): Verdict(REFUSED),
}
"""SMTP by phase and reply: the whole code where it is named, else its first digit."""

SMTP_BEFORE_DOT = frozenset({"connect", "hello", "starttls", "login", "mail", "rcpt", "data", "body"})
"""A connection that dies in one of these phases has not delivered: the final dot was not yet on the wire."""

ANY_CHANNEL = (timedelta(seconds=30), timedelta(minutes=2), timedelta(minutes=8), timedelta(minutes=30))
RETRY_WAITS: dict[Channel, tuple[timedelta, ...]] = {
    Channel.SMS: ANY_CHANNEL,
    Channel.VOICE: ANY_CHANNEL,
    # RFC 5321 4.5.4.1: two tries in the first hour, then every two or three hours; but care goes stale after a day
    Channel.EMAIL: (
        timedelta(minutes=1),
        timedelta(minutes=30),
        timedelta(hours=2),
        timedelta(hours=4),
        timedelta(hours=8),
        timedelta(hours=12),
    ),
}
"""How long to wait after the first, second ... try that was not accepted. After the last one we give up."""

ACCOUNT_WAIT = timedelta(minutes=1)
"""How long a channel rests after a fault of the account or the server; such tries are not used up."""

LONGEST_RETRY_AFTER = timedelta(hours=6)


def retry_at(number: int, outcome: Outcome, now: datetime, channel: Channel = Channel.SMS) -> datetime | None:
    """When a message that was not accepted is tried again, or None: never.

    ``number`` is the try that just failed, from 1. A Retry-After is obeyed (up to six hours) where it is longer than
    our own wait. Whether that is still in time is the caller's to see.
    """
    if outcome.kind is not NOT_ACCEPTED:
        return None
    waits = RETRY_WAITS[channel]
    if outcome.stops:
        wait = ACCOUNT_WAIT
    elif number > len(waits):
        return None
    else:
        wait = waits[number - 1]
    asked = timedelta(seconds=outcome.retry_after_seconds or 0)
    return now + max(wait, min(asked, LONGEST_RETRY_AFTER))


def of_twilio(status: int, code: int | None) -> Verdict:
    """Class an HTTP answer of Twilio that is not a success; ``code`` is the JSON error's, None without one."""
    if code is not None and code in TWILIO_CODES and 400 <= status < 500:
        return TWILIO_CODES[code]
    if code is not None or status == 429:
        return TWILIO_STATUSES.get(status, Verdict(UNKNOWN))
    return Verdict(UNKNOWN)


def of_smtp(phase: str, reply: int) -> Verdict:
    """Class a reply of a mail server in a phase; a reply that RFC 5321 does not know is UNKNOWN after the dot."""
    found = SMTP_REPLIES.get((phase, reply)) or SMTP_REPLIES.get((phase, reply // 100))
    if found:
        return found
    return Verdict(NOT_ACCEPTED) if phase in SMTP_BEFORE_DOT else Verdict(UNKNOWN)
