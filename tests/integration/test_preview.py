"""The preview beyond its counts: what it costs, which template is at fault, a broken file beside a good one."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from beforehand.cli import app
from tests.deciding import NOON, House, house_for_commands

AT_NOON = ["--now", NOON.isoformat()]


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return house_for_commands(tmp_path, monkeypatch, COLUMNS="120")


def preview(*words: str) -> Result:
    return CliRunner().invoke(app, ["preview", "hello", *AT_NOON, *words])


def told(*words: str) -> Any:
    return json.loads(preview("--json", *words).stdout)


def test_a_price_that_is_set_is_added_up(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEFOREHAND_SMS_PRICE", "0.075")
    monkeypatch.setenv("BEFOREHAND_SMS_PRICES", '{"US": "0.015"}')
    house.customer()
    house.customer(phone="+12025550123")
    assert "Sending costs €0.09: 2 SMS of 2 segments (€0.09)." in preview().stdout
    assert told()["cost"]["amount"] == "0.09"


def test_without_a_price_it_is_said_how_to_set_one(house: House) -> None:
    house.customer()
    shown = preview().stdout
    assert "Sending: 1 SMS of 1 segment." in shown
    assert "No price is set yet: say what you pay in BEFOREHAND_SMS_PRICE." in shown
    assert told()["cost"]["amount"] is None


def test_vouchers_have_their_worth(house: House) -> None:
    house.rule(steps="  - {voucher: {worth: 50 EUR, valid_for: 90 days}}\n  - {send: hello, by: [sms]}")
    for _ in range(3):
        house.customer()
    assert "Vouchers are worth €150.00, if all are redeemed." in preview().stdout
    assert told()["cost"]["vouchers"] == [{"worth": 15000, "currency": "EUR"}]


def test_an_estimate_says_how_large_its_sample_was(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beforehand.passes.costing.SAMPLE", 5)
    for _ in range(12):
        house.customer()
    assert "The segments are an estimate: 5 of the 12 SMS were filled and counted." in preview().stdout
    assert (told()["cost"]["estimate"], told()["cost"]["rendered"]) == (True, 5)


def test_messages_are_shown_as_their_channel_shows_them(house: House) -> None:
    house.rule(steps="  - {send: hello, by: [sms, email, voice]}")
    house.customer(first_name="Ann")
    house.customer(first_name="李")
    house.customer(phone=None)
    shown = preview().stdout
    assert "hello · en · 1 segment of GSM-7" in shown
    assert "hello · en · 1 segment of UCS-2" in shown
    assert 0 < shown.index("│ Good day  ") < shown.index("│ Good day to you.")
    house.rule(steps="  - {call: hello, connect_to: desk}")
    (house.folder / "templates" / "hello" / "voice.en.txt").write_text("Press 1 to be connected.")
    assert "Press 1 to be connected." in preview().stdout


def test_a_template_that_is_not_there_is_named(house: House) -> None:
    house.rule(steps="  - {send: helo, by: [sms]}")
    house.customer()
    done = preview()
    assert "the template could not be filled" in done.stdout
    assert "Template: helo/: there is no such template" in done.stdout
    assert any(problem.startswith("helo/") for problem in told()["template_problems"])


def test_a_template_without_the_channel_is_named_with_its_file(house: House) -> None:
    house.template("bare", "email")
    house.rule(steps="  - {send: bare, by: [sms]}")
    house.customer()
    assert "Template: bare/sms.en.txt: is missing" in preview().stdout


def test_a_broken_file_does_not_keep_a_good_rule_from_its_preview(house: House) -> None:
    house.rule("other", condition="countri: DE")
    house.customer()
    done = preview()
    assert done.exit_code == 0
    assert "1 message would go." in done.stdout
    assert "did you mean country" in done.stdout
    (problem,) = told()["set_problems"]
    assert "other.yaml" in problem


def test_a_rule_whose_own_file_is_broken_is_refused_with_its_own_problems(house: House) -> None:
    house.rule("other", condition="countri: DE")
    house.rule("hello", condition="langage: en")
    done = preview()
    assert done.exit_code == 1
    assert "hello.yaml" in done.output
    assert "other.yaml" not in done.output


def test_an_unknown_rule_beside_a_broken_one_is_still_unknown(house: House) -> None:
    house.rule("other", condition="countri: DE")
    done = CliRunner().invoke(app, ["preview", "otter"])
    assert done.exit_code == 2
    assert "there is no rule 'otter'; did you mean other?" in done.output


def test_the_backlog_is_told_and_an_earlier_from_lets_it_go(house: House) -> None:
    for _ in range(2):
        house.customer(created_at=NOON - timedelta(days=1))
    assert "All of them are backlog" in preview().stdout
    assert told()["backlog"] == 2
    text = (house.folder / "rules" / "hello.yaml").read_text()
    (house.folder / "rules" / "hello.yaml").write_text(text + "from: 2026-01-01\n")
    assert "backlog" not in preview().stdout
    assert (told()["backlog"], told()["messages"]) == (0, 2)


def test_the_brake_is_told(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEFOREHAND_CANARY", "1")
    monkeypatch.setenv("BEFOREHAND_LIVE_FROM", "1970-01-01T00:00:00Z")  # else all of it is backlog, and nothing is held
    house.rule(limits="{once_per: customer, brake: 20% of customers}")
    for country in ("DE", "DE", "GB", "GB", "GB"):
        house.customer(country=country)
    said = " ".join(preview().stdout.split())
    assert "A run would be held until a second person approves it. It would reach 2 customers" in said
    assert told()["brake"] == {"why": "rule", "limit": 1, "reached": 2, "subjects": 2, "customers": 2}
