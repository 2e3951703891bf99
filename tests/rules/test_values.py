"""The small words inside a rule: durations, money, moments, schedules."""

from datetime import UTC, date, datetime

import pytest
from dateutil.relativedelta import relativedelta

from models.terms import Money
from rules.values import Moment, at_cron, duration, every_cron, is_cron, moment, money


@pytest.mark.parametrize(
    ("text", "lasts"),
    [
        ("30 minutes", relativedelta(minutes=30)),
        ("1 day", relativedelta(days=1)),
        ("12 months", relativedelta(months=12)),
        ("1 week 2 days", relativedelta(days=9)),
        ("2 Days", relativedelta(days=2)),
        ("", None),
        ("3 fortnights", None),
        ("-3 days", None),
        ("days", None),
        (30, None),
    ],
)
def test_durations(text: object, lasts: relativedelta | None) -> None:
    assert duration(text) == lasts


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1000 EUR", Money(100_000, "EUR")),
        ("1,000.50 EUR", Money(100_050, "EUR")),
        ("500 JPY", Money(500, "JPY")),
        ("1.234 KWD", Money(1234, "KWD")),
        ("-5 GBP", Money(-500, "GBP")),
        ("0.1 JPY", None),
        ("1.005 EUR", None),
        ("5 XXY", None),
        ("5 eur", None),
        ("EUR 5", None),
        (5, None),
    ],
)
def test_money_is_exact_or_refused(text: object, amount: Money | None) -> None:
    assert money(text) == amount


@pytest.mark.parametrize(
    ("text", "point"),
    [
        ("today", Moment(day=0)),
        ("Yesterday", Moment(day=-1)),
        ("sunday", Moment(weekday=6)),
        ("now", Moment(ago=relativedelta())),
        ("3 days ago", Moment(ago=relativedelta(days=3))),
        ("in 2 hours", Moment(ahead=relativedelta(hours=2))),
        ("2026-02-28", Moment(on=date(2026, 2, 28))),
        ("2026-03-10T10:00+01:00", Moment(at=datetime(2026, 3, 10, 9, tzinfo=UTC))),
        ("2026-03-10 10:00", Moment(at=datetime(2026, 3, 10, 10, tzinfo=UTC))),
        ("2026-02-30", None),
        ("soon", None),
        ("ago", None),
        (20260310, None),
    ],
)
def test_moments(text: object, point: Moment | None) -> None:
    assert moment(text) == point


@pytest.mark.parametrize(
    ("text", "cron"),
    [
        ("15 minutes", "*/15 * * * *"),
        ("1 minute", "* * * * *"),
        ("60 minutes", "0 * * * *"),
        ("1 hour", "0 * * * *"),
        ("6 hours", "0 */6 * * *"),
        ("7 minutes", None),
        ("5 hours", None),
        ("1 day", None),
        ("0 minutes", None),
        ("90 minutes", None),
    ],
)
def test_every_is_a_beat_that_divides_the_clock(text: str, cron: str | None) -> None:
    assert every_cron(text) == cron


@pytest.mark.parametrize(
    ("text", "cron"),
    [
        ("09:00", "0 9 * * *"),
        ("daily 9:05", "5 9 * * *"),
        ("weekdays 18:30", "30 18 * * 1-5"),
        ("weekends 10:00", "0 10 * * 0,6"),
        ("monday 09:00", "0 9 * * 1"),
        ("Sunday 09:00", "0 9 * * 0"),
        ("monday, thursday and friday 09:00", "0 9 * * 1,4,5"),
        ("24:00", None),
        ("9", None),
        ("mondays 09:00", None),
    ],
)
def test_at_is_a_time_of_day(text: str, cron: str | None) -> None:
    assert at_cron(text) == cron


@pytest.mark.parametrize(
    ("text", "holds"),
    [("0 9 * * 1-5", True), ("*/5 * * * *", True), ("0 9 * *", False), ("0 9 * * 9", False), ("61 * * * *", False)],
)
def test_cron_is_checked(text: str, holds: bool) -> None:
    assert is_cron(text) is holds
