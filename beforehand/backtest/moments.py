"""The slots of a replay at which a subject's verdict can change, in a temporary table, worked out once for all.

For each pair of a stored moment and an expression of now: the first slot at which the expression has reached the
moment, and the first at which it is past it. Expressions go on with time but for a few spots (the end of a month,
clocks put back over midnight), where every step back and forth counts as a change.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Date,
    FromClause,
    Index,
    Integer,
    MetaData,
    Select,
    Table,
    Text,
    and_,
    func,
    insert,
    literal,
    select,
    text,
)
from sqlalchemy.sql.selectable import NamedFromClause

from beforehand.backtest.hands import DayThen, Hand, Instant, is_zone
from beforehand.backtest.pairs import Pair, Way
from messaging.candidates import TABLES
from models.database import dialect_insert
from models.temporary import make_anew, temporary
from models.types import BigKey, UTCDateTime, local_day
from rules.facts import Subject

_TEMP = MetaData()


def _clock(name: str, kind: Any) -> Table:
    return temporary(
        name,
        _TEMP,
        Column("hand", Integer, nullable=False),
        Column("zone", Text, nullable=False),
        Column("slot", Integer, nullable=False),
        Column("low", kind, nullable=False),
        Column("value", kind, nullable=False),
        Column("dip", Integer, nullable=False),
        Index(f"ix_{name}", "hand", "zone", "dip", "value"),
    )


moment = temporary(
    "moment",
    _TEMP,
    Column("slot", Integer, primary_key=True, autoincrement=False),
    Column("subject_id", BigKey, primary_key=True, autoincrement=False),
)
clock = _clock("replay_clock", UTCDateTime)
calendar = _clock("replay_calendar", Date)


@dataclass(frozen=True)
class Reading:
    """A hand as wound: its number, the least and the most that it reads in the period, whether it goes back."""

    number: int
    low: Any
    high: Any
    dips: bool


@dataclass(frozen=True)
class Ground:
    """What the slots of a replay are worked out from."""

    connection: Connection
    subject: Subject
    subjects: dict[str, Subject]
    slots: Sequence[datetime]
    zone: str


def make(ground: Ground, pairs: Iterable[Pair]) -> dict[Hand, Reading]:
    """Fill ``moment`` for these pairs; gives what each hand reads."""
    connection = ground.connection
    make_anew(connection, _TEMP.sorted_tables)
    if not ground.slots:
        return {}
    wanted = sorted(pairs, key=repr)
    wound = _wind(ground, dict.fromkeys(pair.hand for pair in wanted))
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"ANALYZE {clock.name}, {calendar.name}"))
    for pair in wanted:
        add(ground, pair, wound[pair.hand])
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"ANALYZE {moment.name}"))
    return wound


def _wind(ground: Ground, hands: Iterable[Hand]) -> dict[Hand, Reading]:
    """Write every hand's value by slot (and zone)."""
    customer = TABLES["customer"]
    zoned = select(func.coalesce(customer.c.time_zone, ground.zone)).distinct()
    zones = sorted(filter(is_zone, {*ground.connection.execute(zoned).scalars(), ground.zone}))
    wound = {}
    for number, hand in enumerate(hands):
        rows = [
            {"hand": number, "zone": zone, **row}
            for zone in ([""] if isinstance(hand, Instant) else zones)
            for row in _readings(hand, zone, ground.slots)
        ]
        low, high = min(row["low"] for row in rows), max(row["value"] for row in rows)
        wound[hand] = Reading(number, low, high, any(row["dip"] for row in rows))
        ground.connection.execute(insert(calendar if isinstance(hand, DayThen) else clock), rows)
    return wound


def _readings(hand: Hand, zone: str, slots: Sequence[datetime]) -> Iterator[dict[str, Any]]:
    """The hand's values, each with the first slot that has it; where it goes back, each step both ways."""
    highest: Any = None
    before: Any = None
    for number, slot in enumerate(slots):
        value: datetime | date = hand.at(slot, zone)
        if highest is None or value > highest:
            yield {"slot": number, "low": value, "value": value, "dip": 0}
        if highest is not None and (value < highest or before < highest):
            yield {"slot": number, "low": min(before, value), "value": max(before, value), "dip": 1}
        highest, before = value if highest is None else max(highest, value), value


def add(ground: Ground, pair: Pair, reading: Reading, only: "Only | None" = None) -> None:
    """Write the slots of one pair. ``only`` narrows the rows on its way."""
    chain = Chain(ground.subject, ground.subjects)
    end = chain.walk(pair.way)
    table = calendar if isinstance(pair.hand, DayThen) else clock
    zone: ColumnElement[str] = literal("")
    if not isinstance(pair.hand, Instant):
        zone = literal(ground.zone)
        if pair.zone_way is not None:
            zone = func.coalesce(chain.walk(pair.zone_way, outer=True).c.time_zone, zone)
    value: ColumnElement[Any] = end.c[pair.column]
    if pair.as_day:
        value = local_day(value, zone)
    where = [*_within(pair, reading, end.c[pair.column]), *([] if only is None else [only(chain)])]
    for reached in (table.c.value >= value, table.c.value > value):
        here = and_(table.c.hand == reading.number, table.c.zone == zone, table.c.dip == 0, reached)
        first = select(table.c.slot).where(here).order_by(table.c.value).limit(1)
        keep(ground.connection, chain.select(first.correlate_except(table).scalar_subquery()).where(*where))
    if reading.dips:
        step = table.alias()
        here = and_(step.c.hand == reading.number, step.c.zone == zone, step.c.dip == 1)
        between = and_(here, value.between(step.c.low, step.c.value))
        keep(ground.connection, chain.select(step.c.slot, joined=(step, between)).where(*where))


def _within(pair: Pair, reading: Reading, column: ColumnElement[Any]) -> list[ColumnElement[bool]]:
    """A coarse bound that an index can serve: what the hand reads in the period."""
    if not pair.as_day:
        return [column >= reading.low, column <= reading.high]
    slack = timedelta(days=2)  # a day of the calendar lies within two days of the same day in UTC
    low, high = (datetime.combine(day, time(), UTC) for day in (reading.low, reading.high))
    return [column >= literal(low - slack, UTCDateTime()), column <= literal(high + slack, UTCDateTime())]


def keep(connection: Connection, rows: Select[Any]) -> None:
    """Write (slot, subject) rows that are not there yet; the first slot is looked at by itself."""
    found = rows.subquery()
    source = select(found.c.slot, found.c.subject_id).where(found.c.slot > 0).distinct()
    statement = dialect_insert(connection, moment).from_select(["slot", "subject_id"], source).on_conflict_do_nothing()
    connection.execute(statement)


class Chain:
    """Tables joined along relations from the rule's subject."""

    def __init__(self, subject: Subject, subjects: dict[str, Subject]) -> None:
        self.subjects = subjects
        self.root: NamedFromClause = TABLES[subject.table].alias()
        self.joins: dict[tuple[str, ...], tuple[NamedFromClause, ColumnElement[bool], bool]] = {}

    def walk(self, way: Way, *, outer: bool = False) -> NamedFromClause:
        """The table at the end of a way; joined if it is not yet."""
        here = self.root
        walked: tuple[str, ...] = ()
        for relation in way:
            walked = (*walked, relation.name)
            if walked not in self.joins:
                there = TABLES[self.subjects[relation.target].table].alias()
                self.joins[walked] = (there, here.c[relation.here] == there.c[relation.there], outer)
            here = self.joins[walked][0]
        return here

    def select(
        self, slot: ColumnElement[Any], joined: tuple[FromClause, ColumnElement[bool]] | None = None
    ) -> Select[Any]:
        """``slot`` and the subject's id, over all the tables."""
        source: FromClause = self.root
        for there, on, outer in self.joins.values():
            source = source.join(there, on, isouter=outer)
        if joined is not None:
            source = source.join(*joined)
        return select(slot.label("slot"), self.root.c.id.label("subject_id")).select_from(source)


Only = Callable[[Chain], ColumnElement[bool]]
"""A condition on the tables of a chain."""
