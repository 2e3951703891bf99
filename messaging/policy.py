"""The house's rules of decency, as plain values: they come in from the settings and hold for every rule."""

import re
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from dateutil.relativedelta import relativedelta

from messaging.quiet import NEVER_QUIET, Hours, QuietHours, daily, hours_of, read_quiet_hours
from messaging.quiet_laws import NO_LAWS, Laws
from models.vocabulary import Channel, Purpose

HOUSE = "the house's own hours"
OWN = "the customer's own hours"
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


def read_caps(said: Mapping[str, str]) -> tuple[dict[Purpose, Cap], dict[tuple[Purpose, Channel], Cap]]:
    """Read the caps by purpose (``marketing``), and those by purpose and channel (``marketing sms``).

    Raises ValueError, saying what is expected.
    """
    for_all, for_one = {}, {}
    for words, cap in said.items():
        purpose, _, channel = words.partition(" ")
        if purpose not in tuple(Purpose) or (channel and channel not in tuple(Channel)):
            raise ValueError(
                f"{words!r} has no cap; expected a purpose, or one with a channel: marketing, marketing sms"
            )
        if channel:
            for_one[Purpose(purpose), Channel(channel)] = read_cap(cap)
        else:
            for_all[Purpose(purpose)] = read_cap(cap)
    return for_all, for_one


@dataclass(frozen=True)
class Brakes:
    """Over which figures a run is held.

    ``percent`` of all customers, where the rule has no brake of its own, and ``times`` what the rule usually reaches.
    A run of at most ``canary`` is never held. A held one waits ``hours`` for a second person.
    """

    percent: float = 5
    times: float = 3
    canary: int = 20
    hours: float = 24


def no_texts(_templates: Collection[str]) -> str:
    """No digest, of whatever templates: what a test without templates uses."""
    return ""


def every_channel(_template: str) -> Collection[Channel]:
    """Every channel, for whatever template: what a test without templates uses."""
    return tuple(Channel)


@dataclass(frozen=True)
class Policy:
    """What the gates need to know beside the rule.

    ``zone`` stands in where a customer's own is unknown; ``consent_needed`` are the purposes that need a recorded yes;
    ``guests`` are the only addresses that may be reached in trial mode (None: everybody may);
    ``channels_of`` says for which channels a template is written. ``caps`` are a person's by purpose, ``channel_caps``
    those for one channel alone. ``quiet`` are the house's own quiet hours, ``laws`` those of the countries.
    ``holdout`` is the percentage of customers who are kept out of all marketing and all surveys. ``brakes``: which runs
    are held (None: none). ``digest_of`` gives the digest of some templates' texts as they are now.
    """

    secret: bytes
    zone: str = "UTC"
    consent_needed: frozenset[Purpose] = frozenset({Purpose.MARKETING, Purpose.SURVEY})
    caps: Mapping[Purpose, Cap] = field(default_factory=dict)
    quiet: Mapping[Purpose, QuietHours] = field(default_factory=dict)
    guests: frozenset[str] | None = None
    channels_of: Callable[[str], Collection[Channel]] = every_channel
    channel_caps: Mapping[tuple[Purpose, Channel], Cap] = field(default_factory=dict)
    laws: Laws = NO_LAWS
    holdout: float = 0
    brakes: Brakes | None = None
    digest_of: Callable[[Collection[str]], str] = no_texts

    def hours(self, purpose: Purpose, channel: Channel, country: str, region: str, own: str = "") -> Hours:
        """All that limits when a message may go: the house's own hours, the country's and the customer's own.

        ``own`` are quiet hours such as ``21:30-07:00``. Service e-mail goes at any hour: it is about the customer's own
        affairs, waits silently until it is read, and is often asked for (a receipt, a code) at once.
        """
        if purpose is Purpose.SERVICE and channel is Channel.EMAIL:
            return hours_of(())
        limits = [daily(HOUSE, self.quiet.get(purpose, NEVER_QUIET)), *self.laws.of(country, region, purpose, channel)]
        with suppress(ValueError):  # what nobody can read in one customer's preference must not stop a whole claim
            limits.append(daily(OWN, read_quiet_hours(own)))
        return hours_of(tuple(limits))
