"""Reads from conditions which stored moments are compared with which expressions of now.

A condition can only change its verdict when one of these pairs changes sides: that is all a replay needs to know in
order to look again at the right subjects. It decides nothing itself; the verdict is always asked of the compiler.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dateutil.relativedelta import relativedelta

from beforehand.backtest.hands import NOW, DayThen, Hand, Instant, against_day, against_moment
from rules.conditions import Compare, Condition, Group, Path, Related
from rules.facts import Fact, Kind, Relation, Subject
from rules.loader import Rule
from rules.scope import KNOWN_FROM, born_at, way_to_customer
from rules.values import Moment

Way = tuple[Relation, ...]


@dataclass(frozen=True)
class Pair:
    """A column at the end of ``way`` (from the rule's subject) and the expression of now it is compared with.

    ``as_day``: the column is a moment that is compared as a day. ``zone_way`` leads to the customer whose calendar
    counts, None where there is none and the default zone does.
    """

    way: Way
    column: str
    hand: Hand
    as_day: bool = False
    zone_way: Way | None = None


@dataclass(frozen=True)
class Place:
    """Where a condition stands: the subject that it speaks of, and the way there from the rule's subject."""

    subject: Subject
    way: Way
    root: Subject


def pairs_of(rule: Rule) -> set[Pair]:
    """All pairs of a rule's conditions and exceptions, and of the subject's own coming to be."""
    reader = _Reader(rule.parser.subjects)
    place = Place(rule.subject, (), rule.subject)
    found = set(reader.born(place))
    for condition in [*rule.conditions.values(), *rule.exceptions.values()]:
        found.update(reader.condition(condition, place))
    return found


class _Reader:
    def __init__(self, subjects: dict[str, Subject]) -> None:
        self.subjects = subjects

    def born(self, place: Place) -> Iterator[Pair]:
        name = born_at(place.subject)
        if name:
            yield Pair(place.way, name, NOW)

    def condition(self, test: Condition, place: Place) -> Iterator[Pair]:
        if isinstance(test, Group):
            for member in test.members:
                yield from self.condition(member, place)
        elif isinstance(test, Related):
            yield from self._related(test, place)
        else:
            yield from self._compare(test, place)

    def _compare(self, test: Compare, place: Place) -> Iterator[Pair]:
        fact = test.path.fact
        assert fact is not None
        yield from self._known(test.path, place)
        if test.operator not in ("missing", "present"):
            for value in test.value if isinstance(test.value, list) else [test.value]:
                yield from self._against(test.path, fact, test.operator, value, place)

    def _known(self, path: Path, place: Place) -> Iterator[Pair]:
        """From when on a fact is known at all."""
        fact, at = path.fact, _seen(path, place)
        assert fact is not None
        way = at.way + path.relations
        if fact.name in KNOWN_FROM:
            yield Pair(way, KNOWN_FROM[fact.name], NOW)
        if fact.kind is Kind.MOMENT and not fact.attribute and not fact.planned:
            yield Pair(way, fact.column, NOW)
        if fact.kind is Kind.DAY and fact.day_of:
            yield Pair(way, fact.day_of, NOW)

    def _against(self, path: Path, fact: Fact, operator: str, value: Any, place: Place) -> Iterator[Pair]:
        if isinstance(value, Path):
            yield from self._known(value, place)
            return
        hands = _hands(fact.kind, operator, value)
        if fact.attribute and hands:
            raise NotImplementedError(f"{path.text} is an attribute, whose time is worked out row by row")
        at = _seen(path, place)
        zone = self._zone(at)
        for hand in hands:
            zoned = None if isinstance(hand, Instant) else zone
            yield Pair(at.way + path.relations, fact.day_of or fact.column, hand, bool(fact.day_of), zoned)

    def _zone(self, place: Place) -> Way | None:
        on = way_to_customer(place.subject, self.subjects)
        return None if on is None else place.way + on

    def _related(self, test: Related, place: Place) -> Iterator[Pair]:
        start = _seen(test.path, place)
        way = start.way
        for relation in test.path.relations:
            way += (relation,)
            yield from self.born(Place(self.subjects[relation.target], way, place.root))
        there = Place(test.path.subject, way, place.root)
        yield from self._window(test, there)
        if test.since is not None:
            natural = there.subject.facts[there.subject.natural]
            as_path = Path((), natural, there.subject, there.subject)
            yield from self._compare(Compare(as_path, "since", test.since), there)
        for inner in (test.where, test.holds):
            if inner is not None:
                yield from self.condition(inner, there)
        if test.of is not None:
            yield from self._of(test, test.of, there, place)

    def _window(self, test: Related, there: Place) -> Iterator[Pair]:
        natural = there.subject.natural
        spans: list[relativedelta] = []
        if natural and test.aggregate == "latest":
            yield Pair(there.way, natural, NOW)
        if test.within is not None:
            spans += [-test.within] + ([-(test.within + test.within)] if test.aggregate == "change" else [])
        if test.within_next is not None:
            spans.append(test.within_next)
        for span in spans:
            yield Pair(there.way, natural, NOW)
            yield Pair(there.way, natural, Instant(span))

    def _of(self, test: Related, of: Fact, there: Place, place: Place) -> Iterator[Pair]:
        path = Path((), of, there.subject, there.subject)
        yield from self._known(path, there)
        for operator, bound in test.bounds:
            for value in bound if isinstance(bound, list) else [bound]:
                for hand in _hands(of.kind, operator, value):
                    zoned = None if isinstance(hand, Instant) else self._zone(place)
                    yield Pair(there.way, of.day_of or of.column, hand, bool(of.day_of), zoned)


def _seen(path: Path, place: Place) -> Place:
    """Where a path starts: ``this.`` at the rule's own subject."""
    return Place(place.root, (), place.root) if path.from_this else place


def _hands(kind: Kind, operator: str, value: Any) -> list[Hand]:
    if kind not in (Kind.MOMENT, Kind.DAY):
        return []
    if isinstance(value, relativedelta):
        span = -value if operator == "within" else value
        return [NOW, Instant(span)] if kind is Kind.MOMENT else [DayThen(), DayThen(span)]
    if not isinstance(value, Moment):
        raise NotImplementedError(f"'{operator}: {value}' is not known to change with time, or not to")
    return against_moment(value) if kind is Kind.MOMENT else against_day(value)
