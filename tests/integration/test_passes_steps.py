"""Rules with several steps: waits, stop conditions, calls that are tried again, tasks, vouchers and surveys."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

import models
from beforehand.passes import advance, cancel_stopped, preview_rule, run_rule
from messaging.vouchers import code_hash, voucher_code
from models.database import writing
from models.vocabulary import Reason
from tests.deciding import NOON, House

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)

LATE = """  - {send: hello, by: [sms]}
  - wait: 2 days
    stop_if: {delivered_at: present}
  - task: Phone the customer
    to: delivery-desk
"""
REMIND = """  - {send: hello, by: [sms]}
  - wait: 2 days
    stop_if: {delivered_at: present}
  - {send: hello, by: [sms]}
"""
CALL = """  - wait: 3 minutes
  - call: hello
    connect_to: voice-desk
    tries: 2
    every: 20 minutes
    else: {send: sorry, by: [sms, email]}
"""
GIFT = "  - {voucher: {worth: 50 EUR, valid_for: 90 days}}\n  - {send: hello, by: [sms]}"


@pytest.fixture
def house(engine: Engine, tmp_path: Path) -> House:
    made = House(engine, tmp_path, {"caps": {}})
    made.template()
    made.template("sorry", "sms", "email")
    return made


def order(house: House, steps: str, **limits: Any) -> int:
    house.rule(subject="order", condition="shipped_at: present", limits="{once_per: order}", steps=steps)
    who = house.customer()
    return house.add(models.Order, customer_id=who, shipped_at=NOON - DAY, placed_at=NOON - DAY)


def told(house: House, state: str = "delivered", **more: Any) -> None:
    """The dispatch has done its work on whatever was planned."""
    planned = lambda c: c.state == "planned"  # noqa: E731
    house.set(models.Message, planned, state=state, accepted_at=NOON, ended_at=more.pop("at", NOON), **more)


def test_a_task_comes_when_its_wait_is_over(house: House) -> None:
    order(house, LATE)
    assert run_rule(house.app, "hello", NOON).planned == 1
    told(house)
    assert advance(house.app, NOON + 2 * DAY - MINUTE).steps == 0
    assert advance(house.app, NOON + 2 * DAY).tasks == 1
    assert advance(house.app, NOON + 2 * DAY + MINUTE).steps == 0
    (task,) = house.rows(models.Task, "what", "desk", "step")
    assert task == ("Phone the customer", "delivery-desk", "2")
    assert house.rows(models.Match, "state") == ["done"]


def test_a_wait_ends_the_match_when_its_stop_condition_holds(house: House) -> None:
    order(house, LATE)
    run_rule(house.app, "hello", NOON)
    told(house)
    house.set(models.Order, delivered_at=NOON + DAY)
    report = advance(house.app, NOON + 2 * DAY)
    assert (report.stopped, report.tasks) == (1, 0)
    assert house.rows(models.Match, "state", "reason") == [("stopped", "stopped")]


def test_nothing_goes_on_while_a_message_is_still_on_its_way(house: House) -> None:
    order(house, REMIND)
    run_rule(house.app, "hello", NOON)
    assert advance(house.app, NOON + 2 * DAY).planned == 0
    told(house, "sent")
    assert advance(house.app, NOON + 2 * DAY).planned == 1
    assert house.rows(models.Message, "step") == ["0", "2"]


@pytest.mark.parametrize("state", ["failed", "suppressed", "expired", "undelivered"])
def test_only_who_was_told_of_the_fault_is_told_of_the_cure(house: House, state: str) -> None:
    order(house, REMIND)
    run_rule(house.app, "hello", NOON)
    told(house, state, reason="refused")
    report = advance(house.app, NOON + 2 * DAY)
    assert (report.planned, report.withheld) == (0, {Reason.REFUSED: 1})
    assert house.rows(models.Message, "step", "state", "reason")[1] == ("2", "suppressed", "refused")
    assert house.rows(models.Match, "state") == ["done"]


def test_the_stop_condition_is_looked_at_again_before_the_claim(house: House) -> None:
    order(house, REMIND)
    run_rule(house.app, "hello", NOON)
    told(house)
    advance(house.app, NOON + 2 * DAY)
    with writing(house.engine) as connection:
        assert cancel_stopped(house.app, connection, NOON + 2 * DAY) == 0
    house.set(models.Order, delivered_at=NOON + 2 * DAY)
    with writing(house.engine) as connection:
        assert cancel_stopped(house.app, connection, NOON + 2 * DAY + MINUTE) == 1
    assert house.rows(models.Message, "state", "reason")[1] == ("cancelled", "stopped")
    assert house.rows(models.Match, "state", "ended_at") == [("stopped", NOON + 2 * DAY)], (
        "when its last step was taken"
    )


def test_a_later_step_passes_the_gates_anew(house: House) -> None:
    order(house, REMIND)
    run_rule(house.app, "hello", NOON)
    told(house)
    (who,) = house.rows(models.Customer, "id")
    house.consent(who, "sms", "service", "withdrawn", NOON + DAY)
    report = advance(house.app, NOON + 2 * DAY)
    assert (report.planned, report.withheld) == (0, {Reason.OPTED_OUT: 1})
    assert house.rows(models.Message, "state", "reason", "address")[1] == ("suppressed", "opted_out", "")


def test_a_full_cap_lets_a_later_step_rest_and_not_fall(house: House) -> None:
    order(house, REMIND)
    run_rule(house.app, "hello", NOON)
    told(house)
    house.settings["caps"] = {"service": "1 per 49 hours"}
    due = NOON + 2 * DAY
    assert advance(house.app, due).withheld == {Reason.CAP: 1}
    assert advance(house.app, due + MINUTE).steps == 0  # it rests
    assert advance(house.app, due + HOUR).planned == 1


def test_a_wait_until_a_fact_is_known(house: House) -> None:
    steps = "  - {send: hello, by: [sms]}\n  - wait: until delivered_at\n  - {send: hello, by: [sms]}"
    order(house, steps)
    run_rule(house.app, "hello", NOON)
    told(house)
    assert advance(house.app, NOON + DAY).planned == 0
    house.set(models.Order, delivered_at=NOON + 3 * DAY)
    assert advance(house.app, NOON + 2 * DAY).planned == 0
    assert advance(house.app, NOON + 4 * DAY).planned == 1


def call(house: House, **customer: Any) -> None:
    house.rule(
        subject="call", condition="direction: outbound", limits="{once_per: call, valid_for: 4 hours}", steps=CALL
    )
    house.add(models.Call, customer_id=house.customer(**customer), direction="outbound", ended_at=NOON)


def test_a_rule_that_begins_with_a_wait_says_so_and_calls_afterwards(house: House) -> None:
    call(house)
    seen = preview_rule(house.app, "hello", NOON)
    assert (seen.messages, seen.samples[0].channel, seen.samples[0].due_at) == (1, "voice", NOON + 3 * MINUTE)
    report = run_rule(house.app, "hello", NOON)
    assert (report.planned, report.begun) == (0, 1)
    assert advance(house.app, NOON + 3 * MINUTE).planned == 1
    (message,) = house.rows(models.Message, "step", "channel", "details", "expires_at")
    details = {"connect_to": "voice-desk", "tries": 2}
    assert message == ("1", "voice", details, NOON + 3 * MINUTE + 4 * HOUR)


def test_a_call_nobody_takes_is_tried_again_and_then_written(house: House) -> None:
    call(house)
    run_rule(house.app, "hello", NOON)
    advance(house.app, NOON + 3 * MINUTE)
    told(house, "undelivered", at=NOON + 5 * MINUTE)
    assert advance(house.app, NOON + 6 * MINUTE).planned == 0  # not before 20 minutes are over
    assert advance(house.app, NOON + 25 * MINUTE).planned == 1
    told(house, "undelivered", at=NOON + 26 * MINUTE)
    assert advance(house.app, NOON + 27 * MINUTE).planned == 1
    wanted = [("1", "voice", "hello"), ("1.try2", "voice", "hello"), ("1.else", "sms", "sorry")]
    assert house.rows(models.Message, "step", "channel", "template") == wanted
    assert house.rows(models.Match, "state") == ["done"]
    assert len(set(house.rows(models.Message, "reference"))) == 3


@pytest.mark.parametrize("state", ["delivered", "unknown"])
def test_a_call_that_got_through_or_may_have_is_not_repeated(house: House, state: str) -> None:
    call(house)
    run_rule(house.app, "hello", NOON)
    advance(house.app, NOON + 3 * MINUTE)
    told(house, state, at=NOON + 4 * MINUTE)
    for minutes in (5, 30, 600):
        assert advance(house.app, NOON + minutes * MINUTE).planned == 0
    assert house.rows(models.Match, "state") == ["done"]


def test_a_call_refused_for_good_is_written_at_once(house: House) -> None:
    call(house)
    run_rule(house.app, "hello", NOON)
    advance(house.app, NOON + 3 * MINUTE)
    told(house, "failed", at=NOON + 4 * MINUTE, reason="refused")
    assert advance(house.app, NOON + 5 * MINUTE).planned == 1
    assert house.rows(models.Message, "step")[1] == "1.else"


def test_voicemail_counts_as_not_reached(house: House) -> None:
    call(house)
    run_rule(house.app, "hello", NOON)
    advance(house.app, NOON + 3 * MINUTE)
    told(house, "delivered", at=NOON + 4 * MINUTE)
    house.add(models.Receipt, message_id=1, state="delivered", code="voicemail", seen_at=NOON)
    assert advance(house.app, NOON + 30 * MINUTE).planned == 1
    assert house.rows(models.Message, "step")[1] == "1.try2"


def test_a_customer_without_a_phone_gets_the_other_branch_at_once(house: House) -> None:
    call(house, phone=None)
    run_rule(house.app, "hello", NOON)
    assert advance(house.app, NOON + 3 * MINUTE).planned == 1
    assert house.rows(models.Message, "step", "channel", "template") == [("1.else", "email", "sorry")]
    assert house.rows(models.Match, "state") == ["done"]


def test_a_voucher_comes_with_its_message_and_only_its_hash_is_kept(house: House) -> None:
    house.rule(steps=GIFT)
    house.customer()
    house.customer(phone=None)
    report = run_rule(house.app, "hello", NOON)
    assert (report.planned, report.vouchers, report.withheld) == (1, 1, {Reason.UNREACHABLE: 1})
    (voucher,) = house.rows(models.Voucher)
    assert (voucher.worth, voucher.currency, voucher.valid_until) == (5000, "EUR", NOON + 90 * DAY)
    assert voucher.code_hash == code_hash(voucher_code(b"s" * 32, voucher.salt))
    assert house.rows(models.Message, "details", "match_id") == [({"voucher": True}, voucher.match_id)]


def test_no_voucher_while_a_complaint_is_open_even_as_a_service(house: House) -> None:
    house.rule(steps=GIFT)
    house.add(models.Ticket, customer_id=house.customer(), opened_at=NOON - DAY)
    report = run_rule(house.app, "hello", NOON)
    assert (report.vouchers, report.withheld) == (0, {Reason.COMPLAINT_OPEN: 1})


def test_a_survey_is_opened_with_its_question(house: House) -> None:
    house.rule(
        subject="ticket",
        condition="closed_at: present",
        purpose="survey",
        limits="{once_per: ticket}",
        steps="  - {survey: hello, by: [sms]}",
    )
    who = house.customer()
    house.consent(who, "sms", "survey", "granted")
    ticket = house.add(models.Ticket, customer_id=who, opened_at=NOON - DAY, closed_at=NOON - HOUR)
    assert run_rule(house.app, "hello", NOON).planned == 1
    (survey,) = house.rows(models.Survey)
    assert (survey.ticket_id, survey.customer_id, survey.asked_at) == (ticket, who, NOON)
    assert (survey.match_id, survey.answered_at) == (house.rows(models.Match, "id")[0], None)


def test_a_task_for_an_unknown_caller_needs_nobody(house: House) -> None:
    task = "  - task: Ring the number back\n    to: voice-desk"
    house.rule(subject="call", condition="direction: inbound", limits="{once_per: call}", steps=task)
    house.add(models.Call, direction="inbound", ended_at=NOON - HOUR)
    report = run_rule(house.app, "hello", NOON)
    assert (report.tasks, report.planned, report.withheld) == (1, 0, {})


def test_waiting_matches_finish_on_their_version_and_end_when_the_rule_retires(house: House) -> None:
    order(house, REMIND)
    run_rule(house.app, "hello", NOON)
    told(house)
    order(house, LATE)  # the rule has changed, and has a second order
    run_rule(house.app, "hello", NOON + HOUR)
    told(house)
    assert advance(house.app, NOON + 2 * DAY).planned == 1  # as it was when it began
    house.rule(subject="order", condition="shipped_at: present", limits="{once_per: order}", status="retired")
    report = advance(house.app, NOON + 3 * DAY)
    assert (report.tasks, report.stopped) == (0, 1)
    assert house.rows(models.Match, "state", "reason")[1] == ("stopped", "rule_not_live")
