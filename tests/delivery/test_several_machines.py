"""Several machines on one PostgreSQL and one Prefect server, started and stopped at will: nothing twice or lost."""

import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.acceptance.houses import Up, beforehand, until
from tests.delivery.judging import copies, finish, judge
from tests.delivery.machines import (
    LOGIN,
    as_accepted,
    holder,
    moving,
    of,
    open_breakers,
    prefect_server,
    rules_in,
    settings_for,
    the_room,
)
from tests.delivery.workers import wall
from tests.integration.out_world import attempts_of, plan_messages, rows_of

WORKER = ("worker", "dispatcher", "heartbeat")
SENDER = ("dispatcher", "heartbeat")
CHANNELS = ("sms", "voice", "email")


@pytest.fixture
def machines() -> Iterator[list[Up]]:
    made: list[Up] = []
    yield made
    for one in made:
        one.close()


def plan(engine: Engine, count: int) -> None:
    """Messages that are due now, a third on each channel."""
    for channel in CHANNELS:
        now = wall()
        words = {"channel": channel, "due_at": now, "created_at": now, "template": "hello", "rule_id": "hello"}
        plan_messages(engine, count // len(CHANNELS), **words)


def test_two_machines_share_the_work_and_one_takes_over(
    postgres_engine: Engine, tmp_path: Path, machines: list[Up]
) -> None:
    rules_in(postgres_engine, tmp_path)
    with the_room() as room:
        made = [settings_for(postgres_engine, tmp_path, name, room) for name in ("a", "b")]
        machines += [Up(settings, SENDER) for settings in made]
        for one in machines:
            one.ready(60)
        plan(postgres_engine, 60)
        first = holder(postgres_engine)
        leader = of(first, machines)
        leader.signal(signal.SIGTERM)
        seconds = until(lambda: holder(postgres_engine) not in ("", first), 10, "another takes over")
        assert leader.ended(20) < 15
        until(lambda: not moving(rows_of(postgres_engine)), 30, "every message has gone")
        (other,) = [one for one in machines if one is not leader]
        leads = '"leads": true'  # told by rows that each process writes every few seconds
        until(lambda: leads in beforehand(other.settings, "status", "--json").stdout, 20, "status knows who leads")
        assert beforehand(other.settings, "down").returncode == 0
        as_accepted(postgres_engine)
        verdict = judge(postgres_engine, room)
    print(f"the duties had moved {seconds:.1f} s after the signal")
    assert (verdict.messages, verdict.clean) == (60, True), verdict


@pytest.mark.prove
def test_a_stop_in_the_middle_returns_every_claim(postgres_engine: Engine, tmp_path: Path, machines: list[Up]) -> None:
    rules_in(postgres_engine, tmp_path)
    with the_room() as room:
        up = Up(settings_for(postgres_engine, tmp_path, "a", room), ("dispatcher",))
        machines.append(up)
        up.ready(90)
        plan(postgres_engine, 900)
        until(lambda: len(room.ledger) > 30, 60, "some have gone")
        up.signal(signal.SIGTERM)
        seconds = up.ended(30)
        states = Counter(row.state for row in rows_of(postgres_engine))
        open_ones = [one.state for one in attempts_of(postgres_engine) if one.state in ("claimed", "in_flight")]
        assert (open_ones, states.keys() <= {"accepted", "queued", "planned"}) == ([], True), states
        assert len(room.ledger) == states["accepted"], "what was on the wire was waited for and written down"
    print(f"stopped in {seconds:.1f} s with {states['queued'] + states['planned']} of 900 left in the queue")
    assert 0 < states["accepted"] < 900


@pytest.mark.prove
def test_machines_come_and_go_under_load(postgres_engine: Engine, tmp_path: Path, machines: list[Up]) -> None:
    house, dice, ends = rules_in(postgres_engine, tmp_path), random.Random(5), Counter[str]()
    for _ in range(300):
        house.customer()
    with the_room() as room, prefect_server(tmp_path) as api:
        server = {"BEFOREHAND_PREFECT_API_URL": api, "PREFECT_API_AUTH_STRING": LOGIN}
        made = [settings_for(postgres_engine, tmp_path, name, room, **server) for name in ("a", "b", "c")]
        machines += [Up(settings, WORKER) for settings in made]
        for one in machines:
            one.ready(120)
        end = time.monotonic() + 100
        while time.monotonic() < end:
            plan(postgres_engine, 120)
            time.sleep(dice.uniform(2, 5))
            at = dice.randrange(len(machines))
            which = dice.choice([signal.SIGTERM, signal.SIGKILL])
            ends[which.name] += 1
            machines[at].signal(which)
            machines[at].ended(60)
            machines[at].close()
            machines[at] = Up(machines[at].settings, WORKER)
        for one in machines:
            one.ready(120)
        try:
            until(lambda: not moving(rows_of(postgres_engine)), 240, "every message has come to an end")
        finally:
            print(Counter(row.state for row in rows_of(postgres_engine)), open_breakers(postgres_engine))
        stopped = [beforehand(one.settings, "down", "--timeout", "60").returncode for one in machines]
        assert stopped == [0, 0, 0]
        finish(postgres_engine, room, tmp_path / "a" / "journal")
        states = as_accepted(postgres_engine)
        verdict = judge(postgres_engine, room)
    for entries in copies(room).values():
        if len(entries) > 1:
            print([(entry.kind, entry.at, entry.headers.get("Message-ID")) for entry in entries])
    rows = rows_of(postgres_engine)
    greeted = Counter(row.customer_id for row in rows if row.version != "v1")
    print(f"{verdict.messages} messages, machines ended {dict(ends)}, {dict(states)}: {verdict}")
    assert verdict.clean, verdict
    assert greeted
    assert set(greeted.values()) == {1}, "passes ran on every machine, and each customer was greeted once"


@pytest.mark.prove
@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGKILL])
def test_the_duties_move_in_time(
    which: signal.Signals, postgres_engine: Engine, tmp_path: Path, machines: list[Up]
) -> None:
    rules_in(postgres_engine, tmp_path)
    seconds: list[float] = []
    with the_room() as room:
        made = [settings_for(postgres_engine, tmp_path, name, room) for name in ("a", "b", "c")]
        machines += [Up(settings, ("heartbeat",)) for settings in made]
        for one in machines:
            one.ready(60)
        for _ in range(12):
            before = until_held(postgres_engine)
            leader = of(before, machines)
            leader.signal(which)
            seconds.append(until(lambda: holder(postgres_engine) not in ("", before), 30, "another takes over"))  # noqa: B023
            leader.ended(30)
            machines[machines.index(leader)] = again = Up(leader.settings, ("heartbeat",))
            again.ready(60)
    print(f"{which.name}: moved after {sorted(round(one, 1) for one in seconds)} s")
    assert max(seconds) < 15


def until_held(engine: Engine) -> str:
    until(lambda: bool(holder(engine)), 30, "somebody holds the lease")
    return holder(engine)
