"""Eight planners run the same rule over the same matches at once: each message once, and no budget overspent."""

import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert

import models
from beforehand.passes import run_rule
from models.database import writing
from tests.deciding import NOON, House
from tests.delivery.workers import forks, plan_at_once, spawn

PLANNERS = 8
SAME = [(NOON, NOON + timedelta(minutes=number // 2)) for number in range(PLANNERS)]
"""Everybody asks at one moment and finds the same people; two share a slot."""

QUARTERS = [(NOON + timedelta(hours=number // 2), NOON + timedelta(hours=number // 2)) for number in range(PLANNERS)]
"""Four moments, and at each another quarter of the people is found: all want the one budget."""

STEPS = """
  - voucher: {{worth: 5 EUR, valid_for: 90 days, budget: {budget} EUR per month}}
  - {{send: hello, by: [sms, email]}}
"""


def people_of(house: House, count: int, moments: int) -> None:
    """Customers who came within the hour before one of the moments."""
    row = {"changed_at": NOON, "bucket": 0, "country": "DE", "time_zone": "Europe/Berlin"}
    rows = [
        row
        | {"external_id": f"c{n}", "phone": f"+49151{n:08}", "email": f"c{n}@kunde.example"}
        | {"created_at": NOON + timedelta(hours=n % moments, minutes=-10)}
        for n in range(count)
    ]
    with writing(house.engine) as connection:
        connection.execute(insert(models.Customer), rows)


def planned_at_once(
    engine: Engine, folder: Path, people: int, budget: int, *, quarters: bool = False
) -> tuple[House, float]:
    """Eight processes begin at once; returns the house and the seconds it took."""
    house = House(engine, folder)
    house.rule(steps=STEPS.format(budget=budget), condition="created_at: {within: 1 hour}")
    house.template()
    run_rule(house.app, "hello", NOON - timedelta(days=1))  # what a first pass writes down would keep them in a row
    people_of(house, people, 4 if quarters else 1)
    context = forks()
    ready, began = context.Barrier(PLANNERS), time.monotonic()
    url = engine.url.render_as_string(hide_password=False)
    passes = QUARTERS if quarters else SAME
    planners = [spawn(context, plan_at_once, url, folder, now, slot, ready) for now, slot in passes]
    for planner in planners:
        planner.join(500)
        assert planner.exitcode == 0
    return house, time.monotonic() - began


def held(house: House, people: int, may_go: int) -> None:
    """Each match once; of messages and vouchers as many as the budget allows, one a customer."""
    customers = Counter(house.rows(models.Message, "customer_id"))
    vouchers = Counter(house.rows(models.Voucher, "customer_id"))
    assert len(house.rows(models.Match, "id")) == people
    assert (len(customers), set(customers.values())) == (may_go, {1})
    assert vouchers == customers
    passes = house.rows(models.RulePass, "slot")
    assert len(passes) == 1 + PLANNERS // 2, "two planners of one slot are one pass"


@pytest.mark.parametrize("quarters", [False, True])
def test_eight_planners_at_once_plan_each_message_once(postgres_engine: Engine, tmp_path: Path, quarters: bool) -> None:
    house, _seconds = planned_at_once(postgres_engine, tmp_path, 60, budget=200, quarters=quarters)
    held(house, 60, may_go=40)


@pytest.mark.prove
@pytest.mark.parametrize(("budget", "may_go", "quarters"), [(25_000, 5_000, False), (15_000, 3_000, True)])
def test_eight_planners_over_5000_matches(
    engine: Engine, tmp_path: Path, budget: int, may_go: int, quarters: bool
) -> None:
    house, seconds = planned_at_once(engine, tmp_path, 5_000, budget, quarters=quarters)
    held(house, 5_000, may_go)
    which = "four quarters of 5,000 matches" if quarters else "the same 5,000 matches"
    print(
        f"\nPROOF planners {engine.dialect.name}: {PLANNERS} planners at once over {which}, with a budget for "
        f"{may_go:,}: {may_go:,} messages, {may_go:,} vouchers, none twice, budget not overspent; {seconds:.0f} s"
    )
