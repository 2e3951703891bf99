"""Eight planners run the same rule over the same matches at once: each message once, and no budget overspent."""

import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert

import models
from models.database import writing
from tests.deciding import NOON, House
from tests.delivery.workers import forks, plan_at_once, spawn

PLANNERS = 8
STEPS = """
  - voucher: {{worth: 5 EUR, valid_for: 90 days, budget: {budget} EUR per month}}
  - {{send: hello, by: [sms, email]}}
"""


def planned_at_once(engine: Engine, folder: Path, people: int, budget: int) -> tuple[House, float]:
    """Eight processes, each pass begun twice under one slot; returns the house and the seconds it took."""
    house = House(engine, folder)
    house.rule(steps=STEPS.format(budget=budget))
    house.template()
    with writing(engine) as connection:
        row = {"changed_at": NOON, "bucket": 0, "country": "DE", "time_zone": "Europe/Berlin"}
        rows = [
            row | {"external_id": f"c{n}", "phone": f"+49151{n:08}", "email": f"c{n}@kunde.example"}
            for n in range(people)
        ]
        connection.execute(insert(models.Customer), rows)
    context = forks()
    ready, began = context.Barrier(PLANNERS), time.monotonic()
    slots = [NOON + timedelta(minutes=number // 2) for number in range(PLANNERS)]
    url = engine.url.render_as_string(hide_password=False)
    planners = [spawn(context, plan_at_once, url, folder, slot, ready) for slot in slots]
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
    assert len(passes) == PLANNERS // 2, "two planners under one slot are one pass"


def test_eight_planners_at_once_plan_each_message_once(postgres_engine: Engine, tmp_path: Path) -> None:
    house, _seconds = planned_at_once(postgres_engine, tmp_path, 60, budget=200)
    held(house, 60, may_go=40)


@pytest.mark.prove
@pytest.mark.parametrize(("budget", "may_go"), [(25_000, 5_000), (15_000, 3_000)])
def test_eight_planners_over_5000_matches(engine: Engine, tmp_path: Path, budget: int, may_go: int) -> None:
    house, seconds = planned_at_once(engine, tmp_path, 5_000, budget)
    held(house, 5_000, may_go)
    print(
        f"\nPROOF planners {engine.dialect.name}: {PLANNERS} planners over the same 5,000 matches with a budget for "
        f"{may_go:,}: {may_go:,} messages, {may_go:,} vouchers, none twice, budget not overspent; {seconds:.0f} s"
    )
