"""What we log of an error quotes no customer: places and kinds, never values."""

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from flows.failure import AWAY, named
from messaging.channels.base import Envelope
from messaging.dispatch import Plan, dispatch
from messaging.rendering import RenderingError, Templates
from models.vocabulary import Channel
from tests.integration.out_world import POLICY, envelopes, plan_messages


class Careless:
    """A way out that breaks its promise, and quotes the customer as it does."""

    name = Channel.SMS
    parallel = 1
    provider = "twilio"

    def fingerprint(self, envelope: Envelope) -> str:
        return "f"

    def close(self) -> None:
        """Nothing is open."""

    def send(self, envelope: Envelope) -> Any:
        raise ValueError(f"cannot call {envelope.to}, {envelope.text}")


def test_a_way_out_that_breaks_its_promise_quotes_nobody(
    sqlite_engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    plan_messages(sqlite_engine, 1)
    with caplog.at_level(logging.DEBUG):
        report = dispatch(
            sqlite_engine,
            lambda: datetime(2026, 3, 10, 12, tzinfo=UTC),
            {Channel.SMS: Careless()},  # type: ignore[dict-item]
            envelopes,
            Plan(POLICY),
        )
    assert report.unknown == 1
    assert "broke its promise" in caplog.text
    assert "ValueError at tests/unit/test_no_values_said.py" in caplog.text
    assert "+4477009" not in caplog.text
    assert "order is late" not in caplog.text


def test_a_template_that_looks_a_value_up_does_not_say_it(tmp_path: Path) -> None:
    (tmp_path / "hello").mkdir()
    (tmp_path / "hello" / "sms.en.txt").write_text("{{ {'gold': 'Hi'}[customer.first_name] }}")
    templates = Templates(tmp_path, language="en", zone="UTC", keys=False)
    with pytest.raises(RenderingError) as found:
        templates.render("hello", Channel.SMS, "en", {"customer": {"first_name": "Zarathea"}})
    assert "Zarathea" not in str(found.value)
    assert "sms.en.txt:1" in str(found.value)


def test_a_name_that_a_template_says_itself_is_still_told(tmp_path: Path) -> None:
    (tmp_path / "hello").mkdir()
    (tmp_path / "hello" / "sms.en.txt").write_text("{{ customer.frist_name }}")
    templates = Templates(tmp_path, language="en", zone="UTC", keys=False)
    with pytest.raises(RenderingError, match="'frist_name' is unknown; known are first_name"):
        templates.render("hello", Channel.SMS, "en", {"customer": {"first_name": "Zarathea"}})


def test_a_database_that_is_away_is_said_in_plain_words_and_without_its_rows() -> None:
    wrong = OperationalError("SELECT 1 WHERE name = %s", {"name": "Zarathea"}, Exception("server closed; Zarathea"))
    assert named(wrong) == f"{AWAY} (OperationalError at outside of our code)"
