"""Each occasion is spoken about once: over passes, over subjects of a customer, over planners at work together."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

import models
from beforehand.passes import event_rules_due, preview_rule, run_rule
from models.vocabulary import Reason
from tests.deciding import NOON, House

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
GIFT = "  - {voucher: {worth: 5 EUR, valid_for: 9 days}}\n  - {send: hello, by: [sms, email]}"
BY_ORDER = {"subject": "order", "condition": "shipped_at: present", "limits": "{once_per: order}"}


@pytest.fixture
def house(engine: Engine, tmp_path: Path) -> House:
    made = House(engine, tmp_path)
    made.template()
    return made


def test_a_second_pass_says_nothing_again(house: House) -> None:
    house.rule()
    house.customer()
    assert run_rule(house.app, "hello", NOON).planned == 1
    again = run_rule(house.app, "hello", NOON + HOUR)
    assert (again.planned, again.withheld) == (0, {Reason.KNOWN_OCCASION: 1})
    assert len(house.rows(models.Match)) == len(house.rows(models.Message)) == 1


def test_the_same_slot_is_done_once(house: House) -> None:
    house.rule()
    house.customer()
    assert not run_rule(house.app, "hello", NOON, slot=NOON).skipped
    house.customer()
    assert run_rule(house.app, "hello", NOON + HOUR, slot=NOON).skipped
    assert len(house.rows(models.Message)) == 1
    assert house.rows(models.RulePass, "counts")[0]["messages"] == 1


def test_once_per_customer_takes_one_of_several_orders(house: House) -> None:
    house.rule(**(BY_ORDER | {"limits": "{once_per: customer}"}))
    who = house.customer()
    for _ in range(3):
        house.add(models.Order, customer_id=who, shipped_at=NOON - DAY, placed_at=NOON - DAY)
    report = run_rule(house.app, "hello", NOON)
    assert (report.matched, report.customers, report.planned) == (3, 1, 1)
    assert report.withheld == {Reason.KNOWN_OCCASION: 2}


def test_once_per_order_speaks_of_each(house: House) -> None:
    house.rule(**BY_ORDER)
    who = house.customer()
    orders = [house.add(models.Order, customer_id=who, shipped_at=NOON - DAY, placed_at=NOON - DAY) for _ in range(2)]
    assert run_rule(house.app, "hello", NOON).planned == 2
    assert house.rows(models.Match, "occasion") == [f"order/{order}" for order in orders]


def test_a_customer_may_be_spoken_to_again_when_the_pause_is_over(house: House) -> None:
    house.rule(limits="{once_per: customer every 180 days}")
    who = house.customer()
    for days, planned in ((0, 1), (179, 0), (180, 1), (200, 0), (361, 1)):
        assert run_rule(house.app, "hello", NOON + days * DAY).planned == planned, days
    assert house.rows(models.Match, "occasion") == [f"customer/{who}/{turn}" for turn in range(3)]


def test_a_withheld_occasion_is_decided_anew_and_uses_nothing_up(house: House) -> None:
    house.rule(limits="{once_per: customer every 180 days}")
    who = house.customer(phone=None, email=None)
    assert run_rule(house.app, "hello", NOON).withheld == {Reason.UNREACHABLE: 1}
    (match,) = house.rows(models.Match, "state", "reason", "seen_at")
    assert match == ("withheld", "unreachable", NOON)
    house.set(models.Customer, email="ann@example.com")
    assert run_rule(house.app, "hello", NOON + HOUR).planned == 1
    (match,) = house.rows(models.Match, "state", "reason", "occasion", "matched_at", "started_at")
    assert match == ("done", None, f"customer/{who}/0", NOON, NOON + HOUR)


def test_send_by_counts_from_the_first_match_and_anew_after_a_gap(house: House) -> None:
    house.rule(limits="{once_per: customer, valid_for: 3 hours}")
    house.customer(phone=None, email=None)
    run_rule(house.app, "hello", NOON)
    run_rule(house.app, "hello", NOON + 2 * HOUR)
    house.set(models.Customer, email="ann@example.com")
    assert preview_rule(house.app, "hello", NOON + 4 * HOUR).withheld == {Reason.TOO_LATE: 1}
    house.set(models.Customer, country="FR")
    run_rule(house.app, "hello", NOON + 4 * HOUR)  # it does not match here
    house.set(models.Customer, country="DE")
    assert preview_rule(house.app, "hello", NOON + 5 * HOUR).messages == 1


def test_eight_planners_at_once_plan_each_message_once(house: House) -> None:
    house.rule(
        **BY_ORDER, steps="  - {voucher: {worth: 5 EUR, valid_for: 9 days}}\n  - {send: hello, by: [sms, email]}"
    )
    who = [house.customer() for _ in range(5)]
    for turn in range(15):
        house.add(models.Order, customer_id=who[turn % 5], shipped_at=NOON - DAY, placed_at=NOON - DAY)
    house.settings["caps"] = {}
    app = house.app
    with ThreadPoolExecutor(8) as planners:
        reports = list(planners.map(lambda n: run_rule(app, "hello", NOON, slot=NOON + n * HOUR), range(8)))
    assert sum(report.planned for report in reports) == 15
    assert len(house.rows(models.Message)) == len(house.rows(models.Match)) == len(house.rows(models.Voucher)) == 15
    assert len(set(house.rows(models.Message, "reference"))) == 15


def test_a_match_keeps_the_version_and_the_text_it_ran_with(house: House) -> None:
    house.rule()
    house.customer()
    run_rule(house.app, "hello", NOON)
    before = (house.folder / "rules" / "hello.yaml").read_text()
    house.rule(priority=51)
    house.customer()
    run_rule(house.app, "hello", NOON + HOUR)
    kept = dict(house.rows(models.RuleVersion, "version", "text"))
    first, second = house.rows(models.Match, "version")
    assert kept[first] == before
    assert kept[second] == (house.folder / "rules" / "hello.yaml").read_text()


def test_an_event_rule_is_due_when_its_event_happened_since_its_last_pass(house: House) -> None:
    house.rule(when="{event: call.ended}", subject="call", condition="direction: inbound", limits="{once_per: call}")
    house.rule("other", when="{every: 1 hour}")
    assert event_rules_due(house.app, NOON) == []
    table = models.Change.__table__  # type: ignore[attr-defined]
    with house.engine.begin() as connection:
        connection.execute(table.insert().values(event="call.ended", changed_at=NOON))
    assert event_rules_due(house.app, NOON) == ["hello"]
    run_rule(house.app, "hello", NOON + HOUR)
    assert event_rules_due(house.app, NOON + HOUR) == []
    with house.engine.begin() as connection:  # committed late, by an ingest that had begun before the pass
        connection.execute(table.update().values(changed_at=NOON + HOUR / 2))
    assert event_rules_due(house.app, NOON + HOUR) == ["hello"]
