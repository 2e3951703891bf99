"""Metrics tell what was really done: names by Prometheus' conventions, values by what the post room and rows say."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine, insert, update

import models
from beforehand.dispatching import dispatch_due, reap
from beforehand.heartbeat.beats import Beat, Heartbeat
from beforehand.parts import Parts, PartState
from beforehand.passes import advance, run_rule
from beforehand.sight.classes import cause_class, code_class, scope_class, topic_class
from beforehand.sight.counting import COUNTS
from beforehand.web.postroom.faults import Fault
from beforehand.web.postroom.house import Pace
from beforehand.web.staff import create_staff_app
from beforehand.wiring import App
from messaging import switches
from messaging.claims import message
from messaging.consents import suppress
from messaging.onlookers import Passed, Suppressed, look_away, look_on, tell, tell_once_committed
from messaging.stop_file import StopFile
from models.database import reading, writing
from models.staff import HeldRun, Process
from tests.deciding import NOON, House
from tests.delivery.pages import world
from tests.integration.out_world import NOW, attempts_of, later, plan_messages

HERE = "http://127.0.0.1"
MINUTE = timedelta(minutes=1)
COUNTED = ("_total", "_count", "_bucket", "_sum")

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(app: App) -> str:
    answer = TestClient(create_staff_app(app), base_url=HERE).get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return answer.text


def series(text: str) -> Series:
    families = text_string_to_metric_families(text)
    return {(one.name, frozenset(one.labels.items())): one.value for each in families for one in each.samples}


class Seen:
    """What the metrics say now, less what they said at the beginning: counters are the process's, not the test's."""

    def __init__(self, app: App) -> None:
        self.app, self.before = app, series(scrape(app))

    def __call__(self, name: str, /, **labels: str) -> float:
        key = (f"beforehand_{name}", frozenset(labels.items()))
        return series(scrape(self.app)).get(key, 0.0) - self.before.get(key, 0.0)

    def now(self, name: str, /, **labels: str) -> float:
        return series(scrape(self.app))[f"beforehand_{name}", frozenset(labels.items())]


@pytest.fixture(autouse=True)
def _count_no_more() -> Iterator[None]:
    yield
    look_away(COUNTS)


def test_what_was_sent_and_what_was_not(engine: Engine) -> None:
    with world(engine, pace=Pace(sent=60), templates=Path("messaging/templates")) as here:
        seen = Seen(here.app)
        plan_messages(engine, 4, due_at=NOW - timedelta(seconds=40))
        plan_messages(engine, 3, channel="email")
        plan_messages(engine, 1, template="no-such-template")
        plan_messages(engine, 1, expires_at=NOW)
        here.room.house.faults.add(Fault("mail", "drop", phase="dot", accepted=True))
        report = dispatch_due(here.app, NOW)
        assert [len(here.room.ledger.of(kind)) for kind in ("sms", "email")] == [4, 3]
        sent = {"sms": 4, "email": 2}
        for channel, count in sent.items():
            assert seen("messages_sent_total", channel=channel) == count
            took = {"channel": channel, "provider": provider(channel), "outcome": "accepted", "code": "2xx"}
            assert seen("provider_outcomes_total", **took) == count
            assert seen("message_latency_seconds_count", channel=channel) == count
        assert seen("message_latency_seconds_sum", channel="sms") == 4 * 40
        assert seen("message_latency_seconds_bucket", channel="sms", le="30.0") == 0
        assert seen("message_latency_seconds_bucket", channel="sms", le="60.0") == 4
        assert seen("messages_failed_total", channel="sms") == report.failed == 1
        assert seen("messages_unknown_total", channel="email") == report.unknown == 1
        assert seen("messages_withheld_total", channel="sms", reason="too_late") == 1
        assert seen.now("messages_unsettled") == 1, "of which the provider has it, but nobody told us"
        one = next(one for one in attempts_of(engine) if one.provider == "twilio")
        assert here.status(one.id, one.provider_id, "delivered").status_code == 204
        assert here.status(one.id, one.provider_id, "delivered").status_code == 204
        assert here.post(here.url("/hooks/twilio/status", one.id), {}, token="wrong").status_code == 403
        assert seen("receipts_total", channel="sms", state="delivered") == 1
        assert seen("callbacks_refused_total", reason="signature") == 1


def provider(channel: str) -> str:
    return "smtp" if channel == "email" else "twilio"


def test_what_a_rule_found_planned_and_withheld(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = House(engine, tmp_path, {"caps": {}})
    house.template()
    house.rule(steps="  - {send: hello, by: [sms]}\n  - wait: 1 day\n  - {send: hello, by: [sms]}")
    for _ in range(3):
        house.customer()
    house.customer(phone=None)
    seen = Seen(house.app)
    run_rule(house.app, "hello", NOON)
    run_rule(house.app, "hello", NOON)
    assert seen("matches_total", rule="hello") == 4
    assert seen("messages_planned_total", rule="hello") == 3
    assert seen("matches_withheld_total", rule="hello", reason="unreachable") == 1
    assert seen("pass_duration_seconds_count", rule="hello") == 1, "the second one was the same slot, so no pass"
    assert 0 < seen("pass_duration_seconds_sum", rule="hello") < 60
    house.set(models.Message, state="delivered", accepted_at=NOON, ended_at=NOON)
    assert advance(house.app, NOON + timedelta(days=1, hours=1)).planned == 3
    assert seen("messages_planned_total", rule="hello") == 6
    monkeypatch.setattr("beforehand.passes.deciding.pass_on", lambda *_args, **_more: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run_rule(house.app, "hello", NOON + MINUTE)
    assert seen("pass_failures_total", rule="hello") == 1


def test_how_things_stand(engine: Engine, tmp_path: Path) -> None:
    house = House(engine, tmp_path)
    app = App(house.app.settings, engine, lambda: NOW, parts=Parts())
    assert app.parts is not None
    app.parts.note("worker", PartState.DOWN, "it fell")
    app.parts.note("web", PartState.WELL)
    ids = plan_messages(engine, 5, due_at=later(minutes=-7))
    plan_messages(engine, 2, due_at=later(minutes=1))
    with writing(engine) as connection:
        connection.execute(update(message).where(message.c.id == ids[0]).values(state="held"))
        connection.execute(update(message).where(message.c.id == ids[1]).values(state="unknown"))
        switches.stop(connection, "rule:late-order", "mona", later(hours=-3))
        held = {"rule_id": "r", "version": "v", "why": "rule", "most": 5, "subjects": 90, "customers": 80, "count": 90}
        times = {"held_at": NOW, "expires_at": later(days=1)}
        connection.execute(insert(HeldRun).values(**held, **times, state="waiting"))
        connection.execute(insert(HeldRun).values(**held, **times, state="done", ended_at=NOW))
        for minutes in (0, 30):
            process = {"boot": f"b{minutes}", "host": "h", "version": "1", "started_at": NOW}
            connection.execute(insert(Process).values(**process, seen_at=later(minutes=-minutes)))
    now = Seen(app).now
    assert (now("messages_due"), now("queue_age_seconds")) == (3, 7 * 60)
    assert (now("messages_held"), now("messages_unsettled")) == (1, 1)
    assert (now("kill_switches_set", scope="rule"), now("kill_switches_set", scope="all")) == (1, 0)
    assert now("kill_switch_age_seconds") == 3 * 3600
    assert (now("held_runs", state="waiting"), now("held_run_reach", state="waiting")) == (1, 90)
    assert (now("processes_seen"), now("heartbeat_held"), now("database_up")) == (1, 0, 1)
    assert (now("part_up", part="worker"), now("part_up", part="web")) == (0, 1)
    assert now("part_deaths_total", part="worker") == 1
    assert now("breaker_open", name="twilio") == 0
    assert now("disk_free_bytes", folder="var") > 0


def test_a_stop_by_the_file_alone_is_counted(sqlite_engine: Engine, tmp_path: Path) -> None:
    file = StopFile(tmp_path / "STOP")
    house = House(sqlite_engine, tmp_path, {"stop_file": file.path})
    file.add("channel:sms")  # with the database down nothing else is written; the alerts must know all the same
    os.utime(file.path, (0, later(hours=-5).timestamp()))
    now = Seen(App(house.app.settings, sqlite_engine, lambda: NOW)).now
    assert (now("kill_switches_set", scope="channel"), now("kill_switches_set", scope="all")) == (1, 0)
    assert now("kill_switch_age_seconds") == 5 * 3600


def test_a_database_that_is_away_is_told_and_hides_nothing_else(sqlite_engine: Engine, tmp_path: Path) -> None:
    app = House(sqlite_engine, tmp_path).app
    with writing(sqlite_engine) as connection:
        connection.exec_driver_sql("ALTER TABLE message RENAME TO gone")
    found = series(scrape(app))
    assert found["beforehand_database_up", frozenset()] == 0
    assert ("beforehand_messages_due", frozenset()) not in found
    assert ("beforehand_messages_sent_total", frozenset({("channel", "sms")})) in found


def test_the_heartbeat_tells_its_beats_and_who_leads(sqlite_engine: Engine, tmp_path: Path) -> None:
    app = House(sqlite_engine, tmp_path).app
    seen = Seen(app)

    async def well() -> None:
        return None

    async def wrong() -> None:
        raise ValueError

    async def beats() -> None:
        heart = Heartbeat(sqlite_engine, lambda: NOON, "me", [])
        await heart.start()
        await heart.beat(Beat("well", 1, well))
        await heart.beat(Beat("wrong", 1, wrong))
        assert (seen.now("leader"), seen.now("heartbeat_held")) == (1, 1)
        await heart.stop()

    asyncio.run(beats())
    assert seen.now("leader") == 0
    assert (seen("beat_duration_seconds_count", beat="well"), seen("beat_failures_total", beat="well")) == (1, 0)
    assert (seen("beat_duration_seconds_count", beat="wrong"), seen("beat_failures_total", beat="wrong")) == (1, 1)


def test_two_scrapes_never_go_back(sqlite_engine: Engine) -> None:
    with world(sqlite_engine, templates=Path("messaging/templates")) as here:
        plan_messages(sqlite_engine, 3)
        dispatch_due(here.app, NOW)
        first = scrape(here.app)
        plan_messages(sqlite_engine, 3)
        dispatch_due(here.app, NOW)
        reap(here.app, later(hours=1))
        second = series(scrape(here.app))
    counted = {key: value for key, value in series(first).items() if key[0].endswith(COUNTED)}
    assert len(counted) > 50
    assert {key for key, value in counted.items() if second.get(key, -1) < value} == set()


def test_names_keep_the_conventions(sqlite_engine: Engine, tmp_path: Path) -> None:
    tell(Passed("late-order", 0.2, 3, 2))
    text = scrape(House(sqlite_engine, tmp_path).app)
    for family in text_string_to_metric_families(text):
        assert family.documentation, family.name
        if not family.name.startswith("process_"):
            assert family.name.startswith("beforehand_")
            assert not any(unit in family.name for unit in ("millis", "_ms", "minutes", "hours")), family.name
            assert not family.name.endswith("_total") or family.type == "counter"
    if (promtool := shutil.which("promtool")) is None:
        pytest.skip("promtool is not installed")
    ran = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout + ran.stderr) == (0, "")


def test_open_metrics_for_who_asks_for_it(sqlite_engine: Engine, tmp_path: Path) -> None:
    client = TestClient(create_staff_app(House(sqlite_engine, tmp_path).app), base_url=HERE)
    answer = client.get("/metrics", headers={"accept": "application/openmetrics-text;version=1.0.0"})
    assert "openmetrics" in answer.headers["content-type"]
    assert "beforehand_messages_sent" in {family.name for family in openmetrics(answer.text)}


def test_a_scraper_in_a_hurry_asks_the_database_once(sqlite_engine: Engine, tmp_path: Path) -> None:
    client = TestClient(create_staff_app(House(sqlite_engine, tmp_path).app), base_url=HERE)
    first = client.get("/metrics").text
    plan_messages(sqlite_engine, 1)
    again = client.get("/metrics").text
    assert "beforehand_messages_due 0.0" in first
    assert "beforehand_messages_due 0.0" in again


def rolled_back(engine: Engine) -> None:
    with writing(engine) as connection:
        suppress(connection, channel="sms", cause="stop", address_hash="a" * 64, at=NOW)
        raise ZeroDivisionError


def test_only_what_was_committed_is_counted(engine: Engine) -> None:
    told: list[object] = []
    look_on(told.append)
    try:
        with pytest.raises(ZeroDivisionError):
            rolled_back(engine)
        with reading(engine) as connection:
            tell_once_committed(connection, Suppressed("stop"))
        assert told == []
        for _ in range(2):
            with writing(engine) as connection:
                suppress(connection, channel="sms", cause="stop", address_hash="a" * 64, at=NOW)
        assert told == [Suppressed("stop")], "the same again is no news"
    finally:
        look_away(told.append)


def test_an_onlooker_that_fails_hinders_nobody(caplog: pytest.LogCaptureFixture) -> None:
    def bad(_news: object) -> None:
        raise ValueError("+447700900123")

    look_on(bad)
    try:
        tell(Passed("late-order", 0.1))
    finally:
        look_away(bad)
    assert "an onlooker failed over Passed: ValueError" in caplog.text
    assert "+44" not in caplog.text


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("", "none"), ("201", "2xx"), ("550", "5xx"), ("21610", "21xxx"), ("30007", "30xxx"), ("5.1.1", "5.x.x"),
        ("550 5.1.1 <anna@kunde.example> unknown", "other"), ("ReadTimeout", "network"), ("deadline", "deadline"),
        ("1234567", "other"), ("٣٤٥", "other"),
    ],
)  # fmt: skip
def test_codes_are_put_into_few_classes(code: str, found: str) -> None:
    assert code_class(code) == found


def test_what_others_choose_the_words_of_is_put_into_classes() -> None:
    assert [cause_class(cause) for cause in ("stop", "provider_21610", "provider_21614", "smtp_5.1.1")] == [
        "stop", "stop", "bad_address", "bad_address",
    ]  # fmt: skip
    assert [topic_class(topic) for topic in ("rule:late-order", "provider:twilio", "x:anna")] == [
        "rule", "provider", "other",
    ]  # fmt: skip
    assert [scope_class(scope) for scope in ("all", "rule:a", "restore")] == ["all", "rule", "other"]
