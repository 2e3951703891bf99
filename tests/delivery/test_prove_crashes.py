"""A process dies at each of twelve named points of a message's way, on each channel and database. The ledger judges."""

from dataclasses import dataclass, field
from datetime import timedelta
from itertools import product
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
from sqlalchemy import Engine

from beforehand.web.postroom.faults import Fault, Place
from beforehand.web.postroom.server import PostRoom
from messaging.outbox import reap
from messaging.points import Point
from models.vocabulary import Channel
from tests.delivery.judging import Verdict, finish, judge
from tests.delivery.workers import Site, crash_dispatching, crash_reaping, dispatch_once, forks, spawn, wall
from tests.integration.out_world import attempts_of, plan_messages

BATCH = 3
KILLED = -9
AHEAD = 120.0
"""Seconds that a reaper's clock is ahead, so that the leases of the dead are over."""

PLACES: dict[Channel, Place] = {Channel.SMS: "messages", Channel.VOICE: "calls", Channel.EMAIL: "mail"}
EACH = {Point.SENDING: BATCH}
"""Points that each message of a group passes by itself; the others are passed once by the whole group."""

DANGEROUS = {Point.ARMED, Point.JOURNALED, Point.SENDING, Point.ACCEPTED, Point.ANSWERED, Point.RECORDING}
"""After a death here nobody knows what was sent."""


@dataclass
class Crashes:
    """Crash after crash on one database and one channel, with others going on in between."""

    engine: Engine
    room: PostRoom
    channel: Channel
    folder: Path
    context: ForkServerContext = field(default_factory=forks)
    dangerous: int = 0

    @property
    def site(self) -> Site:
        return Site.of(self.engine, self.room, self.folder)

    def crash(self, point: Point, turn: int) -> None:
        """One process dies at ``point``; then another reaps by a clock that is ahead, and goes on."""
        plan_messages(self.engine, BATCH, channel=self.channel.value, due_at=wall(), created_at=wall())
        if point is Point.ACCEPTED:
            self._killed_unanswered()
        elif point is Point.REAPING:
            self._dead((Point.CLAIMED, Point.ARMED)[turn % 2], 1)
            reaper = spawn(self.context, crash_reaping, self.site, AHEAD)
            reaper.join(20)
            assert reaper.exitcode == KILLED
        else:
            self._dead(point, 1 + turn % EACH.get(point, 1))
        self.dangerous += any(one.state == "in_flight" for one in attempts_of(self.engine))
        reap(self.engine, wall() + timedelta(seconds=AHEAD))
        dispatch_once(self.site, [self.channel])

    def _dead(self, point: Point, nth: int) -> None:
        process = spawn(self.context, crash_dispatching, self.site, self.channel, point, nth, BATCH)
        process.join(20)
        assert process.exitcode == KILLED, f"{point} was not reached"

    def _killed_unanswered(self) -> None:
        """The provider has a message and keeps its answer back; the process is killed as it waits for it."""
        before = len(self.room.ledger)
        self.room.faults.add(Fault(PLACES[self.channel], "hang", accepted=True, times=BATCH, seconds=1.5))
        process = spawn(self.context, dispatch_once, self.site, [self.channel])
        self.room.wait_for(before + BATCH)
        process.kill()
        process.join(20)
        assert process.exitcode == KILLED


def crashed(engine: Engine, folder: Path, channel: Channel, times: int) -> tuple[Verdict, int]:
    """Crash ``times`` at each point, let time go by, and judge. Returns the verdict and the dangerous crashes."""
    with PostRoom() as room:
        crashes = Crashes(engine, room, channel, folder)
        for turn, point in product(range(times), Point):
            crashes.crash(point, turn)
        finish(engine, room, folder)
        verdict = judge(engine, room)
    assert verdict.messages == times * len(Point) * BATCH
    assert verdict.clean, str(verdict)
    return verdict, crashes.dangerous


def test_there_are_twelve_points() -> None:
    assert len(Point) == 12


@pytest.mark.parametrize("channel", list(Channel))
def test_a_crash_at_each_point_leaves_nothing_doubled_and_nothing_lost(
    sqlite_engine: Engine, tmp_path: Path, channel: Channel
) -> None:
    verdict, dangerous = crashed(sqlite_engine, tmp_path, channel, 1)
    assert dangerous == len(DANGEROUS), "only where it is dangerous does a crash leave something in flight"
    # a call that may have been made is never made again: those armed and not sent, of three crashes
    assert verdict.given_up in (range(7, 10) if channel is Channel.VOICE else [0])
    # a mail that may have been sent is sent once more: those of the three crashes after it was accepted
    assert verdict.policy_copies in (range(9, 12) if channel is Channel.EMAIL else [0])


@pytest.mark.prove
@pytest.mark.parametrize("channel", list(Channel))
def test_1800_crashes(engine: Engine, tmp_path: Path, channel: Channel) -> None:
    """25 at each of 12 points: 300 a channel and database."""
    verdict, dangerous = crashed(engine, tmp_path, channel, 25)
    print(
        f"\nPROOF crashes {engine.dialect.name} {channel}: {25 * len(Point)} crashes at {len(Point)} points, "
        f"{verdict.messages} messages: {verdict}; {dangerous} crashes left messages in flight "
        f"(0 in {dangerous}: below {3 / dangerous:.2%})"
    )
