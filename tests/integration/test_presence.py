"""The row of a process, and what happens when two processes have different rule files."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from beforehand.heartbeat.beats import DUTY
from beforehand.heartbeat.lease import give_back, take
from beforehand.heartbeat.presence import FORGOTTEN, ROLLING_OUT, Presence, topic_of
from beforehand.parts import Parts, PartState
from beforehand.passes.in_force import NOTICE
from beforehand.runtime.words import Words
from beforehand.runtime.words import topic_of as topic_of_part
from beforehand.surroundings import SILENT, processes
from messaging.events_out import PART_DIED, untold
from models.database import reading

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
LASTS = timedelta(hours=1)


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def process(engine: Engine, clock: Clock) -> Callable[..., Presence]:
    def made(name: str, rules: str = "same") -> Presence:
        parts = Parts()
        parts.note("worker", PartState.WELL)
        return Presence(engine, clock, f"host-{name}-abcd", parts, lambda: rules)

    return made


def topics(engine: Engine) -> list[str]:
    with reading(engine) as connection:
        return sorted(row.topic for row in connection.execute(NOTICE.select()))


def seen(engine: Engine, now: datetime) -> dict[str, tuple[bool, bool]]:
    with reading(engine) as connection:
        return {one.boot: (one.leads, one.silent) for one in processes(connection, now)}


def test_a_process_shows_its_parts_and_is_silent_when_it_dies(
    engine: Engine, clock: Clock, process: Callable[..., Presence]
) -> None:
    one = process("1")
    one.addresses = {"worker": "http://127.0.0.1:4200/api", "web": "not a part of it"}
    take(engine, DUTY, one.boot, NOON, LASTS)
    one.note()
    with reading(engine) as connection:
        (row,) = processes(connection, NOON)
    assert row.parts == {"worker": {"state": "well", "address": "http://127.0.0.1:4200/api"}}
    assert (row.leads, row.silent, row.rules, row.started_at) == (True, False, "same", NOON)
    assert (row.ahead_ms is None) == (engine.dialect.name == "sqlite"), "a file has no clock of its own"
    clock.now += SILENT + timedelta(seconds=1)
    assert seen(engine, clock.now) == {one.boot: (True, True)}
    one.note()
    assert seen(engine, clock.now) == {one.boot: (True, False)}
    one.leave()
    assert seen(engine, clock.now) == {}


def test_who_is_gone_for_long_is_cleared_away_by_the_one_in_charge(
    engine: Engine, clock: Clock, process: Callable[..., Presence]
) -> None:
    dead, other, leader = process("1"), process("2"), process("3")
    take(engine, DUTY, leader.boot, NOON, LASTS)
    dead.note()
    clock.now += FORGOTTEN + timedelta(seconds=1)
    other.note()
    assert dead.boot in seen(engine, clock.now), "whoever is not in charge clears nothing away"
    leader.note()
    assert seen(engine, clock.now).keys() == {other.boot, leader.boot}


def test_the_rules_of_the_one_in_charge_are_in_force(
    engine: Engine, clock: Clock, process: Callable[..., Presence]
) -> None:
    leader, same, odd = process("1", "new"), process("2", "new"), process("3", "old")
    take(engine, DUTY, leader.boot, NOON, LASTS)
    for one in (leader, same, odd):
        one.note()
    assert (leader.others_rules, same.others_rules, odd.others_rules) == ("", "", leader.boot)
    assert topics(engine) == [], "files may still be on their way"
    clock.now += ROLLING_OUT
    for one in (leader, same, odd):
        one.note()
    assert topics(engine) == [topic_of(odd.boot)]
    odd.rules = lambda: "new"
    odd.note()
    assert (odd.others_rules, topics(engine)) == ("", [])


def test_without_anybody_in_charge_nobody_stands_by(
    engine: Engine, clock: Clock, process: Callable[..., Presence]
) -> None:
    leader, odd = process("1", "new"), process("2", "old")
    take(engine, DUTY, leader.boot, NOON, LASTS)
    leader.note()
    odd.note()
    assert odd.others_rules
    give_back(engine, DUTY, leader.boot)
    odd.note()
    assert not odd.others_rules
    take(engine, DUTY, odd.boot, NOON, LASTS)
    leader.note()
    odd.note()
    assert (leader.others_rules, odd.others_rules) == (odd.boot, ""), "its rules are in force now"


def test_what_an_odd_process_left_is_cleared_away_with_it(
    engine: Engine, clock: Clock, process: Callable[..., Presence]
) -> None:
    leader, odd = process("1", "new"), process("2", "old")
    take(engine, DUTY, leader.boot, NOON, LASTS)
    leader.note()
    odd.note()
    clock.now += ROLLING_OUT
    leader.note()
    odd.note()
    assert topics(engine) == [topic_of(odd.boot)]
    clock.now += FORGOTTEN + timedelta(seconds=1)
    leader.note()
    assert topics(engine) == []


def test_staff_are_told_of_a_part_that_died_until_it_is_well(engine: Engine, clock: Clock) -> None:
    words = Words(engine, clock)
    words.tell("prefect", "the Prefect server ended (by signal 9)")
    assert words.waiting
    words.write()
    assert (words.waiting, topics(engine)) == (False, [topic_of_part("prefect")])
    with reading(engine) as connection:
        (event,) = untold(connection)
    assert (event.event, event.about) == (PART_DIED, "part:prefect")
    words.tell("prefect", "")
    words.write()
    assert topics(engine) == []


def test_what_could_not_be_written_is_kept_in_its_order(
    engine: Engine, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = Words(engine, clock)
    words.tell("worker", "it failed (OSError)")
    with monkeypatch.context() as patch:
        patch.setattr("beforehand.runtime.words.writing", lambda _engine: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            words.write()
    assert words.waiting
    words.tell("worker", "")
    words.write()
    assert topics(engine) == [], "it died and is well again: the last word counts"


def test_another_machines_word_about_the_same_part_stays(engine: Engine) -> None:
    assert topic_of_part("web", "here") != topic_of_part("web", "there")
