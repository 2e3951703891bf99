"""The commands around a restored and a damaged database: what they say, and how they end."""

import gc
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert
from typer.testing import CliRunner, Result

import models
from beforehand.cli import app
from beforehand.dispatching import call_webhooks
from beforehand.web.postroom.server import PostRoom
from beforehand.wiring import bootstrap
from messaging.candidates import TABLES
from messaging.journal.marks import hold
from models.database import writing
from models.vocabulary import WebhookState
from tests.deciding import NOON, House, house_for_commands
from tests.delivery.restoring import put_back, snapshot
from tests.delivery.test_prove_disk import break_page, root_page, whole_file

MOMENT = ["--now", NOON.isoformat()]


@pytest.fixture
def room() -> Iterator[PostRoom]:
    with PostRoom() as opened:
        yield opened


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: PostRoom) -> House:
    """Three customers whom the rule finds, and a post room to send to."""
    port = room.http_url.rpartition(":")[2]
    where = {"BEFOREHAND_POST_ROOM_PORT": port, "BEFOREHAND_POST_ROOM_SMTP_PORT": str(room.smtp_port)}
    where |= {"BEFOREHAND_LIVE_FROM": "the beginning"}
    where |= {"BEFOREHAND_TWILIO_ACCOUNT_SID": room.account_sid, "BEFOREHAND_TWILIO_AUTH_TOKEN": room.auth_token}
    made = house_for_commands(tmp_path, monkeypatch, BEFOREHAND_JOURNAL=str(tmp_path / "journal"), **where)
    for _ in range(3):
        made.customer()
    assert say("run", "hello", *MOMENT).exit_code == 0
    return made


def say(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def restore(house: House, copy: Path) -> None:
    """Put a backup in the place of the database, when every process has ended."""
    house.engine.dispose()
    gc.collect()  # the commands ran in this process, and their engines are closed with them
    house.engine = put_back(house.engine, copy)


def test_a_restore_from_the_first_alarm_to_the_last_message(house: House, room: PostRoom, tmp_path: Path) -> None:
    assert say("reconcile").stdout.startswith("Nothing is held")
    copy = snapshot(house.engine, tmp_path / "copy.db")
    sent = say("dispatch", *MOMENT)
    assert sent.stdout.startswith("3 sent"), sent.stderr
    restore(house, copy)
    for _ in range(2):
        refused = say("dispatch", *MOMENT)
        assert refused.exit_code == 1
        assert "Run `beforehand reconcile`" in refused.stderr or "beforehand reconcile" in refused.stderr
    shown = say("status", *MOMENT).stdout
    assert "Everything is held since" in shown
    assert json.loads(say("status", "--json", *MOMENT).stdout)["held_since"]
    done = say("reconcile")
    assert done.exit_code == 0
    assert "The journal knew 3 sends" in done.stdout
    assert "3 messages: had been sent already." in done.stdout
    assert done.stdout.rstrip().endswith("Sending goes on.")
    assert say("dispatch", *MOMENT).stdout.startswith("0 sent")
    assert json.loads(say("status", "--json", *MOMENT).stdout)["held_since"] is None
    again = json.loads(say("reconcile", "--json").stdout)
    assert (again["was_held"], again["held"], again["attempts"], again["moved"]) == (False, False, 0, {})
    assert len(room.ledger.entries) == 3


def test_a_hold_that_this_machine_knows_nothing_of(house: House) -> None:
    with writing(house.engine) as connection:
        hold(connection, "another machine found it", NOON)
    left = say("reconcile")
    assert left.exit_code == 1
    assert "Run this on the machine that sent" in " ".join(left.stdout.split())
    assert say("reconcile", "--release").exit_code == 0
    (entry,) = json.loads(say("audit", "--json").stdout)
    assert (entry["action"], entry["about"]) == ("release", "restore")
    sent = say("dispatch", *MOMENT)
    assert sent.stdout.startswith("3 sent"), sent.stderr


def test_another_secret_cannot_read_the_journal(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = snapshot(house.engine, tmp_path / "copy.db")
    say("dispatch", *MOMENT)
    restore(house, copy)
    monkeypatch.setenv("BEFOREHAND_SECRET_KEY", "another" * 8)
    assert say("dispatch", *MOMENT).exit_code == 1
    refused = say("reconcile")
    assert refused.exit_code == 2
    assert "another BEFOREHAND_SECRET_KEY" in refused.stderr


def test_a_damaged_file_is_named_and_stays_stopped_until_it_is_whole(
    house: House, room: PostRoom, tmp_path: Path
) -> None:
    copy = snapshot(house.engine, tmp_path / "copy.db")
    page = root_page(house.engine, "ix_message_due")
    gc.collect()
    whole_file(house.engine)
    break_page(tmp_path / "cli.db", page, random.Random(1))
    for _ in range(2):
        stopped = say("dispatch", *MOMENT)
        assert stopped.exit_code == 1
        said = " ".join(stopped.stderr.split())
        assert f"The database {tmp_path / 'cli.db'} is damaged" in said
        assert "docs/how-to/restore-a-backup.md" in said
    assert not room.ledger.entries
    restore(house, copy)
    sent = say("dispatch", *MOMENT)
    assert sent.stdout.startswith("3 sent"), sent.stderr


def test_the_operators_own_systems_are_not_called_either(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: PostRoom
) -> None:
    monkeypatch.setenv("BEFOREHAND_WEBHOOKS", json.dumps({"crm": "https://crm.example/in"}))
    copy = snapshot(house.engine, tmp_path / "copy.db")
    say("dispatch", *MOMENT)
    restore(house, copy)
    row: dict[str, Any] = {
        "match_id": house.rows(models.Match, "id")[0], "rule_id": "hello", "version": "v", "occasion": "customer/1",
        "step": "0", "endpoint": "crm", "subject": "customer", "subject_id": 1, "subject_key": "c", "said": {},
        "state": "planned", "created_at": NOON, "due_at": NOON, "tries": 0,
    }  # fmt: skip
    with writing(house.engine) as connection:
        connection.execute(insert(TABLES["webhook"]).values(row))
    wired = replace(bootstrap(), clock=lambda: NOON)
    assert call_webhooks(wired).states == {}, "the first look is theirs, before anything was dispatched"
    assert say("reconcile").exit_code == 0
    assert call_webhooks(wired).states == {WebhookState.DELIVERED: 1}
