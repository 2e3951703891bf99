"""What the journal costs: a look in the claim, and a synced line for each armed group."""

import time
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from messaging.channels.base import Envelope, Outcome, Sighting
from messaging.dispatch import Plan, dispatch
from messaging.journal import Journal
from models.database import reading, writing
from models.vocabulary import Channel, OutcomeClass
from tests.integration.out_world import NOW, POLICY, SECRET, envelopes, plan_messages

MESSAGES = 2000


class AtOnce:
    """A provider that takes everything at once, so that what is measured is ours."""

    name = Channel.SMS
    provider = "twilio"
    parallel = 8

    def __init__(self) -> None:
        self.count = 0

    def send(self, envelope: Envelope) -> Outcome:
        self.count += 1
        return Outcome(OutcomeClass.ACCEPTED, provider_id=f"SM{envelope.attempt_id}")

    def fingerprint(self, envelope: Envelope) -> str:
        return "0" * 32

    def look(self, provider_ids: list[str]) -> list[Sighting]:
        return []

    def find(self, *_asked: object) -> list[Sighting] | None:
        return None

    def close(self) -> None:
        return None


@pytest.mark.bench
def test_what_a_journal_costs(engine: Engine, tmp_path: Path) -> None:
    rates = {}
    for name, journal in (("without", None), ("with", Journal(tmp_path / "journal", SECRET))):
        plan_messages(engine, MESSAGES)
        began = time.perf_counter()
        report = dispatch(engine, lambda: NOW, {Channel.SMS: AtOnce()}, envelopes, Plan(POLICY, journal=journal))
        rates[name] = MESSAGES / (time.perf_counter() - began)
        assert report.sent == MESSAGES
    (file,) = (tmp_path / "journal").glob("*/*.jsonl")
    looked = Journal(tmp_path / "journal", SECRET)
    with writing(engine) as connection:
        looked.look(connection, NOW)
    with reading(engine) as connection:
        began = time.perf_counter()
        for turn in range(200):
            looked.look(connection, NOW + timedelta(seconds=turn))
        look = (time.perf_counter() - began) / 200
    print(
        f"\nBENCH journal {engine.dialect.name}: {rates['without']:,.0f} messages a second without, "
        f"{rates['with']:,.0f} with it; {file.stat().st_size / MESSAGES:,.0f} bytes a message; "
        f"a look in the claim {1000 * look:.2f} ms"
    )
