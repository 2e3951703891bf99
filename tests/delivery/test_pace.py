"""The pace of a sender holds over processes, without spinning, starving anybody or sleeping in a transaction."""

import itertools
import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from beforehand.web.postroom import Fault, Pace
from beforehand.web.postroom.server import PostRoom
from messaging.channels.base import Envelope
from messaging.claims import Claim
from messaging.dispatch import Plan, dispatch
from messaging.outbox import arm, claim
from messaging.pace import Rate, turns_of
from models.database import connect, writing
from models.vocabulary import Channel
from tests.delivery.workers import Site, forks, wall
from tests.integration.out_world import (
    NOW,
    POLICY,
    attempts_of,
    envelopes,
    later,
    plan_messages,
    references,
    rows_of,
    send_due,
    ways,
)

ONE = {Channel.SMS: Rate(1)}


def over(moments: Sequence[datetime], per_second: float, spare: float = 0.0) -> list[str]:
    """The stretches in which more went than the rate, a second's burst and ``spare`` seconds of way allow."""
    found = []
    for first, last in itertools.combinations(range(len(moments)), 2):
        took = (moments[last] - moments[first]).total_seconds()
        if last - first > per_second * (took + 1 + spare) + 1e-6:
            found.append(f"{last - first + 1} within {took:.2f} s")
    return found


def sends_for(site: Site, seconds: float, per_second: float) -> None:
    """One process that dispatches again and again."""
    engine, channels, ends = connect(site.url), site.ways(), time.monotonic() + seconds
    plan = Plan(POLICY, batch=20, rates={Channel.SMS: Rate(per_second)})
    while time.monotonic() < ends:
        dispatch(engine, wall, {Channel.SMS: channels[Channel.SMS]}, envelopes, plan)
        time.sleep(0.05)
    engine.dispose()


def test_four_processes_together_keep_the_pace(engine: Engine, tmp_path: Path) -> None:
    rate, count = 15.0, 50
    plan_messages(engine, count)
    with PostRoom(pace=Pace(sent=0, delivered=0)) as room:
        site = Site.of(engine, room, tmp_path)
        processes = [forks().Process(target=sends_for, args=(site, 60, rate)) for _ in range(4)]
        for process in processes:
            process.start()
        try:
            ends = time.monotonic() + 40
            while len(room.ledger.entries) < count and time.monotonic() < ends:
                time.sleep(0.05)
        finally:
            for process in processes:
                process.kill()
                process.join()
        arrived = sorted(entry.at for entry in room.ledger.entries)
    assert len(arrived) == count
    armed = sorted(attempt.armed_at for attempt in attempts_of(engine) if attempt.armed_at)
    assert over(armed, rate) == []
    assert over(arrived, rate, spare=0.75) == []
    assert (arrived[-1] - arrived[0]).total_seconds() > (count - 1) / rate - 1.75


def test_a_thousand_due_at_one_a_second_make_no_claims_in_vain(engine: Engine) -> None:
    plan_messages(engine, 1000)
    with PostRoom() as room:
        channels = ways(room)
        for _ in range(3):
            send_due(engine, channels, rates=ONE)
        assert Counter(row.state for row in rows_of(engine)) == {"planned": 999, "accepted": 1}
        for second in (1, 1.5, 2):
            send_due(engine, channels, later(seconds=second), rates=ONE)
        assert len(room.ledger.entries) == 3
    assert len(attempts_of(engine)) == 3, "nothing is claimed that has no turn"
    assert {row.due_at for row in rows_of(engine)} == {NOW}


def test_who_waits_longest_goes_first_and_the_urgent_before_all(sqlite_engine: Engine) -> None:
    plan_messages(sqlite_engine, 3)
    with PostRoom() as room:
        send_due(sqlite_engine, ways(room), rates=ONE)
        plan_messages(sqlite_engine, 1, priority=9, due_at=later(seconds=1))
        plan_messages(sqlite_engine, 1, due_at=later(seconds=1))
        for second in range(1, 6):
            send_due(sqlite_engine, ways(room), later(seconds=second), rates=ONE)
        going = [reference for entry in room.ledger.entries for reference in references([entry])]
    assert going == ["R0000000", "R0000003", "R0000001", "R0000002", "R0000004"]


def test_what_two_have_claimed_at_once_waits_for_its_own_turn(engine: Engine) -> None:
    plan_messages(engine, 12)
    rates = {Channel.SMS: Rate(5)}
    claims = []
    for _ in range(2):
        with writing(engine) as connection:
            claims.append(claim(connection, NOW, limit=6, lease_seconds=60, policy=POLICY).claims)
    assert [len(arm(engine, each, NOW, rates=rates)) for each in claims] == [5, 0]
    waiting = [row for row in rows_of(engine) if row.state == "queued"]
    assert {row.reason for row in waiting} == {"pace"}
    assert min(row.due_at for row in waiting) > NOW
    with PostRoom() as room:
        for tick in range(1, 12):
            send_due(engine, ways(room), NOW + tick * timedelta(seconds=0.2), rates=rates)
        assert len(room.ledger.entries) == 7


def test_a_long_text_takes_the_turns_of_its_segments(sqlite_engine: Engine) -> None:
    def long(claims: Sequence[Claim]) -> dict[int, Envelope]:
        return {c.message_id: Envelope(c.attempt_id, c.reference, c.address, "x" * 400) for c in claims}

    plan_messages(sqlite_engine, 2)
    with PostRoom() as room:
        for second in range(4):
            now = later(seconds=second)
            dispatch(sqlite_engine, lambda now=now: now, ways(room), long, Plan(POLICY, rates=ONE))  # type: ignore[misc]
            assert len(room.ledger.entries) == (1 if second < 3 else 2)


def test_a_provider_that_says_slower_is_heeded_by_all(engine: Engine) -> None:
    plan_messages(engine, 30)
    with PostRoom() as room:
        room.faults.add(Fault("messages", "busy", times=1))
        first = send_due(engine, ways(room))
        assert (first.sent, first.retry) == (7, 1), "the group on the wire is let be, the next is not begun"
        assert send_due(engine, ways(room), later(milliseconds=900)).sent == 0
        assert send_due(engine, ways(room), later(seconds=1)).sent == 22
        assert send_due(engine, ways(room), later(seconds=50)).sent == 1
    assert Counter(row.state for row in rows_of(engine)) == {"accepted": 30}


def test_other_channels_have_a_pace_of_their_own(sqlite_engine: Engine) -> None:
    plan_messages(sqlite_engine, 3)
    plan_messages(sqlite_engine, 3, channel="email")
    with PostRoom() as room:
        report = send_due(sqlite_engine, ways(room), rates=ONE)
    assert report.by_channel == {Channel.SMS: 1, Channel.EMAIL: 3}


RATES = st.floats(0.1, 100)
ASKED = st.lists(st.tuples(st.floats(0, 5), st.lists(st.integers(1, 6), min_size=1, max_size=8)), max_size=30)


@settings(max_examples=150, deadline=None)
@given(per_second=RATES, asked=ASKED)
def test_never_faster_than_the_rate_and_nobody_overtakes(per_second: float, asked: Any) -> None:
    rate, now, free_at = Rate(per_second), NOW, NOW
    gone: list[tuple[datetime, int]] = []
    for pause, units in asked:
        now += timedelta(seconds=pause)
        turns, free_at = turns_of(rate, free_at, units, now)
        going = [each for each, turn in zip(units, turns, strict=True) if turn is None]
        assert turns == [None] * len(going) + turns[len(going) :], "after the first who waits all wait"
        gone += [(now, each) for each in going]
        waits = [turn for turn in turns if turn is not None]
        assert waits == sorted(waits)
        if waits:
            assert waits[0] > now
            assert turns_of(rate, free_at, [1], waits[0])[0] == [None], "the turn that was told comes"
    for start, (begun, _) in enumerate(gone):
        before = sum(each for _, each in gone[start:-1])  # the last may owe: its turn was reserved whole
        took = (gone[-1][0] - begun).total_seconds()
        assert before <= per_second * (took + 1) + 1 + 1e-3


@pytest.mark.parametrize("late", [0, 3600])
def test_a_turn_that_nobody_took_is_not_saved_up(late: int) -> None:
    turns, _ = turns_of(Rate(4), NOW, [1] * 10, NOW + timedelta(seconds=late))
    assert turns.count(None) == 4
