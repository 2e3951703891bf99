"""``beforehand approve`` as the person on duty uses it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import models
from beforehand.cli import app
from messaging import audit
from models.database import reading
from models.vocabulary import HeldState
from tests.deciding import House, house_for_commands

NOW = "2026-03-10T12:00:00+00:00"
LATER = "2026-03-10T13:00:00+00:00"


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """Ten customers, and a run of ``hello`` that is held; the author of its text is whoever runs the tests."""
    environment = {"BEFOREHAND_CANARY": "2", "BEFOREHAND_LIVE_FROM": "1970-01-01T00:00:00Z", "COLUMNS": "160"}
    made = house_for_commands(tmp_path, monkeypatch, **environment)
    made.rule(limits="{once_per: customer, brake: 20% of customers}")
    for _ in range(10):
        made.customer(first_name="Maximiliane")
    assert "Held until a second person approves it" in call("run", "hello").stdout
    return made


def call(*words: str) -> Result:
    return CliRunner().invoke(app, words)


def approve(*words: str) -> Result:
    return call("approve", *words)


def word() -> str:
    """What the page of the run shows, as its last lines have it."""
    return approve("1").stdout.partition("--shown ")[2].split()[0]


def yes(*words: str) -> Result:
    return approve("1", "--yes", "--shown", word(), *words)


def test_it_lists_what_waits_and_shows_what_it_would_do(house: House) -> None:
    listed = approve()
    assert (listed.exit_code, "hello" in listed.stdout, "waits for a second person" in listed.stdout) == (0, True, True)
    shown = approve("1", "--now", NOW)
    assert shown.exit_code == 0
    for words in ("10 matches of 10 customers wait; 10 would go.", "10 SMS", "Good day, you.", "approve 1 --yes"):
        assert words in shown.stdout
    assert "Maximiliane" not in shown.stdout
    assert set(house.rows(models.Match, "state")) == {"held"}


def test_a_second_person_approves(house: House) -> None:
    shown = word()
    done = yes("--by", "ada@example.com", "--because", "a strike")
    assert done.exit_code == 0, done.output
    assert "approved by ada@example.com: 2 matches of 10 go first" in done.stdout
    with reading(house.engine) as connection:
        last = audit.entries(connection)[-1]
    assert (last.by, last.action, last.details["via"], last.details["why"]) == (
        "ada@example.com", "approve", "cli", "a strike",
    )  # fmt: skip
    again = approve("1", "--yes", "--shown", shown, "--by", "bo")
    assert (again.exit_code, "has been answered by ada@example.com" in again.stderr) == (1, True)


def test_who_wrote_it_cannot(house: House) -> None:
    refused = yes()
    assert refused.exit_code == 1
    assert "a second person must approve it" in refused.stderr
    assert house.rows(models.HeldRun, "state") == [HeldState.WAITING]


def test_what_was_shown_is_what_is_approved(house: House) -> None:
    """Bob has seen the page; then Eva hears that the texts were changed, and the row has the new ones."""
    old = word()
    (house.folder / "templates" / "hello" / "sms.en.txt").write_text("Something else.\n")
    eva = approve("1", "--yes", "--shown", old, "--by", "eva")
    bob = approve("1", "--yes", "--shown", old, "--by", "bob")
    assert (eva.exit_code, bob.exit_code) == (1, 1)
    assert "look again" in eva.stderr
    assert "look again" in bob.stderr
    assert house.rows(models.HeldRun, "state") == [HeldState.WAITING]
    assert json.loads(approve("1", "--json").stdout)["shown"] == word() != old
    assert yes("--by", "bob").exit_code == 0


def test_anybody_refuses(house: House) -> None:
    done = json.loads(approve("1", "--refuse", "--json").stdout)
    assert (done["state"], done["ended_at"] is not None) == ("refused", True)
    assert "holds nothing" in approve().stdout


def test_the_status_shows_it(house: House) -> None:
    told = call("status")
    assert "waits for a second person" in told.stdout
    assert "more than 5% of the customers" in told.stdout
    assert json.loads(call("status", "--json").stdout)["held_runs"][0]["rule_id"] == "hello"


def test_names_of_rules_are_whole_on_a_narrow_screen(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever answers types them."""
    monkeypatch.setenv("COLUMNS", "80")
    name = "survey-after-the-delivery-of-a-first-order"
    house.rule(name, limits="{once_per: customer, brake: 20% of customers}")
    call("run", name, "--now", NOW)
    for shown in (approve().stdout, call("status").stdout):
        rows = [line for line in shown.splitlines() if f" {name} " in line]
        assert rows
        assert all(len(line) <= 80 for line in rows)
    assert "until" in approve().stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--yes",), 2, "which run?"),
        (("1", "--yes", "--refuse"), 2, "two answers"),
        (("1", "--yes"), 2, "`beforehand approve 1` ends with the command"),
        (("9",), 1, "there is no held run 9"),
        (("9", "--refuse"), 1, "there is no held run 9"),
        (("1", "--refuse", "--now", NOW), 2, "an answer is given now"),
    ],
)
def test_wrong_use_is_said(house: House, words: tuple[str, ...], code: int, said: str) -> None:
    found = approve(*words)
    assert found.exit_code == code
    assert said in found.stderr
