"""What a mail provider tells of an e-mail, in one form whoever tells it."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What happened to an e-mail."""

    QUEUED = "queued"
    SENT = "sent"
    DELIVERED = "delivered"
    DEFERRED = "deferred"
    BOUNCED = "bounced"
    REJECTED = "rejected"
    FAILED = "failed"
    COMPLAINED = "complained"
    UNSUBSCRIBED = "unsubscribed"
    SUBSCRIBED = "subscribed"
    OPENED = "opened"
    CLICKED = "clicked"
    AUTORESPONDED = "autoresponded"
    UNKNOWN = "unknown"


class Reject(StrEnum):
    """Why it was not delivered."""

    INVALID = "invalid"
    BOUNCED = "bounced"
    TIMED_OUT = "timed_out"
    BLOCKED = "blocked"
    SPAM = "spam"
    UNSUBSCRIBED = "unsubscribed"
    OTHER = "other"


TAG = "beforehand"
"""The name under which our attempt token travels in the provider's own metadata."""

ENHANCED = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.])")
"""An enhanced status code somewhere in a reply: RFC 3463."""


@dataclass(frozen=True)
class MailEvent:
    """One event. Tags, user agents and clicked links are not read: we have no use for them, and they are personal.

    ``token`` is our attempt's, from the provider's metadata; ``smtp_id`` the Message-ID that we gave; ``message_id``
    and ``event_id`` are the provider's. ``response`` is what the receiving server said, ``status`` its enhanced status
    code; ``lasting`` False: the provider says that it may pass.
    """

    kind: Kind
    recipient: str | None = None
    happened_at: datetime | None = None
    message_id: str | None = None
    event_id: str | None = None
    reason: Reject | None = None
    description: str | None = None
    response: str | None = None
    status: str = ""
    token: str = ""
    smtp_id: str = ""
    lasting: bool = True

    @property
    def code(self) -> str:
        """The code by which ``messaging.outcomes`` knows what to do: an enhanced status, ``hard``, or the reason."""
        found = self.status or next(iter(ENHANCED.findall(self.response or "")), "")
        if found and found[0] in "45" and not found.endswith(".0.0"):
            return found
        if self.lasting and self.reason in (Reject.INVALID, Reject.BOUNCED):
            return "hard"
        return self.reason.value if self.reason else ""


def moment(said: object) -> datetime | None:
    """Read a moment: seconds since 1970 (also as a text), or ISO 8601 with a zone. None for anything else."""
    try:
        if isinstance(said, int | float) or (isinstance(said, str) and said.replace(".", "", 1).isdigit()):
            return datetime.fromtimestamp(float(said), UTC)
        read = datetime.fromisoformat(str(said)) if said else None
    except (ValueError, OverflowError, OSError):
        return None
    return read.astimezone(UTC) if read is not None and read.tzinfo else None


def text(said: object) -> str | None:
    """A value as text; None where there is none."""
    return None if said is None or said == "" else str(said)


def token_in(metadata: object) -> str:
    """Our attempt's token in a provider's metadata, empty where it is not there; some send them as JSON text."""
    if isinstance(metadata, str):
        try:
            metadata = json.loads(metadata)
        except ValueError:
            return ""
    return str(metadata.get(TAG, "")) if isinstance(metadata, Mapping) else ""


def mapping(said: Any) -> Mapping[str, Any]:
    """A JSON object, empty where something else stands in its place."""
    return said if isinstance(said, Mapping) else {}
