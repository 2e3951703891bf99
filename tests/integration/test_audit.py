"""The audit log: append-only, one chain, what tampering shows; and what is written when a bound is changed."""

import json
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError
from typer.testing import CliRunner

from beforehand.cli import app as cli
from beforehand.cli import common
from beforehand.passes import rules_of, run_rule
from beforehand.passes.in_force import write_down
from messaging import audit
from models.database import reading, writing
from tests.deciding import NOON, House


def put(engine: Engine, count: int, by: str = "anna", **details: Any) -> None:
    for n in range(count):
        with writing(engine) as connection:
            audit.write(connection, by=by, action="stop", about=f"rule:r{n}", now=NOON, details=details)


def broken(engine: Engine) -> int | None:
    with reading(engine) as connection:
        return audit.first_broken(connection)


def entries(engine: Engine) -> list[audit.Entry]:
    with reading(engine) as connection:
        assert audit.first_broken(connection) is None
        return audit.entries(connection)


def tamper(engine: Engine, statement: str) -> None:
    """As somebody would who may do all: the triggers are taken away first."""
    with writing(engine) as connection:
        if engine.dialect.name == "sqlite":
            connection.execute(text("DROP TRIGGER audit_no_update"))
            connection.execute(text("DROP TRIGGER audit_no_delete"))
        else:
            connection.execute(text("ALTER TABLE audit DISABLE TRIGGER ALL"))
        connection.execute(text(statement))


@pytest.mark.parametrize("statement", ["UPDATE audit SET by = 'ben'", "DELETE FROM audit", "TRUNCATE audit"])
def test_no_entry_is_changed_or_taken_out(engine: Engine, statement: str) -> None:
    if engine.dialect.name == "sqlite" and statement.startswith("TRUNCATE"):
        pytest.skip("SQLite has no TRUNCATE")
    put(engine, 2)
    with pytest.raises(DBAPIError, match="append-only"), writing(engine) as connection:
        connection.execute(text(statement))
    assert len(entries(engine)) == 2


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE audit SET by = 'ben' WHERE id = 2", 2),
        ("UPDATE audit SET details = '{\"n\": 2}' WHERE id = 3", 3),
        ("DELETE FROM audit WHERE id = 2", 3),
        ("DELETE FROM audit WHERE id = 1", 2),
    ],
)
def test_tampering_shows(engine: Engine, statement: str, found: int) -> None:
    put(engine, 4, n=1)
    assert broken(engine) is None
    tamper(engine, statement)
    assert broken(engine) == found


def test_what_was_taken_off_the_end_shows_by_the_digest_that_was_kept(engine: Engine) -> None:
    put(engine, 3)
    with reading(engine) as connection:
        kept = audit.last_digest(connection)
    tamper(engine, "DELETE FROM audit WHERE id = 3")
    with reading(engine) as connection:
        assert audit.last_digest(connection) != kept


def test_details_of_every_kind_are_read_as_they_were_hashed(engine: Engine) -> None:
    put(
        engine, 1, half=0.5, whole=5.0, tiny=1e-7, many=10**15, words=["ä", {"b": None}], at=NOON, pair=(1, 2), yes=True
    )
    assert broken(engine) is None


def test_two_writers_at_once_keep_one_chain(engine: Engine) -> None:
    threads = [threading.Thread(target=put, args=[engine, 15, f"writer {n}"]) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(entries(engine)) == 60


@pytest.fixture
def house(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    made = House(engine, tmp_path)
    made.rule(limits="{once_per: customer, brake: 5% of customers}")
    made.template()
    monkeypatch.setattr(common, "wired", lambda *_a, **_k: made.app)
    return made


def said(*words: str) -> Any:
    return CliRunner().invoke(cli, ["audit", *words])


def test_the_command_shows_and_verifies(house: House) -> None:
    put(house.engine, 3)
    assert "rule:r2" in said("--last", "1").stdout
    assert [entry["about"] for entry in json.loads(said("--last", "2", "--json").stdout)] == ["rule:r1", "rule:r2"]
    assert said("--verify").exit_code == 0
    tamper(house.engine, "UPDATE audit SET about = 'rule:r9' WHERE id = 2")
    done = said("--verify")
    assert (done.exit_code, "Entry 2" in done.stderr) == (1, True)
    assert json.loads(said("--verify", "--json").stdout)["first_broken"] == 2


def limits(house: House) -> list[dict[str, Any]]:
    return [dict(entry.details) for entry in entries(house.engine) if entry.action == "limits changed"]


def test_a_change_of_limits_is_written_with_old_and_new(house: House) -> None:
    run_rule(house.app, "hello", NOON)
    assert limits(house) == []
    house.rule(limits="{once_per: customer, brake: 50% of customers, at_most: 9 messages per day}", priority=3)
    run_rule(house.app, "hello", NOON + timedelta(hours=1))
    (change,) = limits(house)
    assert change["changed"] == {
        "at_most": [None, "9 messages per day"],
        "brake": ["5% of customers", "50% of customers"],
    }
    run_rule(house.app, "hello", NOON + timedelta(hours=2))
    house.rule(limits="{once_per: customer, brake: 50% of customers, at_most: 9 messages per day}", priority=4)
    run_rule(house.app, "hello", NOON + timedelta(hours=3))
    assert len(limits(house)) == 1  # another priority is no other limit


def test_a_voucher_s_budget_and_the_share_are_limits_too(house: House) -> None:
    steps = "  - voucher: {{worth: 5 EUR, valid_for: 9 days, budget: {} EUR per month}}\n  - {{send: hello, by: [sms]}}"
    house.rule(purpose="marketing", steps=steps.format(50))
    write_down(house.app, rules_of(house.app), "", NOON)
    house.rule(purpose="marketing", steps=steps.format(5000), condition="country: DE", why="x\npercent: 50")
    write_down(house.app, rules_of(house.app), "", NOON + timedelta(hours=1))
    (change,) = limits(house)
    assert change["changed"] == {"budget": [["50 EUR per month"], ["5000 EUR per month"]]} | (
        {"percent": [None, 50]} if "percent" in change["changed"] else {}
    )


def test_settings_that_bound_sending_are_written_when_they_change(house: House) -> None:
    def start(**settings: Any) -> list[audit.Entry]:
        house.settings |= settings
        write_down(house.app, rules_of(house.app), "", NOON)
        return [entry for entry in entries(house.engine) if entry.action.startswith("settings")]

    guest = "+4915112345678"
    start(guest_list=[guest])
    assert [entry.action for entry in start()] == ["settings noted"]
    changed = start(brake=50, caps={"service": "9 per 1 day"})[-1]
    assert (changed.action, changed.details["changed"]["brake"]) == ("settings changed", [5, 50])
    assert changed.details["changed"].keys() == {"brake", "caps"}
    swapped = start(guest_list=["+4915100000000"])[-1]
    assert swapped.details["changed"].keys() == {"guest_list"}  # as many, and others
    more = start(guest_list=["a@example.com", guest])[-1]
    assert more.details["changed"]["guests"] == [1, 2]
    start(secret_key=SecretStr("t" * 32))
    told = json.dumps([dict(entry.details) for entry in entries(house.engine)])
    assert guest not in told
    assert "example.com" not in told
