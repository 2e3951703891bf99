"""How long it takes to cancel 100,000 messages, to list who got 100,000, and to plan a correction to as many."""

import csv
import os
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, insert, select, text, update

import models
from beforehand.correcting import Asked, correct
from beforehand.wiring import App
from messaging.cancelling import cancel
from messaging.claims import attempt, message
from messaging.sent import sent
from models.database import reading, writing
from models.delivery import Match
from tests.deciding import NOON, House
from tests.integration.out_world import phone

MANY = 100_000
VERSION = "v" * 16


def fill(engine: Engine, state: str, tried: bool) -> None:
    """So many customers with a match and a message each, and an attempt where it was ``tried``."""
    numbers = range(MANY)
    tables: list[tuple[Any, list[dict[str, Any]]]] = [
        (
            models.Customer.__table__,  # type: ignore[attr-defined]
            [
                {"external_id": f"c{n}", "changed_at": NOON, "bucket": n % 10_000, "phone": phone(n),
                 "time_zone": "Europe/London", "email": f"c{n}@example.com"}
                for n in numbers
            ],
        ),
        (
            Match.__table__,  # type: ignore[attr-defined]
            [
                {"rule_id": "hello", "version": VERSION, "occasion": f"customer/{n}",
                 "subject": "customer", "subject_id": n + 1, "customer_id": n + 1, "matched_at": NOON, "seen_at": NOON,
                 "started_at": NOON, "state": "done", "next_step": 1, "ended_at": NOON, "facts": {"country": "DE"}}
                for n in numbers
            ],
        ),
        (
            message,
            [
                {"match_id": n + 1, "rule_id": "hello", "version": VERSION, "occasion": f"customer/{n}",
                 "step": "0", "customer_id": n + 1, "purpose": "service", "channel": "sms", "address": phone(n),
                 "template": "hello", "state": state, "created_at": NOON, "due_at": NOON, "reference": f"m{n:07}",
                 "priority": 0, "tries": int(tried), "accepted_at": NOON if tried else None}
                for n in numbers
            ],
        ),
    ]  # fmt: skip
    if tried:
        rows = [
            {"message_id": n + 1, "number": 1, "state": "accepted", "lease": "x", "lease_until": NOON,
             "claimed_at": NOON, "armed_at": NOON, "provider": "twilio", "provider_id": f"SM{n:032}"}
            for n in numbers
        ]  # fmt: skip
        tables.append((attempt, rows))
    with writing(engine) as connection:
        for table, values in tables:
            connection.execute(insert(table), values)
        kept = {"rule_id": "hello", "version": VERSION, "text": "", "first_used_at": NOON}
        connection.execute(insert(models.RuleVersion.__table__), [kept])  # type: ignore[attr-defined]
    settle(engine)


class Stopwatch:
    """Seconds of the clock, and of the processor: ours and the database server's. A busy machine moves the first."""

    def __init__(self, connection: Connection) -> None:
        self.server = None
        if connection.dialect.name == "postgresql":
            self.server = Path(f"/proc/{connection.execute(text('SELECT pg_backend_pid()')).scalar_one()}/stat")
        self.began, self.used = time.perf_counter(), self._cpu()

    def _cpu(self) -> float:
        theirs = 0.0
        if self.server:
            words = self.server.read_text(encoding="ascii").rsplit(")", 1)[1].split()
            theirs = (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
        return time.process_time() + theirs

    def stop(self) -> str:
        """What it took."""
        self.took, self.cpu = time.perf_counter() - self.began, self._cpu() - self.used
        return f"{self.took:.2f} s, {self.cpu:.2f} s of the processor"


def settle(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("ANALYZE"))


@pytest.mark.bench
def test_cancel_of_a_hundred_thousand(engine: Engine) -> None:
    fill(engine, "planned", tried=False)
    with writing(engine) as connection:  # some are claimed at that moment
        claimed = select(message.c.id).where(message.c.id % 100 == 0)
        names = ["message_id", "number", "state", "lease", "lease_until", "claimed_at"]
        rows = select(
            message.c.id, message.c.tries + 1, message.c.state, message.c.state, message.c.due_at, message.c.due_at
        )
        connection.execute(insert(attempt).from_select(names, rows.where(message.c.id.in_(claimed))))
        connection.execute(update(attempt).values(state="claimed"))
        connection.execute(update(message).where(message.c.id.in_(claimed)).values(state="claimed"))
    began = time.perf_counter()
    with writing(engine) as connection:
        watch = Stopwatch(connection)
        done = cancel(connection, "hello", VERSION, NOON)
        said = watch.stop()
    took = time.perf_counter() - began
    print(f"BENCH cancel 100,000 by version ({engine.dialect.name}): {said}")
    assert done.messages == {"sms": MANY}
    assert done.matches == MANY
    assert took < 5


@pytest.mark.bench
def test_who_got_what_of_a_hundred_thousand(engine: Engine, tmp_path: Path) -> None:
    fill(engine, "delivered", tried=True)
    with reading(engine) as connection, (tmp_path / "who.csv").open("w", newline="") as stream:
        watch = Stopwatch(connection)
        count = written(connection, stream)
        said = watch.stop()
    print(f"BENCH who got what, 100,000 to CSV ({engine.dialect.name}): {said}")
    assert count == MANY
    assert watch.took < 5


def written(connection: Connection, stream: Any) -> int:
    table, count = csv.writer(stream), 0
    for count, row in enumerate(sent(connection, "hello", VERSION), 1):  # noqa: B007
        table.writerow([row.customer, row.subject, row.channel, row.template, row.at, row.state, row.provider_id])
    return count


@pytest.mark.bench
def test_correction_to_a_hundred_thousand(engine: Engine, tmp_path: Path) -> None:
    fill(engine, "delivered", tried=True)
    house = House(engine, tmp_path)
    house.template("sorry")
    app: App = house.app
    began = time.perf_counter()
    made, report = correct(app, Asked("hello", VERSION, "sorry", "anna"), NOON)
    took = time.perf_counter() - began
    print(f"BENCH correction to 100,000 planned ({engine.dialect.name}): {took:.2f} s, {report.planned} planned")
    assert made.told == MANY
