"""A dispatcher sleeps past its lease (SIGSTOP), others work meanwhile, and it wakes up: nothing is sent twice."""

import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import cycle, islice
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

import pytest
from sqlalchemy import Engine

from beforehand.web.postroom.faults import Fault, Place
from beforehand.web.postroom.server import PostRoom
from messaging.journal import Journal
from messaging.outbox import reap
from messaging.points import Point
from messaging.unknown import settle
from models.vocabulary import Channel
from tests.delivery.judging import Verdict, finish, judge
from tests.delivery.workers import Site, forks, runs, send_signal, spawn, stopped_dispatching, wait_until, wall
from tests.integration.out_world import SECRET, plan_messages, send_due, ways

POINTS = (Point.CLAIMED, Point.ARMED, Point.ACCEPTED, Point.ANSWERED)
"""After claim, after arm, on the wire (the provider has it and its answer is not read), before record."""

PLACES: dict[Channel, Place] = {Channel.SMS: "messages", Channel.VOICE: "calls", Channel.EMAIL: "mail"}
KEPT_BACK = 8.0
"""How long an answer is kept back (seconds), so that on a busy machine all are on the wire at the same time."""


@dataclass
class Sleepers:
    """Processes that stop at one point, all at the same time, and the others that go on."""

    engine: Engine
    room: PostRoom
    folder: Path
    point: Point
    ahead: timedelta
    lease: float = 3.0
    context: ForkServerContext = field(default_factory=forks)

    def stop(self, channel: Channel, several: int) -> int:
        """Stop ``several`` processes, each with one message, past their leases; then let them go on.

        Meanwhile the leases are reaped by the real clock, and by one that is ``ahead`` unknown ones are settled and
        what is due is sent. Returns how many slept with a lease that others took from them.
        """
        plan_messages(self.engine, several, channel=channel.value, due_at=wall(), created_at=wall())
        site = Site.of(self.engine, self.room, self.folder)
        sleepers = [
            spawn(self.context, stopped_dispatching, site, channel, self.point, self.lease, 1) for _ in range(several)
        ]
        try:
            self._put_to_sleep(sleepers, channel)
            time.sleep(self.lease + 0.05)
            reaped = reap(self.engine, wall())
            others, now = ways(self.room, timeout=60), wall() + self.ahead
            settle(self.engine, others, now, send_timeout=2, settle_after=timedelta(minutes=15))
            send_due(self.engine, others, now, journal=Journal(self.folder, SECRET))
        finally:
            send_signal(sleepers, signal.SIGCONT)
        for one in sleepers:
            one.join(120)
            assert one.exitcode == 0
        return reaped.returned if self.point is Point.CLAIMED else reaped.unknown

    def _put_to_sleep(self, sleepers: list[ForkServerProcess], channel: Channel) -> None:
        """Each stops by itself; those on the wire are stopped once the provider has all their messages."""
        if self.point is Point.ACCEPTED:
            wanted = len(self.room.ledger) + len(sleepers)
            fault = Fault(PLACES[channel], "hang", accepted=True, times=len(sleepers), seconds=KEPT_BACK)
            self.room.faults.add(fault)
            with suppress(TimeoutError):  # one was too slow for its lease: none of this round counts
                self.room.wait_for(wanted, timeout=30)
                send_signal(sleepers, signal.SIGSTOP)
        wait_until(lambda: not any(runs(one) for one in sleepers), 120)


def slept(sleepers: Sleepers, rounds: Iterable[Channel], several: int, wanted: int) -> tuple[Verdict, int]:
    """Stop ``several`` at once, round after round, until ``wanted`` have slept past their lease; and judge."""
    planned = count = 0
    for channel in rounds:
        count += sleepers.stop(channel, several)
        planned += several
        if count >= wanted:
            break
    finish(sleepers.engine, sleepers.room, sleepers.folder)
    verdict = judge(sleepers.engine, sleepers.room)
    assert verdict.messages == planned
    assert verdict.clean, str(verdict)
    assert count >= wanted, "too few have slept"
    return verdict, count


def test_who_slept_past_the_lease_sends_nothing_more(postgres_engine: Engine, tmp_path: Path) -> None:
    with PostRoom() as room:
        sleepers = Sleepers(postgres_engine, room, tmp_path, Point.ARMED, timedelta(minutes=61), lease=1.0)
        verdict, _ = slept(sleepers, [Channel.SMS] * 10, 3, wanted=3)
    assert (verdict.policy_copies, verdict.given_up) == (0, 0)


@pytest.mark.prove
@pytest.mark.parametrize("point", POINTS)
def test_100_sleepers_at_each_of_four_points(engine: Engine, tmp_path: Path, point: Point) -> None:
    began = time.monotonic()
    with PostRoom() as room:
        sleepers = Sleepers(engine, room, tmp_path, point, timedelta(minutes=61))
        verdict, count = slept(sleepers, islice(cycle(Channel), 30), 10, wanted=100)
    armed = "none was armed" if point is Point.CLAIMED else f"all were armed (0 in {count}: below {3 / count:.0%})"
    print(
        f"\nPROOF stopped {engine.dialect.name} {point}: {count} dispatchers stopped past their lease: "
        f"{verdict}; {armed}; {time.monotonic() - began:.0f} s"
    )


@pytest.mark.prove
def test_asleep_between_the_last_look_and_the_first_byte(engine: Engine, tmp_path: Path) -> None:
    """No look can be after every other thing: here only the settle window protects, so time goes on but minutes."""
    with PostRoom() as room:
        sleepers = Sleepers(engine, room, tmp_path, Point.SENDING, timedelta(minutes=14))
        verdict, count = slept(sleepers, islice(cycle(Channel), 9), 10, wanted=30)
    print(
        f"\nPROOF stopped {engine.dialect.name} sending: {count} dispatchers stopped past their lease "
        f"and short of the settle window: {verdict}"
    )
