"""``beforehand preview`` and ``beforehand run``, as a person or a script calls them."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import models
from beforehand.cli import app
from tests.deciding import NOON, House, house_for_commands

AT_NOON = ["--now", NOON.isoformat()]


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return house_for_commands(tmp_path, monkeypatch, BEFOREHAND_LIVE_FROM="the beginning", COLUMNS="100")


def call(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def test_preview_json_tells_who_and_what_and_writes_nothing(house: House) -> None:
    house.customer(first_name="Ann", external_id="A-1")
    house.customer(phone=None, email=None)
    done = call("preview", "hello", *AT_NOON, "--json")
    told = json.loads(done.stdout)
    assert done.exit_code == 0
    assert (told["rule"], told["matched"], told["customers"], told["messages"]) == ("hello", 2, 2, 1)
    assert told["withheld"] == {"unreachable": 1}
    assert told["now"] == "2026-03-10T12:00:00+00:00"
    (sample,) = told["samples"]
    assert (sample["customer"], sample["channel"], sample["language"], sample["segments"]) == ("A-1", "sms", "en", 1)
    assert "Good day, Ann." in sample["text"]
    assert sample["facts"] == {"always": {"country": "DE"}}
    assert house.rows(models.Match) == house.rows(models.Message) == []


def test_preview_says_why_with_money_as_money(house: House) -> None:
    house.rule(condition="orders: {sum: {of: net_total, at_least: 10 EUR}}")
    owner = house.customer()
    for net in (1250, 300):
        house.add(models.Order, customer_id=owner, placed_at=NOON, net_total=net, currency="EUR")
    because = "always: the sum of net_total of orders: 15.50 EUR, needed at least 10.00 EUR"
    assert json.loads(call("preview", "hello", *AT_NOON, "--json").stdout)["samples"][0]["because"] == [because]
    assert f"because {because}" in call("preview", "hello", *AT_NOON).stdout.replace("│\n│ ", "")


def test_preview_reads_well(house: House) -> None:
    house.rule(status="draft", steps="  - {send: hello, by: [email]}")
    for _ in range(3):
        house.customer(first_name="[bold]Ann")
    house.customer(email=None)
    shown = call("preview", "hello", *AT_NOON, "--limit", "2").stdout
    assert "Matched 4 subjects of 4 customers. 3 messages would go." in shown
    assert "no usable address on any allowed channel" in shown
    assert shown.count("Good day to you.") == 2
    assert "... and 1 more" in shown
    assert "This rule is a draft: a run would plan nothing." in shown


def test_preview_says_which_template_cannot_be_filled(house: House) -> None:
    house.customer()
    (house.folder / "templates" / "hello" / "sms.en.txt").write_text("Dear {{ custommer.first_name }}")
    done = call("preview", "hello", *AT_NOON, "--json")
    assert "custommer" in json.loads(done.stdout)["samples"][0]["problem"]


def test_run_does_it_and_a_second_run_adds_nothing(house: House) -> None:
    house.customer()
    told = json.loads(call("run", "hello", *AT_NOON, "--json").stdout)
    assert (told["matched"], told["messages"], told["skipped"]) == (1, 1, False)
    assert "was done before" in call("run", "hello", *AT_NOON).stdout
    again = call("run", "hello", "--now", "2026-03-10T13:00+00:00").stdout
    assert "Planned 0 messages" in again
    assert "we have already spoken about this occasion" in again
    assert len(house.rows(models.Message)) == 1


def test_a_single_rule_file_will_do(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEFOREHAND_RULES", str(house.folder / "rules" / "hello.yaml"))
    assert json.loads(call("preview", "hello", *AT_NOON, "--json").stdout)["matched"] == 0


@pytest.mark.parametrize("command", ["preview", "run"])
def test_an_unknown_rule_is_wrong_use_and_a_guess_is_made(house: House, command: str) -> None:
    done = call(command, "helo")
    assert done.exit_code == 2
    assert "there is no rule 'helo'; did you mean hello?" in done.output


def test_rule_files_that_do_not_load_are_all_said(house: House) -> None:
    for name in ("one", "two"):
        house.rule(name, condition="countri: DE")
    done = call("run", "hello")
    assert done.exit_code == 1
    assert "one.yaml:" in done.output
    assert "two.yaml:" in done.output
    assert "did you mean country" in done.output


def test_a_setting_nobody_can_read_is_said(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEFOREHAND_CAPS", '{"service": "many"}')
    done = call("preview", "hello")
    assert done.exit_code == 2
    assert "'many' is no cap" in done.output


def test_a_moment_nobody_can_read_is_said(house: House) -> None:
    done = call("preview", "hello", "--now", "tomorrow")
    assert done.exit_code == 2
    assert "'tomorrow' is not a moment" in done.output
