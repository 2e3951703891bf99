"""A process dies at each of twelve named points of a message's way, on each channel and database. The ledger judges."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import cycle, product
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

    @property
    def site(self) -> Site:
        return Site.of(self.engine, self.room, self.folder)

    def crash(self, point: Point, turn: int) -> bool:
        """One process dies at ``point``; then another reaps by a clock that is ahead, and goes on.

        Returns whether something was left in flight.
        """
        plan_messages(self.engine, BATCH, channel=self.channel.value, due_at=wall(), created_at=wall())
        if point is Point.ACCEPTED:
            self._killed_unanswered()
        elif point is Point.REAPING:
            self._dead((Point.CLAIMED, Point.ARMED)[turn % 2], 1)
            reaper = spawn(self.context, crash_reaping, self.site, AHEAD)
            reaper.join(120)
            assert reaper.exitcode == KILLED
        else:
            self._dead(point, 1 + turn % EACH.get(point, 1))
        dangerous = any(one.state == "in_flight" for one in attempts_of(self.engine))
        reap(self.engine, wall() + timedelta(seconds=AHEAD))
        dispatch_once(self.site, [self.channel])
        return dangerous

    def _dead(self, point: Point, nth: int) -> None:
        process = spawn(self.context, crash_dispatching, self.site, self.channel, point, nth, BATCH)
        process.join(120)
        assert process.exitcode == KILLED, f"{point} was not reached"

    def _killed_unanswered(self) -> None:
        """The provider has a message and keeps its answer back; the process is killed as it waits for it."""
        before = len(self.room.ledger)
        self.room.faults.add(Fault(PLACES[self.channel], "hang", accepted=True, times=BATCH, seconds=4))
        process = spawn(self.context, dispatch_once, self.site, [self.channel])
        self.room.wait_for(before + BATCH, timeout=60)
        process.kill()
        process.join(120)
        assert process.exitcode == KILLED


def crashed(engine: Engine, folder: Path, turns: Iterable[tuple[Channel, int, Point]]) -> tuple[Verdict, int]:
    """Crash once for each (channel, number, point), let time go by, and judge; also counts the dangerous crashes."""
    count = dangerous = 0
    with PostRoom() as room:
        for channel, turn, point in turns:
            dangerous += Crashes(engine, room, channel, folder).crash(point, turn)
            count += BATCH
        finish(engine, room, folder)
        verdict = judge(engine, room)
    assert verdict.messages == count
    assert verdict.clean, str(verdict)
    return verdict, dangerous


def test_a_crash_at_each_of_twelve_points_leaves_nothing_doubled_and_nothing_lost(
    sqlite_engine: Engine, tmp_path: Path
) -> None:
    assert len(Point) == 12
    channels = cycle(Channel)
    verdict, dangerous = crashed(sqlite_engine, tmp_path, [(next(channels), 0, point) for point in Point])
    assert dangerous == len(DANGEROUS), "only where it is dangerous does a crash leave something in flight"
    # in the order of channels: calls that were armed and not sent, mails that were sent and not recorded
    assert (verdict.given_up, verdict.policy_copies) == (BATCH, BATCH)


@pytest.mark.prove
@pytest.mark.parametrize("channel", list(Channel))
def test_1800_crashes(engine: Engine, tmp_path: Path, channel: Channel) -> None:
    """25 at each of 12 points: 300 a channel and database."""
    verdict, dangerous = crashed(engine, tmp_path, product([channel], range(25), Point))
    print(
        f"\nPROOF crashes {engine.dialect.name} {channel}: {25 * len(Point)} crashes at {len(Point)} points, "
        f"{verdict.messages} messages: {verdict}; {dangerous} crashes left messages in flight "
        f"(0 in {dangerous}: below {3 / dangerous:.2%})"
    )
