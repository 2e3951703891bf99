"""The stop file is heard before a claim, at arm, right before the first byte, by webhooks and in answered calls."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Engine

from beforehand.web.postroom.house import Pace
from messaging.outbox import arm, claim
from messaging.points import Point
from messaging.stop_file import StopFile
from models.database import writing
from models.vocabulary import WebhookState
from tests.delivery.pages import world
from tests.integration.out_world import NOW, POLICY, attempts_of, plan_messages, rows_of, send_due, ways
from tests.integration.test_web_hooks import CALL, silent
from tests.integration.test_webhooks import Receiver, calling, receiver  # noqa: F401

HELD = ["all", "rule:late-order", "channel:sms"]
FREE = ["rule:other", "channel:voice", "webhook:crm"]


@pytest.fixture
def file(tmp_path: Path) -> StopFile:
    return StopFile(tmp_path / "STOP")


class Wire:
    """Channels that note what would be on the wire, and stop all just before one of them goes."""

    def __init__(self, file: StopFile, before: int = 99, scope: str = "all") -> None:
        self.file, self.before, self.scope, self.sent = file, before, scope, 0

    def at(self, point: Point) -> None:
        if point is Point.SENDING:
            self.sent += 1
        if point is Point.JOURNALED and self.sent >= self.before:
            self.file.add(self.scope)


@pytest.mark.parametrize("scope", [*HELD, *FREE])
def test_before_a_claim(engine: Engine, file: StopFile, scope: str) -> None:
    plan_messages(engine, 2)
    file.add(scope)
    with writing(engine) as connection:
        found = claim(connection, NOW, limit=9, lease_seconds=60, policy=POLICY, halted=file.halted())
    assert len(found.claims) == (0 if scope in HELD else 2)
    assert {row.reason for row in rows_of(engine)} == ({"kill_switch"} if scope in HELD else {None})


@pytest.mark.parametrize("scope", [*HELD, *FREE])
def test_at_arm(engine: Engine, file: StopFile, scope: str) -> None:
    plan_messages(engine, 2)
    with writing(engine) as connection:
        claims = claim(connection, NOW, limit=9, lease_seconds=60, policy=POLICY).claims
    file.add(scope)
    assert len(arm(engine, claims, NOW, halted=file.halted())) == (0 if scope in HELD else 2)
    assert {row.state for row in rows_of(engine)} == ({"queued"} if scope in HELD else {"in_flight"})


@pytest.mark.parametrize("scope", HELD)
def test_right_before_the_first_byte_what_is_armed_goes_back_and_no_try_is_counted(
    engine: Engine, file: StopFile, scope: str
) -> None:
    plan_messages(engine, 20)
    nowhere = {"account_sid": "AC", "auth_token": "t", "http_url": "http://127.0.0.1:9", "host": "127.0.0.1"}
    sms = ways(SimpleNamespace(**nowhere, smtp_port=9))  # type: ignore[arg-type]
    wire = Wire(file, before=0, scope=scope)  # once the first group is armed
    report = send_due(engine, sms, halted=file.halted, at=wire.at)
    assert (wire.sent, report.sent, report.unknown, report.failed) == (0, 0, 0, 0)
    rows = rows_of(engine)
    assert {(row.state, row.reason, row.tries) for row in rows if row.state == "queued"} == {
        ("queued", "kill_switch", 0)
    }
    assert {row.state for row in rows} <= {"queued", "planned"}
    armed = [one for one in attempts_of(engine) if one.armed_at]
    assert armed
    assert {(one.state, one.code) for one in armed} == {("not_accepted", "kill_switch")}
    assert all(one.ended_at for one in attempts_of(engine))


def test_taken_back_all_go_once(engine: Engine, file: StopFile) -> None:
    with world(engine) as here:
        plan_messages(engine, 30)
        wire = Wire(file, before=5)
        send_due(engine, ways(here.room), halted=file.halted, at=wire.at)
        assert 5 <= len(here.room.entries) < 30
        file.take_back("all")
        send_due(engine, ways(here.room), halted=file.halted)
        assert len(here.room.entries) == 30
    assert {row.tries for row in rows_of(engine)} == {1}


def test_one_that_came_too_late_behind_it_ends_as_too_late(engine: Engine, file: StopFile) -> None:
    plan_messages(engine, 1, expires_at=NOW)
    file.add("all")
    with writing(engine) as connection:
        claim(connection, NOW, limit=9, lease_seconds=60, policy=POLICY, halted=file.halted())
    file.take_back("all")
    with writing(engine) as connection:
        assert not claim(connection, NOW, limit=9, lease_seconds=60, policy=POLICY, halted=file.halted()).claims
    assert [(row.state, row.reason) for row in rows_of(engine)] == [("expired", "too_late")]


@pytest.mark.parametrize("scope", ["all", "rule:hello", "webhook:crm", "webhook:till", "channel:sms"])
def test_webhooks(engine: Engine, tmp_path: Path, receiver: Receiver, scope: str) -> None:  # noqa: F811
    place = calling(engine, tmp_path, receiver.url, stop_file=tmp_path / "STOP")
    place.run()
    place.app.stop_file.add(scope)
    if scope in ("webhook:till", "channel:sms"):
        assert place.call() == {WebhookState.DELIVERED: 1}
        return
    assert place.call() == {}
    assert receiver.got == []
    place.app.stop_file.take_back(scope)
    assert place.call() == {WebhookState.DELIVERED: 1}
    assert place.row().tries == 1


def test_a_webhook_that_is_claimed_goes_back_with_its_try(
    engine: Engine,
    tmp_path: Path,
    receiver: Receiver,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from messaging.webhooks import queue

    place = calling(engine, tmp_path, receiver.url, stop_file=tmp_path / "STOP")
    place.run()
    as_it_is = queue.claim

    def claimed_and_then_stopped(*said: Any, **more: Any) -> Any:
        found = as_it_is(*said, **more)
        place.app.stop_file.add("all")
        return found

    monkeypatch.setattr(queue, "claim", claimed_and_then_stopped)
    assert place.call() == {WebhookState.PLANNED: 1}
    row = place.row()
    assert (row.state, row.code, row.tries, row.due_at <= row.created_at) == ("planned", "kill_switch", 0, True)
    assert receiver.got == []


@pytest.mark.parametrize(("scope", "speaks"), [("all", False), ("channel:voice", False), ("channel:sms", True)])
def test_a_call_that_is_answered_says_nothing(sqlite_engine: Engine, file: StopFile, scope: str, speaks: bool) -> None:
    with world(sqlite_engine, stop_file=file.path) as here:
        here.room.house.pace = Pace(ringing=60)
        plan_messages(sqlite_engine, 1, **CALL)
        here.send()
        (one,) = attempts_of(sqlite_engine)
        file.add(scope)
        assert silent(here.answer(one.id, one.provider_id)) is not speaks
