"""A tiny row-by-row reading of conditions, for tests only: slow, obvious, and written apart from the compiler."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from statistics import fmean
from typing import Any
from zoneinfo import ZoneInfo

from models.terms import Money
from rules.conditions import Compare, Condition, Group, Path, Related
from rules.facts import Kind
from rules.values import Moment

KNOWN_FROM = {"score": "answered_at", "comment": "answered_at"}
BORN = {"customer": "created_at", "order": "placed_at", "survey": "asked_at"}


@dataclass
class Row:
    """One row, with the rows around it by relation name."""

    subject: str
    values: dict[str, Any]
    around: dict[str, list["Row"]] = field(default_factory=dict)


@dataclass
class Reader:
    """Reads conditions as of ``now``; ``this`` is the rule's own subject."""

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

    def walk(self, path: Path, row: Row) -> Row | None:
        here: Row | None = self.this if path.from_this else row
        for relation in path.relations:
            here = next(iter(here.around.get(relation.name, [])), None) if here else None
        return here

    def value(self, path: Path, row: Row) -> Any:
        here = self.walk(path, row)
        fact = path.fact
        if here is None or fact is None:
            return None
        if fact.name in KNOWN_FROM:
            known = here.values.get(KNOWN_FROM[fact.name])
            if known is not None and known > self.now:
                return None
        if fact.kind is Kind.MONEY:
            minor = here.values.get(fact.column)
            return None if minor is None else Money(minor, here.values["currency"])
        found = here.values.get(fact.day_of or fact.column)
        if isinstance(found, datetime) and not fact.planned and found > self.now:
            return None
        return self.local(found, here) if fact.day_of and found is not None else found

    def zone_of(self, row: Row) -> ZoneInfo:
        owner = row if row.subject == "customer" else next(iter(row.around.get("customer", [])), None)
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
        return self.plain(value, test.operator, test.value)

    def plain(self, value: Any, op: str, wanted: Any) -> bool:
        if isinstance(value, Money):
            first = wanted[0] if isinstance(wanted, list) else wanted
            if value.currency != first.currency:
                return False
            value = value.minor
            wanted = [each.minor for each in wanted] if isinstance(wanted, list) else wanted.minor
        match op:
            case "is":
                return bool(value == wanted)
            case "is_not":
                return bool(value != wanted)
            case "in":
                return value in wanted
            case "not_in":
                return value not in wanted
            case "contains":
                return wanted in value
            case "starts_with":
                return bool(value.startswith(wanted))
            case "between":
                return bool(wanted[0] <= value <= wanted[1])
        return self.ordered(value, op, wanted)

    def ordered(self, value: Any, op: str, wanted: Any) -> bool:
        return {
            "at_least": value >= wanted,
            "at_most": value <= wanted,
            "more_than": value > wanted,
            "less_than": value < wanted,
        }[op]

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
        return {
            "before": value < there,
            "after": value > there,
            "since": value >= there,
            "until": value <= there,
            "is": value == there,
            "is_not": value != there,
        }[op]

    def window(self, value: Any, op: str, lasts: Any, row: Row) -> bool:
        if isinstance(value, datetime):
            return self.now - lasts < value <= self.now if op == "within" else self.now < value <= self.now + lasts
        today = self.local(self.now, row)
        if op == "within":
            return self.local(self.now - lasts, row) <= value <= today
        return today <= value <= self.local(self.now + lasts, row)

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

    def related(self, test: Related, row: Row) -> bool:
        rows = [self.this if test.path.from_this else row]
        for relation in test.path.relations:
            rows = [found for here in rows for found in here.around.get(relation.name, [])]
        rows = [found for found in rows if self.counts(test, found)]
        values = [] if test.of is None else [v for found in rows if (v := self.of(test, found)) is not None]
        match test.aggregate:
            case "any":
                return any(test.holds is None or self.holds(test.holds, found) for found in rows)
            case "none":
                return not any(test.holds is None or self.holds(test.holds, found) for found in rows)
            case "count":
                return self.bounds(len(rows), test)
            case "sum":
                return self.bounds(sum(values), test)
            case "average":
                return bool(values) and self.bounds(fmean(values), test)
            case "min" | "max":
                chosen = (min if test.aggregate == "min" else max)(values, default=None)
                return chosen is not None and self.bounds(chosen, test)
            case "latest":
                return self.latest(test, rows)
        return self.change(test, rows)

    def natural(self, test: Related, row: Row) -> Any:
        return row.values.get(test.path.subject.natural)

    def counts(self, test: Related, row: Row) -> bool:
        natural = self.natural(test, row)
        if test.within is not None:
            lasts = test.within + test.within if test.aggregate == "change" else test.within
            if natural is None or not self.now - lasts < natural <= self.now:
                return False
        elif not self.born(row):
            return False
        if test.since is not None and (natural is None or natural > self.now):
            return False
        if test.since is not None and not self.times(natural, "since", test.since, row):
            return False
        return test.where is None or self.holds(test.where, row)

    def of(self, test: Related, row: Row) -> Any:
        assert test.of is not None
        value = self.value(Path((), test.of, test.path.subject, test.path.subject), row)
        return value.minor if isinstance(value, Money) else value

    def bounds(self, found: float, test: Related) -> bool:
        def plainly(value: Any) -> Any:
            return value.minor if isinstance(value, Money) else value

        return all(
            plainly(value[0]) <= found <= plainly(value[1])
            if op == "between"
            else (found == plainly(value)) is (op == "is")
            if op in ("is", "is_not")
            else self.ordered(found, op, plainly(value))
            for op, value in test.bounds
        )

    def latest(self, test: Related, rows: list[Row]) -> bool:
        dated = [row for row in rows if self.natural(test, row) is not None]
        if not dated:
            return False
        last = max(dated, key=lambda row: (self.natural(test, row), row.values["id"]))
        assert test.holds is not None
        return self.holds(test.holds, last)

    def change(self, test: Related, rows: list[Row]) -> bool:
        assert test.within is not None
        border = self.now - test.within
        measure = (lambda row: 1) if test.of is None else (lambda row: self.of(test, row) or 0)
        recent = sum(measure(row) for row in rows if self.natural(test, row) > border)
        before = sum(measure(row) for row in rows if self.natural(test, row) <= border)
        return before > 0 and self.bounds((recent - before) * 100.0 / before, test)


def utc(text: str) -> datetime:
    """An ISO moment in UTC."""
    return datetime.fromisoformat(text).astimezone(UTC)
