"""The ``else`` of any send, waits that give up, and the steps that stand behind them."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

import models
from beforehand.passes import advance, run_rule
from models.vocabulary import MatchState, Reason
from tests.deciding import NOON, House

DAY = timedelta(days=1)
ELSE = """  - {{{verb}: hello, by: [sms], valid_for: 3 days, else: {{send: sorry, by: [email], valid_for: 2 days}}}}
  - wait: 1 day
  - {{task: Look, to: desk}}
"""
UNTIL = """  - wait: until delivered_at, at most 3 days
  - {send: hello, by: [sms]}
"""
TOLD_UNTIL = "  - {send: sorry, by: [sms]}\n" + UNTIL


@pytest.fixture
def house(engine: Engine, tmp_path: Path) -> House:
    made = House(engine, tmp_path, {"caps": {}})
    made.template()
    made.template("sorry", "sms", "email")
    return made


def messages(house: House) -> list[Any]:
    return [tuple(row) for row in house.rows(models.Message, "step", "channel", "template")]


def told(house: House, state: str) -> None:
    house.set(models.Message, lambda c: c.state == "planned", state=state, accepted_at=NOON, ended_at=NOON)


@pytest.mark.parametrize("state", ["undelivered", "failed"])
@pytest.mark.parametrize("verb", ["send", "survey"])
def test_what_did_not_arrive_is_said_in_another_way(house: House, verb: str, state: str) -> None:
    house.rule(steps=ELSE.format(verb=verb))
    house.customer()
    run_rule(house.app, "hello", NOON)
    assert messages(house) == [("0", "sms", "hello")]
    told(house, state)
    assert advance(house.app, NOON + timedelta(hours=1)).planned == 1
    assert messages(house) == [("0", "sms", "hello"), ("0.else", "email", "sorry")]
    (expires,) = house.rows(models.Message, "expires_at")[1:]
    assert expires <= NOON + timedelta(hours=1) + 2 * DAY
    assert advance(house.app, NOON + timedelta(hours=2)).planned == 0
    told(house, "accepted")
    advance(house.app, NOON + 2 * DAY)
    assert house.rows(models.Task, "what") == ["Look"]


def test_what_arrived_is_said_once_and_the_rule_goes_on(house: House) -> None:
    house.rule(steps=ELSE.format(verb="send"))
    house.customer()
    run_rule(house.app, "hello", NOON)
    told(house, "delivered")
    advance(house.app, NOON + timedelta(hours=1))
    assert house.rows(models.Match, "next_step", "state") == [(1, "open")]
    advance(house.app, NOON + 2 * DAY)
    assert (messages(house), house.rows(models.Task, "what")) == ([("0", "sms", "hello")], ["Look"])


def test_a_message_that_nobody_speaks_of_again_counts_as_heard_after_a_day(house: House) -> None:
    house.rule(steps=ELSE.format(verb="send"))
    house.customer()
    run_rule(house.app, "hello", NOON)
    told(house, "accepted")
    advance(house.app, NOON + timedelta(hours=23))
    assert house.rows(models.Match, "next_step") == [0]
    advance(house.app, NOON + timedelta(hours=25))
    assert (house.rows(models.Match, "next_step"), len(messages(house))) == ([1], 1)


def test_where_the_first_way_is_closed_the_other_is_taken_at_once(house: House) -> None:
    house.rule(steps=ELSE.format(verb="send"))
    house.customer(phone=None)
    run_rule(house.app, "hello", NOON)
    assert messages(house) == [("0.else", "email", "sorry")]


def order(house: House, steps: str) -> int:
    house.rule(subject="order", condition="shipped_at: present", limits="{once_per: order}", steps=steps)
    return house.add(models.Order, customer_id=house.customer(), shipped_at=NOON - DAY, placed_at=NOON - DAY)


@pytest.mark.parametrize("steps", [UNTIL, TOLD_UNTIL], ids=["at first", "after a message"])
def test_a_wait_gives_up_when_what_it_waits_for_does_not_come(house: House, steps: str) -> None:
    order(house, steps)
    run_rule(house.app, "hello", NOON)
    told(house, "delivered")
    before = len(messages(house))
    advance(house.app, NOON + 2 * DAY)
    assert house.rows(models.Match, "state") == ["open"]
    assert advance(house.app, NOON + 3 * DAY).stopped == 1
    assert house.rows(models.Match, "state", "reason") == [(MatchState.STOPPED, Reason.TOO_LATE)]
    house.set(models.Order, delivered_at=NOON + 4 * DAY)
    advance(house.app, NOON + 5 * DAY)
    assert len(messages(house)) == before


@pytest.mark.parametrize("steps", [UNTIL, TOLD_UNTIL], ids=["at first", "after a message"])
def test_a_wait_goes_on_when_it_comes_in_time(house: House, steps: str) -> None:
    order(house, steps)
    run_rule(house.app, "hello", NOON)
    told(house, "delivered")
    house.set(models.Order, delivered_at=NOON + 2 * DAY)
    advance(house.app, NOON + 2 * DAY)
    assert messages(house)[-1] == ((steps.count("send") == 2 and "2") or "1", "sms", "hello")
    assert house.rows(models.Match, "gives_up_at") == [None]


def test_what_came_just_before_the_last_look_still_counts(house: House) -> None:
    order(house, UNTIL)
    run_rule(house.app, "hello", NOON)
    house.set(models.Order, delivered_at=NOON + 3 * DAY - timedelta(minutes=1))
    advance(house.app, NOON + 3 * DAY + timedelta(minutes=5))
    assert messages(house) == [("1", "sms", "hello")]


STOPS = [
    "{cancelled_at: present}",
    "{any_of: [{delivered_at: present}, {cancelled_at: {within: 3 days}}]}",
    "{customer.tickets: {any: {topic: delivery, closed_at: missing}, since: this.placed_at}}",
    "{customer.orders: {count: {at_least: 2}, where: {cancelled_at: missing}}}",
]


@pytest.mark.parametrize("number", range(len(STOPS)))
def test_a_wait_stops_on_any_condition_of_the_language(house: House, number: int) -> None:
    made = order(house, f"  - wait: 1 day\n    stop_if: {STOPS[number]}\n  - {{send: hello, by: [sms]}}\n")
    who = house.rows(models.Order, "customer_id")[0]
    other = house.customer()
    spared = house.add(models.Order, customer_id=other, shipped_at=NOON - DAY, placed_at=NOON - DAY)
    run_rule(house.app, "hello", NOON)
    changes: list[Any] = [
        lambda: house.set(models.Order, lambda c: c.id == made, cancelled_at=NOON),
        lambda: house.set(models.Order, lambda c: c.id == made, delivered_at=NOON),
        lambda: house.add(models.Ticket, customer_id=who, topic="delivery", opened_at=NOON),
        lambda: house.add(models.Order, customer_id=who, placed_at=NOON),
    ]
    changes[number]()
    assert advance(house.app, NOON + DAY).stopped == 1
    assert dict(tuple(row) for row in house.rows(models.Match, "subject_id", "state")) == {
        made: "stopped",
        spared: "done",
    }


def test_an_else_that_goes_at_once_is_in_time_by_its_own_word(house: House) -> None:
    house.rule(steps=ELSE.format(verb="send"))
    house.customer()
    house.customer(phone=None)
    run_rule(house.app, "hello", NOON)
    lasting = [(row.step, row.expires_at) for row in house.rows(models.Message, "step", "expires_at")]
    assert lasting == [("0", NOON + 3 * DAY), ("0.else", NOON + 2 * DAY)]
