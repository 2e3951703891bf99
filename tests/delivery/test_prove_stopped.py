"""A dispatcher sleeps past its lease (SIGSTOP), others work meanwhile, and it wakes up: nothing is sent twice."""

import os
import signal
import time
from dataclasses import dataclass, field
from datetime import timedelta
from multiprocessing.context import ForkServerContext
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
from tests.delivery.workers import Site, forks, is_stopped, spawn, stopped_dispatching, wait_until, wall
from tests.integration.out_world import SECRET, plan_messages, send_due, ways

POINTS = (Point.CLAIMED, Point.ARMED, Point.ACCEPTED, Point.ANSWERED)
"""After claim, after arm, on the wire (the provider has it and its answer is not read), before record."""

PLACES: dict[Channel, Place] = {Channel.SMS: "messages", Channel.VOICE: "calls", Channel.EMAIL: "mail"}
LEASE = 1.5


@dataclass
class Sleepers:
    """Processes that stop at one point, all at the same time, and the others that go on."""

    engine: Engine
    room: PostRoom
    folder: Path
    context: ForkServerContext = field(default_factory=forks)

    def stop(self, point: Point, channel: Channel, several: int, *, ahead: timedelta) -> None:
        """Stop ``several`` processes, each with one message, past their leases; then let them go on.

        Meanwhile the leases are reaped by the real clock, and by one that is ``ahead`` unknown ones are settled and
        what is due is sent.
        """
        plan_messages(self.engine, several, channel=channel.value, due_at=wall(), created_at=wall())
        before = len(self.room.ledger)
        if point is Point.ACCEPTED:
            fault = Fault(PLACES[channel], "hang", accepted=True, times=several, seconds=2 * LEASE)
            self.room.faults.add(fault)
        job = (stopped_dispatching, Site.of(self.engine, self.room, self.folder), channel, point, LEASE, 1)
        sleepers = [spawn(self.context, *job) for _ in range(several)]
        if point is Point.ACCEPTED:
            self.room.wait_for(before + several)
            for one in sleepers:
                os.kill(one.pid or 0, signal.SIGSTOP)
        wait_until(lambda: all(is_stopped(one) for one in sleepers))
        time.sleep(LEASE + 0.05)
        reaped = reap(self.engine, wall())
        assert reaped.returned + reaped.unknown == several, "every one of them sleeps past its lease"
        others, now = ways(self.room), wall() + ahead
        settle(self.engine, others, now, send_timeout=2, settle_after=timedelta(minutes=15))
        send_due(self.engine, others, now, journal=Journal(self.folder, SECRET))
        for one in sleepers:
            os.kill(one.pid or 0, signal.SIGCONT)
        for one in sleepers:
            one.join(20)
            assert one.exitcode == 0


def slept(engine: Engine, folder: Path, point: Point, rounds: list[Channel], several: int, ahead: timedelta) -> Verdict:
    """Stop ``several`` at once, round after round, and judge."""
    with PostRoom() as room:
        sleepers = Sleepers(engine, room, folder)
        for channel in rounds:
            sleepers.stop(point, channel, several, ahead=ahead)
        finish(engine, room, folder)
        verdict = judge(engine, room)
    assert verdict.messages == len(rounds) * several
    assert verdict.clean, str(verdict)
    return verdict


def test_who_slept_past_the_lease_sends_nothing_more(postgres_engine: Engine, tmp_path: Path) -> None:
    verdict = slept(postgres_engine, tmp_path, Point.ARMED, [Channel.SMS], 3, timedelta(minutes=61))
    assert verdict == Verdict(messages=3, duplicates=0, lost=0, policy_copies=0, given_up=0, wrong=0)


@pytest.mark.prove
@pytest.mark.parametrize("point", POINTS)
def test_100_sleepers_at_each_of_four_points(engine: Engine, tmp_path: Path, point: Point) -> None:
    began = time.monotonic()
    rounds = [*Channel, Channel.SMS] * 3
    verdict = slept(engine, tmp_path, point, [*rounds[:10]], 10, timedelta(minutes=61))
    dangerous = 0 if point is Point.CLAIMED else verdict.messages
    said = (
        f"all {dangerous} were armed (0 in {dangerous}: below {3 / dangerous:.0%})" if dangerous else "none was armed"
    )
    print(
        f"\nPROOF stopped {engine.dialect.name} {point}: {verdict.messages} dispatchers stopped past their lease: "
        f"{verdict}; {said}; {time.monotonic() - began:.0f} s"
    )


@pytest.mark.prove
def test_asleep_between_the_last_look_and_the_first_byte(engine: Engine, tmp_path: Path) -> None:
    """No look can be after every other thing: here only the settle window protects, so time goes on but minutes."""
    verdict = slept(engine, tmp_path, Point.SENDING, list(Channel), 10, timedelta(minutes=14))
    print(
        f"\nPROOF stopped {engine.dialect.name} sending: {verdict.messages} dispatchers stopped past their lease "
        f"and short of the settle window: {verdict}"
    )
