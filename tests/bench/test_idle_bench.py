"""What a house costs that has nothing to do, and how soon it sends what becomes due."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from models.database import connect
from tests.acceptance.houses import Up, settings_in, until
from tests.deciding import House
from tests.integration.out_world import plan_messages, rows_of

SECONDS = 90


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    settings = settings_in(tmp_path, BEFOREHAND_QUIET_HOURS="{}", BEFOREHAND_QUIET_LAWS="")
    one = Up(settings)
    yield one
    one.close()


def used(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


@pytest.mark.bench
def test_idle(up: Up) -> None:
    up.ready(180)
    time.sleep(30)
    ours, (server, *_) = psutil.Process(up.process.pid), up.children()
    before, theirs, began = used(ours), used(server), time.monotonic()
    time.sleep(SECONDS)
    took = time.monotonic() - began
    percent, beside = 100 * (used(ours) - before) / took, 100 * (used(server) - theirs) / took
    memory, server_memory = (one.memory_info().rss / 1e6 for one in (ours, server))
    print(f"idle over {took:.0f} s: ours {percent:.1f}% of a core, {memory:.0f} MB", end="; ")
    print(f"Prefect's server {beside:.1f}%, {server_memory:.0f} MB")
    assert percent < 3


@pytest.mark.bench
def test_from_due_to_accepted(up: Up, tmp_path: Path) -> None:
    engine = connect(up.settings["BEFOREHAND_DATABASE_URL"])
    up.ready(180)
    House(engine, tmp_path).customer()
    began = datetime.now(UTC)
    for number in range(40):
        due = began + timedelta(seconds=5 + number * 0.73)
        plan_messages(engine, 1, due_at=due, created_at=began)
    until(lambda: all(row.accepted_at for row in rows_of(engine)), 90, "all are sent")
    waits = sorted((row.accepted_at - row.due_at).total_seconds() for row in rows_of(engine))
    engine.dispose()
    print(f"from due to accepted: median {waits[20]:.2f} s, p95 {waits[37]:.2f} s, longest {waits[-1]:.2f} s")
    assert waits[20] < 1.5
