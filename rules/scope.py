"""Where a condition stands in SQL: a subject's table, the tables joined to it, and the clock."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Date,
    FromClause,
    Select,
    Subquery,
    and_,
    bindparam,
    case,
    func,
    literal,
    or_,
    true,
)
from sqlalchemy.sql.selectable import NamedFromClause
from sqlalchemy.types import TypeEngine

import models
from models.types import UTCDateTime, local_day
from rules.attribute_sql import attribute
from rules.conditions import Condition, Path
from rules.facts import Fact, Kind, Relation, Subject
from rules.rates import Rates

KNOWN_FROM = {"score": "answered_at", "comment": "answered_at", "satisfaction": "closed_at", "outcome": "ended_at"}
"""Facts that nobody knew before a moment of the same row: as of an earlier moment they are missing."""

BORN = {"call": "started_at", "survey": "asked_at", "payment": ""}
"""Where a row comes to be at another moment than the one that dates it; empty: it has no such moment."""


def born_at(subject: Subject) -> str:
    """The column that holds when a subject's row came to be; empty where it has no such moment."""
    return BORN.get(subject.name, subject.natural)


def way_to_customer(subject: Subject, subjects: Mapping[str, Subject]) -> tuple[Relation, ...] | None:
    """The relations that lead from a subject to the customer behind it; None where there is none."""
    if subject.name == "customer":
        return ()
    if "customer" in subject.relations:
        return (subject.relations["customer"],)
    if "order" in subject.relations:
        return (subject.relations["order"], subjects["order"].relations["customer"])
    return None


Now = datetime | Callable[[], datetime]
"""A moment, or what gives it when it is asked for."""


@dataclass(frozen=True)
class Clock:
    """The moment the question is asked, the zone of customers whose own is not known, rates between currencies.

    ``now`` may be a function, asked anew whenever the statement runs: so one statement serves a whole replay.
    """

    now: Now
    zone: str
    rates: Rates | None = None

    @property
    def moment(self) -> ColumnElement[datetime]:
        """Now, bound."""
        return self.at(lambda now: now)

    def at(self, of: Callable[[datetime], datetime]) -> ColumnElement[datetime]:
        """Another moment, told from now, bound."""
        return self._bound(of, UTCDateTime())

    def day(self, of: Callable[[datetime], date]) -> ColumnElement[date]:
        """A calendar day, told from now, bound."""
        return self._bound(of, Date())

    def _bound(self, of: Callable[[datetime], Any], kind: TypeEngine[Any]) -> ColumnElement[Any]:
        now = self.now
        # Always asked for: a compiled statement that is kept knows once for all which values are to be asked for.
        tell = (lambda: of(now)) if isinstance(now, datetime) else (lambda: of(now()))
        return bindparam(None, callable_=tell, type_=kind, unique=True)


@dataclass
class Attached:
    """A derived table of a relation test, waiting to be joined: ``key`` None means the scope's own id."""

    derived: Subquery
    key: ColumnElement[Any] | None
    required: bool


@dataclass
class Scope:
    """One subject's table under an alias, with the one-to-one tables that its conditions reach, joined when used.

    ``this`` is the rule's own subject where this scope is a relation's. ``narrowing`` are conditions that the subject
    must meet anyway, so that a derived table that needs the subject itself need not look at all of them. ``only`` gives
    the ids (one column) that are asked about, if not all of them: derived tables keep to what hangs on these.
    """

    subject: Subject
    subjects: dict[str, Subject]
    clock: Clock
    this: "Scope | None" = None
    narrowing: tuple[Condition, ...] = ()
    only: Select[Any] | None = None
    joins: dict[tuple[str, ...], tuple[NamedFromClause, ColumnElement[bool]]] = field(default_factory=dict)
    attached: list[Attached] = field(default_factory=list)
    used: bool = False

    def __post_init__(self) -> None:
        self.table: NamedFromClause = models.Base.metadata.tables[self.subject.table].alias()

    @property
    def id(self) -> ColumnElement[int]:
        """The subject's own key."""
        return self.table.c.id

    def reach(self, relations: tuple[Relation, ...]) -> NamedFromClause:
        """The table at the end of a walk along one-to-one relations; joined if it is not yet."""
        self.used = True
        here: NamedFromClause = self.table
        walked: tuple[str, ...] = ()
        for relation in relations:
            walked += (relation.name,)
            if walked not in self.joins:
                there = models.Base.metadata.tables[self.subjects[relation.target].table].alias()
                self.joins[walked] = (there, here.c[relation.here] == there.c[relation.there])
            here = self.joins[walked][0]
        return here

    def anchor(self, relations: tuple[Relation, ...], link: Relation) -> ColumnElement[Any] | None:
        """The column that ``link``'s rows point at, without joining what need not be; None is the scope's own id."""
        if not relations:
            return None if link.here == "id" else self.table.c[link.here]
        last = relations[-1]
        if link.here == last.there:
            return self.reach(relations[:-1]).c[last.here]
        return self.reach(relations).c[link.here]

    def zone(self) -> ColumnElement[str]:
        """The zone of the customer behind the row."""
        way = way_to_customer(self.subject, self.subjects)
        default = literal(self.clock.zone)
        return default if way is None else func.coalesce(self.reach(way).c.time_zone, default)

    def today(self) -> ColumnElement[Any]:
        """The customer's today."""
        return local_day(self.clock.moment, self.zone())

    def fact(self, path: Path, fact: Fact) -> ColumnElement[Any]:
        """The value of a fact, as known at the clock's moment (happened moments are cut by :meth:`happened`)."""
        table = self.reach(path.relations)
        if fact.attribute:
            return attribute(table.c[fact.column], fact.attribute, fact.kind)
        if fact.day_of:
            return local_day(table.c[fact.day_of], self.zone())
        column: ColumnElement[Any] = table.c[fact.column]
        if fact.name in KNOWN_FROM and KNOWN_FROM[fact.name] in table.c:
            since = table.c[KNOWN_FROM[fact.name]]
            return case((or_(since.is_(None), since <= self.clock.moment), column))
        return column

    def happened(self, path: Path, fact: Fact) -> ColumnElement[bool] | None:
        """The condition that a happened moment lies not after now; None where the fact is no such moment."""
        if fact.planned or fact.kind not in (Kind.MOMENT, Kind.DAY) or (fact.kind is Kind.DAY and not fact.day_of):
            return None
        return self.reach(path.relations).c[fact.day_of or fact.column] <= self.clock.moment

    def born(self) -> ColumnElement[bool] | None:
        """The condition that the row was there at the clock's moment; None where it has no such moment."""
        name = born_at(self.subject)
        if not name:
            return None
        column = self.table.c[name]
        return or_(column.is_(None), column <= self.clock.moment)

    def source(self, *, dropped: Subquery | None = None) -> FromClause:
        """The FROM clause: the table, its joins, the attached derived tables. ``dropped`` takes the table's place."""
        source: FromClause = self.table if dropped is None else dropped
        own_id = self.id if dropped is None else dropped.c.key
        for there, on in self.joins.values():
            source = source.outerjoin(there, on)
        for test in sorted(self.attached, key=lambda each: not each.required):
            if test.derived is dropped:
                continue
            on = (own_id if test.key is None else test.key) == test.derived.c.key
            source = source.join(test.derived, on) if test.required else source.outerjoin(test.derived, on)
        return source

    def droppable(self) -> Subquery | None:
        """A required derived table that can stand for the subject's own, where nothing else of it is asked."""
        if self.used or self.subject.name != "customer":
            return None
        return next((test.derived for test in self.attached if test.required and test.key is None), None)


def both(*conditions: ColumnElement[bool] | None) -> ColumnElement[bool]:
    """AND of those that are given."""
    given = [condition for condition in conditions if condition is not None]
    return and_(true(), *given) if not given else and_(*given)
