"""What is in force is written down: every text that comes into force, a refused edit, and what `status` says of it."""

import asyncio
import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from typer.testing import CliRunner

import models
from beforehand.cli import app as commands
from beforehand.heartbeat import RuleBook
from beforehand.heartbeat.beats import Beat
from beforehand.heartbeat.duties import Work, duties, watching
from beforehand.heartbeat.prefect import PrefectSide, PrefectWatch
from beforehand.passes import advance, event_rules_due, run_rule
from beforehand.passes.in_force import write_down
from beforehand.passes.retiring import cancel_retired
from beforehand.status import status_of
from flows.deployments import wanted
from flows.hands import of_app
from messaging.breaker import call_staff
from models.database import writing
from models.vocabulary import Reason
from tests.deciding import NOON, House, house_for_commands

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
WAITS = "  - {send: hello, by: [sms]}\n  - wait: 2 days\n  - {send: %s, by: [sms]}"


@pytest.fixture
def house(engine: Engine, tmp_path: Path) -> House:
    made = House(engine, tmp_path, {"caps": {}})
    made.template()
    return made


class Running:
    """A long-lived process with its own book, whose beats are beaten by hand."""

    def __init__(self, house: House) -> None:
        app = house.app
        self.book = RuleBook(app.settings.rules)
        self.told: list[str] = []
        self.up = True
        side = PrefectSide(lambda: self.up, self.nothing, self.nothing, self.tell)  # type: ignore[arg-type]
        hands = of_app(app)
        self.watch = PrefectWatch(side, hands)
        nothing: Any = lambda _now: None  # noqa: E731
        work = Work(nothing, nothing, nothing, nothing, write_down=lambda *said: write_down(app, *said))
        beats = [*watching(self.book, self.watch), *duties(hands, work, self.book, self.watch)]
        self.beats: dict[str, Beat] = {beat.name: beat for beat in beats}

    async def nothing(self, *_: Any) -> None: ...

    async def tell(self, _rules: Any, problems: str) -> None:
        self.told.append(problems)

    def beat(self) -> None:
        asyncio.run(self.beat_all())

    async def beat_all(self) -> None:
        for name in ("prefect", "look", "rules", "notices"):
            await self.beats[name].work()


def edit(house: House, old: str, new: str) -> None:
    path = house.folder / "rules" / "hello.yaml"
    path.write_text(path.read_text().replace(old, new))


def test_every_text_is_kept_as_soon_as_it_is_in_force(house: House) -> None:
    house.rule()
    running = Running(house)
    running.beat()
    edit(house, "title: A test", "title: Another title")
    running.beat()
    kept = house.rows(models.RuleVersion, "version", "text")
    assert [row.version for row in kept][-1] == running.book.terms()["hello"].version
    assert ["Another title" in row.text for row in kept] == [False, True]
    assert house.rows(models.Match) == [], "no pass was needed"


def test_a_broken_edit_is_told_everywhere_until_it_is_right(house: House) -> None:
    house.rule()
    running = Running(house)
    running.beat()
    edit(house, "purpose: service", "purpos: service")
    running.up = False
    running.beat()
    assert running.told == [""], "Prefect hears of it when it is back"
    running.up = True
    running.beat()
    assert "purpos" in running.told[-1]
    seen = status_of(house.app, NOON + HOUR)
    assert [rule.version for rule in seen.rules] == [running.book.terms()["hello"].version], "the old one is in force"
    assert (seen.refused_since, len(seen.files.problems) > 0) == (NOON, True)
    running.beat()
    assert len(running.told) == 2, "said once"
    edit(house, "purpos: service", "purpose: service")
    running.beat()
    assert running.told[-1] == ""
    assert status_of(house.app, NOON).refused_since is None


def test_status_tells_rules_passes_waiting_matches_and_open_messages(house: House) -> None:
    house.rule(steps=WAITS % "hello")
    house.rule("idle", status="draft")
    house.customer()
    house.customer(phone=None, email=None)
    Running(house).beat()
    run_rule(house.app, "hello", NOON)
    old = status_of(house.app, NOON).rules[0].version
    edit(house, "title: A test", "title: Another title")
    assert status_of(house.app, NOON).files.changed == ["hello"]
    (house.folder / "rules" / "new.yaml").write_text(
        (house.folder / "rules" / "idle.yaml").read_text().replace("id: idle", "id: new")
    )
    (house.folder / "rules" / "idle.yaml").unlink()
    seen = status_of(house.app, NOON + HOUR)
    assert (seen.files.new, seen.files.gone, seen.running) == (["new"], ["idle"], None)
    Running(house).beat()
    seen = status_of(house.app, NOON + HOUR)
    (rule, draft) = seen.rules
    assert (rule.rule, rule.status, rule.live_since, rule.waiting) == ("hello", "live", NOON, {old: 1})
    assert rule.last_pass is not None
    assert (rule.last_pass.matched, rule.last_pass.messages, rule.last_pass.withheld) == (2, 1, 1)
    assert (draft.rule, draft.live_since, draft.last_pass) == ("new", None, None)
    assert (seen.messages, seen.files.differ) == ({"planned": 1}, False)


def test_the_command_says_it_and_leaves_with_1_where_the_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = house_for_commands(tmp_path, monkeypatch, COLUMNS="140")
    made.customer()
    run_rule(made.app, "hello", NOON)
    runner = CliRunner()
    said = runner.invoke(commands, ["status", "--now", "2026-03-10T12:05:00+00:00"])
    assert said.exit_code == 0, said.output
    assert "No house is running" in said.output
    assert "Messages that are open: 1 planned." in said.output
    assert re.search(r"hello +live +\S+ +03-10 12:00 +1 +1", said.output)
    late = runner.invoke(commands, ["status", "--now", "2026-03-10T12:30:00+00:00"])
    assert (late.exit_code, "1 messages are due, the oldest since" in late.output) == (1, True), "nobody sends them"
    edit(made, "purpose: service", "purpos: service")
    said = runner.invoke(commands, ["status"])
    assert (said.exit_code, "refused" in said.output, "hello.yaml:7:1" in said.output) == (1, True, True)
    told = json.loads(runner.invoke(commands, ["status", "--json"]).stdout)
    assert [rule["status"] for rule in told["rules"]] == ["live"]
    assert told["files"]["problems"]


def test_a_waiting_match_ends_on_the_text_it_began_with(house: House) -> None:
    house.template("thanks", "sms")
    house.rule(steps=WAITS % "hello")
    first = house.customer()
    run_rule(house.app, "hello", NOON)
    house.set(models.Message, state="delivered", ended_at=NOON)
    house.rule(steps=WAITS % "thanks")
    run_rule(house.app, "hello", NOON + HOUR)
    second = house.customer()
    run_rule(house.app, "hello", NOON + 2 * HOUR)
    house.set(models.Message, lambda c: c.state == "planned", state="delivered", ended_at=NOON)
    advance(house.app, NOON + 3 * DAY)
    told = [(row.customer_id, row.template) for row in house.rows(models.Message) if row.step == "2"]
    assert sorted(told) == [(first, "hello"), (second, "thanks")]
    assert len({row.version for row in house.rows(models.Message) if row.step == "2"}) == 2


def test_a_retired_rule_ends_what_waits(house: House) -> None:
    house.rule(steps=WAITS % "hello")
    house.customer()
    run_rule(house.app, "hello", NOON)
    house.set(models.Message, state="delivered", ended_at=NOON)
    house.rule(steps=WAITS % "hello", status="retired")
    assert advance(house.app, NOON + 2 * DAY).stopped == 1
    assert house.rows(models.Match, "state", "reason") == [("stopped", "rule_not_live")]
    assert len(house.rows(models.Message)) == 1


def test_what_is_cancelled_because_its_rule_retired_ends_at_that_moment(house: House) -> None:
    """Seen on SQLite: the moment of the end was kept as a text, which is later than any moment."""
    house.rule(steps=WAITS % "hello")
    house.customer()
    run_rule(house.app, "hello", NOON)
    house.rule(steps=WAITS % "hello", status="retired")
    (message,) = house.rows(models.Message, "id")
    with writing(house.engine) as connection:
        assert cancel_retired(house.app, connection, NOON + timedelta(minutes=1), [message]) == 1
    assert house.rows(models.Match, "state", "ended_at") == [("stopped", NOON + timedelta(minutes=1))]


def test_a_shadow_rule_runs_by_clock_and_by_event_and_sends_nothing(house: House) -> None:
    house.rule(status="shadow", when="{every: 1 hour, event: customer.updated}")
    house.rule("silent", status="draft", when="{every: 1 hour, event: customer.updated}")
    house.customer()
    with writing(house.app.engine) as connection:
        connection.execute(models.Change.__table__.insert(), [{"event": "customer.updated", "changed_at": NOON}])  # type: ignore[attr-defined]
    assert event_rules_due(house.app, NOON) == ["hello"]
    hands = of_app(house.app)
    deployed = {wish.name: wish.description for wish in wanted(hands.rules(), hands)}
    assert {name for name in deployed if name in ("hello", "silent")} == {"hello"}
    assert "nothing is sent" in deployed["hello"]
    report = run_rule(house.app, "hello", NOON)
    assert (report.status, report.planned, report.withheld) == ("shadow", 0, {Reason.SHADOW: 1})
    assert house.rows(models.Match, "state", "reason", "version") == [("withheld", "shadow", report.version)]
    assert event_rules_due(house.app, NOON) == [], "the event was seen"
    assert house.rows(models.Message) == []


def test_status_says_what_staff_are_called_for(house: House) -> None:
    house.rule()
    said = "its signature is wrong"
    with writing(house.app.engine) as connection:
        call_staff(connection, "callbacks:signature", said, NOON)
    assert [(call.topic, call.said, call.since) for call in status_of(house.app, NOON).calls] == [
        ("callbacks:signature", said, NOON)
    ]
