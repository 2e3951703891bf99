"""What a channel is: it takes a rendered message, tries once, and says what is known afterwards."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from models.vocabulary import Channel as ChannelName
from models.vocabulary import MessageState, OutcomeClass


@dataclass(frozen=True)
class Envelope:
    """One rendered message for one customer, ready for the wire.

    ``attempt_id`` goes into callback URLs and envelope ids; ``reference`` is the message's short word;
    ``text`` is the SMS text, the spoken words of a call (paragraphs by lines), or the plain part; ``html`` and
    ``subject`` are for e-mail, ``headers`` for its further headers. ``options`` is what one channel only knows:
    ``connect_to`` (E.164) and the words of a call's keys.
    """

    attempt_id: int
    reference: str
    to: str
    text: str
    subject: str = ""
    html: str = ""
    language: str = "en"
    headers: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)


def fingerprint(to: str, text: str) -> str:
    """128 bits (32 hex digits) over an address and a text: what a listing of the provider is matched by."""
    return hashlib.sha256(f"{to}\n{text.strip()}".encode()).hexdigest()[:32]


@dataclass(frozen=True, kw_only=True)
class Asks:
    """What a code asks of us beside what becomes of its message.

    ``suppress``: the person said stop. ``bad_address``: the address cannot be reached on this channel; it is suppressed
    there, and the rule's other channel is used. ``blocked``: somebody on the way refuses what we say; the rule is
    stopped. ``stops``: the fault is the account's, the sender's or the server's; the breaker opens. ``slow``: we send
    too fast for the sender.
    """

    suppress: bool = False
    bad_address: bool = False
    blocked: bool = False
    stops: bool = False
    slow: bool = False

    @property
    def marks(self) -> dict[str, Any]:
        """The same as the arguments of an :class:`Outcome`."""
        return {name: getattr(self, name) for name in ("suppress", "bad_address", "blocked", "stops", "slow")}


@dataclass(frozen=True)
class Outcome(Asks):
    """What one try led to, and what its code asks for.

    ``kind`` decides what may happen next; ``content`` is kept as evidence, without secrets.
    """

    kind: OutcomeClass
    code: str = ""
    provider_id: str | None = None
    retry_after_seconds: float | None = None
    content: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Sighting:
    """The provider's later word on a message: its state in our vocabulary, and the provider's code.

    ``attempt_id`` where it is known by our own id, as that of a bounce is; ``provider_id`` may be empty then.
    """

    provider_id: str
    state: MessageState
    code: str = ""
    attempt_id: int | None = None


class Channel(Protocol):
    """One way out. ``send`` never raises for anything a provider or network does: that is an Outcome."""

    name: ChannelName
    provider: str
    parallel: int
    """How many sends may run at once."""

    def send(self, envelope: Envelope) -> Outcome:
        """Try once. Blocking; bounded by the send timeout; called from several threads."""
        ...

    def fingerprint(self, envelope: Envelope) -> str:
        """The hash by which ``find`` knows this envelope again."""
        ...

    def look(self, provider_ids: list[str]) -> list[Sighting]:
        """Ask the provider what became of these; an empty list where it cannot be asked."""
        ...

    def find(self, to: str, fingerprint: str, since: datetime, until: datetime) -> list[Sighting] | None:
        """List what the provider took for ``to`` between two moments and keep what matches: the active proof.

        None where the provider keeps no list or did not answer: that proves nothing.
        """
        ...

    def close(self) -> None:
        """Let go of open connections; the next send opens new ones."""
        ...
