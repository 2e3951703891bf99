"""The hours that countries allow: what the data file says holds, and a file that is wrong is refused with its place."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from phonenumbers import PhoneNumber, region_code_for_number

from messaging.policy import Policy
from messaging.quiet import free_at, read_quiet_hours, why_quiet
from messaging.quiet_laws import COLUMNS, OURS, Laws, laws_in, rows_in
from messaging.whereabouts import ANYWHERE, NORTH_AMERICA, area_of, law_of, zones_of
from models.vocabulary import Channel, Purpose

LAWS = laws_in(OURS)
HOUSE = {Purpose.SERVICE: read_quiet_hours("22:00-07:00"), Purpose.MARKETING: read_quiet_hours("none")}
POLICY = Policy(secret=b"s", quiet=HOUSE, laws=LAWS)
HEAD = ",".join(COLUMNS)


def utc(said: str) -> datetime:
    return datetime.fromisoformat(said).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("place", "zone", "channel", "now", "free"),
    [
        # New York, five hours behind: 8 to 21
        (("US", "NY"), "America/New_York", Channel.SMS, "2026-01-14T12:59", "2026-01-14T13:00"),
        (("US", "NY"), "America/New_York", Channel.SMS, "2026-01-15T01:59", "2026-01-15T01:59"),
        (("US", "NY"), "America/New_York", Channel.SMS, "2026-01-15T02:00", "2026-01-15T13:00"),
        # Florida closes at 20, Texas opens at noon on Sundays, Alabama is closed then
        (("US", "FL"), "America/New_York", Channel.SMS, "2026-01-15T01:00", "2026-01-15T13:00"),
        (("US", "TX"), "America/Chicago", Channel.SMS, "2026-01-18T15:30", "2026-01-18T18:00"),
        (("US", "AL"), "America/Chicago", Channel.SMS, "2026-01-18T15:30", "2026-01-20T14:00"),  # Monday is MLK day
        # France: calls not over lunch, on weekends or holidays; Christmas 2026 is a Friday
        (("FR", ""), "Europe/Paris", Channel.VOICE, "2026-01-14T12:30", "2026-01-14T13:00"),
        (("FR", ""), "Europe/Paris", Channel.VOICE, "2026-12-24T19:00", "2026-12-28T09:00"),
        (("FR", ""), "Europe/Paris", Channel.SMS, "2026-12-25T11:00", "2026-12-26T07:00"),
        (("DE", ""), "Europe/Berlin", Channel.SMS, "2026-05-01T10:00", "2026-05-02T07:00"),
        (("AE", ""), "Asia/Dubai", Channel.SMS, "2026-01-14T14:00", "2026-01-15T05:00"),
        # where we know of no law, the house's own hours are all
        (("JP", ""), "Asia/Tokyo", Channel.SMS, "2026-01-14T18:00", "2026-01-14T18:00"),
    ],
)
def test_marketing_keeps_the_hours_of_the_country(
    place: tuple[str, str], zone: str, channel: Channel, now: str, free: str
) -> None:
    hours = POLICY.hours(Purpose.MARKETING, channel, *place)
    assert free_at(utc(now), zone, hours) == utc(free)


def test_service_keeps_the_houses_hours_alone() -> None:
    hours = POLICY.hours(Purpose.SERVICE, Channel.SMS, "FR", "")
    assert free_at(utc("2026-12-25T12:30"), "Europe/Paris", hours) == utc("2026-12-25T12:30")
    assert free_at(utc("2026-12-25T21:30"), "Europe/Paris", hours) == utc("2026-12-26T06:00")


def test_the_house_the_country_and_the_customer_must_all_agree() -> None:
    policy = Policy(secret=b"s", quiet={Purpose.MARKETING: read_quiet_hours("20:00-09:00")}, laws=LAWS)
    hours = policy.hours(Purpose.MARKETING, Channel.SMS, "US", "FL", "08:00-11:30")
    night = utc("2026-01-15T04:00")
    assert free_at(night, "America/New_York", hours) == utc("2026-01-15T16:30")
    assert why_quiet(night, "America/New_York", hours) == (
        "quiet until 11:30 in America/New_York (the house's own hours and US law and US-FL law)"
    )
    assert why_quiet(utc("2026-01-15T15:00"), "America/New_York", hours) == (
        "quiet until 11:30 in America/New_York (the customer's own hours)"
    )
    assert why_quiet(utc("2026-01-15T18:00"), "America/New_York", hours) == ""


def test_a_long_silence_names_the_day_it_ends() -> None:
    hours = POLICY.hours(Purpose.MARKETING, Channel.VOICE, "FR", "")
    assert (
        why_quiet(utc("2026-12-24T20:00"), "Europe/Paris", hours) == "quiet until Monday 10:00 in Europe/Paris (FR law)"
    )


def test_every_row_says_where_it_is_from_and_ours_say_so() -> None:
    for row in rows_in(OURS):
        assert row.source, row.line
    names = {limit.name for limit in LAWS.limits.values()}
    assert {"US law", "US-FL law", "FR law", "our default for DE", "our default for GB"} <= names


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("Germany,,marketing,sms,every,08:00,20:00,x", "'Germany' is no country"),
        ("DE,,advertising,sms,every,08:00,20:00,x", "'advertising' is not a valid Purpose"),
        ("DE,,marketing,fax,every,08:00,20:00,x", "'fax' is not a valid Channel"),
        ("DE,,marketing,sms,workdays,08:00,20:00,x", "'workdays' is no day"),
        ("DE,,marketing,sms,every,8,20:00,x", "'8' is no time of day"),
        ("DE,,marketing,sms,every,20:00,08:00,x", "20:00 to 08:00 is no span of a day"),
        ("DE,,marketing,sms,every,08:00,20:00,", "where is this from"),
        ("DE,,marketing,sms,monday-friday,08:00,20:00,x", "say nothing of saturday, sunday"),
        ("DE,,marketing,sms", "2: "),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_its_place(tmp_path: Path, row: str, said: str) -> None:
    path = tmp_path / "hours.csv"
    path.write_text(f"{HEAD}\n{row}\n")
    with pytest.raises(ValueError, match=said) as wrong:
        laws_in(path)
    assert str(wrong.value).startswith(f"{path}:2: ")


def test_a_file_with_other_columns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "hours.csv"
    path.write_text("country,from\n")
    with pytest.raises(ValueError, match="expected the columns country, region"):
        laws_in(path)


def test_a_house_may_have_no_laws_at_all() -> None:
    assert Laws({}).of("US", "FL", Purpose.MARKETING, Channel.SMS) == ()


@pytest.mark.parametrize(
    ("zone", "phone", "country", "zones"),
    [
        ("Europe/Berlin", "+12125550100", "US", "Europe/Berlin"),  # what they say comes first
        ("Mars/Olympus", "+12125550100", "US", "America/New_York"),
        (None, "+12125550100", "DE", "America/New_York"),
        (None, None, "DE", "Europe/Berlin|Europe/Busingen"),
        (None, None, None, "Asia/Tokyo"),
        (None, "", "", "Asia/Tokyo"),
        (None, "+870772001234", None, ANYWHERE),  # Inmarsat
        (None, "+870772001234", "DE", "Europe/Berlin|Europe/Busingen"),
        (None, "+447911123456", "GB", "Europe/London"),  # not Guernsey
    ],
)
def test_where_a_customer_may_be(zone: str | None, phone: str | None, country: str | None, zones: str) -> None:
    assert zones_of(zone, phone, country, "Asia/Tokyo") == zones


def test_a_toll_free_number_of_an_american_may_be_anywhere_in_america() -> None:
    zones = zones_of(None, "+18005551234", "US", "UTC").split("|")
    assert {"America/New_York", "Pacific/Honolulu"} <= set(zones)
    assert "America/Toronto" not in zones


@pytest.mark.parametrize(
    ("phone", "country", "law"),
    [
        ("+1305", "DE", ("US", "FL")),
        ("+1416", None, ("CA", "ON")),
        ("+1876", None, ("JM", "")),
        ("+1800", None, ("US", "")),
        ("+4915", "FR", ("DE", "")),
        ("+7916", None, ("RU", "")),
        ("+7701", None, ("KZ", "")),
        ("+8707", "DE", ("DE", "")),
        ("", "de", ("DE", "")),
        (None, None, ("", "")),
    ],
)
def test_whose_law_holds(phone: str | None, country: str | None, law: tuple[str, str]) -> None:
    assert law_of(phone, country) == law


def test_area_codes_agree_with_libphonenumber() -> None:
    codes = [line.split(",") for line in NORTH_AMERICA.read_text().splitlines()[1:]]
    assert len(codes) > 400
    for code, country, _ in codes:
        number = PhoneNumber(country_code=1, national_number=int(f"{code}5551234"))
        assert region_code_for_number(number) in (country, None), code
        assert area_of(f"+1{code}")[0] == country


def test_holidays_that_fall_on_a_weekend_are_kept_on_the_day_that_takes_their_place() -> None:
    # the fourth of July 2026 is a Saturday, kept on Friday
    assert date(2026, 7, 3).weekday() == 4
    hours = POLICY.hours(Purpose.MARKETING, Channel.SMS, "US", "UT")
    assert free_at(utc("2026-07-03T16:00"), "America/Denver", hours) == utc("2026-07-05T14:00")
