"""Points on a scale, as far as they are known without data: numbers, amounts, moments and days before and after now.

What is not known exactly (how long a month is, when a customer's day begins) lies between two ends, so that one point
is called later than another only where it is so at every now and in every zone.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil, floor
from typing import Any

from dateutil.relativedelta import relativedelta

from models.terms import Money
from rules.conditions import Path
from rules.facts import Kind
from rules.values import Moment

DAY = 86_400.0
CHANGE = 2 * 3600.0
"""Seconds by which clocks that are put forward or back may move a day's ends."""
TICK = 1e-6
EASTMOST, WESTMOST = 14 * 3600.0, 12 * 3600.0
"""How far from midnight UTC a calendar day may begin. Source: the IANA time zone data, Kiritimati and Baker Island."""

Span = tuple[float, float]


@dataclass(frozen=True)
class Point:
    """A place between ``low`` and ``high`` on a ``scale``; ``days``: the start of a day, counted on that scale.

    Points with the same ``token`` (and scale) are the very same, however little is known of them.
    """

    scale: Any
    low: float
    high: float
    token: Any = None
    days: tuple[int, int] | None = None

    def surely_after(self, other: "Point") -> bool:
        """Whether it is later, or more, than the other in every case."""
        if self.scale != other.scale:
            return False
        if self.days and other.days:
            return self.days[0] > other.days[1]
        return self.low > other.high

    def is_same(self, other: "Point") -> bool:
        """Whether both are one and the same in every case."""
        if self.scale != other.scale:
            return False
        if self.days and self.days == other.days and self.days[0] == self.days[1]:
            return True
        return (self.token is not None and self.token == other.token) or (
            self.low == self.high == other.low == other.high
        )


def number(value: Any) -> Point:
    """A number, or an amount on the scale of its currency."""
    if isinstance(value, Money):
        return Point(value.currency, value.minor, value.minor)
    return Point("number", float(value), float(value))


def seconds(lasts: relativedelta) -> Span:
    """The least and the most that a duration may last."""
    months = lasts.years * 12 + lasts.months
    exact = ((lasts.days * 24 + lasts.hours) * 60 + lasts.minutes) * 60.0 + lasts.seconds
    if not months:
        return exact, exact
    return (floor(months * 30.4375) - 3) * DAY + exact, (ceil(months * 30.4375) + 3) * DAY + exact


@dataclass(frozen=True)
class Day:
    """A calendar day: between ``low`` and ``high`` days from today, or (``calendar``) since the year 1."""

    low: int
    high: int
    scale: Any = "now"
    token: Any = None

    def start(self, shift: int = 0) -> Point:
        """Where the day, or the one ``shift`` days later, begins."""
        low, high = self.low + shift, self.high + shift
        token = None if self.token is None else (self.token, shift)
        if self.scale == "now":
            return Point("now", _begins(low)[0], _begins(high)[1], token, (low, high))
        if self.scale == "calendar":
            first, last = low * DAY - EASTMOST, high * DAY + WESTMOST
            return Point("calendar", first, last, token, (low, high))
        return Point(self.scale, low, high, token)


def _begins(day: int) -> Span:
    """Seconds from now at which the day that is ``day`` days from today begins."""
    earliest = (day - 1) * DAY - (CHANGE if day not in (0, 1) else 3600.0 if day == 0 else -TICK)
    latest = day * DAY + (0 if day == 0 else CHANGE)
    return earliest, latest


def instant(value: Any) -> Point | None:
    """The instant that a value names; None where it names a day."""
    if isinstance(value, Path):
        assert value.fact is not None
        return None if value.fact.kind is Kind.DAY else Point(("fact", _walked(value)), 0, 0)
    if value.at is not None:
        moment = value.at.timestamp() + _epoch()
        return Point("calendar", moment, moment)
    if value.ago is not None:
        least, most = seconds(value.ago)
        return Point("now", -most, -least, ("ago", value.ago))
    if value.ahead is not None:
        least, most = seconds(value.ahead)
        return Point("now", least, most, ("ahead", value.ahead))
    return None


def day(value: Any) -> Day:
    """The calendar day that a value names, or on which the instant lies that it names."""
    if isinstance(value, Path):
        return Day(0, 0, ("day of", _walked(value)))
    if value.day is not None:
        return Day(value.day, value.day)
    if value.weekday is not None:
        return Day(-6, 0, token=("weekday", value.weekday))
    if value.on is not None:
        return Day(value.on.toordinal(), value.on.toordinal(), "calendar")
    point = instant(value)
    assert point is not None
    if point.scale == "calendar":
        here = floor(point.low / DAY)
        return Day(here - 1, here + 1, "calendar", ("at", value.at))
    if point.low == point.high == 0:
        return Day(0, 0)
    first = floor((point.low - CHANGE) / DAY)
    return Day(first, floor((point.high + DAY + CHANGE) / DAY), "now", point.token)


def _walked(path: Path) -> tuple[Any, ...]:
    assert path.fact is not None
    return (path.from_this, *(relation.name for relation in path.relations), path.fact.name)


def _epoch() -> float:
    return datetime(1970, 1, 1, tzinfo=UTC).toordinal() * DAY


def ago(lasts: relativedelta) -> Moment:
    """The moment that long before now."""
    return Moment(ago=lasts)


def ahead(lasts: relativedelta) -> Moment:
    """The moment that long after now."""
    return Moment(ahead=lasts)


NOW = Moment(ago=relativedelta())
TODAY = Moment(day=0)
