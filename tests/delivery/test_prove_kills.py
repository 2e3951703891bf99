"""Two dispatchers, killed at random again and again while they work: each message once in the ledger, none lost."""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from beforehand.web.postroom.server import PostRoom
from messaging.outbox import reap
from models.vocabulary import Channel
from tests.delivery.judging import Verdict, finish, judge
from tests.delivery.workers import Site, dispatch_on, forks, spawn, wait_until, wall
from tests.integration.out_world import attempts_of, plan_messages, rows_of

DISPATCHERS = 2


@dataclass
class Dispatcher:
    """One dispatcher, started anew each time it is killed."""

    site: Site
    lease: float
    batch: int
    context: ForkServerContext = field(default_factory=forks)

    def start(self) -> None:
        """A new process; ``armed`` says how many of its groups are armed and not recorded."""
        self.armed: Any = self.context.RawValue("i", 0)
        self.process: ForkServerProcess = spawn(
            self.context, dispatch_on, self.site, self.lease, self.batch, self.armed
        )

    def kill(self) -> bool:
        """Kill -9, and start another one at once. Returns whether something was armed and not recorded."""
        self.process.kill()
        self.process.join(60)
        dangerous = bool(self.armed.value)
        self.start()
        return dangerous


@contextmanager
def reaping(engine: Engine) -> Iterator[None]:
    """What the heartbeat does beside it: leases that are over, by the real clock."""
    over = threading.Event()

    def reaper() -> None:
        while not over.wait(0.2):
            reap(engine, wall())

    thread = threading.Thread(target=reaper)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def killed(
    engine: Engine, folder: Path, count: int, kills: int, *, lease: float, batch: int
) -> tuple[Verdict, int, int]:
    """Send ``count`` messages with ``kills`` kills spread over their way: verdict, dangerous kills, lost answers."""
    dice, dangerous = random.Random(count), 0
    with PostRoom() as room:
        for number, channel in enumerate(Channel):
            some = count // len(Channel) + (number < count % len(Channel))
            plan_messages(engine, some, channel=channel.value, due_at=wall(), created_at=wall())
        dispatchers = [Dispatcher(Site.of(engine, room, folder), lease, batch) for _ in range(DISPATCHERS)]
        with reaping(engine):
            for one in dispatchers:
                one.start()
            for turn in range(kills):
                sent = turn * count * 9 // (kills * 10)
                wait_until(lambda sent=sent: len(room.ledger) >= sent, 300)  # type: ignore[misc]
                time.sleep(dice.uniform(0, 0.15))
                dangerous += dice.choice(dispatchers).kill()
            waiting = {"planned", "queued", "claimed", "in_flight"}
            wait_until(lambda: not any(row.state in waiting for row in rows_of(engine)), 300)
            for one in dispatchers:
                one.process.kill()
                one.process.join(60)
        unknown = sum(one.code == "lease_over" for one in attempts_of(engine))
        finish(engine, room, folder)
        verdict = judge(engine, room)
    assert verdict.messages == count
    assert verdict.clean, str(verdict)
    return verdict, dangerous, unknown


def test_some_kills(sqlite_engine: Engine, tmp_path: Path) -> None:
    verdict, *_ = killed(sqlite_engine, tmp_path, 90, 4, lease=0.8, batch=5)
    assert verdict.messages == 90


@pytest.mark.prove
def test_200_kills_over_10000_messages(engine: Engine, tmp_path: Path) -> None:
    began, kills = time.monotonic(), 200
    verdict, dangerous, unknown = killed(engine, tmp_path, 10_000, kills, lease=4, batch=20)
    assert dangerous > kills / 4, "most kills must fall where it is dangerous, or they prove little"
    print(
        f"\nPROOF kills {engine.dialect.name}: {verdict.messages:,} messages, {kills} kills of 2 dispatchers: "
        f"{verdict}; {dangerous} kills fell with messages armed and not recorded (0 in {dangerous}: below "
        f"{3 / dangerous:.1%}), {unknown} messages had an unknown outcome; {time.monotonic() - began:.0f} s"
    )
