"""Who shares a phone number or an e-mail address counts as one, for caps and for holdouts."""

from pathlib import Path

import pytest
from sqlalchemy import Engine

import models
from beforehand.passes import run_rule
from messaging.households import MOST, Formed, form
from models.database import writing
from models.vocabulary import Reason
from tests.deciding import NOON, House

PHONE = "+4915112345678"


@pytest.fixture
def house(engine: Engine, tmp_path: Path) -> House:
    made = House(engine, tmp_path, {"caps": {"marketing": "1 per 7 days"}})
    made.template()
    return made


def formed(house: House) -> Formed:
    with writing(house.engine) as connection:
        return form(connection)


def households(house: House) -> list[int | None]:
    return house.rows(models.Customer, "household_id")


def test_who_shares_an_address_forms_a_household_over_any_number_of_steps(house: House) -> None:
    house.customer(phone=PHONE, email="a@example.com")
    house.customer(phone=PHONE, email="b@example.com")
    house.customer(email="B@example.com")
    house.customer()
    house.customer(phone=None, email=None)
    house.customer(phone=None, email=None)
    assert formed(house) == Formed(households=1, people=3, changed=3)
    assert households(house) == [1, 1, 1, None, None, None]
    assert formed(house) == Formed(households=1, people=3, changed=0)  # nothing is written twice


def test_an_address_that_very_many_share_makes_no_household(house: House) -> None:
    for _ in range(MOST):
        house.customer(phone=PHONE)
    assert formed(house).households == 1
    house.customer(phone=PHONE)
    assert formed(house) == Formed(households=0, people=0, changed=MOST)
    assert households(house) == [None] * (MOST + 1)


def test_who_joins_takes_over_the_households_place(house: House) -> None:
    first = house.customer()
    house.customer(phone=PHONE)
    house.customer(phone=PHONE)
    formed(house)
    assert households(house) == [None, 2, 2]
    house.set(models.Customer, lambda c: c.id == first, phone=PHONE)
    formed(house)
    assert households(house) == [2, 2, 2]  # the holdout of the two stays as it was


def test_who_leaves_lives_alone_and_a_part_that_split_off_gets_its_own_id(house: House) -> None:
    for _ in range(5):
        house.customer(phone=PHONE)
    formed(house)
    house.set(models.Customer, lambda c: c.id == 1, phone="+4915100000001")
    house.set(models.Customer, lambda c: c.id.in_([4, 5]), phone="+4915100000002")
    formed(house)
    # two and two: the one with the oldest member keeps the id
    assert households(house) == [None, 1, 1, 4, 4]


def test_two_of_a_household_share_one_cap(house: House) -> None:
    together = [house.customer(phone=PHONE), house.customer(phone=PHONE)]
    alone = house.customer()
    formed(house)
    for who in (*together, alone):
        house.consent(who, "sms", "marketing", "granted")
    house.rule("first", purpose="marketing", steps="  - {send: hello, by: [sms]}")
    house.rule("second", purpose="marketing", steps="  - {send: hello, by: [sms]}", priority=40)
    report = run_rule(house.app, "first", NOON)
    assert (report.planned, report.withheld) == (2, {Reason.CAP: 1})
    assert house.rows(models.Message, "customer_id") == [together[0], alone]
    assert run_rule(house.app, "second", NOON).withheld == {Reason.CAP: 3}  # also for the one who heard nothing yet


def test_what_waits_for_one_of_a_household_gives_way_to_what_matters_more_to_another(house: House) -> None:
    one, other = house.customer(phone=PHONE), house.customer(phone=PHONE, tier="gold")
    formed(house)
    for who in (one, other):
        house.consent(who, "sms", "marketing", "granted")
    said = {"purpose": "marketing", "steps": "  - {send: hello, by: [sms]}"}
    house.rule("lesser", priority=10, **said)
    house.rule("greater", priority=20, condition="tier: gold", **said)
    run_rule(house.app, "lesser", NOON)
    assert run_rule(house.app, "greater", NOON).displaced == 1
    assert house.rows(models.Message, "customer_id", "state") == [(one, "suppressed"), (other, "planned")]


def test_a_household_is_held_out_or_not_as_one(house: House) -> None:
    for bucket in range(0, 10_000, 500):
        phone = f"+49151555{bucket:05}"
        house.customer(phone=phone, bucket=bucket)
        house.customer(phone=phone, bucket=9_999 - bucket)
    formed(house)
    house.settings["caps"] = {}
    house.rule(limits="{once_per: customer, holdout: 40% also for service}")
    run_rule(house.app, "hello", NOON)
    reasons = house.rows(models.Match, "reason")
    assert {Reason.HOLDOUT.value, None} == set(reasons)
    assert reasons[::2] == reasons[1::2]
