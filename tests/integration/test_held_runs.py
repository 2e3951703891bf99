"""Held runs: what the brake stops, who may let it go, and what goes then."""

import pytest
from sqlalchemy import Engine

import models
from beforehand.approving import answer, open_runs
from beforehand.passes import advance, run_rule
from models.vocabulary import HeldState, MatchState, Reason
from tests.deciding import NOON, House


@pytest.fixture
def house(engine: Engine, tmp_path) -> House:  # type: ignore[no-untyped-def]
    made = House(engine, tmp_path, {"canary": 2, "quiet_hours": {}})
    made.template()
    made.rule(limits="{once_per: customer, brake: 20% of customers}")
    for _ in range(10):
        made.customer()
    return made


def test_a_run_over_the_brake_is_held(house: House) -> None:
    report = run_rule(house.app, "hello", NOON)
    assert (report.planned, report.withheld) == (0, {Reason.BRAKE: 10})
    assert set(house.rows(models.Match, "state")) == {MatchState.HELD}
    (run,) = open_runs(house.app)
    done = answer(house.app, run.id, approve=True, by="eva", via="cli", now=NOON)
    assert done.state is HeldState.CANARY
    advance(house.app, NOON)
    assert len(house.rows(models.Message)) == 2
