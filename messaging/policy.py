"""The house's rules of decency, as plain values: they come in from the settings and hold for every rule."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from dateutil.relativedelta import relativedelta

from messaging.quiet import NEVER_QUIET, QuietHours
from models.vocabulary import Channel, Purpose

CAP = re.compile(r"(\d+) per (?:(\d+) )?(minute|hour|day|week|month)s?")


@dataclass(frozen=True)
class Cap:
    """At most ``most`` messages a person within the rolling ``window``."""

    most: int
    window: relativedelta

    def since(self, now: datetime) -> datetime:
        """Where the rolling window begins."""
        return now - self.window


def read_cap(said: str) -> Cap:
    """Read ``2 per 7 days`` or ``1 per month``. Raises ValueError, saying what is expected."""
    found = CAP.fullmatch(said.strip())
    if not found:
        raise ValueError(f"{said!r} is no cap; expected for example: 2 per 7 days")
    most, times, unit = found.groups()
    return Cap(int(most), relativedelta(**{f"{unit}s": int(times or 1)}))  # type: ignore[arg-type]


def every_channel(_template: str) -> Collection[Channel]:
    """Every channel, for whatever template: what a test without templates uses."""
    return tuple(Channel)


@dataclass(frozen=True)
class Policy:
    """What the gates need to know beside the rule.

    ``zone`` stands in where a customer's own is unknown; ``consent_needed`` are the purposes that need a recorded yes;
    ``guests`` are the only addresses that may be reached in trial mode (None: everybody may);
    ``channels_of`` says for which channels a template is written.
    """

    secret: bytes
    zone: str = "UTC"
    consent_needed: frozenset[Purpose] = frozenset({Purpose.MARKETING, Purpose.SURVEY})
    caps: Mapping[Purpose, Cap] = field(default_factory=dict)
    quiet: Mapping[Purpose, QuietHours] = field(default_factory=dict)
    guests: frozenset[str] | None = None
    channels_of: Callable[[str], Collection[Channel]] = every_channel

    def quiet_hours(self, purpose: Purpose, channel: Channel | None = None) -> QuietHours:
        """When customers are left alone for this purpose. Service e-mail wakes nobody: it has no quiet hours."""
        if purpose is Purpose.SERVICE and channel is Channel.EMAIL:
            return NEVER_QUIET
        return self.quiet.get(purpose, NEVER_QUIET)
