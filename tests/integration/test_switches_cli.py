"""`beforehand stop` and `resume`: what they set, what they refuse, what they say would go, what status says."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from typer.testing import CliRunner, Result

import models
from beforehand.cli import app, common
from messaging import audit, events_out
from messaging.outbox import claim
from messaging.stop_file import StopFile
from models.database import reading, writing
from tests.deciding import NOON, House
from tests.integration.out_world import POLICY, later, plan_messages

WIRED = common.wired


@pytest.fixture
def house(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    url = engine.url.render_as_string(hide_password=False)
    made = House(engine, tmp_path, {"stop_file": tmp_path / "STOP", "database_url": url})
    made.rule("late-order")
    made.template()
    monkeypatch.setattr(common, "wired", lambda *_a, **_k: made.app)
    monkeypatch.setattr(common, "settings", lambda: made.app.settings)
    return made


def said(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def told(*words: str) -> Any:
    return json.loads(said(*words, "--json").stdout)


def claimed(house: House) -> int:
    with writing(house.engine) as connection:
        return len(claim(connection, NOON, limit=9, lease_seconds=60, policy=POLICY).claims)


def file_of(house: House) -> StopFile:
    return house.app.stop_file


def entries(house: House) -> list[tuple[str, str, str]]:
    with reading(house.engine) as connection:
        assert audit.first_broken(connection) is None
        return [(one.by, one.action, one.about) for one in audit.entries(connection)]


def events(house: House) -> list[tuple[str, str]]:
    with reading(house.engine) as connection:
        return [(one.event, one.about) for one in events_out.untold(connection)]


def test_stop_holds_what_is_due_and_resume_lets_it_go(house: House) -> None:
    plan_messages(house.engine, 2)
    assert said("stop", "--by", "anna").exit_code == 0
    assert file_of(house).halted() == {"all"}
    assert claimed(house) == 0
    assert told("status", "--now", NOON.isoformat())["stopped"] == {"all": "anna"}
    assert "beforehand resume all" in said("status").stdout
    assert said("resume").exit_code == 1  # two would go at once
    assert claimed(house) == 0
    assert said("resume", "--yes", "--by", "ben").exit_code == 0
    assert not file_of(house).path.exists()
    assert claimed(house) == 2
    assert entries(house) == [("anna", "stop", "all"), ("ben", "resume", "all")]
    assert events(house) == [(events_out.STOPPED, "all"), (events_out.RESUMED, "all")]


def test_a_stop_of_nothing_is_refused(house: House) -> None:
    for wrong in (
        "rule:late-oder",
        "late-oder",
        "rule",
        "channel:fax",
        "fax",
        "webhook:crm",
        "crm",
        "restore",
        "",
        ":",
    ):
        assert said("stop", wrong).exit_code == 2, wrong
    assert not file_of(house).path.exists()
    assert entries(house) == []
    assert said("stop", "late-order").exit_code == 0
    assert said("stop", "sms").exit_code == 0
    again = told("stop", "channel:sms", "--by", "anna")
    assert again["stopped"].keys() == {"channel:sms", "rule:late-order"}
    assert (again["scope"], again["problems"]) == ("channel:sms", [])
    assert file_of(house).halted() == {"channel:sms", "rule:late-order"}


def test_a_rule_is_stopped_by_name_while_files_are_broken_or_gone(house: House) -> None:
    (house.folder / "rules" / "broken.yaml").write_text("id: [")
    house.add(models.RuleVersion, rule_id="gone-by-now", version="v", text="", first_used_at=NOON)
    assert said("stop", "late-order").exit_code == 0
    assert said("stop", "gone-by-now").exit_code == 0


def test_resume_says_what_else_is_stopped(house: House) -> None:
    assert said("resume", "rule:late-order").exit_code == 1
    said("stop", "rule:late-order")
    said("stop", "channel:sms")
    done = said("resume", "late-order", "--yes")
    assert (done.exit_code, "late-order goes on" in done.stdout, "channel:sms" in done.stdout) == (1, True, True)
    assert said("resume", "channel:sms", "--yes").exit_code == 0


def test_a_look_changes_nothing_even_where_nothing_is_due_yet(house: House) -> None:
    plan_messages(house.engine, 2, due_at=later(hours=8))
    said("stop")
    done = said("resume")
    assert (done.exit_code, "2 within 24 hours" in done.stdout) == (1, True)
    assert "Nothing was changed: `beforehand resume all --yes`" in done.stdout
    assert file_of(house).halted() == {"all"}
    assert told("resume", "--yes")["resumed"]


def test_resume_says_first_what_would_go_by_rule_and_channel(house: House) -> None:
    plan_messages(house.engine, 3)
    plan_messages(house.engine, 2, channel="email", rule_id="other", due_at=later(hours=5))
    plan_messages(house.engine, 1, due_at=later(hours=30))
    plan_messages(house.engine, 1, rule_id="other", expires_at=NOON)
    plan_messages(house.engine, 1, rule_id="other", due_at=later(hours=2), expires_at=later(hours=1))
    plan_messages(house.engine, 1, state="expired", reason="too_late", ended_at=later(days=300))  # after the stop
    plan_messages(house.engine, 1, state="expired", reason="too_late", ended_at=NOON - timedelta(days=900))
    said("stop")
    seen = told("resume")
    assert (seen["was_stopped"], seen["resumed"], seen["at_once"]) == (True, False, 3)
    assert seen["held"]["messages"] == [
        {"rule": "late-order", "way": "sms", "now": 3, "soon": 0, "late": 1},
        {"rule": "other", "way": "email", "now": 0, "soon": 2, "late": 0},
        {"rule": "other", "way": "sms", "now": 0, "soon": 0, "late": 1},
    ]
    done = said("resume")
    assert done.exit_code == 1
    assert "late-order by sms: 3 at once" in done.stdout
    assert "--yes" in done.stdout


def test_resume_tells_only_what_no_other_stop_holds(house: House) -> None:
    plan_messages(house.engine, 2)
    plan_messages(house.engine, 1, channel="email")
    said("stop", "sms")
    said("stop", "late-order")
    assert told("resume", "late-order")["at_once"] == 1
    assert told("resume", "sms", "--yes")["at_once"] == 0  # its rule is still stopped
    assert told("resume", "late-order")["at_once"] == 3


def test_resume_tells_webhooks(house: House) -> None:
    (match_id,) = [house.rows(models.Message, "match_id")[0] for _ in [plan_messages(house.engine, 1, state="failed")]]
    for step, due in enumerate((NOON, later(hours=3), later(days=3))):
        house.add(
            models.Webhook, match_id=match_id, rule_id="late-order", version="v", occasion="o", step=str(step),
            endpoint="crm", subject="order", subject_id=1, state="planned", created_at=NOON, due_at=due, tries=0,
        )  # fmt: skip
    said("stop")
    seen = told("resume")
    assert seen["held"]["webhooks"] == [{"rule": "late-order", "way": "crm", "now": 1, "soon": 1, "late": 0}]
    assert (seen["at_once"], seen["resumed"]) == (1, False)


def test_a_file_made_by_hand_is_shown_and_taken_back(house: House) -> None:
    plan_messages(house.engine, 1)
    file_of(house).path.write_text("late ordr\n")
    shown = told("status")["stopped"]
    assert shown.keys() == {"all"}
    assert "'late ordr' is nothing that can be stopped" in shown["all"]
    assert told("resume")["at_once"] == 1
    assert said("resume", "--yes").exit_code == 0
    assert not file_of(house).path.exists()


def test_a_file_that_cannot_be_written_does_not_keep_the_row_from_it(house: House) -> None:
    (house.folder / "STOP").mkdir()
    done = said("stop", "sms")
    assert done.exit_code == 1
    assert "could not be written" in done.stderr
    assert "channel:sms is stopped everywhere" in done.stdout


@pytest.mark.parametrize(
    "url", ["sqlite:////proc/none/b.db", "postgresql://127.0.0.1:9/none", "mysql://x/y", "sqlite://"]
)
def test_with_the_database_down_the_file_holds_and_that_is_said(house: House, url: str) -> None:
    house.settings["database_url"] = url
    done = said("stop", "late-order")
    assert done.exit_code == 1
    assert "rule:late-order is stopped by the file" in done.stdout
    assert "THIS MACHINE ONLY" in done.stderr
    assert "until `beforehand resume rule:late-order --yes`" in done.stderr
    assert file_of(house).halted() == {"rule:late-order"}
    (house.folder / "STOP").unlink()
    (house.folder / "STOP").mkdir()
    assert "NOTHING IS STOPPED" in said("stop").stderr


@pytest.mark.parametrize("command", ["status", "resume"])
@pytest.mark.parametrize(
    ("file", "words"),
    [
        (None, "is not there, so it stops nothing"),
        ("rule:late-order\nchannel:sms\n", "stops channel:sms, rule:late-order."),
        ("late-order\n", "stops all ('late-order' is nothing that can be stopped)"),
    ],
)
def test_with_the_database_down_status_and_resume_say_what_the_file_stops(
    house: House, monkeypatch: pytest.MonkeyPatch, command: str, file: str | None, words: str
) -> None:
    house.settings["database_url"] = "postgresql://127.0.0.1:9/none"
    monkeypatch.setattr(common, "wired", WIRED)
    if file is not None:
        (house.folder / "STOP").write_text(file)
    done = said(command)
    assert done.exit_code == 2
    assert "The database does not answer" in done.stderr
    assert words in done.stderr
    assert house.app.stop_file.path.exists() == (file is not None)
