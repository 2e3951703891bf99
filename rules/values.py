"""The small words inside a rule: durations, moments, days, money, times of day, schedules."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from zoneinfo import ZoneInfo

from apscheduler.triggers.cron import CronTrigger
from babel.numbers import get_currency_precision, list_currencies
from dateutil.relativedelta import relativedelta

from models.terms import THE_BEGINNING, Money

UNITS = ("second", "minute", "hour", "day", "week", "month", "year")
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
DURATION = re.compile(rf"(\d{{1,9}})\s+({'|'.join(UNITS)})s?", re.IGNORECASE)
LONGEST = 36_600
"""Days in a duration at most, a hundred years: what is longer is a slip, and leaves the calendar."""
MOST = 10**18
"""Minor units of an amount at most: what both databases keep in 64 bits."""
DURATION_FORM = "a duration such as '30 minutes', '2 days' or '12 months'"
MONEY_FORM = "an amount with its currency, such as 1000 EUR"
MOMENT_FORM = "today, yesterday, tomorrow, a weekday, '3 days ago', 'in 3 days', a date, a time or another fact"
FROM_FORM = "now, a date such as 2026-03-01, a time such as 2026-03-01 09:00 Europe/Berlin, or the beginning"
WHEN_FORM = "such as '09:00', 'weekdays 09:00', 'monday 09:00' or 'monday, thursday 09:00'"


def duration(text: object) -> relativedelta | None:
    """Read ``30 minutes`` or ``1 week 2 days``; None where it is not one, or over a hundred years.

    Days are 24 hours; months and years go by the calendar.
    """
    if not isinstance(text, str):
        return None
    total = relativedelta()
    rest = text.strip()
    if not rest:
        return None
    while rest:
        found = DURATION.match(rest)
        if not found:
            return None
        total += relativedelta(**{found[2].lower() + "s": int(found[1])})  # type: ignore[arg-type]
        rest = rest[found.end() :].lstrip(" ,")
    return total if total.years * 365 + total.months * 30 + total.days <= LONGEST else None


def money(text: object) -> Money | None:
    """Read ``1000 EUR`` or ``12.50 GBP`` into minor units; None where it is not one, or has too many decimals."""
    if not isinstance(text, str):
        return None
    found = re.fullmatch(r"(-?\d[\d,]*(?:\.\d+)?)\s*([A-Z]{3})", text.strip())
    if not found or found[2] not in list_currencies():
        return None
    try:
        minor = Decimal(found[1].replace(",", "")).scaleb(get_currency_precision(found[2]))
    except InvalidOperation:
        return None
    return Money(int(minor), found[2]) if minor == int(minor) and abs(minor) <= MOST else None


@dataclass(frozen=True)
class Moment:
    """A point that a condition compares with.

    Exactly one: ``ago`` (exact duration before now, negative for after), ``day`` (days from the customer's today),
    ``weekday`` (0 Monday; the last one, today included), ``at`` (a moment), ``on`` (a calendar day).
    """

    ago: relativedelta | None = None
    ahead: relativedelta | None = None
    day: int | None = None
    weekday: int | None = None
    at: datetime | None = None
    on: date | None = None

    @property
    def is_day(self) -> bool:
        """Whether it names a calendar day rather than an instant."""
        return self.day is not None or self.weekday is not None or self.on is not None


DAY_WORDS = {"today": 0, "yesterday": -1, "tomorrow": 1}


def moment(text: object) -> Moment | None:
    """Read a point in time; None where it is not one. A time without a zone is taken as UTC."""
    if not isinstance(text, str):
        return None
    said = text.strip().lower()
    if said in DAY_WORDS:
        return Moment(day=DAY_WORDS[said])
    if said in WEEKDAYS:
        return Moment(weekday=WEEKDAYS.index(said))
    if said == "now":
        return Moment(ago=relativedelta())
    if said.endswith(" ago") and (lasts := duration(said[:-4])):
        return Moment(ago=lasts)
    if said.startswith("in ") and (lasts := duration(said[3:])):
        return Moment(ahead=lasts)
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", said):
            return Moment(on=date.fromisoformat(said))
        if re.match(r"\d{4}-\d{2}-\d{2}", said):
            read = datetime.fromisoformat(text.strip())
            return Moment(at=read.astimezone(UTC) if read.tzinfo else read.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        return None
    return None


def point(text: object) -> datetime | None:
    """Read ``2026-03-01`` (its first moment), ``2026-03-01 09:00 Europe/Berlin`` or ``the beginning``.

    UTC where no zone is named. None where it is none of these, or the zone is unknown.
    """
    if text == "the beginning":
        return THE_BEGINNING
    words = text.split() if isinstance(text, str) else []
    named = words[-1] if len(words) > 1 and words[-1][0].isalpha() else "UTC"
    try:
        read = datetime.fromisoformat(" ".join(words[:-1] if words[-1:] == [named] else words))
        return (read if read.tzinfo else read.replace(tzinfo=ZoneInfo(named))).astimezone(UTC)
    except (ValueError, KeyError, OSError, OverflowError):  # ZoneInfo says OSError of a name that is a folder
        return None


EVERY = {"minute": ("*/{n} * * * *", 60), "hour": ("0 */{n} * * *", 24)}


def every_cron(text: object) -> str | None:
    """Cron for ``every: 15 minutes`` or ``2 hours``; None where the clock cannot be divided so (7 minutes, 1 day)."""
    found = DURATION.fullmatch(text.strip()) if isinstance(text, str) else None
    if not found or found[2].lower() not in EVERY:
        return None
    form, whole = EVERY[found[2].lower()]
    count = int(found[1])
    if count < 1 or whole % count:
        return None
    return "0 * * * *" if (count, whole) in ((60, 60), (1, 24)) else form.format(n=count).replace("*/1 ", "* ")


def at_cron(text: object) -> str | None:
    """Cron for ``at: weekdays 09:00``; None where it is not such a time."""
    found = re.fullmatch(r"(?:(.+?)\s+)?(\d{1,2}):(\d{2})", text.strip().lower()) if isinstance(text, str) else None
    if not found or int(found[2]) > 23 or int(found[3]) > 59:
        return None
    clock = f"{int(found[3])} {int(found[2])}"
    groups = {"": "*", "daily": "*", "every day": "*", "weekdays": "1-5", "weekends": "0,6"}
    days = (found[1] or "").strip()
    if days in groups:
        return f"{clock} * * {groups[days]}"
    named = [word.strip() for word in re.split(r",| and ", days) if word.strip()]
    if named and all(word in WEEKDAYS for word in named):
        return f"{clock} * * {','.join(str((WEEKDAYS.index(word) + 1) % 7) for word in named)}"
    return None


def is_cron(text: object) -> bool:
    """Whether this is a cron expression of five fields."""
    if not isinstance(text, str) or len(text.split()) != 5:
        return False
    try:
        CronTrigger.from_crontab(text.replace("7", "0") if text.split()[4] == "7" else text, timezone=UTC)
    except ValueError:
        return False
    return True
