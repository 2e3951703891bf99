"""What a channel is: it takes a rendered message, tries once, and says what is known afterwards."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from models.vocabulary import Channel as ChannelName
from models.vocabulary import MessageState, OutcomeClass


@dataclass(frozen=True)
class Envelope:
    """One rendered message for one customer, ready for the wire.

    ``attempt_id`` goes into callback URLs and envelope ids; ``reference`` is the message's short word;
    ``text`` is the SMS text, the call script as TwiML, or the plain part; ``html`` and ``subject`` are for e-mail.
    """

    attempt_id: int
    reference: str
    to: str
    text: str
    subject: str = ""
    html: str = ""
    language: str = "en"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What one try led to. ``kind`` decides what may happen next; ``content`` is kept as evidence, without secrets."""

    kind: OutcomeClass
    code: str = ""
    provider_id: str | None = None
    retry_after_seconds: float | None = None
    suppress: bool = False
    content: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Sighting:
    """The provider's later word on a message: its state in our vocabulary, and the provider's code."""

    provider_id: str
    state: MessageState
    code: str = ""


class Channel(Protocol):
    """One way out. ``send`` never raises for anything a provider or network does: that is an Outcome."""

    name: ChannelName
    provider: str

    def send(self, envelope: Envelope) -> Outcome:
        """Try once. Blocking; bounded by the send timeout."""
        ...

    def look(self, provider_ids: list[str]) -> list[Sighting]:
        """Ask the provider what became of these; an empty list where it cannot be asked."""
        ...
