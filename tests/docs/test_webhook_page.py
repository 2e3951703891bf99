"""The page on webhooks: its rule is proven, its JSON is what goes out, its receiver reads it."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine

import models
from beforehand import ROOT
from beforehand.passes import run_rule
from beforehand.proving import Prover
from beforehand.settings import Settings
from messaging.webhooks.body import body, headers, webhook_id
from messaging.webhooks.queue import WAITS
from models.database import writing
from models.vocabulary import WebhookState
from rules.given import Given, frame
from rules.loader import load_text
from rules.reader import Complaints
from tests.deciding import House
from tests.rules.test_catalog import settings_of

PAGE = ROOT / "docs/how-to/call-a-webhook.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"^```(yaml|json|python)\n(.+?)^```$", TEXT, re.M | re.S))


def test_the_rule_on_the_page_is_proven() -> None:
    rule = load_text(BLOCKS["yaml"], "tell-crm-of-late-order")
    prover = Prover(settings_of())
    assert [outcome.differences for test in rule.tests if not (outcome := prover.prove(rule, test)).passed] == []
    prover.close()


def test_what_goes_out_looks_as_on_the_page_and_its_receiver_takes_it(
    engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    house = House(
        engine, tmp_path, {"webhooks": {"crm": "https://crm.example"}, "templates": ROOT / "messaging/templates"}
    )
    (tmp_path / "rules").mkdir()
    text = BLOCKS["yaml"].replace("status: draft", "status: live")
    (tmp_path / "rules" / "tell-crm-of-late-order.yaml").write_text(text)
    rule = load_text(text, "tell-crm-of-late-order")
    at = frame(rule.root.value["tests"].value[0].value["now"], Complaints("now"))
    with writing(engine) as connection:
        Given(connection, rule, at, Complaints("given")).build(rule.root.value["tests"].value[0].value["given"])
    house.set(models.Order, currency="EUR", gross_total=4990, number="1001")
    run_rule(house.app, rule.id, at.now)
    table = models.Webhook.__table__  # type: ignore[attr-defined]
    with engine.connect() as connection:
        (row,) = connection.execute(table.select()).mappings()
    said, shown = json.loads(body(row)), json.loads(BLOCKS["json"])
    assert said["data"]["facts"] == shown["data"]["facts"]
    assert said["data"].keys() == shown["data"].keys()
    assert {key: said[key] for key in ("type", "timestamp")} == {key: shown[key] for key in ("type", "timestamp")}

    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    made: dict[str, object] = {}
    exec(BLOCKS["python"].replace("whsec_...", secret), made)
    signed = headers(secret, webhook_id(row), body(row), datetime.now(UTC))
    seen: set[str] = set()
    receive = made["receive"]
    assert callable(receive)
    assert [receive(body(row).encode(), signed, seen) for _ in range(2)] == [204, 204]
    assert capsys.readouterr().out == "tell-crm-of-late-order\n", "the second one is known"


def test_the_command_on_the_page_makes_a_secret_that_the_settings_take(capsys: pytest.CaptureFixture[str]) -> None:
    (command,) = re.findall(r"^    python -c '(.+)'$", TEXT, re.M)
    exec(command)
    made = capsys.readouterr().out.strip()
    settings = Settings(_env_file=None, webhooks={"crm": "https://crm.example"}, webhook_secrets={"crm": made})
    assert settings.webhook_secrets["crm"].get_secret_value() == made


def test_every_state_is_on_the_page_and_the_tries_are_as_it_says() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", TEXT, re.M)) == set(map(str, WebhookState))
    hours = [round(wait.total_seconds() / 3600, 4) for wait in WAITS]
    assert hours == [round(5 / 3600, 4), round(5 / 60, 4), 0.5, 2, 5, 10, 14, 20, 24]
    assert len(WAITS) + 1 == 10
