"""The clockwork by itself: a failing beat stops nothing, one holder at a time, Prefect's comings and goings."""

import asyncio
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from beforehand.heartbeat import Beat, Heartbeat
from beforehand.heartbeat.duties import Resting, Work, run_event_rules, send_due, take_steps
from beforehand.heartbeat.lease import give_back, take
from beforehand.heartbeat.pauses import Paused, Pauses
from beforehand.heartbeat.prefect import PrefectSide, PrefectWatch
from beforehand.passes import AdvanceReport
from beforehand.passes.outcome import Outcome
from flows.hands import Hands
from models.terms import OncePer, Terms
from models.vocabulary import Purpose, Reason, RuleStatus

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
TEN = timedelta(seconds=10)


def rule(rule_id: str, *crons: str, status: RuleStatus = RuleStatus.LIVE) -> Terms:
    return Terms(rule_id, "v1", rule_id, status, Purpose.SERVICE, 50, "order", (), OncePer("order"), cron=crons)


@dataclass
class Figures:
    matched: int = 1
    customers: int = 1
    planned: int = 1
    withheld: Mapping[Reason, int] = field(default_factory=dict)
    tasks: int = 0
    skipped: bool = False
    sent: int = 0
    failed: int = 0
    unknown: int = 0


class World:
    """A clock, rules, and a list of what was asked for."""

    def __init__(self, *rules: Terms) -> None:
        self.now = NOON
        self.up = False
        self.rules = {terms.rule_id: terms for terms in rules}
        self.passes: list[tuple[str, datetime | None]] = []
        self.lined_up: list[list[str]] = []
        self.everything: list[bool] = []
        self.batches: list[int] = []
        self.broken: set[str] = set()
        self.hands = Hands(
            clock=lambda: self.now,
            time_zone="Europe/Berlin",
            rules_folder=Path("rules/catalog"),
            post_room="",
            rules=lambda: self.rules,
            run_rule=self.run_rule,
            dispatch=lambda: Figures(sent=self.batches.pop() if self.batches else 0),
            became=lambda _rule, _since: Outcome(),
            ingest=lambda _, _told: {},
        )
        self.watch = PrefectWatch(PrefectSide(lambda: self.up, self.line_up, self.dead), self.hands)

    def run_rule(self, rule_id: str, now: datetime, slot: datetime | None) -> Figures:
        if rule_id in self.broken:
            raise RuntimeError("anna@example.com")
        self.passes.append((rule_id, slot))
        return Figures()

    async def line_up(self, rules: Mapping[str, Terms], everything: bool) -> str:
        self.everything.append(everything)
        if "deployments" in self.broken:
            raise ConnectionError
        self.lined_up.append(sorted(rules))
        return "done"

    async def dead(self, now: datetime) -> int:
        return 0


def test_one_process_holds_the_duty_and_the_next_takes_over(engine: Engine) -> None:
    assert take(engine, "heartbeat", "first", NOON, TEN)
    assert not take(engine, "heartbeat", "second", NOON + timedelta(seconds=9), TEN)
    assert take(engine, "heartbeat", "first", NOON + timedelta(seconds=9), TEN)
    assert not take(engine, "heartbeat", "second", NOON + timedelta(seconds=18), TEN)
    assert take(engine, "heartbeat", "second", NOON + timedelta(seconds=19), TEN)
    assert not take(engine, "heartbeat", "first", NOON + timedelta(seconds=20), TEN)
    give_back(engine, "heartbeat", "first")
    assert not take(engine, "heartbeat", "first", NOON + timedelta(seconds=20), TEN), "only the holder gives it back"
    give_back(engine, "heartbeat", "second")
    assert take(engine, "heartbeat", "first", NOON + timedelta(seconds=20), TEN)


def test_a_duty_taken_by_a_clock_that_was_far_ahead_is_taken_over(engine: Engine) -> None:
    assert take(engine, "heartbeat", "first", NOON + timedelta(days=1), TEN)
    assert take(engine, "heartbeat", "second", NOON, TEN)
    assert not take(engine, "heartbeat", "first", NOON - timedelta(minutes=1), TEN), "clocks differ a little"


def test_of_many_at_once_one_gets_the_duty(engine: Engine) -> None:
    start = threading.Barrier(6)
    won: list[str] = []

    def try_it(name: str) -> None:
        start.wait()
        if take(engine, "heartbeat", name, NOON, TEN):
            won.append(name)

    threads = [threading.Thread(target=try_it, args=(f"p{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1


async def test_a_failing_beat_stops_no_other_and_shows_no_data(
    sqlite_engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    beaten = 0

    async def fails() -> None:
        raise ValueError("anna@example.com")

    async def works() -> None:
        nonlocal beaten
        beaten += 1

    heart = Heartbeat(sqlite_engine, lambda: datetime.now(UTC), "me", [Beat("a", 0.05, fails), Beat("b", 0.05, works)])
    with caplog.at_level(logging.INFO, "beforehand.heartbeat"):
        await heart.start()
        await asyncio.sleep(0.5)
        await heart.stop()
    assert beaten >= 4
    said = [record.message for record in caplog.records if "'a' failed" in record.message]
    assert len(said) == 1, "an error is said once, not at every beat"
    assert "ValueError at tests/integration/test_heartbeat.py:" in said[0]
    assert "anna@" not in caplog.text


async def test_without_the_lease_nothing_is_done_alone(sqlite_engine: Engine) -> None:
    done: list[str] = []

    async def alone() -> None:
        done.append("alone")

    async def shared() -> None:
        done.append("shared")

    assert take(sqlite_engine, "heartbeat", "another", datetime.now(UTC), timedelta(minutes=1))
    beats = [Beat("alone", 0.05, alone), Beat("shared", 0.05, shared, alone=False)]
    heart = Heartbeat(sqlite_engine, lambda: datetime.now(UTC), "me", beats)
    await heart.start()
    await asyncio.sleep(0.3)
    await heart.stop()
    assert set(done) == {"shared"}


async def test_a_slow_beat_is_ended_in_peace_and_never_doubled(sqlite_engine: Engine) -> None:
    begun, ended = 0, 0

    async def slow() -> None:
        nonlocal begun, ended
        begun += 1
        await asyncio.sleep(0.3)
        ended += 1

    heart = Heartbeat(sqlite_engine, lambda: datetime.now(UTC), "me", [Beat("slow", 0.05, slow)])
    await heart.start()
    await asyncio.sleep(0.2)
    await heart.stop()
    assert (begun, ended) == (1, 1)
    assert take(sqlite_engine, "heartbeat", "next", datetime.now(UTC), TEN), "the lease was given back"


def test_dispatch_goes_on_until_nothing_is_due() -> None:
    world = World()
    world.batches = [3, 100, 100]
    assert send_due(world.hands) == 203


def test_a_broken_event_rule_does_not_keep_the_next_from_its_pass() -> None:
    world = World()
    world.broken.add("first")
    work = Work(lambda _: None, lambda _: ["first", "second"], lambda _: None, lambda _: None)
    with pytest.raises(RuntimeError):
        run_event_rules(world.hands, work)
    assert world.passes == [("second", None)]


async def test_deployments_follow_prefect_and_the_rules() -> None:
    world = World(rule("late-order", "*/15 * * * *"))
    await world.watch.look()
    await world.watch.bring_in_line()
    assert world.lined_up == [], "nobody to tell"
    world.up = True
    await world.watch.look()
    await world.watch.bring_in_line()
    await world.watch.bring_in_line()
    assert world.lined_up == [["late-order"]]
    world.rules["win-back"] = rule("win-back", "0 9 * * *")
    world.watch.rules_changed()
    world.broken.add("deployments")
    with pytest.raises(ConnectionError):
        await world.watch.bring_in_line()
    world.broken.clear()
    await world.watch.bring_in_line()
    assert world.lined_up == [["late-order"], ["late-order", "win-back"]]
    world.watch.rules_changed()
    await world.watch.bring_in_line()
    assert world.everything == [True, False, True, False], (
        "after an error, or a new start of Prefect, all are looked at"
    )


async def test_an_edit_while_all_are_looked_at_leaves_the_rest_in_doubt() -> None:
    world = World(rule("late-order", "*/15 * * * *"))
    world.up = True
    await world.watch.look()
    meanwhile = world.line_up

    async def edited(rules: Mapping[str, Terms], everything: bool) -> str:
        world.watch.rules_changed()
        return await meanwhile(rules, everything)

    world.watch = PrefectWatch(PrefectSide(lambda: True, edited, world.dead), world.hands)
    await world.watch.look()
    await world.watch.bring_in_line()
    assert (world.watch.out_of_line, world.watch.in_doubt) == (True, True)


async def test_what_happened_is_told_while_prefect_is_up() -> None:
    world = World()
    told = []

    async def tell() -> int:
        told.append(world.up)
        return 1

    world.watch = PrefectWatch(PrefectSide(lambda: world.up, world.line_up, world.dead, tell_events=tell), world.hands)
    await world.watch.tell_events()
    world.up = True
    await world.watch.look()
    await world.watch.tell_events()
    assert told == [True]


async def test_passes_go_on_without_prefect_past_their_grace() -> None:
    world = World(
        rule("quarterly", "*/15 * * * *"),
        rule("daily", "0 13 * * *"),  # 12:00 UTC in Berlin
        rule("draft", "*/15 * * * *", status=RuleStatus.DRAFT),
        rule("on-event"),
    )
    world.up = True
    await world.watch.look()
    world.now = NOON + timedelta(minutes=40)
    await world.watch.passes_without()
    assert world.passes == [], "Prefect is up: its own clock counts"
    world.now, world.up = NOON - timedelta(minutes=1), False
    await world.watch.look()
    world.now = NOON + timedelta(minutes=14)
    await world.watch.passes_without()
    assert world.passes == []
    world.now = NOON + timedelta(minutes=16)
    await world.watch.passes_without()
    await world.watch.passes_without()
    assert world.passes == [("quarterly", NOON)]
    world.now = NOON + timedelta(minutes=61)
    await world.watch.passes_without()
    assert world.passes[1:] == [("quarterly", NOON + timedelta(minutes=45)), ("daily", NOON)]


async def test_what_staff_paused_stays_paused_without_prefect(engine: Engine) -> None:
    """Seen: with Prefect down, the house sent by a rule that staff had paused in Prefect's UI."""
    world = World(
        rule("paused", "*/15 * * * *"), rule("half", "*/15 * * * *", "10 * * * *"), rule("on", "*/15 * * * *")
    )
    found = {"paused": frozenset({"rule-1"}), "half": frozenset({"rule-1"})}
    asked, ticks = list[float](), [100.0]

    async def ask() -> Paused:
        asked.append(ticks[0])
        ticks[0] += 2
        return found

    def watch() -> PrefectWatch:
        pauses = Pauses(engine, lambda: world.now, ask, lambda: ticks[0])
        return PrefectWatch(PrefectSide(lambda: world.up, world.line_up, world.dead, pauses=pauses), world.hands)

    before = watch()
    await before.look_at_pauses()
    assert asked == [], "Prefect is down, and cannot be asked"
    world.up = True
    await before.look()
    for _ in range(5):
        await before.look_at_pauses()
        ticks[0] += 30
    assert asked == [100.0, 222.0], "two seconds' work for Prefect: at most a fiftieth of the time"
    world.up, world.now = False, NOON + timedelta(minutes=40)
    after = watch()  # another process, or this one started again
    world.now += timedelta(minutes=95)
    await after.passes_without()
    assert sorted(world.passes) == [("half", NOON + timedelta(minutes=70)), ("on", NOON + timedelta(minutes=105))]

    found.clear()
    world.up = True
    ticks[0] += 1000
    await after.look()
    await after.look_at_pauses()
    world.up = False
    await after.look()
    world.now += timedelta(hours=1)
    await after.passes_without()
    assert "paused" in [rule_id for rule_id, _ in world.passes], "staff let it go on"


def test_an_event_rule_that_fails_rests_before_its_next_try() -> None:
    """Seen: a pass over everybody, every two seconds, for as long as the rule was wrong."""
    world = World()
    resting: Resting = {}
    world.broken.add("first")
    work = Work(lambda _: None, lambda _: ["first"], lambda _: None, lambda _: None)
    with pytest.raises(RuntimeError):
        run_event_rules(world.hands, work, resting)
    world.broken.clear()
    with pytest.raises(RuntimeError):
        run_event_rules(world.hands, work, resting)
    assert world.passes == [], "it rests, and the beat goes on saying that something is wrong"
    world.now += timedelta(minutes=1)
    run_event_rules(world.hands, work, resting)
    assert world.passes == [("first", None)]


def test_a_step_that_cannot_be_taken_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """Seen: advance reported matches that were stuck, and nobody read the report."""
    world, told = World(), set[str]()
    work = Work(
        lambda now: AdvanceReport(now, problems=["old v1: no such fact"]), lambda _: [], lambda _: None, lambda _: None
    )
    with caplog.at_level(logging.ERROR, "beforehand.heartbeat"):
        take_steps(world.hands, work, told)
        take_steps(world.hands, work, told)
    assert [record.getMessage() for record in caplog.records] == [
        "a waiting step cannot be taken and stays where it is: old v1: no such fact"
    ]


async def test_a_broken_rule_does_not_keep_the_others_from_their_pass_without_prefect() -> None:
    """Seen: with Prefect down, every rule behind a broken one in the list had no pass at all."""
    world = World(rule("broken", "*/15 * * * *"), rule("well", "*/15 * * * *"))
    world.broken.add("broken")
    world.now += timedelta(minutes=16)
    world.watch = PrefectWatch(PrefectSide(lambda: False, world.line_up, world.dead), world.hands)
    world.now += timedelta(minutes=30)
    with pytest.raises(RuntimeError):
        await world.watch.passes_without()
    assert [rule_id for rule_id, _ in world.passes] == ["well"]
