"""Quiet hours by the place, the law and the customer's own wish: when planning, and again at the claim."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, insert

import models
from beforehand.explaining import explain
from beforehand.passes import run_rule
from messaging.shares import share_at
from models.database import reading, writing
from models.vocabulary import Reason
from tests.deciding import NOON, House

HOUR = timedelta(hours=1)
AMERICAN: dict[str, Any] = {"phone": "+13055550100", "country": "US", "time_zone": None}


@pytest.fixture
def house(engine: Engine, tmp_path: Path) -> House:
    made = House(engine, tmp_path, {"caps": {}, "quiet_hours": {"service": "22:00-07:00"}})
    made.template()
    return made


def fan(house: House, **values: Any) -> int:
    who = house.customer(**values)
    for channel in ("sms", "voice", "email"):
        house.consent(who, channel, "marketing", "granted")
    return who


def offer(house: House, **terms: Any) -> None:
    house.rule(
        **({"purpose": "marketing", "condition": "country: present", "steps": "  - {send: hello, by: [sms]}"} | terms)
    )


def test_marketing_waits_for_the_hours_of_the_state(house: House) -> None:
    fan(house, **AMERICAN)  # Miami: 8 in the morning at NOON, the clocks went forward two days before
    fan(house, **(AMERICAN | {"phone": "+12145550100"}))  # Dallas: 7, and from 9 on a weekday
    offer(house)
    assert run_rule(house.app, "hello", NOON).waiting == 1
    assert house.rows(models.Message, "due_at") == [NOON, NOON + 2 * HOUR]


def test_what_the_customer_chose_is_added(house: House) -> None:
    who = fan(house)
    house.set(models.Customer, time_zone="Europe/Berlin")
    _prefers(house, who, "10:00", "15:30")
    house.rule()
    run_rule(house.app, "hello", NOON)  # 13:00 in Berlin
    assert house.rows(models.Message, "due_at") == [NOON + 2.5 * HOUR]


def _prefers(house: House, who: int, since: str, until: str) -> None:
    table = models.Preference.__table__  # type: ignore[attr-defined]
    with writing(house.engine) as connection:
        row = {"customer_id": who, "quiet_from": since, "quiet_until": until, "updated_at": NOON}
        connection.execute(insert(table).values(row))


def test_service_mail_goes_at_any_hour_even_where_the_customer_wants_quiet(house: House) -> None:
    _prefers(house, house.customer(), "00:00", "23:59")
    house.rule(steps="  - {send: hello, by: [email]}")
    run_rule(house.app, "hello", NOON)
    assert house.rows(models.Message, "due_at") == [NOON]


def test_who_may_be_anywhere_is_withheld_by_name_until_somebody_knows(house: House) -> None:
    who = fan(house, phone="+870772001234", country=None, time_zone=None)
    house.rule(condition="phone: present")
    assert run_rule(house.app, "hello", NOON).withheld == {Reason.NO_COMMON_HOUR: 1}
    assert house.rows(models.Match, "reason", "state") == [("no_common_hour", "withheld")]
    house.set(models.Customer, lambda c: c.id == who, time_zone="Europe/Berlin")
    assert run_rule(house.app, "hello", NOON + HOUR).planned == 1


def test_nobody_is_withheld_where_there_are_no_quiet_hours(house: House) -> None:
    fan(house, phone="+870772001234", country=None, time_zone=None)
    house.settings["quiet_hours"] = {}
    house.rule(condition="phone: present")
    assert run_rule(house.app, "hello", NOON).planned == 1


def test_a_house_that_takes_no_laws_has_its_own_hours_alone(house: House) -> None:
    house.settings["quiet_laws"] = None
    fan(house, **(AMERICAN | {"phone": "+12145550100"}))
    offer(house)
    run_rule(house.app, "hello", NOON - 5 * HOUR + timedelta(days=1))
    assert house.rows(models.Message, "due_at") == [NOON - 5 * HOUR + timedelta(days=1)]


def test_explain_names_what_holds_a_message(house: House) -> None:
    who = fan(house, **(AMERICAN | {"external_id": "me"}))
    assert who
    offer(house)
    night = datetime(2026, 3, 11, 2, 0, tzinfo=UTC)  # ten in the evening in Miami
    told = explain(house.app, "me", now=night).rules[0].subjects[0].decision
    assert told is not None
    assert told.held == "quiet until 08:00 in America/New_York (US law and US-FL law)"
    assert told.as_json()["held"] == told.held


def test_explain_says_that_nobody_knows_where_the_customer_is(house: House) -> None:
    fan(house, phone="+870772001234", country=None, time_zone=None, external_id="me")
    house.rule(condition="phone: present")
    told = explain(house.app, "me", now=NOON).rules[0].subjects[0].decision
    assert told is not None
    assert (told.reason, told.held) == (
        Reason.NO_COMMON_HOUR,
        "no hour is free in all the zones of the earth, and nobody knows where the customer is (the house's own hours)",
    )


def test_the_house_holds_out_from_all_marketing_and_keeps_the_history(house: House) -> None:
    house.settings["holdout"] = 30
    for bucket in range(0, 10_000, 100):
        fan(house, bucket=bucket)
    offer(house)
    house.rule("second", purpose="marketing", steps="  - {send: hello, by: [sms]}")
    house.rule("care")
    house.rule("owed", limits="{once_per: customer, holdout: 1% also for service}")
    first, second = (run_rule(house.app, name, NOON) for name in ("hello", "second"))
    assert first.withheld == second.withheld
    assert 20 <= first.withheld[Reason.HOUSE_HOLDOUT] <= 40
    out = _out(house, "hello")
    assert out == _out(house, "second")  # the same people in every rule
    assert run_rule(house.app, "care", NOON).withheld == {}
    assert Reason.HOUSE_HOLDOUT in run_rule(house.app, "owed", NOON).withheld

    house.settings["holdout"] = 60
    house.rule("third", purpose="marketing", steps="  - {send: hello, by: [sms]}")
    run_rule(house.app, "third", NOON + HOUR)
    assert out < _out(house, "third")  # a greater share keeps those who were in
    with reading(house.engine) as connection:
        assert [share_at(connection, at) for at in (NOON - HOUR, NOON, NOON + HOUR)] == [0, 30, 60]
        assert share_at(connection, NOON, rule_id="owed") == 1


def test_whom_the_house_lets_go_again_is_not_spoken_to_about_the_past(house: House) -> None:
    house.settings["holdout"] = 100
    fan(house, bucket=7)
    offer(house)
    assert run_rule(house.app, "hello", NOON).withheld == {Reason.HOUSE_HOLDOUT: 1}
    house.settings["holdout"] = 0
    assert run_rule(house.app, "hello", NOON + HOUR).withheld == {Reason.BACKLOG: 1}
    assert run_rule(house.app, "hello", NOON + 2 * HOUR).withheld == {Reason.BACKLOG: 1}


def _out(house: House, rule_id: str) -> set[int]:
    rows = house.rows(models.Match, "rule_id", "reason", "customer_id")
    return {who for rule, reason, who in rows if (rule, reason) == (rule_id, Reason.HOUSE_HOLDOUT)}
