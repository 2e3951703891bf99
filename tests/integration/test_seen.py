"""`beforehand seen`: what only a person can end, is ended by a person, and told again when it happens again."""

import json
from pathlib import Path

import pytest
from sqlalchemy import Engine
from typer.testing import CliRunner, Result

from beforehand.cli import app, common
from messaging import audit
from messaging.breaker import call_staff
from models.database import reading, writing
from tests.deciding import NOON, House


@pytest.fixture
def house(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    made = House(engine, tmp_path, {"stop_file": tmp_path / "STOP"})
    made.rule()
    made.template()
    monkeypatch.setattr(common, "wired", lambda *_a, **_k: made.app)
    monkeypatch.setattr(common, "settings", lambda: made.app.settings)
    return made


def call(house: House, topic: str, said: str = "something happened") -> bool:
    with writing(house.engine) as connection:
        return call_staff(connection, topic, said, NOON)


def beforehand(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def findings(house: House) -> dict[str, str]:
    told = json.loads(beforehand("status", "--json", "--now", NOON.isoformat()).stdout)
    return {one["what"]: one["do"] for one in told["findings"]}


@pytest.mark.parametrize("topic", ["callbacks:signature", "callback:twilio", "mail:complaint", "mail:returned"])
def test_what_nothing_ends_lasts_until_somebody_has_looked(house: House, topic: str) -> None:
    assert call(house, topic)
    assert not call(house, topic), "told once while it lasts"
    assert f"`beforehand seen {topic}`" in findings(house)[topic]
    listed = beforehand("seen")
    assert (listed.exit_code, topic in listed.stdout) == (1, True)
    done = beforehand("seen", topic, "--by", "anna")
    assert (done.exit_code, f"{topic}: seen." in done.stdout) == (0, True)
    assert topic not in findings(house)
    with reading(house.engine) as connection:
        assert [(one.by, one.action, one.about) for one in audit.entries(connection)] == [("anna", "seen", topic)]
    assert call(house, topic), "the next time is told again"


def test_what_ends_by_itself_is_left_alone_and_nothing_is_half_done(house: House) -> None:
    call(house, "provider:twilio")
    call(house, "mail:complaint")
    done = beforehand("seen", "mail:complaint", "provider:twilio")
    assert (done.exit_code, "ends by itself" in done.stderr) == (2, True)
    assert {"mail:complaint", "provider:twilio"} <= findings(house).keys()
    assert beforehand("seen", "mail:complaint", "nothing").exit_code == 2
    assert beforehand("seen", "mail:complaint").exit_code == 0, "what ends by itself waits for nobody's look"
    left = json.loads(beforehand("seen", "--json").stdout)
    assert [(one["topic"], one["until_seen"]) for one in left] == [("provider:twilio", False)]
