"""``beforehand explain`` and ``preview --customer``, as a person or a script calls them."""

import json
import logging
from datetime import timedelta
from pathlib import Path
from unicodedata import category

import pytest
from typer.testing import CliRunner, Result

import models
from beforehand.cli import app
from beforehand.passes import run_rule
from tests.deciding import NOON, House, house_for_commands

AT_NOON = ["--at", NOON.isoformat()]


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    made = house_for_commands(tmp_path, monkeypatch, BEFOREHAND_LIVE_FROM="2000-01-01T00:00:00Z", COLUMNS="60")
    made.rule(condition="orders: {count: {at_least: 1}, within: 30 days}")
    return made


def call(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def test_a_match_reads_from_condition_to_gate_to_past(house: House) -> None:
    who = house.customer(external_id="A-1", first_name="Ann [b]", last_name="Lee")
    house.add(models.Order, customer_id=who, placed_at=NOON - timedelta(days=2))
    run_rule(house.app, "hello", NOON - timedelta(days=1))
    done = call("explain", "A-1", "hello", *AT_NOON)
    assert done.exit_code == 0
    for line in (
        "Ann [b] Lee, customer A-1",
        "as of Tue 10 Mar 2026 13:00 Europe/Berlin (2026-03-10 12:00 UTC)",
        "✓ if always",
        "yes orders in the last 30 days: 1, needed at least 1",
        "gate known occasion withholds: we have already spoken about this occasion (known_occasion)",
        "because always: orders in the last 30 days: 1, needed at least 1",
        "Mon 9 Mar 2026 13:00 Europe/Berlin (2026-03-09 12:00 UTC)  begun its steps began",
    ):
        assert line in done.stdout, line


def test_a_near_miss_says_what_is_wanting(house: House) -> None:
    house.customer(external_id="A-1")
    said = call("explain", "A-1", *AT_NOON).stdout
    assert "customer A-1 does not match: 1 condition of 1 in the way" in said
    assert "nearest miss, always: 1 more such order would match" in said
    assert "Nothing is stored of the past." in said


def test_json_tells_the_same(house: House) -> None:
    house.customer(external_id="A-1")
    done = call("explain", "A-1", "hello", *AT_NOON, "--json")
    told = json.loads(done.stdout)
    assert (told["customer"], told["now"], told["past"]) == ("A-1", "2026-03-10T12:00:00+00:00", [])
    assert told["rules"][0]["subjects"][0]["nearest_miss"][0]["says"] == "1 more such order would match"


def test_wrong_use_is_said_plainly(house: House) -> None:
    house.customer(external_id="A-1001")
    for words, said in [
        (["explain", "A-1002"], "there is no customer 'A-1002'; did you mean A-1001?"),
        (["explain", "A-1001", "helo"], "there is no rule 'helo'; did you mean hello?"),
        (["explain", "A-1001", "--at", "soon"], "--at 'soon' is not a moment"),
        (["preview", "hello", "--customer", "A-1002"], "there is no customer 'A-1002'"),
        (["preview", "helo", "--customer", "A-1001"], "there is no rule 'helo'"),
    ]:
        done = call(*words)
        assert done.exit_code == 2, words
        assert said in done.stderr


def test_a_preview_for_one_shows_the_whole_message(house: House) -> None:
    house.rule(steps="  - {send: hello, by: [sms]}\n  - {wait: 2 days}\n  - {send: hello, by: [email]}")
    house.customer(external_id="A-1", first_name="Wolfeschlegelsteinhausen")
    done = call("preview", "hello", "--customer", "A-1", "--now", NOON.isoformat())
    assert done.exit_code == 0
    told = " ".join(done.stdout.replace("│", " ").split())
    assert "Good day, Wolfeschlegelsteinhausen. Ref PREVIEW0" in told
    assert "1 wait 2 days" in told
    assert "2 send hello by email" in told
    as_json = json.loads(call("preview", "hello", "--customer", "A-1", "--now", NOON.isoformat(), "--json").stdout)
    assert [step["step"] for step in as_json["rules"][0]["subjects"][0]["steps"]] == ["0", "1", "2"]


def test_nothing_of_the_customer_is_logged(house: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    house.customer(external_id="A-1", first_name="Ann", email="ann@example.com")
    call("explain", "ann@example.com", *AT_NOON)
    assert "ann" not in caplog.text.lower()


EVIL = "\x1b]0;owned\x07[red]x[/red]:smile:\x9b31m\r[/]"


@pytest.mark.parametrize(
    "words",
    [
        ["explain", "A-1", *AT_NOON],
        ["explain", EVIL, *AT_NOON],
        ["preview", "hello", "--customer", "A-1", "--now", NOON.isoformat()],
        ["preview", "hello", "--now", NOON.isoformat()],
        ["backtest", "hello", "--from", "2026-03-10T11:00Z", "--to", "2026-03-10T14:00Z"],
    ],
)
def test_what_customers_are_called_never_reaches_the_terminal_as_orders(
    house: House, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    house.rule(subject="order", condition="sales_channel: present", limits="{once_per: order}")
    who = house.customer(external_id="A-1", first_name=f"Ann{EVIL}")
    house.add(models.Order, external_id=f"O-1{EVIL}", customer_id=who, sales_channel=f"web{EVIL}", placed_at=NOON)
    if words[0] == "explain":
        run_rule(house.app, "hello", NOON)
    monkeypatch.setenv("COLUMNS", "200")
    said = call(*words).output
    assert "[red]x[/red]:smile:" in said
    assert [char for char in said if char != "\n" and category(char) == "Cc"] == []
