"""What a moving clock is compared with: each expression of now that a condition may hold, worked out for a slot."""

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dateutil.relativedelta import relativedelta

from models.types import from_micros, start_of_day_micros
from rules.values import Moment


@dataclass(frozen=True)
class Instant:
    """Now and a duration (negative: before now)."""

    shift: relativedelta

    def at(self, now: datetime, _zone: str) -> datetime:
        """The value at ``now``."""
        return now + self.shift


@dataclass(frozen=True)
class DayThen:
    """The calendar day, in the customer's zone, of now and a duration, and some days on; or the last such weekday."""

    shift: relativedelta = field(default_factory=relativedelta)
    days: int = 0
    weekday: int | None = None

    def at(self, now: datetime, zone: str) -> date:
        """The value at ``now`` in ``zone``."""
        day = (now + self.shift).astimezone(ZoneInfo(zone)).date()
        if self.weekday is not None:
            day -= timedelta(days=(day.weekday() - self.weekday) % 7)
        return day + timedelta(days=self.days)


@dataclass(frozen=True)
class Midnight:
    """The moment at which such a day begins."""

    day: DayThen

    def at(self, now: datetime, zone: str) -> datetime:
        """The value at ``now`` in ``zone``."""
        micros = start_of_day_micros(self.day.at(now, zone).isoformat(), zone)
        assert micros is not None
        return from_micros(micros)


Hand = Instant | DayThen | Midnight
"""An expression of now. Each is hashable, so that what two conditions share is worked out once."""

NOW = Instant(relativedelta())


def is_zone(name: str) -> bool:
    """Whether there is such a zone. Where there is none, no day can be told, and nothing ever changes."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def against_moment(value: Moment) -> list[Hand]:
    """What a moment is compared with where a rule says ``value``; nothing for a date or time that stands still."""
    if value.ago is not None:
        return [Instant(-value.ago)]
    if value.ahead is not None:
        return [Instant(value.ahead)]
    day = _day(value)
    return [] if day is None else [Midnight(day), Midnight(DayThen(day.shift, day.days + 1, day.weekday))]


def against_day(value: Moment) -> list[Hand]:
    """What a calendar day is compared with where a rule says ``value``."""
    if value.ago is not None:
        return [DayThen(-value.ago)]
    if value.ahead is not None:
        return [DayThen(value.ahead)]
    day = _day(value)
    return [] if day is None else [day]


def _day(value: Moment) -> DayThen | None:
    if value.day is not None:
        return DayThen(days=value.day)
    return None if value.weekday is None else DayThen(weekday=value.weekday)
