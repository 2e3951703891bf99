"""When a customer may be spoken to again: their own clock, by instants, over the change of clocks too."""

from datetime import UTC, datetime, time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.policy import Policy
from messaging.quiet import NEVER_QUIET, Hours, QuietHours, daily, free_at, hours_of, read_quiet_hours
from messaging.whereabouts import zones_of_phone
from models.vocabulary import Channel, Purpose

NIGHT = QuietHours(time(22), time(7))


def hours(quiet: QuietHours) -> Hours:
    return hours_of((daily("the house", quiet),))


def utc(said: str) -> datetime:
    return datetime.fromisoformat(said).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "zone", "free"),
    [
        ("2026-01-10T12:00", "Europe/Berlin", "2026-01-10T12:00"),
        ("2026-01-10T20:59", "Europe/Berlin", "2026-01-10T20:59"),  # 21:59 there
        ("2026-01-10T21:00", "Europe/Berlin", "2026-01-11T06:00"),  # 22:00 there
        ("2026-01-10T05:59", "Europe/Berlin", "2026-01-10T06:00"),  # 06:59 there
        ("2026-01-10T06:00", "Europe/Berlin", "2026-01-10T06:00"),  # the end is free
        ("2026-03-28T22:00", "Europe/Berlin", "2026-03-29T05:00"),  # clocks go forward in the night: 7 h, not 8
        ("2026-10-24T21:00", "Europe/Berlin", "2026-10-25T06:00"),  # clocks go back: 9 h of night
        ("2026-01-10T12:00", "Asia/Shanghai", "2026-01-10T12:00"),
        ("2026-01-10T17:00", "Asia/Kathmandu", "2026-01-11T01:15"),
    ],
)
def test_the_night_ends_by_the_customers_clock(now: str, zone: str, free: str) -> None:
    assert free_at(utc(now), zone, hours(NIGHT)) == utc(free)


def test_a_number_that_may_be_in_several_zones_is_free_only_where_all_are() -> None:
    ends = free_at(utc("2026-01-10T14:00"), "America/New_York|America/Los_Angeles", hours(NIGHT))
    assert ends == utc("2026-01-10T15:00")  # seven in Los Angeles, ten in New York


def test_zones_without_a_common_hour_are_never_free() -> None:
    only_mornings = hours(QuietHours(time(10), time(8)))
    everywhere = "Pacific/Auckland|Europe/London|America/Los_Angeles"
    assert free_at(utc("2026-01-10T12:00"), everywhere, only_mornings) is None


@pytest.mark.parametrize("zone", ["Mars/Olympus", "anywhere", "Europe/Berlin|Mars/Olympus"])
def test_a_zone_nobody_knows_is_never_free(zone: str) -> None:
    assert free_at(utc("2026-01-10T12:00"), zone, hours(NIGHT)) is None
    assert free_at(utc("2026-01-10T12:00"), zone, hours(NEVER_QUIET)) == utc("2026-01-10T12:00")


def test_an_end_that_the_change_of_clocks_skips_or_repeats_still_comes() -> None:
    early = hours(QuietHours(time(22), time(2, 30)))
    # 02:30 does not exist that night: the clock goes from 02:00 to 03:00 at 01:00 UTC, and three is past the end
    assert free_at(utc("2026-03-28T23:00"), "Europe/Berlin", early) == utc("2026-03-29T01:00")
    # half past two comes twice: what the wall shows between the two is quiet again
    assert free_at(utc("2026-10-25T00:20"), "Europe/Berlin", early) == utc("2026-10-25T00:30")
    assert free_at(utc("2026-10-25T01:10"), "Europe/Berlin", early) == utc("2026-10-25T01:30")


def test_no_quiet_hours_never_hold() -> None:
    assert free_at(utc("2026-01-10T03:00"), "UTC", hours(NEVER_QUIET)) == utc("2026-01-10T03:00")
    assert read_quiet_hours("none") == NEVER_QUIET


@given(
    st.datetimes(datetime(2024, 1, 1), datetime(2028, 1, 1)),  # noqa: DTZ001
    st.sampled_from(["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Africa/Cairo"]),
    st.times(),
    st.times(),
)
def test_the_free_moment_is_never_before_now_and_mostly_within_a_day(
    moment: datetime, zone: str, start: time, end: time
) -> None:
    now = moment.replace(tzinfo=UTC)
    ends = free_at(now, zone, hours(QuietHours(start, end)))
    assert ends is not None
    assert ends >= now
    assert (ends - now).total_seconds() <= 25 * 3600


@pytest.mark.parametrize(("said", "start", "end"), [("22:00-07:00", 22, 7), ("9:00 - 20:00", 9, 20)])
def test_quiet_hours_are_read(said: str, start: int, end: int) -> None:
    assert read_quiet_hours(said) == QuietHours(time(start), time(end))


@pytest.mark.parametrize("said", ["22-7", "25:00-07:00", "night", "22:00"])
def test_quiet_hours_nobody_can_read_are_refused(said: str) -> None:
    with pytest.raises(ValueError, match="expected for example 22:00-07:00"):
        read_quiet_hours(said)


@pytest.mark.parametrize(
    ("phone", "zones"),
    [
        ("+4915112345678", "Europe/Berlin"),
        ("+12125550100", "America/New_York"),
        ("+97141234567", "Asia/Dubai"),
        ("", None),
    ],
)
def test_a_phone_number_tells_where_it_may_be(phone: str, zones: str | None) -> None:
    assert zones_of_phone(phone) == zones


def test_service_mail_is_never_held() -> None:
    policy = Policy(secret=b"s", quiet={Purpose.SERVICE: NIGHT, Purpose.MARKETING: NIGHT})
    night = utc("2026-01-10T23:00")

    def goes(purpose: Purpose, channel: Channel) -> bool:
        return free_at(night, "Europe/Berlin", policy.hours(purpose, channel, "DE", "", "00:00-23:59")) == night

    assert goes(Purpose.SERVICE, Channel.EMAIL)
    assert not goes(Purpose.SERVICE, Channel.SMS)
    assert not goes(Purpose.MARKETING, Channel.EMAIL)
