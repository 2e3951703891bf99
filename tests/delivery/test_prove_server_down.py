"""Ten minutes without a Prefect server, and a wiped one, with messages due all the while: nobody notices but staff."""

import asyncio
import os
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import Engine, insert, select, update

from beforehand.passes import run_rule
from beforehand.web.postroom.server import PostRoom
from models.customer import Customer
from models.database import reading, writing
from models.delivery import Message, RulePass
from tests.deciding import NOON, House
from tests.delivery.night import Night, Server, noon_now

AROUND = timedelta(minutes=2)
DOWN = timedelta(minutes=float(os.environ.get("NIGHT_MINUTES", "10")))
A_SECOND = 2
message: Any = Message.__table__  # type: ignore[attr-defined]
rule_pass: Any = RulePass.__table__  # type: ignore[attr-defined]


@pytest_asyncio.fixture
async def night(sqlite_engine: Engine, tmp_path: Path) -> AsyncIterator[Night]:
    house = House(sqlite_engine, tmp_path)
    house.rule(when='{cron: "*/2 * * * *"}')
    house.rule("stream", when='{cron: "0 0 1 1 *"}', condition="country: GB")
    house.template("hello", "sms")
    (tmp_path / "prefect").mkdir()
    server = Server(tmp_path / "prefect")
    await server.start()
    with PostRoom(numbers=["+442079460000"]) as room:
        one = Night(tmp_path, sqlite_engine, room, server, {"BEFOREHAND_BRAKE": "100", "BEFOREHAND_QUIET_LAWS": ""})
        yield one
        one.close()
    await server.child.stop()


def stream(night: Night, count: int, begin: datetime) -> None:
    """``count`` messages, one due every half second from ``begin`` on."""
    person = {"changed_at": NOON, "bucket": 0, "country": "GB", "time_zone": noon_now()}
    people = [person | {"external_id": f"s{n}", "phone": f"+4477{n:08}"} for n in range(count)]
    with writing(night.engine) as connection:
        connection.execute(insert(Customer), people)
    house = House(night.engine, night.folder, {"brake": 100, "quiet_laws": None})
    assert run_rule(house.app, "stream", datetime.now(UTC)).planned == count
    with writing(night.engine) as connection:
        keys = connection.execute(select(message.c.id).order_by(message.c.id)).scalars().all()
        due = [{"key": key, "due": begin + timedelta(seconds=n / A_SECOND)} for n, key in enumerate(keys)]
        from sqlalchemy import bindparam

        moved = update(message).where(message.c.id == bindparam("key")).values(due_at=bindparam("due"))
        connection.execute(moved, due)


def newcomer(night: Night, n: int) -> None:
    """A customer whom the next pass of ``hello`` finds."""
    row = {"external_id": f"n{n}", "phone": f"+49151{n:08}", "country": "DE", "time_zone": noon_now()}
    with writing(night.engine) as connection:
        connection.execute(insert(Customer), [row | {"changed_at": NOON, "bucket": 0}])


def latencies(night: Night, since: datetime, until: datetime) -> tuple[int, float, float]:
    """Of the messages that came due in this time: how many, and their seconds from due to accepted (p50, p95)."""
    asked = select(message.c.due_at, message.c.accepted_at).where(
        message.c.rule_id == "stream", message.c.due_at >= since, message.c.due_at < until
    )
    with reading(night.engine) as connection:
        took = [(accepted - due).total_seconds() for due, accepted in connection.execute(asked)]
    return len(took), statistics.median(took), statistics.quantiles(took, n=20)[18]


def passes(night: Night, since: datetime, until: datetime) -> int:
    asked = select(rule_pass.c.id).where(
        rule_pass.c.rule_id == "hello", rule_pass.c.started_at >= since, rule_pass.c.started_at < until
    )
    with reading(night.engine) as connection:
        return len(connection.execute(asked).all())


async def live_until(night: Night, moment: datetime, people: list[int]) -> None:
    """Let time go by; somebody new comes every 20 seconds."""
    while datetime.now(UTC) < moment:
        await asyncio.sleep(20)
        people.append(len(people))
        await asyncio.to_thread(newcomer, night, people[-1])


def told_once(night: Night, count: int) -> None:
    told = Counter(entry.to for entry in night.room.ledger.entries if not entry.inbound)
    assert set(told.values()) == {1}, "somebody was told twice"
    assert len(told) == count, "somebody was not told"


@pytest.mark.prove
async def test_prove_ten_minutes_without_prefect(night: Night) -> None:
    people: list[int] = []
    count = int((2 * AROUND + DOWN).total_seconds()) * A_SECOND
    night.start_house()
    await night.until(lambda: {"hello", "stream"} <= set(night.deployments()), 120)
    begin = datetime.now(UTC)
    stream(night, count, begin)
    await live_until(night, begin + AROUND, people)
    gone = datetime.now(UTC)
    await night.server.kill()
    await live_until(night, gone + DOWN, people)
    back = datetime.now(UTC)
    await night.server.start()
    await live_until(night, back + AROUND, people)
    end = datetime.now(UTC)
    await night.until(lambda: len(night.room.ledger.entries) >= count + len(people), 200)
    told_once(night, count + len(people))
    before, during, after = (latencies(night, a, b) for a, b in ((begin, gone), (gone, back), (back, end)))
    print("\nPROOF server down for", DOWN)
    for word, (n, p50, p95) in (("before", before), ("during", during), ("after", after)):
        print(f"  {word}: {n:,} messages, due to accepted p50 {p50:.2f} s, p95 {p95:.2f} s")
    print(
        f"  passes of a rule every 2 minutes: {passes(night, gone, back)} while it was down, "
        f"{passes(night, back, end)} in the 2 minutes after"
    )
    states = Counter(f"{run['state_name']}: {run['name']}" for run in night.runs("hello"))
    print(f"  its runs in Prefect: {dict(states)}")
    assert passes(night, gone, back) >= DOWN / timedelta(minutes=2) - 2, "passes go on"
    assert passes(night, back, end) <= 3, "no burst when it is back"
    assert during[2] <= max(2 * before[2], before[2] + 1), "dispatch is as quick as before"
    under_way = [run for run in night.runs("hello") if run["state_type"] in ("RUNNING", "PENDING")]
    assert not [run for run in under_way if run["start_time"] and run["start_time"] < back.isoformat()]


@pytest.mark.prove
async def test_prove_a_wiped_prefect_database(night: Night) -> None:
    """Its database is gone while messages are due: deployments come anew, runs go on, nobody is told twice."""
    people: list[int] = []
    night.start_house()
    await night.until(lambda: {"hello", "stream"} <= set(night.deployments()), 120)
    begin = datetime.now(UTC)
    stream(night, 240, begin)
    await live_until(night, begin + timedelta(seconds=40), people)
    before = night.deployments()
    await night.server.kill()
    night.server.wipe()
    since = time.monotonic()
    await night.server.start()
    well = time.monotonic() - since
    await night.until(lambda: before.keys() <= night.deployments().keys(), 120)
    anew = time.monotonic() - since - well
    assert not set(before.values()) & set(night.deployments().values())
    run = str(await night.run("hello"))
    await night.until(lambda: any(r["id"] == run and r["state_type"] == "COMPLETED" for r in night.runs("hello")), 240)
    worked = time.monotonic() - since - well
    people.append(len(people))
    newcomer(night, people[-1])
    await night.until(lambda: len(night.room.ledger.entries) >= 240 + len(people), 200)
    told_once(night, 240 + len(people))
    scheduled = [r for r in night.runs("hello") if r["auto_scheduled"] and r["state_type"] == "COMPLETED"]
    print(
        f"\nPROOF wiped Prefect database: server well after {well:.0f} s, deployments anew {anew:.0f} s later, a run "
        f"done {worked:.0f} s after that server was well; {len(scheduled)} scheduled passes since; "
        f"{240 + len(people)} messages, 0 twice, 0 lost"
    )
    assert scheduled, "the clock of the rules runs on"
