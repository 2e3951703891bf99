"""``preview --customer``, step by step: where a wait gives up, and where nothing begins at all."""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

import models
from beforehand.explaining import explain_one
from beforehand.explaining.report import StepReport
from models.vocabulary import Reason
from tests.deciding import NOON, House

HOUR = timedelta(hours=1)
BEGINS_WITH_WAIT = "  - wait: 1 hour\n  - {send: hello, by: [sms]}"
GIVES_UP = '  - wait: "until delivered_at, at most 5 hours"\n  - {send: hello, by: [sms]}'


@pytest.fixture
def house(engine: Engine, tmp_path: Path) -> House:
    made = House(engine, tmp_path)
    made.template()
    return made


def steps(house: House) -> tuple[StepReport, ...]:
    (subject,) = explain_one(house.app, "A-1", NOON, "hello").rules[0].subjects
    return subject.steps


def order(house: House, **values: object) -> None:
    house.rule(subject="order", condition="placed_at: present", steps=GIVES_UP, limits="{once_per: order}")
    house.add(models.Order, customer_id=house.customer(external_id="A-1"), placed_at=NOON - HOUR, **values)


def test_who_is_withheld_before_a_wait_is_not_told_of_messages_behind_it(house: House) -> None:
    house.rule(steps=BEGINS_WITH_WAIT, limits="{once_per: customer, holdout: 100% also for service}")
    house.customer(external_id="A-1")
    (step,) = steps(house)
    assert (step.says, step.reason, step.at) == ("wait 1 hour", Reason.HOLDOUT, None)


def test_who_goes_is_told_of_them(house: House) -> None:
    house.rule(steps=BEGINS_WITH_WAIT)
    house.customer(external_id="A-1")
    wait, send = steps(house)
    assert (wait.at, wait.reason, send.at, send.reason) == (NOON + HOUR, None, NOON + HOUR, None)


def test_a_wait_tells_when_it_gives_up(house: House) -> None:
    order(house)
    wait, send = steps(house)
    assert wait.says == "wait until delivered_at, at most 5 hours"
    assert (send.at, send.after) == (None, "once delivered_at is known")


def test_a_wait_whose_moment_comes_too_late_ends_there(house: House) -> None:
    order(house, delivered_at=NOON + 6 * HOUR)
    (wait,) = steps(house)
    assert (wait.reason, wait.at) == (Reason.TOO_LATE, NOON + 5 * HOUR)


def test_a_wait_whose_moment_comes_in_time_goes_on_then(house: House) -> None:
    order(house, delivered_at=NOON + 4 * HOUR)
    assert [(step.at, step.reason) for step in steps(house)] == [(NOON + 4 * HOUR, None)] * 2
