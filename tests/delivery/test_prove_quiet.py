"""Quiet hours hold in every zone of the world, on every day of a leap year, at every half hour, at plan and at claim.

The judge is a second reading of the wall clock that knows nothing of ours: it asks ``zoneinfo`` what the clocks show
every quarter of an hour (all offsets of 2028 are multiples of it, and so are all hours here), and decides by a plain
list of hours. What the gate lets go must be free by that reading, and what it puts off must wait for the first free
moment.
"""

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from multiprocessing import get_context
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import holidays
import pytest
from sqlalchemy import Connection, Engine, create_engine, insert, select, update
from sqlalchemy.pool import StaticPool

from messaging.candidates import candidate, fresh, quiet_time
from messaging.guards.case import Case
from messaging.guards.times import quiet_hours
from messaging.policy import Policy
from messaging.quiet import QuietHours
from messaging.quiet_laws import OURS, laws_in
from messaging.recheck import Looked, verdict
from messaging.steps import Run
from models.terms import OncePer, Send, Terms
from models.vocabulary import Channel, Purpose, Reason, RuleStatus

QUARTER = timedelta(minutes=15)
NOTHING = timedelta()
WORKERS = 4
YEAR = datetime(2028, 1, 1, tzinfo=UTC)
DAYS = 366
NIGHT = QuietHours(time(22), time(7))
EARLY = QuietHours(time(20), time(2, 30))
"""Ends at half past two, which some nights do not have and others have twice."""


@dataclass(frozen=True)
class Story:
    """What is asked: the house's quiet hours, a purpose, a country; and the same hours told plainly, for the judge.

    ``opens`` and ``closes`` are minutes of the day; ``closed`` are days of the week without any.
    """

    name: str
    quiet: QuietHours
    purpose: Purpose
    country: str
    opens: int
    closes: int
    closed: tuple[int, ...] = ()
    with_holidays: bool = False
    lunch: tuple[int, int] = (0, 0)

    def free(self, day: date, minute: int) -> bool:
        """Whether it may be spoken at this minute of a wall-clock day."""
        if day.weekday() in self.closed or (self.with_holidays and day in HOLIDAYS):
            return False
        return self.opens <= minute < self.closes and not self.lunch[0] <= minute < self.lunch[1]

    @property
    def policy(self) -> Policy:
        return Policy(secret=b"s", quiet={self.purpose: self.quiet}, laws=laws_in(OURS), consent_needed=frozenset())


HOLIDAYS = holidays.country_holidays("FR", years=[2027, 2028, 2029])
NIGHTS = Story("nights", NIGHT, Purpose.SERVICE, "", 7 * 60, 22 * 60)
SMALL_HOURS = Story("half past two", EARLY, Purpose.SERVICE, "", 150, 20 * 60)
FRENCH = Story("French calls", NIGHT, Purpose.MARKETING, "FR", 600, 1200, (5, 6), with_holidays=True, lunch=(780, 840))
STORIES = (NIGHTS, SMALL_HOURS, FRENCH)


def judged(zone: str, story: Story, start: datetime, days: int) -> tuple[bytes, int]:
    """For each quarter of an hour from ``start``: is it free? And how often the clocks changed meanwhile."""
    info = ZoneInfo(zone)
    local = [(start + number * QUARTER).astimezone(info) for number in range(days * 96 + 10 * 96)]
    offsets = [moment.utcoffset() for moment in local[: days * 96]]
    free = bytes(story.free(at.date(), at.hour * 60 + at.minute) for at in local)
    return free, sum(one != other for one, other in pairwise(offsets))


def next_free(free: bytes) -> "array[int]":
    """For each place, the first free one from there on."""
    places, coming = array("l", [0]) * len(free), len(free)
    for number in range(len(free) - 1, -1, -1):
        coming = number if free[number] else coming
        places[number] = coming
    return places


class Gate:
    """The gate of the planner, over one candidate a zone, in a database of its own."""

    def __init__(self, connection: Connection, story: Story, zones: Sequence[str]) -> None:
        self.connection, self.policy = connection, story.policy
        fresh(connection)
        rows = [
            {"id": number, "subject_id": number, "customer_id": number, "zone": zone, "country": story.country}
            | {"channel": Channel.VOICE.value, "matched_at": YEAR, "due_at": YEAR}
            for number, zone in enumerate(zones, 1)
        ]
        connection.execute(insert(candidate), rows)
        send = Send("hello")
        self.run = Run(0, 1, send=send, send_at=0)
        said: dict[str, Any] = {"rule_id": "r", "version": "v", "title": "t", "priority": 1, "subject": "customer"}
        self.terms = Terms(
            status=RuleStatus.LIVE, purpose=story.purpose, steps=(send,), once=OncePer("customer"), **said
        )

    def ask(self, now: datetime) -> list[datetime]:
        """When each zone's message may go, as the gate decides at ``now``."""
        self.connection.execute(quiet_time.delete())
        self.connection.execute(update(candidate).values(due_at=now))
        quiet_hours(self.connection, Case(self.terms, self.run, self.policy, now))
        return list(self.connection.execute(select(candidate.c.due_at).order_by(candidate.c.id)).scalars())


def database() -> Engine:
    return create_engine("sqlite+pysqlite://", poolclass=StaticPool)


def claimed(seen: Looked, policy: Policy, now: datetime) -> datetime:
    """When the claim lets a message go that it looks at now."""
    found = verdict(seen, now, policy, {}, None)
    if found is None:
        return now
    assert (found.reason, found.until is None) == (Reason.QUIET_HOURS, False)
    assert found.until is not None
    return found.until


def prove(engine: Engine, zones: Sequence[str], story: Story, start: datetime, days: int) -> dict[str, int]:
    """Ask gate and claim at every half hour; counts what was asked, put off, and where the judge disagrees."""
    asked = put_off = changes = outside = late = 0
    readings = {}
    for zone in zones:
        free, more = judged(zone, story, start, days)
        readings[zone] = (free, next_free(free))
        changes += more
    hours = story.policy.hours(story.purpose, Channel.VOICE, story.country, "")
    policy = story.policy
    looks = {zone: Looked(1, "voice", "+1", False, "h", story.purpose, None, zone, hours, "granted") for zone in zones}
    with engine.begin() as connection:
        gate = Gate(connection, story, zones)
        for number in range(0, days * 96, 2):
            now = start + number * QUARTER
            for zone, planned in zip(zones, gate.ask(now), strict=True):
                free, following = readings[zone]
                for at in (planned, claimed(looks[zone], policy, now)):
                    place = number if at == now else (at - start) // QUARTER
                    asked += 1
                    put_off += place != number
                    outside += not free[place]
                    late += place != following[number] or (at - start) % QUARTER != NOTHING
    return {"asked": asked, "put off": put_off, "changes": changes, "outside": outside, "not the first": late}


SAMPLE = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Kathmandu")
CLOCKS_CHANGE = (datetime(2028, 3, 10, tzinfo=UTC), datetime(2028, 10, 28, tzinfo=UTC))


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
@pytest.mark.parametrize("start", CLOCKS_CHANGE, ids=["spring", "autumn"])
def test_gate_and_claim_keep_the_quiet_hours_where_clocks_change(story: Story, start: datetime) -> None:
    counts = prove(database(), SAMPLE, story, start, 9)
    assert (counts["outside"], counts["not the first"]) == (0, 0)
    assert counts["changes"]
    assert 0 < counts["put off"] < counts["asked"]


def test_the_judge_would_notice() -> None:
    """A story whose hours differ from what the gate is told by one half hour is found out."""
    wrong = Story("wrong", NIGHT, Purpose.SERVICE, "", 7 * 60 + 30, 22 * 60)
    counts = prove(database(), SAMPLE[:1], wrong, CLOCKS_CHANGE[0], 2)
    assert counts["outside"]
    assert counts["not the first"]


def clocks(zones: Sequence[str]) -> list[str]:
    """One zone for each way in which clocks run that year."""
    seen: dict[tuple[Any, ...], str] = {}
    for zone in zones:
        info = ZoneInfo(zone)
        seen.setdefault(tuple((YEAR + n * 24 * QUARTER).astimezone(info).utcoffset() for n in range(DAYS * 4)), zone)
    return list(seen.values())


def for_a_year(zones: Sequence[str], story: Story) -> dict[str, int]:
    """A part of the proof, in a process of its own."""
    return prove(database(), zones, story, YEAR, DAYS)


@pytest.mark.prove
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_prove_quiet_hours_everywhere_for_a_year(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    """The nights in every zone by its name; the harder hours once for each way in which clocks run."""
    every = sorted(available_timezones())
    zones = every if story is NIGHTS else clocks(every)
    parts = [(zones[number::WORKERS], story) for number in range(WORKERS)]
    with get_context("fork").Pool(WORKERS) as workers:
        counts = sum((Counter(part) for part in workers.starmap(for_a_year, parts)), Counter[str]())
    assert (counts["outside"], counts["not the first"]) == (0, 0)
    with capsys.disabled():
        print(
            f"\nPROOF quiet hours ({story.name}): {len(zones)} zones, {DAYS} days, every half hour, plan and claim: "
            f"{counts['asked']:,} decisions, {counts['put off']:,} put off, over {counts['changes']:,} changes of "
            f"clocks; {counts['outside']} outside, {counts['not the first']} not at the first free moment"
        )
