"""When a replayed rule is looked at: its schedule in the default zone, or the ticks that were asked for."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from apscheduler.triggers.cron import CronTrigger
from dateutil.relativedelta import relativedelta

EVENT_TICK = relativedelta(minutes=1)
"""An event is taken as known at the end of the minute in which it happened."""

DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun")


def slots_of(crons: Iterable[str], zone: str, start: datetime, end: datetime) -> list[datetime]:
    """The moments from ``start`` (inclusive) to ``end`` (exclusive) at which one of ``crons`` fires in ``zone``."""
    found: set[datetime] = set()
    for cron in crons:
        for trigger in _triggers(cron, zone):
            found.update(_fires(trigger, start, end))
    return sorted(found)


def ticks(every: relativedelta, start: datetime, end: datetime) -> list[datetime]:
    """Every so often from ``start`` (inclusive) to ``end`` (exclusive). Raises ValueError for no time at all."""
    if start + every <= start:
        raise ValueError("the time between two looks must be longer than nothing")
    found, count = [], 0
    while (at := start + every * count) < end:
        found.append(at)
        count += 1
    return found


def minute_after(moment: datetime) -> datetime:
    """The first full minute at or after a moment."""
    whole = moment.replace(second=0, microsecond=0)
    return whole if whole == moment else whole + timedelta(minutes=1)


def _fires(trigger: CronTrigger, start: datetime, end: datetime) -> Iterator[datetime]:
    """The minutes that the trigger names, one by one: from fire to fire it runs in circles where clocks go back."""
    fields = list(reversed(trigger.fields))  # the minute first, because it says no most often
    at = minute_after(start)
    while at < end:
        local = at.astimezone(trigger.timezone)
        first = local.fold == 0  # of an hour that comes twice the scheduler takes the first
        if first and all(field.get_next_value(local) == field.get_value(local) for field in fields):
            yield at
        at += timedelta(minutes=1)


def _triggers(cron: str, zone: str) -> list[CronTrigger]:
    """A cron line as triggers. Where both a day of the month and of the week are named, either will do, as in cron."""
    minute, hour, day, month, weekday = cron.split()
    weekday = _named(weekday)
    either = day != "*" and weekday != "*"
    pairs: Sequence[tuple[str, str]] = [(day, "*"), ("*", weekday)] if either else [(day, weekday)]
    common = {"minute": minute, "hour": hour, "month": month, "timezone": ZoneInfo(zone)}
    return [CronTrigger(day=of_month, day_of_week=of_week, **common) for of_month, of_week in pairs]


def _named(weekdays: str) -> str:
    """Days of the week by name: cron counts them from Sunday, APScheduler from Monday."""
    if weekdays == "*":
        return weekdays
    return ",".join(day for part in weekdays.split(",") for day in _days(part))


def _days(part: str) -> list[str]:
    span, _, step = part.partition("/")
    if not span[0].isdigit() and span != "*":
        return [part]
    first, _, last = ("0", "-", "6") if span == "*" else span.partition("-")
    numbers = range(int(first), int(last or (6 if step else first)) + 1, int(step or 1))
    return [DAYS[number] for number in numbers]


__all__ = ["EVENT_TICK", "minute_after", "slots_of", "ticks"]
