"""The cap per person holds across rules, and the more important message goes first."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

import models
from beforehand.passes import preview_rule, run_rule
from models.vocabulary import Reason
from tests.deciding import NOON, House

DAY = timedelta(days=1)
GIFT = "  - {voucher: {worth: 5 EUR, valid_for: 9 days}}\n  - {send: hello, by: [sms]}"


@pytest.fixture
def house(engine: Engine, tmp_path: Path) -> House:
    made = House(engine, tmp_path, {"caps": {"marketing": "1 per 7 days", "service": "2 per 1 day"}})
    made.template()
    return made


def offer(house: House, rule_id: str, **terms: Any) -> None:
    house.rule(rule_id, purpose="marketing", **({"steps": "  - {send: hello, by: [sms]}"} | terms))


def fan(house: House) -> int:
    who = house.customer()
    house.consent(who, "sms", "marketing", "granted")
    return who


def test_one_rule_uses_up_what_another_may_say(house: House) -> None:
    fan(house)
    offer(house, "first")
    offer(house, "second")
    assert run_rule(house.app, "first", NOON).planned == 1
    assert run_rule(house.app, "second", NOON).withheld == {Reason.CAP: 1}
    assert run_rule(house.app, "second", NOON + 7 * DAY).planned == 1  # the window has rolled on


def test_purposes_have_caps_of_their_own(house: House) -> None:
    fan(house)
    offer(house, "first")
    house.rule("care")
    assert run_rule(house.app, "first", NOON).planned == run_rule(house.app, "care", NOON).planned == 1


def test_the_subjects_of_one_pass_share_the_cap(house: House) -> None:
    house.rule(subject="order", condition="shipped_at: present", limits="{once_per: order}")
    who = house.customer()
    for _ in range(5):
        house.add(models.Order, customer_id=who, shipped_at=NOON - DAY, placed_at=NOON - DAY)
    report = run_rule(house.app, "hello", NOON)
    assert (report.planned, report.withheld) == (2, {Reason.CAP: 3})


@pytest.mark.parametrize("state", ["suppressed", "cancelled", "expired", "failed"])
def test_what_was_never_sent_does_not_count(house: House, state: str) -> None:
    fan(house)
    offer(house, "first")
    offer(house, "second")
    run_rule(house.app, "first", NOON)
    house.set(models.Message, state=state)
    assert run_rule(house.app, "second", NOON).planned == 1


def test_a_more_important_message_takes_the_place_of_one_that_waits(house: House) -> None:
    fan(house)
    offer(
        house,
        "lesser",
        priority=10,
        steps="  - {voucher: {worth: 5 EUR, valid_for: 9 days}}\n  - {send: hello, by: [sms]}",
    )
    offer(house, "greater", priority=20)
    run_rule(house.app, "lesser", NOON)
    assert preview_rule(house.app, "greater", NOON).messages == 1
    assert house.rows(models.Message, "state") == ["planned"]  # a preview displaces nothing
    report = run_rule(house.app, "greater", NOON)
    assert (report.planned, report.displaced) == (1, 1)
    assert house.rows(models.Message, "rule_id", "state", "reason") == [
        ("lesser", "suppressed", "cap"),
        ("greater", "planned", None),
    ]
    assert house.rows(models.Voucher, "valid_until") == [NOON]  # it was never shown, so it ends


@pytest.mark.parametrize("state", ["claimed", "in_flight", "accepted", "unknown"])
def test_what_is_on_its_way_is_not_taken_back(house: House, state: str) -> None:
    fan(house)
    offer(house, "lesser", priority=10)
    offer(house, "greater", priority=20)
    run_rule(house.app, "lesser", NOON)
    house.set(models.Message, state=state)
    assert run_rule(house.app, "greater", NOON).withheld == {Reason.CAP: 1}


def test_a_lesser_or_equal_message_never_displaces(house: House) -> None:
    fan(house)
    offer(house, "first", priority=20)
    offer(house, "second", priority=20)
    run_rule(house.app, "first", NOON)
    assert run_rule(house.app, "second", NOON).withheld == {Reason.CAP: 1}


def test_service_messages_are_never_displaced(house: House) -> None:
    house.customer()
    for name, priority in (("one", 10), ("two", 20), ("three", 90)):
        house.rule(name, priority=priority)
    planned = [run_rule(house.app, name, NOON).planned for name in ("one", "two", "three")]
    assert planned == [1, 1, 0]


def test_only_as_many_give_way_as_are_too_many(house: House) -> None:
    house.settings["caps"] = {"marketing": "2 per 7 days"}
    fan(house)
    for name, priority in (("low", 5), ("middle", 10), ("high", 20)):
        offer(house, name, priority=priority)
        run_rule(house.app, name, NOON)
    assert house.rows(models.Message, "rule_id", "state") == [
        ("low", "suppressed"),
        ("middle", "planned"),
        ("high", "planned"),
    ]


def test_a_rule_that_defers_takes_the_place_that_frees_next(house: House) -> None:
    house.settings |= {"caps": {"marketing": "2 per 7 days"}, "quiet_laws": None}
    fan(house)
    offer(house, "first")
    offer(house, "second")
    offer(house, "patient", limits="{once_per: customer, when_capped: defer}")
    offer(house, "more", limits="{once_per: customer, when_capped: defer}")
    run_rule(house.app, "first", NOON + timedelta(minutes=10))
    run_rule(house.app, "second", NOON + DAY)
    assert run_rule(house.app, "patient", NOON + 2 * DAY).planned == 1
    assert run_rule(house.app, "more", NOON + 2 * DAY + timedelta(hours=1)).planned == 1
    due = dict(house.rows(models.Message, "rule_id", "due_at"))
    # the full hour after the first one leaves the window, then that after the second one
    assert due["patient"] == NOON + 7 * DAY + timedelta(hours=1)
    assert due["more"] == NOON + 8 * DAY
    offer(house, "skips")
    assert run_rule(house.app, "skips", NOON + 8 * DAY + timedelta(hours=2)).withheld == {Reason.CAP: 1}


def test_what_could_only_be_deferred_until_it_is_too_late_is_withheld(house: House) -> None:
    fan(house)
    offer(house, "first")
    offer(house, "patient", limits="{once_per: customer, when_capped: defer, valid_for: 2 days}")
    run_rule(house.app, "first", NOON)
    assert run_rule(house.app, "patient", NOON + DAY).withheld == {Reason.CAP: 1}


def test_a_deferred_message_still_keeps_the_quiet_hours(house: House) -> None:
    house.settings["quiet_laws"] = None
    fan(house)
    offer(house, "first")
    offer(house, "patient", limits="{once_per: customer, when_capped: defer}")
    run_rule(house.app, "first", NOON + timedelta(hours=6, minutes=59))  # 19:59 in Berlin
    run_rule(house.app, "patient", NOON + DAY)
    assert house.rows(models.Message, "due_at")[1] == NOON + 7 * DAY + timedelta(hours=20)  # 9 in the morning after


def test_what_gives_way_waits_again_where_its_rule_defers(house: House) -> None:
    fan(house)
    offer(house, "lesser", priority=10, limits="{once_per: customer, when_capped: defer}")
    offer(house, "greater", priority=20)
    run_rule(house.app, "lesser", NOON)
    assert run_rule(house.app, "greater", NOON).displaced == 1
    rows = house.rows(models.Message, "rule_id", "state", "reason", "due_at")
    assert rows == [("lesser", "planned", "cap", NOON + 7 * DAY), ("greater", "planned", None, NOON)]


def test_only_the_new_message_takes_a_place_that_others_wait_for(house: House) -> None:
    fan(house)
    offer(house, "first", priority=50)
    offer(house, "patient", priority=10, limits="{once_per: customer, when_capped: defer}")
    offer(house, "greater", priority=20, limits="{once_per: customer, when_capped: defer}")
    run_rule(house.app, "first", NOON)
    house.set(models.Message, state="accepted")
    run_rule(house.app, "patient", NOON)
    assert run_rule(house.app, "greater", NOON).displaced == 1
    assert dict(house.rows(models.Message, "rule_id", "due_at")) == {
        "first": NOON,
        "greater": NOON + 7 * DAY,
        "patient": NOON + 14 * DAY,
    }


CHANNELS = {"caps": {"marketing": "9 per 7 days", "marketing sms": "1 per 7 days"}}
BOTH = "  - {send: hello, by: [sms, email]}"


@pytest.mark.parametrize(
    ("fate", "went"),
    [("skip", ["sms"]), ("defer", ["sms", "sms"]), ("other channel", ["sms", "email"])],
)
def test_a_full_channel_is_left_as_the_rule_says(house: House, fate: str, went: list[str]) -> None:
    house.settings |= CHANNELS
    house.consent(fan(house), "email", "marketing", "granted")
    offer(house, "first", steps=BOTH)
    offer(house, "second", steps=BOTH, limits=f"{{once_per: customer, when_capped: {fate}}}")
    run_rule(house.app, "first", NOON)
    run_rule(house.app, "second", NOON)
    assert house.rows(models.Message, "channel") == went


def test_where_every_channel_is_full_nothing_goes(house: House) -> None:
    house.settings["caps"] = {"marketing sms": "1 per 7 days", "marketing email": "1 per 7 days"}
    house.consent(fan(house), "email", "marketing", "granted")
    for name in ("one", "two", "three"):
        offer(house, name, steps=BOTH, limits="{once_per: customer, when_capped: other channel}")
    counts = [run_rule(house.app, name, NOON) for name in ("one", "two", "three")]
    assert [report.planned for report in counts] == [1, 1, 0]
    assert counts[2].withheld == {Reason.CAP: 1}


def test_one_pass_fills_a_channel_and_goes_on_with_the_other(house: House) -> None:
    house.settings["caps"] = {"service sms": "2 per 1 day"}
    house.rule(
        subject="order",
        condition="shipped_at: present",
        limits="{once_per: order, when_capped: other channel}",
    )
    who = house.customer()
    for _ in range(3):
        house.add(models.Order, customer_id=who, shipped_at=NOON - DAY, placed_at=NOON - DAY)
    run_rule(house.app, "hello", NOON)
    assert house.rows(models.Message, "channel") == ["sms", "sms", "email"]
