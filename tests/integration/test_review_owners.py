"""What a reviewer broke once in the life of a match: another owner, a voucher nobody saw, a call nobody is sure of."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

import models
from beforehand.passes import advance, policy_of, run_rule, stops_of
from messaging.channels.base import Outcome
from messaging.claims import Claimed
from messaging.outbox import arm, claim, fail, record
from models.database import writing
from models.vocabulary import OutcomeClass, Reason
from tests.deciding import NOON, House

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
TWICE = "  - {send: hello, by: [sms]}\n  - wait: 2 days\n  - {send: hello, by: [sms]}\n  - {task: Phone them, to: desk}"
GIFT = "  - {voucher: {worth: 50 EUR, valid_for: 90 days}}\n  - {send: hello, by: [sms]}"
GIFT_BY_CALL = """  - {voucher: {worth: 50 EUR, valid_for: 90 days}}
  - {call: hello, tries: 1, else: {send: hello, by: [sms]}}
"""
CALL = "  - {call: hello, tries: 2, every: 20 minutes, else: {send: hello, by: [sms]}}"


@pytest.fixture
def house(engine: Engine, tmp_path: Path) -> House:
    made = House(engine, tmp_path, {"caps": {}})
    made.template()
    return made


def order(house: House, steps: str) -> None:
    """A rule over orders with these steps, and an order that it finds."""
    house.rule(subject="order", condition="shipped_at: present", limits="{once_per: order}", steps=steps)
    house.add(models.Order, customer_id=house.customer(), shipped_at=NOON - DAY, placed_at=NOON - DAY)


def take(house: House, at: Any = NOON) -> Claimed:
    app = house.app
    with writing(app.engine) as connection:
        return claim(connection, at, limit=10, lease_seconds=60, policy=policy_of(app), stops=stops_of(app))


def messages(house: House) -> list[tuple[str, str, str | None]]:
    return [(row.step, row.state, row.reason) for row in house.rows(models.Message)]


def test_a_later_step_is_not_told_to_the_first_owner(house: House) -> None:
    """Seen: an order that was put right to another customer while its match waited was told to the wrong one."""
    order(house, TWICE)
    run_rule(house.app, "hello", NOON)
    house.set(models.Message, state="delivered", ended_at=NOON)
    house.set(models.Order, customer_id=house.customer())
    report = advance(house.app, NOON + 2 * DAY)
    assert (report.planned, report.withheld) == (0, {Reason.OWNER_CHANGED: 1})
    assert messages(house) == [("0", "delivered", None), ("2", "suppressed", "owner_changed")]
    assert house.rows(models.Match, "state", "reason") == [("stopped", "owner_changed")]
    assert house.rows(models.Task) == [], "nobody is asked to phone the first owner about it"


def test_a_planned_message_is_not_told_to_the_first_owner(house: House) -> None:
    """Seen: the same with a message that waited for the morning."""
    order(house, "  - {send: hello, by: [sms]}")
    run_rule(house.app, "hello", NOON)
    house.set(models.Order, customer_id=house.customer())
    taken = take(house)
    assert (taken.claims, taken.withheld) == ([], {Reason.OWNER_CHANGED: 1})
    assert messages(house) == [("0", "suppressed", "owner_changed")]


def test_an_owner_who_stayed_is_told(house: House) -> None:
    order(house, "  - {send: hello, by: [sms]}")
    house.rule("everybody")
    run_rule(house.app, "hello", NOON)
    run_rule(house.app, "everybody", NOON)
    assert len(take(house).claims) == 2


def test_an_order_without_an_owner_by_now_is_told_to_nobody(house: House) -> None:
    order(house, "  - {send: hello, by: [sms]}")
    run_rule(house.app, "hello", NOON)
    house.set(models.Order, customer_id=None)
    assert take(house).withheld == {Reason.OWNER_CHANGED: 1}


def end_untold(house: House, how: str) -> None:
    """Let the planned message end without having been told."""
    if how == "suppressed":
        house.set(models.Customer, phone=None)
        assert take(house).claims == []
        return
    if how == "expired":
        house.set(models.Message, expires_at=NOON)
        assert take(house).claims == []
        return
    if how == "retired":
        house.rule(steps=GIFT, status="retired")
        assert take(house).withheld == {Reason.RULE_NOT_LIVE: 1}
        return
    claims = take(house).claims
    if how == "no template":
        fail(house.engine, [(claims[0], Reason.TEMPLATE_FAILED)], NOON)
        return
    (armed,) = arm(house.engine, claims, NOON)
    record(house.engine, armed, Outcome(OutcomeClass.REFUSED, code="21211"), NOON)


@pytest.mark.parametrize("how", ["suppressed", "expired", "retired", "no template", "refused"])
def test_a_voucher_that_nobody_was_told_of_is_taken_back(house: House, how: str) -> None:
    """Seen: the voucher of a message that was never sent stayed good, and its money stayed spent."""
    house.rule(steps=GIFT)
    house.customer()
    run_rule(house.app, "hello", NOON)
    assert house.rows(models.Voucher, "voided_at") == [None]
    end_untold(house, how)
    assert house.rows(models.Voucher, "voided_at", "valid_until") == [(NOON, NOON)]


def test_a_voucher_that_was_told_or_may_still_be_stays_good(house: House) -> None:
    house.rule(steps=GIFT)
    house.customer()
    house.customer()
    run_rule(house.app, "hello", NOON)
    first, second = arm(house.engine, take(house).claims, NOON)
    record(house.engine, first, Outcome(OutcomeClass.ACCEPTED, code="201", provider_id="SM1"), NOON)
    record(house.engine, second, Outcome(OutcomeClass.UNKNOWN, code="timeout"), NOON)
    assert house.rows(models.Voucher, "voided_at") == [None, None]


def test_a_voucher_waits_for_the_else_that_may_show_it(house: House) -> None:
    house.rule(steps=GIFT_BY_CALL)
    house.customer()
    run_rule(house.app, "hello", NOON)
    (armed,) = arm(house.engine, take(house).claims, NOON)
    record(house.engine, armed, Outcome(OutcomeClass.REFUSED, code="21214"), NOON)
    assert house.rows(models.Voucher, "voided_at") == [None]
    house.set(models.Customer, phone=None)
    advance(house.app, NOON + HOUR)
    assert messages(house) == [("1", "failed", "refused"), ("1.else", "suppressed", "unreachable")]
    assert house.rows(models.Voucher, "voided_at") == [NOON + HOUR]


def test_a_redeemed_voucher_is_never_taken_back(house: House) -> None:
    house.rule(steps=GIFT)
    house.customer()
    run_rule(house.app, "hello", NOON)
    house.set(models.Voucher, redeemed_at=NOON)
    end_untold(house, "refused")
    assert house.rows(models.Voucher, "voided_at") == [None]


def test_a_call_of_which_nobody_is_sure_did_not_get_through(house: House) -> None:
    """Seen: a call with an unknown outcome counted as heard, so that its `else` was never said when it had failed."""
    house.rule(steps=CALL)
    house.customer()
    run_rule(house.app, "hello", NOON)
    house.set(models.Message, state="unknown", accepted_at=None, ended_at=None)
    advance(house.app, NOON + HOUR)
    assert house.rows(models.Match, "state", "next_step") == [("open", 0)], "it waits until somebody knows"
    house.set(models.Message, state="failed", reason="gave_up", ended_at=NOON + HOUR)
    advance(house.app, NOON + 2 * HOUR)
    assert messages(house) == [("0", "failed", "gave_up"), ("0.else", "planned", None)]


def test_a_call_that_stays_unknown_is_not_made_again(house: House) -> None:
    house.rule(steps=CALL)
    house.customer()
    run_rule(house.app, "hello", NOON)
    house.set(models.Message, state="unknown", reason="gave_up", accepted_at=None, ended_at=NOON + HOUR)
    advance(house.app, NOON + 2 * HOUR)
    assert messages(house) == [("0", "unknown", "gave_up")]
    assert house.rows(models.Match, "state") == ["done"]
