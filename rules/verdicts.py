"""Why a rule holds for a subject or not: every condition and every part of it as a labelled column, with its values.

The columns come from the compiler that :func:`rules.evaluate.matching` uses, part by part: there is no second reading
of a condition. :func:`verdicts` is the statement, :func:`told` asks it and puts the columns back into their tree.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import count
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, case, false, func, select, true

from rules.comparisons import day_of, other
from rules.compiler import Compiler
from rules.conditions import Compare, Condition, Group, Path, Related
from rules.facts import Kind
from rules.loader import Rule
from rules.scope import Clock, Scope
from rules.values import Moment

ROWS = ("rows", "oldest", "newest", "recent", "before")
"""What is told of the related rows beside the number found: how many, their times, and both windows of a change."""


@dataclass(frozen=True)
class Part:
    """A named condition, a member of a group, or a leaf. ``number`` names its columns, ``name`` is the whole's."""

    number: int
    name: str
    test: Condition
    members: tuple["Part", ...] = ()


@dataclass(frozen=True)
class Verdict:
    """Whether one part holds for one subject, and the actual values.

    ``found`` is the fact's value (a moment, a day, a number; of money its minor units, with ``currency``) or the number
    that a relation test found. ``others`` and ``days`` are what it is compared with where that is another fact or a
    calendar word, in the order of the values. ``rows``, ``oldest`` and ``newest`` are about the related rows that
    count; ``recent`` and ``before`` are the two sums of a change. ``changed_at``: when the fact's row last changed.
    """

    part: Part
    holds: bool
    found: Any = None
    currency: str | None = None
    others: tuple[Any, ...] = ()
    days: tuple[date | None, ...] = ()
    rows: int | None = None
    oldest: datetime | None = None
    newest: datetime | None = None
    recent: Any = None
    before: Any = None
    changed_at: datetime | None = None
    members: tuple["Verdict", ...] = ()


@dataclass(frozen=True)
class Told:
    """All verdicts about one subject. ``there`` is False where its row had not come to be by then.

    ``holds`` is what the rule says of it: each condition holds, and no exception does.
    """

    subject_id: int
    customer_id: int | None
    there: bool
    zone: str
    conditions: tuple[Verdict, ...]
    exceptions: tuple[Verdict, ...] = field(default=())

    @property
    def holds(self) -> bool:
        """Whether the rule matches this subject."""
        return self.there and not self.failing

    @property
    def failing(self) -> list[Verdict]:
        """The conditions that do not hold, and the exceptions that do."""
        return [v for v in self.conditions if not v.holds] + [v for v in self.exceptions if v.holds]


def parts_of(rule: Rule) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
    """The rule's conditions and exceptions as parts, numbered in the order in which they are compiled."""
    numbers = count()
    conditions = tuple(_part(name, test, numbers) for name, test in rule.conditions.items())
    return conditions, tuple(_part(name, test, numbers) for name, test in rule.exceptions.items())


def _part(name: str, test: Condition, numbers: Iterator[int]) -> Part:
    number = next(numbers)
    members = test.members if isinstance(test, Group) else ()
    return Part(number, name, test, tuple(_part(name, member, numbers) for member in members))


class _Teller(Compiler):
    """Compiles as the compiler does, and keeps the column of each part on the way."""

    def __init__(self, scope: Scope, numbers: Iterator[int]) -> None:
        super().__init__(scope, told=True)
        self.numbers = numbers
        self.columns: list[ColumnElement[Any]] = []

    def condition(self, test: Condition, *, required: bool = False, facts: bool = False) -> ColumnElement[bool]:
        number = next(self.numbers)
        holds = super().condition(test)
        values = self._compared(test) if isinstance(test, Compare) else {}
        if isinstance(test, Related):
            derived = self.scope.attached[-1].derived
            values = {name: derived.c[name] for name in ("found", *ROWS) if name in derived.c}
        self.columns.append(func.coalesce(holds, false()).label(f"holds_{number}"))
        self.columns += [column.label(f"{name}_{number}") for name, column in values.items()]
        return holds

    def _compared(self, test: Compare) -> dict[str, ColumnElement[Any]]:
        fact, scope = test.path.fact, self.scope
        if fact is None:
            return {}
        table, column, happened = scope.reach(test.path.relations), scope.fact(test.path, fact), None
        happened = scope.happened(test.path, fact)
        values: dict[str, ColumnElement[Any]] = {"found": column if happened is None else case((happened, column))}
        if fact.kind is Kind.MONEY:
            values["currency"] = table.c.currency
        if "changed_at" in table.c:
            values["changed_at"] = table.c.changed_at
        for place, value in enumerate(_values(test)):
            if isinstance(value, Path):
                values[f"other{place}"] = other(value, scope)[0]
            elif isinstance(value, Moment) and (value.is_day or fact.kind is Kind.DAY):
                values[f"day{place}"] = day_of(value, scope)
        return values


def _values(test: Compare) -> list[Any]:
    return test.value if isinstance(test.value, list) else [test.value]


def verdicts(rule: Rule, *, now: datetime, zone: str, only: Select[Any]) -> Select[Any]:
    """One row for each subject in ``only`` (one column of ids): its verdicts and values as columns.

    Columns: ``subject_id``, ``customer_id``, ``there`` (its row had come to be by ``now``), ``zone``, and for each part
    of :func:`parts_of` by its number ``holds_N``, ``found_N`` and the other values of :class:`Verdict`.
    """
    scope = Scope(rule.subject, rule.parser.subjects, Clock(now, zone, rule.rates), only=only)
    teller = _Teller(scope, count())
    for condition in (*rule.conditions.values(), *rule.exceptions.values()):
        teller.condition(condition)
    born = scope.born()
    customer = scope.id if rule.subject.name == "customer" else scope.table.c.customer_id
    head = [scope.id.label("subject_id"), customer.label("customer_id")]
    head += [(true() if born is None else born).label("there"), scope.zone().label("zone")]
    return select(*head, *teller.columns).select_from(scope.source()).where(scope.id.in_(only)).order_by(scope.id)


def told(connection: Connection, rule: Rule, *, now: datetime, zone: str, only: Select[Any]) -> list[Told]:
    """The verdicts about the subjects in ``only``, in the order of their ids; those that are not there are left out."""
    conditions, exceptions = parts_of(rule)
    rows = connection.execute(verdicts(rule, now=now, zone=zone, only=only))
    return [_told(row, conditions, exceptions) for row in rows]


def _told(row: Row[Any], conditions: tuple[Part, ...], exceptions: tuple[Part, ...]) -> Told:
    values = row._mapping
    return Told(
        row.subject_id,
        row.customer_id,
        bool(row.there),
        row.zone,
        tuple(_verdict(part, values) for part in conditions),
        tuple(_verdict(part, values) for part in exceptions),
    )


def _verdict(part: Part, row: Any) -> Verdict:
    def value(name: str) -> Any:
        return row.get(f"{name}_{part.number}")

    width = len(_values(part.test)) if isinstance(part.test, Compare) else 0
    return Verdict(
        part,
        bool(value("holds")),
        value("found"),
        value("currency"),
        tuple(value(f"other{place}") for place in range(width)),
        tuple(value(f"day{place}") for place in range(width)),
        **{name: value(name) for name in (*ROWS, "changed_at")},
        members=tuple(_verdict(member, row) for member in part.members),
    )
