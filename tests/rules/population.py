"""Small generated populations of every table: nulls, ties, edges of windows and of days, zones, odd letters."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Table, insert

import models
from rules.facts import Fact, Kind, Subject
from rules.values import duration
from tests.rules.dice import Dice
from tests.rules.reference import BORN, Row, World

NOWS = [
    datetime(2026, 3, 29, 9, 30, tzinfo=UTC),  # the day on which clocks go forward in Europe
    datetime(2026, 3, 29, 1, 0, tzinfo=UTC),  # the moment of it
    datetime(2026, 10, 25, 0, 30, tzinfo=UTC),  # the hour that comes twice
    datetime(2026, 3, 8, 5, 0, tzinfo=UTC),  # Havana: there is no midnight
    datetime(2026, 11, 1, 4, 30, tzinfo=UTC),  # Havana: midnight comes twice
    datetime(2026, 7, 15, 10, 15, 0, 1, tzinfo=UTC),
    datetime(2028, 2, 29, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(2026, 12, 31, 11, 0, tzinfo=UTC),  # another year already in Kiritimati
]
ZONES = [
    *(None, "Europe/Berlin", "America/Havana", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Kathmandu", "UTC"),
    *("America/New_York", "Australia/Lord_Howe", "America/St_Johns", "Asia/Beirut", "Atlantic/Azores"),
]
DURATIONS = ["1 day", "30 days", "6 hours", "1 month", "45 minutes", "7 days", "1 year", "1 week 2 days", "1 second"]
WORDS = [
    *("gold", "Gold", "tin", "", " gold", "ذهب", "a%b_c", "a\\b", "it's", '"q"', "é", "e\u0301", "👩‍🚀", "\u202eabc"),
    *("ß", "İ", "null", "0", "True", "{}", ":name", "%(x)s", "$1", "?", "x\ny\tz", "'); DROP TABLE customer; --"),
]
AMOUNTS = [None, 0, 1000, 1, -1, 2550, 999, 1001, -50_000, 100_000, 10**15, -(10**15)]
NUMBERS = [None, 0, 1, 2, 3, 4, 5, -1, 2_000_000_000]
SAID: dict[Kind, list[Any]] = {
    Kind.TEXT: [*WORDS, 18, True, None, [1], {"a": 1}],
    Kind.NUMBER: [0, 1, 2.5, -3, "12", "abc", "", None, True, [1], 100, "1e2", "1e400"],
    Kind.DAY: ["2026-03-29", "2026-03-28", "2026-02-30", "soon", None, 20260329, "2026-11-01", "2026-03-1"],
    Kind.FLAG: [True, False, "yes", "No", 1, 0, "perhaps", None, "T"],
}
ORDER = (
    *("customer", "product", "issue", "order", "line", "subscription", "payment", "voucher", "call", "ticket"),
    *("survey", "event", "exposure", "message"),
)
LINKS = {"order_line": "line", "known_issue": "issue", "orders": "order"}


def table_of(subject: Subject) -> Table:
    """The table behind a subject."""
    return models.Base.metadata.tables[subject.table]


@lru_cache
def moments(now: datetime) -> list[datetime | None]:
    """Now, moments around it, and exactly on the edges of windows and of days."""
    tick = timedelta(microseconds=1)
    edges = [now, *(now - lasts for text in DURATIONS if (lasts := duration(text)))]
    edges += [now + timedelta(days=1), now + timedelta(days=7), now - timedelta(days=60), now - timedelta(days=2)]
    for zone in ZONES[1:]:
        for day in range(-2, 3):
            here = now.astimezone(ZoneInfo(str(zone))).date() + timedelta(days=day)
            midnight = datetime(here.year, here.month, here.day, tzinfo=ZoneInfo(str(zone)))
            edges += [midnight.astimezone(UTC), midnight.replace(fold=1).astimezone(UTC)]
    near = [now - timedelta(minutes=minutes) for minutes in (1, 44, 90, 1440 * 3, 1440 * 20, 1440 * 35, 1440 * 400)]
    ahead = [now + timedelta(minutes=minutes) for minutes in (30, 1440 * 3)]
    return [None, *near, *ahead, *edges, *(edge + tick for edge in edges), *(edge - tick for edge in edges)]


@lru_cache
def days(now: datetime) -> list[date | None]:
    """Days around today, and the first and last of the calendar."""
    around = [now.date() + timedelta(days=n) for n in (0, -1, 1, -2, 2, -3, -7, -30, -31, 7, -365)]
    return [None, *around, date(1900, 1, 1), date(9999, 12, 31)]


def population(dice: Dice, now: datetime, subjects: dict[str, Subject]) -> World:
    """Up to four customers and up to four rows of every other table; what belongs to what is drawn too."""
    world = World({name: [] for name in ORDER})
    for name in ORDER:
        subject = subjects[name]
        for number in dice.times(4, 2 if name == "customer" else dice.below(2)):
            values = _row(dice, now, subject, number + 1, world)
            if values is not None:
                world.rows[name].append(Row(name, values))
    return world


def _row(dice: Dice, now: datetime, subject: Subject, number: int, world: World) -> dict[str, Any] | None:
    table = table_of(subject)
    values: dict[str, Any] = {"id": number}
    for column in table.columns:
        for foreign in column.foreign_keys:
            name = foreign.column.table.name
            if name in ("match", "consent"):
                continue
            there = world.rows[LINKS.get(name, name)]
            known = [row.values["id"] for row in there]
            known += [None] if column.nullable and (not known or dice.chance(6)) else []
            if not known:
                return None
            values[column.name] = dice.pick(known)
    for fact in subject.facts.values():
        if not fact.attribute and not fact.day_of:
            values[fact.column] = _cell(dice, now, fact, table)
    values |= {
        column: _attributes(dice, subject, column) for column in ("attributes", "properties") if column in table.c
    }
    if "currency" in table.c:
        values["currency"] = "EUR" if dice.below(8) or not table.c.currency.nullable else None
    if "external_id" in table.c:
        values["external_id"] = f"{subject.name}{number}"
    return _possible(values, subject, now, world, number)


def _cell(dice: Dice, now: datetime, fact: Fact, table: Table) -> Any:
    column = table.c[fact.column]
    several: dict[Kind, Callable[[], list[Any]]] = {
        Kind.TEXT: lambda: [None, *(fact.values or _fitting(getattr(column.type, "length", None)))],
        Kind.NUMBER: lambda: NUMBERS,
        Kind.MONEY: lambda: AMOUNTS,
        Kind.MOMENT: lambda: moments(now),
        Kind.DAY: lambda: days(now),
    }
    choices = several[fact.kind]()
    if fact.name == "time_zone":
        choices = ZONES
    return dice.near(choices if column.nullable else choices[1:], 10 if fact.kind is Kind.MOMENT else 5)


@lru_cache
def _fitting(length: int | None) -> tuple[str, ...]:
    return tuple(word for word in WORDS if length is None or len(word) <= length)


def _attributes(dice: Dice, subject: Subject, column: str) -> dict[str, Any] | None:
    if dice.chance(5):
        return None
    own = [fact for fact in subject.facts.values() if fact.attribute and fact.column == column]
    return {fact.attribute: dice.near(SAID[fact.kind], 4) for fact in own if not dice.chance(6)}


def _possible(
    values: dict[str, Any], subject: Subject, now: datetime, world: World, number: int
) -> dict[str, Any] | None:
    """What no shop's data holds is left out: somebody who is not there yet has done nothing yet."""
    if subject.name == "exposure":
        same = [r for r in world.rows["exposure"] if r.values["order_line_id"] == values["order_line_id"]]
        if any(row.values["issue_id"] == values["issue_id"] for row in same):
            return None
    owner = next((r for r in world.rows["customer"] if r.values["id"] == values.get("customer_id")), None)
    began = owner.values["created_at"] if owner else None
    if began is not None and began > now:
        dated = BORN.get(subject.name)
        if dated is None:
            return None
        values[dated] = began
        if subject.natural and (values[subject.natural] or began) < began:
            values[subject.natural] = began
    return values


def fill(connection: Connection, world: World, subjects: dict[str, Subject], now: datetime) -> None:
    """Insert a population, table by table."""
    always = {"changed_at": now, "bucket": 0}
    for_message = {"match_id": 1, "version": "1", "step": "0", "address": "-", "due_at": now, "priority": 0, "tries": 0}
    if world.rows["message"]:
        row = {"id": 1, "rule_id": "r", "version": "1", "occasion": "o", "subject": "customer", "subject_id": 1}
        connection.execute(insert(models.Match).values(**row, matched_at=now, seen_at=now, state="ended"))
    for name in ORDER:
        table = table_of(subjects[name])
        filled = {key: value for key, value in always.items() if key in table.c}
        rows = [{**row.values, **filled} for row in world.rows[name]]
        if name == "message":
            rows = [{**row, **for_message, "occasion": str(row["id"]), "reference": str(row["id"])} for row in rows]
        if rows:
            connection.execute(insert(table), rows)


def seen(world: World, subjects: dict[str, Subject]) -> dict[str, list[Any]]:
    """Values that the rows have, by fact, as a rule would write them."""
    found: dict[str, list[Any]] = {}
    for name, rows in world.rows.items():
        for fact in subjects[name].facts.values():
            for row in rows:
                value = _written(fact, row.values.get(fact.day_of or fact.column))
                if value is not None and value not in found.setdefault(fact.name, []):
                    found[fact.name].append(value)
    return found


def _written(fact: Fact, value: Any) -> Any:
    if fact.attribute:
        said = (value or {}).get(fact.attribute)
        kinds: dict[Kind, type] = {Kind.TEXT: str, Kind.FLAG: bool, Kind.NUMBER: int}
        return said if type(said) is kinds.get(fact.kind) else None
    if fact.kind is Kind.MONEY and value is not None:
        return f"{'-' if value < 0 else ''}{abs(value) // 100}.{abs(value) % 100:02} EUR"
    if isinstance(value, date):
        return value.date().isoformat() if isinstance(value, datetime) and fact.kind is Kind.DAY else value.isoformat()
    return None if fact.values and value not in fact.values else value
