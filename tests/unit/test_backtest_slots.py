"""The slots of a replay are those that the house's own clock keeps, on the days when clocks change too."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from dateutil.relativedelta import relativedelta

from beforehand.backtest.slots import minute_after, slots_of, ticks
from flows.slots import slots

CASES = [("*/15 * * * *", 1), ("0 9 * * 1-5", 8), ("30 10 * * 0,6", 8), ("0 9 13 * 5", 20), ("0 9 * * 7", 8)]
"""Cron lines, and for how many days they are looked at. (A time that clocks skip is another matter: see the docs.)"""


@pytest.mark.parametrize(("cron", "days"), CASES)
@pytest.mark.parametrize("start", [datetime(2026, 3, 28, 20, tzinfo=UTC), datetime(2026, 10, 24, 20, tzinfo=UTC)])
def test_they_are_those_of_the_scheduler(cron: str, days: int, start: datetime) -> None:
    """From the evening before clocks change in Berlin."""
    end, second = start + timedelta(days=days), timedelta(seconds=1)
    theirs = asyncio.run(slots([cron], "Europe/Berlin", after=start - second, until=end - second))
    assert slots_of([cron], "Europe/Berlin", start, end) == theirs


def test_a_tick_begins_at_the_start_and_ends_before_the_end() -> None:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    assert ticks(relativedelta(hours=8), start, start + timedelta(days=1)) == [
        start,
        start + timedelta(hours=8),
        start + timedelta(hours=16),
    ]
    with pytest.raises(ValueError, match="longer than nothing"):
        ticks(relativedelta(), start, start + timedelta(days=1))


def test_an_event_is_known_by_the_end_of_its_minute() -> None:
    at = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
    assert minute_after(at) == at
    assert minute_after(at + timedelta(microseconds=1)) == at + timedelta(minutes=1)
