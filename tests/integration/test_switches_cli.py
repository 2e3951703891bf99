"""`beforehand stop` and `resume`: what they set, what they refuse, what status says."""

import json
from pathlib import Path

import pytest
from sqlalchemy import Engine
from typer.testing import CliRunner, Result

from beforehand.cli import app, common
from messaging.outbox import claim
from models.database import writing
from tests.deciding import NOON, House
from tests.integration.out_world import POLICY, plan_messages


@pytest.fixture
def house(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    made = House(engine, tmp_path)
    made.rule("late-order")
    made.template()
    monkeypatch.setattr(common, "wired", lambda *_a, **_k: made.app)
    return made


def said(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def claimed(house: House) -> int:
    with writing(house.engine) as connection:
        return len(claim(connection, NOON, limit=9, lease_seconds=60, policy=POLICY).claims)


def test_stop_holds_what_is_due_and_resume_lets_it_go(house: House) -> None:
    plan_messages(house.engine, 2)
    assert said("stop", "--by", "anna").exit_code == 0
    assert claimed(house) == 0
    seen = json.loads(said("status", "--json", "--now", NOON.isoformat()).stdout)
    assert seen["stopped"] == {"all": "anna"}
    assert "beforehand resume all" in said("status").stdout
    assert said("resume").exit_code == 0
    assert claimed(house) == 2


def test_a_stop_of_nothing_is_refused(house: House) -> None:
    for wrong in ("rule:late-oder", "rule", "channel:fax", "webhook:crm", "late-order", "restore"):
        assert said("stop", wrong).exit_code == 2, wrong
    assert said("stop", "rule:late-order").exit_code == 0
    assert said("stop", "channel:sms").exit_code == 0
    again = said("stop", "channel:sms", "--json")
    assert json.loads(again.stdout) == {"stopped": {"channel:sms": "cli", "rule:late-order": "cli"}}


def test_resume_says_what_else_is_stopped(house: House) -> None:
    assert said("resume", "rule:late-order").exit_code == 1
    said("stop", "rule:late-order")
    said("stop", "channel:sms")
    done = said("resume", "rule:late-order")
    assert (done.exit_code, "channel:sms" in done.stdout) == (1, True)
    assert said("resume", "channel:sms").exit_code == 0
