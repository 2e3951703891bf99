"""A tiny row-by-row reading of conditions, for tests only: slow, obvious, and written apart from the compiler."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from models.terms import Money
from rules.conditions import Compare, Condition, Group, ListFile, Path, Related
from rules.facts import Fact, Kind, Relation
from rules.values import Moment

KNOWN_FROM = {"score": "answered_at", "comment": "answered_at", "satisfaction": "closed_at", "outcome": "ended_at"}
BORN = {
    **{"customer": "created_at", "order": "placed_at", "subscription": "started_at", "voucher": "issued_at"},
    **{"call": "started_at", "ticket": "opened_at", "survey": "asked_at", "event": "happened_at"},
    **{"issue": "declared_at", "exposure": "found_at", "message": "created_at"},
}
NUMERAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?")


@dataclass(frozen=True, eq=False)
class Row:
    """One row of a kind of subject."""

    subject: str
    values: dict[str, Any]


@dataclass
class World:
    """All rows by kind of subject."""

    rows: dict[str, list[Row]] = field(default_factory=dict)

    def follow(self, row: Row, relation: Relation) -> list[Row]:
        """The rows that a relation leads to."""
        here = row.values[relation.here]
        return [] if here is None else [r for r in self.rows[relation.target] if r.values[relation.there] == here]


@dataclass
class Reader:
    """Reads conditions as of ``now``; ``this`` is the rule's own subject."""

    world: World
    now: datetime
    zone: str
    this: Row

    def holds(self, test: Condition, row: Row) -> bool:
        if isinstance(test, Group):
            results = [self.holds(member, row) for member in test.members]
            return {"all": all(results), "any": any(results), "none": not any(results)}[test.how]
        if isinstance(test, Compare):
            return self.compares(test, row)
        return self.related(test, row)

    def born(self, row: Row) -> bool:
        when = row.values.get(BORN.get(row.subject, ""))
        return when is None or when <= self.now

    # -- facts -------------------------------------------------------------------------------------------

    def value(self, path: Path, row: Row) -> Any:
        """What a path leads to from a row (or from ``this``), as known now; None where it is missing."""
        start = self.this if path.from_this else row
        here: Row | None = start
        for relation in path.relations:
            here = next(iter(self.world.follow(here, relation)), None) if here else None
        return None if here is None or path.fact is None else self.fact(path.fact, here, start)

    def fact(self, fact: Fact, row: Row, start: Row) -> Any:
        """A row's fact; the day of a moment is where the customer of ``start`` lives."""
        known = row.values.get(KNOWN_FROM.get(fact.name, ""))
        if known is not None and known > self.now:
            return None
        if fact.attribute:
            return attribute((row.values[fact.column] or {}).get(fact.attribute), fact.kind)
        found = row.values[fact.day_of or fact.column]
        if fact.kind is Kind.MONEY:
            return None if found is None else Money(found, row.values["currency"])
        if isinstance(found, datetime) and not fact.planned and found > self.now:
            return None
        return self.local(found, start) if fact.day_of and found is not None else found

    def zone_of(self, row: Row) -> ZoneInfo:
        if row.subject == "line":
            row = next(order for order in self.world.rows["order"] if order.values["id"] == row.values["order_id"])
        of = row.values["id"] if row.subject == "customer" else row.values.get("customer_id")
        owner = next((each for each in self.world.rows["customer"] if each.values["id"] == of), None)
        return ZoneInfo((owner.values.get("time_zone") if owner else None) or self.zone)

    def local(self, when: datetime, row: Row) -> date:
        return when.astimezone(self.zone_of(row)).date()

    def compares(self, test: Compare, row: Row) -> bool:
        value = self.value(test.path, row)
        if test.operator in ("missing", "present"):
            return (value is None) is (test.operator == "missing")
        assert test.path.fact is not None
        if value is None:
            return test.operator in ("is_not", "not_in")
        if test.path.fact.kind in (Kind.MOMENT, Kind.DAY):
            return self.times(value, test.operator, test.value, row)
        wanted = self.value(test.value, row) if isinstance(test.value, Path) else test.value
        return test.operator == "is_not" if wanted is None else plain(value, test.operator, wanted)

    # -- times -------------------------------------------------------------------------------------------

    def times(self, value: Any, op: str, wanted: Any, row: Row) -> bool:
        if op in ("within", "within_next"):
            return self.window(value, op, wanted, row)
        if op == "between":
            return self.times(value, "since", wanted[0], row) and self.times(value, "until", wanted[1], row)
        if op in ("in", "not_in"):
            return any(self.times(value, "is", each, row) for each in wanted) is (op == "in")
        there = self.moment(wanted, row)
        if there is None:
            return op == "is_not"
        if isinstance(there, datetime) and not isinstance(value, datetime):
            there = self.local(there, row)
        elif isinstance(value, datetime) and not isinstance(there, datetime):
            value = self.local(value, row)
        verdict: bool = {
            "before": value < there,
            "after": value > there,
            "since": value >= there,
            "until": value <= there,
            "is": value == there,
            "is_not": value != there,
        }[op]
        return verdict

    def window(self, value: Any, op: str, lasts: Any, row: Row) -> bool:
        if isinstance(value, datetime):
            return bool(
                self.now - lasts < value <= self.now if op == "within" else self.now < value <= self.now + lasts
            )
        today = self.local(self.now, row)
        if op == "within":
            return bool(self.local(self.now - lasts, row) <= value <= today)
        return bool(today <= value <= self.local(self.now + lasts, row))

    def moment(self, wanted: Any, row: Row) -> Any:
        if isinstance(wanted, Path):
            return self.value(wanted, row)
        assert isinstance(wanted, Moment)
        today = self.local(self.now, row)
        if wanted.day is not None:
            return today + timedelta(days=wanted.day)
        if wanted.weekday is not None:
            return today - timedelta(days=(today.weekday() - wanted.weekday) % 7)
        if wanted.ago is not None:
            return self.now - wanted.ago
        if wanted.ahead is not None:
            return self.now + wanted.ahead
        return wanted.on or wanted.at

    # -- relations ---------------------------------------------------------------------------------------

    def related(self, test: Related, row: Row) -> bool:
        rows = self.counted(test, row)
        named = next((value.currency for value in flat(test.bounds) if isinstance(value, Money)), None)
        values = [] if test.of is None else [v for found in rows if (v := self.of(test.of, found, named)) is not None]
        match test.aggregate:
            case "any":
                return any(test.holds is None or self.holds(test.holds, found) for found in rows)
            case "none":
                return not any(test.holds is None or self.holds(test.holds, found) for found in rows)
            case "count":
                return self.bounds(len(rows), test, row)
            case "sum":
                return self.bounds(sum(map(Fraction, values)), test, row)
            case "average":
                return bool(values) and self.bounds(sum(map(Fraction, values)) / len(values), test, row)
            case "min" | "max":
                chosen = (min if test.aggregate == "min" else max)(values, default=None)
                return chosen is not None and self.bounds(chosen, test, row)
            case "latest":
                return self.latest(test, rows)
        return self.change(test, rows, row)

    def counted(self, test: Related, row: Row) -> list[Row]:
        """The rows that the test looks at. What hangs on a row that is not there yet is not there either."""
        rows, several = [self.this if test.path.from_this else row], False
        for place, relation in enumerate(test.path.relations):
            rows = [found for here in rows for found in self.world.follow(here, relation)]
            several = several or relation.many
            if several and place < len(test.path.relations) - 1:
                rows = [found for found in rows if self.born(found)]
        # over "lines.product" two lines of one product are two of them
        return [found for found in rows if self.counts(test, found, row)]

    def natural(self, test: Related, row: Row) -> Any:
        return row.values.get(test.path.subject.natural)

    def counts(self, test: Related, row: Row, outer: Row) -> bool:
        natural = self.natural(test, row)
        if test.within is not None:
            lasts = test.within + test.within if test.aggregate == "change" else test.within
            if natural is None or not self.now - lasts < natural <= self.now:
                return False
        elif test.within_next is not None:
            if natural is None or not self.now < natural <= self.now + test.within_next:
                return False
        elif not self.born(row):
            return False
        return self.after(test, natural, row, outer) and (test.where is None or self.holds(test.where, row))

    def after(self, test: Related, natural: Any, row: Row, outer: Row) -> bool:
        """Whether a row is dated since a moment; the rule's own row is not what came after it."""
        if test.since is None:
            return True
        if natural is None or natural > self.now:
            return False
        if isinstance(test.since, Path) and test.since.from_this and row is self.this:
            return False
        if isinstance(test.since, Path):
            there = self.value(test.since, outer)
            if isinstance(there, datetime) or there is None:
                return there is not None and bool(natural >= there)
            return bool(self.local(natural, row) >= there)
        return self.times(natural, "since", test.since, row)

    def of(self, fact: Fact, row: Row, currency: str | None = None) -> Any:
        """A fact to be counted together; an amount of another currency than the bound's is none."""
        value = self.fact(fact, row, row)
        if isinstance(value, Money):
            return value.minor if currency in (None, value.currency) else None
        return value

    def bounds(self, found: Any, test: Related, row: Row) -> bool:
        if isinstance(found, date):
            return all(self.times(found, op, value, row) for op, value in test.bounds)
        return all(plain(found, op, minor(value)) for op, value in test.bounds)

    def latest(self, test: Related, rows: list[Row]) -> bool:
        """What is dated ahead has not happened, so it is not the latest (unless ``within_next`` asks for just that)."""
        until = self.now if test.within_next is None else datetime.max.replace(tzinfo=UTC)
        dated = [row for row in rows if (at := self.natural(test, row)) is not None and at <= until]
        if not dated:
            return False
        last = max(dated, key=lambda row: (self.natural(test, row), row.values["id"]))
        assert test.holds is not None
        return self.holds(test.holds, last)

    def change(self, test: Related, rows: list[Row], outer: Row) -> bool:
        assert test.within is not None
        border = self.now - test.within
        of = test.of

        def total(several: list[Row]) -> Fraction:
            return sum((Fraction(1 if of is None else self.of(of, row) or 0) for row in several), Fraction(0))

        recent = total([row for row in rows if self.natural(test, row) > border])
        before = total([row for row in rows if self.natural(test, row) <= border])
        return before > 0 and self.bounds((recent - before) * 100 / before, test, outer)


def attribute(said: Any, kind: Kind) -> Any:
    """A fact of one's own: what lies in the JSON, read as a kind; None where it is none."""
    if said is None or isinstance(said, list | dict):
        return None
    text = str(said).lower() if isinstance(said, bool) else str(said)
    match kind:
        case Kind.NUMBER:
            return float(text) if NUMERAL.fullmatch(text) else None
        case Kind.FLAG:
            yes, no = ("true", "yes", "y", "t", "1"), ("false", "no", "n", "f", "0")
            return None if text.lower() not in yes + no else text.lower() in yes
        case Kind.DAY:
            try:
                return date.fromisoformat(text) if re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII) else None
            except ValueError:
                return None
    return text


def flat(bounds: tuple[tuple[str, Any], ...]) -> list[Any]:
    """The values of bounds, those of pairs too."""
    return [each for _, value in bounds for each in (value if isinstance(value, list) else [value])]


def minor(value: Any) -> Any:
    """Amounts as minor units."""
    if isinstance(value, list | tuple):
        return [minor(each) for each in value]
    return value.minor if isinstance(value, Money) else value


def plain(value: Any, op: str, wanted: Any) -> bool:
    """Texts, numbers, money and flags. Amounts of another currency are another matter: no test of them holds."""
    if isinstance(value, Money):
        several = wanted if isinstance(wanted, list) else [wanted]
        return all(each.currency == value.currency for each in several) and plain(value.minor, op, minor(wanted))
    wanted = wanted.values if isinstance(wanted, ListFile) else wanted
    tests: dict[str, Callable[[], Any]] = {
        "is": lambda: value == wanted,
        "is_not": lambda: value != wanted,
        "in": lambda: value in wanted,
        "not_in": lambda: value not in wanted,
        "contains": lambda: wanted in value,
        "starts_with": lambda: value.startswith(wanted),
        "between": lambda: wanted[0] <= value <= wanted[1],
        "at_least": lambda: value >= wanted,
        "at_most": lambda: value <= wanted,
        "more_than": lambda: value > wanted,
        "less_than": lambda: value < wanted,
    }
    return bool(tests[op]())
