"""Whoever looks on: metrics and traces are told what the house did, once it is committed. Nobody looks on: no cost.

What is told holds ids, counts and words of ours, never a person. An onlooker that fails hinders nobody.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, Engine

from messaging.channels.base import Outcome
from messaging.claims import Claim
from models.database import once_committed
from models.vocabulary import Channel, MessageState, Reason, WebhookState

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tried:
    """Results of tries on a channel that were recorded at ``now``, and how many messages went to which state."""

    engine: Engine
    channel: Channel
    provider: str
    results: Sequence[tuple[Claim, Outcome]]
    moved: Mapping[MessageState, int]
    now: datetime


@dataclass(frozen=True)
class Withheld:
    """Due messages that a last look kept back."""

    channel: Channel
    reasons: Mapping[Reason, int]


@dataclass(frozen=True)
class Receipted:
    """One word of a provider on a message, told for the first time."""

    message_id: int
    attempt_id: int
    channel: Channel
    state: MessageState
    code: str


@dataclass(frozen=True)
class Received:
    """Receipts that were written at ``now``."""

    engine: Engine
    receipts: Sequence[Receipted]
    now: datetime


@dataclass(frozen=True)
class Refused:
    """A request in a provider's name that we did not take, and the reasons, in words of ours."""

    reasons: Sequence[str]


@dataclass(frozen=True)
class Suppressed:
    """An address that must not be used from now on; ``cause`` as in its row."""

    cause: str


@dataclass(frozen=True)
class Withdrawn:
    """Somebody has withdrawn: on which channels, or ``all``."""

    channels: Sequence[str]


@dataclass(frozen=True)
class Passed:
    """A pass of a rule: how many subjects matched, what was planned and withheld, and how long it took.

    ``failed``: it was ended by an error, and nothing was written.
    """

    rule_id: str
    seconds: float
    matched: int = 0
    planned: int = 0
    withheld: Mapping[Reason, int] = field(default_factory=dict)
    failed: bool = False


@dataclass(frozen=True)
class Stepped:
    """Later steps of a rule's matches: what was planned and withheld."""

    rule_id: str
    planned: int
    withheld: Mapping[Reason, int]


@dataclass(frozen=True)
class Called:
    """The operator's own systems were called: webhooks by the state they came to."""

    states: Mapping[WebhookState, int]


@dataclass(frozen=True)
class Reaped:
    """What was put right: claims returned, outcomes unknown; older unknown ones found, sent again, given up."""

    returned: int
    unknown: int
    found: int
    resent: int
    given_up: int


@dataclass(frozen=True)
class Beaten:
    """A beat of the heartbeat: how long its work took, and whether it ended with an error."""

    name: str
    seconds: float
    failed: bool


@dataclass(frozen=True)
class Leading:
    """Whether this process holds the heartbeat from now on."""

    holds: bool


@dataclass(frozen=True)
class PrefectSeen:
    """Whether Prefect's server answered when this process last asked."""

    up: bool


News = (
    Tried
    | Withheld
    | Received
    | Refused
    | Suppressed
    | Withdrawn
    | Passed
    | Stepped
    | Called
    | Reaped
    | Beaten
    | Leading
    | PrefectSeen
)
Onlooker = Callable[[News], None]

_onlookers: list[Onlooker] = []


def look_on(onlooker: Onlooker) -> None:
    """Tell ``onlooker`` from now on, in this process; asking again has no effect."""
    if onlooker not in _onlookers:
        _onlookers.append(onlooker)


def look_away(onlooker: Onlooker) -> None:
    """Tell ``onlooker`` no more."""
    if onlooker in _onlookers:
        _onlookers.remove(onlooker)


def tell(news: News) -> None:
    """Tell everybody who looks on. Never raises: what has happened has happened."""
    for onlooker in tuple(_onlookers):
        try:
            onlooker(news)
        except Exception as wrong:
            _log.warning("an onlooker failed over %s: %s", type(news).__name__, type(wrong).__name__)


def tell_once_committed(connection: Connection, news: News) -> None:
    """:func:`tell` when the transaction of ``connection`` has been committed; never, where it was rolled back."""
    if _onlookers:
        once_committed(connection, lambda: tell(news))
