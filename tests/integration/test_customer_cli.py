"""``beforehand customer`` and ``beforehand replies``, as a person or a script calls them."""

import json
from pathlib import Path

import pytest
from sqlalchemy import select
from typer.testing import CliRunner, Result

import models
from beforehand.cli import app
from beforehand.settings import PLACEHOLDER
from messaging.candidates import TABLES
from messaging.policy import Policy
from messaging.replies import Heard, hear
from models.database import writing
from models.vocabulary import Channel
from tests.deciding import NOON, House, house_for_commands

PHONE = "+4915112345678"
POLICY = Policy(secret=PLACEHOLDER.encode())


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    house = house_for_commands(tmp_path, monkeypatch, BEFOREHAND_LIVE_FROM="the beginning", COLUMNS="100")
    house.customer(external_id="A-1", first_name="Ann", phone=PHONE, email="ann@kunde.example")
    return house


def call(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def say(house: House, text: str) -> None:
    with writing(house.engine) as connection:
        hear(connection, Heard(Channel.SMS, text, PHONE, NOON, text=text), NOON, POLICY)


def consent(*words: str) -> Result:
    return call("customer", "consent", "A-1", "--channel", "sms", "--source", "the form at the till", *words)


def test_a_word_for_the_ledger_and_how_it_shows(house: House) -> None:
    done = consent("--purpose", "marketing", "--grant", "--text-version", "v3", "--at", "2026-03-01T10:00Z")
    assert done.exit_code == 0, done.output
    told = json.loads(call("customer", "show", "A-1", "--json").stdout)
    [entry] = told["consents"]
    assert (entry["verdict"], entry["purpose"], entry["source"], entry["text_version"]) == (
        "granted", "marketing", "the form at the till", "v3",
    )  # fmt: skip
    assert {"channel": "sms", "purpose": "marketing", "yes": True} in told["may"]
    consent("--purpose", "marketing", "--withdraw")
    shown = call("customer", "show", PHONE).stdout
    assert "withdrawn for marketing by sms" in shown
    assert "marketing by sms" not in shown.split("Suppressions")[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--purpose", "marketing"], "--grant or --withdraw"),
        (["--purpose", "fun", "--grant"], "service, survey, marketing"),
        (["--purpose", "marketing", "--grant", "--at", "2100-01-01"], "not over yet"),
    ],
)
def test_what_is_no_entry_is_refused(house: House, words: list[str], said: str) -> None:
    done = consent(*words)
    assert (done.exit_code, said in done.output) == (2, True)
    assert house.rows(models.Consent) == []


def test_a_yes_does_not_lift_a_stop(house: House) -> None:
    say(house, "STOP")
    assert "stays suppressed (stop)" in consent("--purpose", "marketing", "--grant").stdout


def test_somebody_nobody_knows(house: House) -> None:
    done = call("customer", "show", "A-2")
    assert (done.exit_code, "A-1" in done.output) == (2, True)


def test_replies_are_listed_read_and_settled(house: House) -> None:
    say(house, "take me off your list")
    listed = call("replies")
    assert (listed.exit_code, "take me off your list" in listed.stdout, "Ann" in listed.stdout) == (1, True, True)
    [found] = json.loads(call("replies", "--json").stdout)
    assert found["customer"] == "A-1"
    done = call("replies", "stop", str(found["id"]), "--by", "Bea")
    assert (done.exit_code, "Ann gets no more texts" in done.stdout) == (0, True)
    assert call("replies").exit_code == 0
    assert call("replies", "release", str(found["id"]), "--by", "Bea").exit_code == 2
    shown = call("customer", "show", "A-1").stdout
    assert "maybe_stop: take me off your list" in shown
    assert f"{PHONE}: sms, all purposes, because of stop" in shown


def test_released_replies_hold_nothing(house: House) -> None:
    say(house, "wrong number")
    with writing(house.engine) as connection:
        number = connection.execute(select(TABLES["reply"].c.id)).scalar_one()
    assert "goes on" in call("replies", "release", str(number), "--by", "Bea").stdout
    assert json.loads(call("replies", "--json").stdout) == []
