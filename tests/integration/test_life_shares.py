"""Holdout, rollout, at most and the voucher budget: who is left out, that it stays so, and what comes free again."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, delete, insert

import models
from beforehand.ingest import bucket_of
from beforehand.passes import advance, preview_rule, run_rule
from messaging.guards.amounts import period_start
from messaging.guards.brake import Over
from messaging.guards.draw import shuffle
from models.database import writing
from models.vocabulary import BrakeLimit, Reason
from tests.deciding import NOON, House

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
MANY = 1000
GIFT = "  - {voucher: {worth: 50 EUR, valid_for: 90 days, budget: %s}}\n  - {send: hello, by: [sms]}"


@pytest.fixture
def house(engine: Engine, tmp_path: Path) -> House:
    made = House(engine, tmp_path, {"caps": {}})
    made.template()
    return made


def crowd(house: House, count: int = MANY) -> None:
    """So many customers, each in the bucket that ingest would give them."""
    rows = [
        {
            "external_id": f"c{number}", "changed_at": NOON, "country": "DE", "time_zone": "Europe/Berlin",
            "phone": f"+4915{number:08}", "bucket": bucket_of(b"s" * 32, f"c{number}"),
        }
        for number in range(count)
    ]  # fmt: skip
    with writing(house.engine) as connection:
        connection.execute(insert(models.Customer), rows)


def left_out(house: House, rule_id: str, reason: Reason) -> set[int]:
    """The customers whose match of the rule was withheld for that reason."""
    rows = house.rows(models.Match, "rule_id", "customer_id", "reason")
    return {row.customer_id for row in rows if (row.rule_id, row.reason) == (rule_id, reason)}


def held_out(house: House, rule_id: str, share: str, at: datetime = NOON) -> set[int]:
    """Whom a rule with that holdout keeps out."""
    house.rule(rule_id, purpose="survey", limits=f"{{once_per: customer, holdout: {share}}}")
    house.settings |= {"consent_needed": []}
    run_rule(house.app, rule_id, at)
    return left_out(house, rule_id, Reason.HOLDOUT)


def test_a_holdout_is_about_its_share_and_the_same_people_at_every_pass(house: House) -> None:
    crowd(house)
    first = held_out(house, "hello", "10%")
    assert 70 <= len(first) <= 130
    report = run_rule(house.app, "hello", NOON + HOUR)
    assert report.withheld[Reason.HOLDOUT] == len(first)
    assert left_out(house, "hello", Reason.HOLDOUT) == first
    assert len(house.rows(models.Message)) == MANY - len(first), "and everybody else is spoken to"


def test_two_rules_hold_out_different_people(house: House) -> None:
    crowd(house)
    one, two = held_out(house, "one", "10%"), held_out(house, "two", "10%")
    assert len(one & two) < 40, "ten of a hundred would be chance"


def test_a_greater_holdout_keeps_everybody_of_a_smaller_one(house: House) -> None:
    crowd(house)
    small = held_out(house, "hello", "5%")
    with writing(house.engine) as connection:  # as if nothing had been decided yet
        for table in (models.Message, models.Match):
            connection.execute(delete(table))
    greater = held_out(house, "hello", "20%", NOON + HOUR)
    assert small < greater
    buckets = dict(house.rows(models.Customer, "id", "bucket"))
    assert greater == {key for key, bucket in buckets.items() if place(bucket, "holdout") < 2000}


def place(bucket: int, what: str, rule_id: str = "hello") -> int:
    factor, offset = shuffle(b"s" * 32, what, rule_id)
    return (bucket * factor + offset) % 10_000


def test_the_places_of_a_rule_are_a_shuffle_of_all_buckets() -> None:
    for rule_id in ("hello", "late-order", "x"):
        assert {place(bucket, "holdout", rule_id) for bucket in range(10_000)} == set(range(10_000))


def rollout(house: House, percent: float, at: datetime) -> set[int]:
    house.rule(purpose=f"service\npercent: {percent}")
    run_rule(house.app, "hello", at)
    return set(house.rows(models.Message, "customer_id"))


def test_a_rollout_only_ever_adds_people(house: House) -> None:
    crowd(house)
    tenth = rollout(house, 10, NOON)
    assert 70 <= len(tenth) <= 130
    assert len(left_out(house, "hello", Reason.NOT_IN_ROLLOUT)) == MANY - len(tenth)
    half = rollout(house, 50, NOON + HOUR)
    assert tenth < half
    assert 450 <= len(half) <= 550
    assert len(rollout(house, 100, NOON + 2 * HOUR)) == MANY


def test_a_rollout_draws_the_subject_where_nobody_is_known(house: House) -> None:
    steps = "  - {task: Look at it, to: desk}"
    house.rule(
        subject="call",
        condition="direction: inbound",
        steps=steps,
        limits="{once_per: call}",
        purpose="service\npercent: 30",
    )
    for _ in range(60):
        house.add(models.Call, direction="inbound", ended_at=NOON - HOUR)
    report = run_rule(house.app, "hello", NOON)
    assert 5 <= report.tasks <= 32
    assert report.withheld == {Reason.NOT_IN_ROLLOUT: 60 - report.tasks}


def test_people_of_a_rules_own_test_are_not_drawn(house: House) -> None:
    house.settings |= {"consent_needed": []}
    never_held_out = house.customer(bucket=-1)
    house.customer(bucket=-2)
    house.rule(purpose="survey\npercent: 0.01", limits="{once_per: customer, holdout: 99%}")
    assert run_rule(house.app, "hello", NOON).withheld == {Reason.HOLDOUT: 1}
    assert house.rows(models.Message, "customer_id") == [never_held_out]


def test_at_most_so_many_messages_in_the_window_and_the_rest_later(house: House) -> None:
    house.rule(limits="{once_per: customer, at_most: 3 messages per day}")
    for _ in range(5):
        house.customer()
    report = run_rule(house.app, "hello", NOON)
    assert (report.planned, report.withheld) == (3, {Reason.AT_MOST: 2})
    report = run_rule(house.app, "hello", NOON + 23 * HOUR)
    assert (report.planned, report.withheld) == (0, {Reason.AT_MOST: 2, Reason.KNOWN_OCCASION: 3})
    house.customer()  # a newcomer does not overtake those who wait
    report = run_rule(house.app, "hello", NOON + 25 * HOUR)
    assert report.planned == 3
    assert house.rows(models.Match, "reason") == [None] * 6


def test_who_could_not_go_anyway_takes_no_place(house: House) -> None:
    """Those who waited too long would otherwise come first for ever, and nobody would be told anything any more."""
    house.rule(limits="{once_per: customer, valid_for: 12 hours, at_most: 2 messages per day}")
    for _ in range(5):
        house.customer()
    run_rule(house.app, "hello", NOON)
    house.customer()
    report = run_rule(house.app, "hello", NOON + 25 * HOUR)
    assert report.planned == 1
    assert report.withheld == {Reason.TOO_LATE: 3, Reason.KNOWN_OCCASION: 2}


def test_messages_that_were_never_sent_free_their_place(house: House) -> None:
    house.rule(limits="{once_per: customer, at_most: 1 messages per day}")
    house.customer()
    run_rule(house.app, "hello", NOON)
    house.set(models.Message, state="suppressed")
    house.customer()
    assert run_rule(house.app, "hello", NOON + HOUR).planned == 1


def test_a_later_step_waits_for_room_too(house: House) -> None:
    steps = "  - wait: 1 hour\n  - {send: hello, by: [sms]}"
    house.rule(steps=steps, limits="{once_per: customer, at_most: 1 messages per hour}")
    house.customer()
    house.customer()
    assert run_rule(house.app, "hello", NOON).begun == 2
    report = advance(house.app, NOON + HOUR)
    assert (report.planned, report.withheld) == (1, {Reason.AT_MOST: 1})
    assert advance(house.app, NOON + 2 * HOUR + timedelta(minutes=1)).planned == 1


def test_the_budget_ends_with_the_month_of_the_house(house: House) -> None:
    house.settings |= {"time_zone": "America/New_York"}
    house.rule(steps=GIFT % "120 EUR per month")
    for _ in range(3):
        house.customer()
    report = run_rule(house.app, "hello", NOON)
    assert (report.vouchers, report.planned, report.withheld) == (2, 2, {Reason.BUDGET: 1})
    still_march = datetime(2026, 4, 1, 3, 59, tzinfo=NOON.tzinfo)  # New York: UTC-4
    assert run_rule(house.app, "hello", still_march).vouchers == 0
    assert run_rule(house.app, "hello", still_march + timedelta(minutes=1)).vouchers == 1


def test_a_voucher_that_was_taken_back_is_no_longer_spent(house: House) -> None:
    house.rule(steps=GIFT % "50 EUR per month")
    house.customer()
    run_rule(house.app, "hello", NOON)
    house.customer()
    assert run_rule(house.app, "hello", NOON + HOUR).withheld[Reason.BUDGET] == 1
    house.set(models.Voucher, voided_at=NOON + HOUR)
    assert run_rule(house.app, "hello", NOON + 2 * HOUR).vouchers == 1


def test_the_budget_holds_for_a_voucher_behind_a_wait(house: House) -> None:
    house.rule(steps="  - wait: 1 hour\n" + GIFT % "50 EUR per week")
    house.customer()
    house.customer()
    run_rule(house.app, "hello", NOON)
    report = advance(house.app, NOON + HOUR)
    assert (report.vouchers, report.withheld) == (1, {Reason.BUDGET: 1})


def test_one_customer_is_promised_no_more_than_is_right_by_all_rules_together(house: House) -> None:
    worth = "  - {voucher: {worth: 50 EUR, valid_for: 90 days, per_customer: 100 EUR per 60 days}}\n"
    house.rule("first", steps=worth + "  - {send: hello, by: [sms]}")
    house.rule("second", steps=worth + "  - {send: hello, by: [sms]}")
    house.rule("third", steps=worth + "  - {send: hello, by: [sms]}")
    house.customer()
    assert [run_rule(house.app, rule, NOON).vouchers for rule in ("first", "second")] == [1, 1]
    assert run_rule(house.app, "third", NOON + HOUR).withheld == {Reason.CUSTOMER_BUDGET: 1}
    house.customer()
    assert run_rule(house.app, "third", NOON + 2 * HOUR).vouchers == 1
    assert run_rule(house.app, "third", NOON + 60 * DAY + HOUR).vouchers == 1


@pytest.mark.parametrize(
    ("per", "zone", "began"),
    [
        ("day", "UTC", "2026-03-10T00:00+00:00"),
        ("day", "Pacific/Auckland", "2026-03-11T00:00+13:00"),
        ("week", "UTC", "2026-03-09T00:00+00:00"),
        ("month", "America/New_York", "2026-03-01T00:00-05:00"),
    ],
)
def test_periods_go_by_the_calendar_of_the_zone(per: str, zone: str, began: str) -> None:
    assert period_start(NOON, per, zone) == datetime.fromisoformat(began)


def test_a_preview_says_whether_the_brake_would_be_exceeded(house: House) -> None:
    for country in ["DE"] * 3 + ["FR"] * 7:
        house.customer(country=country)
    house.settings["canary"] = 1
    house.rule(limits="{once_per: customer, brake: 20% of customers}")
    shown = preview_rule(house.app, "hello", NOON)
    assert shown.brake == Over(BrakeLimit.RULE, most=2, count=3, subjects=3, customers=3)
    house.rule(limits="{once_per: customer, brake: 30% of customers}")
    assert preview_rule(house.app, "hello", NOON).brake is None
