"""What one condition asks of one value, as small pieces that can be held against one another without any data.

A *key* names the value: a fact behind a walk along relations, or what is made of related rows (their count, their sum).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil, floor
from typing import Any

from rules.conditions import Compare, Group, ListFile, Path
from rules.facts import Kind
from rules.points import NOW, TODAY, Point, ago, ahead, day, instant, number
from rules.reader import Place
from rules.saying import BOUND_WORDS, lasts_text, money_text, number_text
from rules.values import WEEKDAYS, Moment

Key = tuple[Any, ...]


@dataclass(frozen=True)
class Source:
    """Where a piece comes from: ``label`` is the value's name, ``said`` what is asked of it, in words.

    ``because`` is why, where the rule does not say so itself; ``instead`` is all that need be said.
    """

    label: str
    said: str
    at: Place = (1, 1)
    name: str = ""
    because: str = ""
    instead: str = ""


@dataclass(frozen=True)
class Atom:
    """One piece. ``kind``: present, missing, low, high, among, not_among, like, unlike.

    ``low`` and ``high`` hold a Point (``strict``: it itself is out), ``among`` a set, ``like`` an operator and a text.
    ``not_among`` and ``unlike`` hold for what is missing too; all others but ``missing`` go with ``present``.
    """

    key: Key
    kind: str
    source: Source
    value: Any = None
    strict: bool = False

    def turned(self) -> "Atom":
        """What holds where this does not, of a value that is present."""
        kind = _OPPOSITE[self.kind]
        source = replace(self.source, said=f"not {self.source.said}")
        return replace(self, kind=kind, strict=not self.strict if kind in ("low", "high") else False, source=source)


_OPPOSITE = {
    **{"present": "missing", "missing": "present", "low": "high", "high": "low"},
    **{"among": "not_among", "not_among": "among", "like": "unlike", "unlike": "like"},
}
Conjunction = tuple[Atom, ...]
Ways = list[Conjunction]
"""The ways in which a condition may hold: any of these, each of which is pieces that must all hold."""

ANY: Ways = [()]
"""Nothing is known of when it holds."""

_BEHIND = {
    **{"at_least": ("low", False), "more_than": ("low", True)},
    **{"at_most": ("high", False), "less_than": ("high", True)},
}


def compared(test: Compare, key: Key, source: Source) -> Ways:
    """The ways in which a comparison holds, presence aside."""
    fact = test.path.fact
    assert fact is not None
    if fact.kind in (Kind.MOMENT, Kind.DAY):
        return timed(test.operator, test.value, fact.kind, key, source)
    if isinstance(test.value, Path):
        there = Point(("fact", walked(test.value)), 0, 0)
        return [tuple(sized(test.operator, there, key, source))] if test.operator in _BEHIND else ANY
    if fact.kind is Kind.MONEY and test.operator in ("in", "is_not", "not_in"):
        return ANY
    if test.operator == "is" and fact.kind is Kind.MONEY:
        return [tuple(numbered("is", test.value, key, source))]
    if test.operator in ("is", "in"):
        return [(Atom(key, "among", source, members(test.value)),)]
    if test.operator in ("is_not", "not_in"):
        return [(Atom(key, "not_among", source, members(test.value)),)]
    if test.operator in ("contains", "starts_with"):
        return [(Atom(key, "like", source, (test.operator, test.value)),)]
    return [tuple(numbered(test.operator, test.value, key, source))]


def members(value: Any) -> frozenset[Any]:
    """The values of a list, a list file or a single value."""
    if isinstance(value, ListFile):
        return frozenset(value.values)
    return frozenset(value if isinstance(value, list) else [value])


def numbered(op: str, value: Any, key: Key, source: Source, *, whole: bool = False) -> Iterator[Atom]:
    """Bounds of a number or an amount. ``whole``: there are whole numbers only."""
    if op == "between":
        yield from numbered("at_least", value[0], key, source, whole=whole)
        yield from numbered("at_most", value[1], key, source, whole=whole)
    elif op == "is":
        yield from numbered("between", [value, value], key, source, whole=whole)
    elif op in _BEHIND:
        if whole:
            op, value = _rounded(op, value)
        yield from sized(op, number(value), key, source)


def _rounded(op: str, value: float) -> tuple[str, int]:
    match op:
        case "more_than":
            return "at_least", floor(value) + 1
        case "less_than":
            return "at_most", ceil(value) - 1
        case "at_least":
            return op, ceil(value)
    return op, floor(value)


def sized(op: str, point: Point, key: Key, source: Source) -> Iterator[Atom]:
    """The bound of one of the four orderings."""
    kind, strict = _BEHIND[op]
    yield Atom(key, kind, source, point, strict)


def timed(op: str, value: Any, kind: Kind, key: Key, source: Source) -> Ways:
    """The ways in which a moment, or a day, is before, after, since or at another."""
    if op == "in":
        return [way for member in value for way in timed("is", member, kind, key, source)]
    if op in ("within", "within_next"):
        return [tuple(_window(op, value, kind, key, source))]
    if op == "between":
        return [(*_timed("since", value[0], kind, key, source), *_timed("until", value[1], kind, key, source))]
    return [tuple(_timed(op, value, kind, key, source))] if op in _TIMED else ANY


_TIMED = {"before", "after", "since", "until", "is"}


def _window(op: str, lasts: Any, kind: Kind, key: Key, source: Source) -> Iterator[Atom]:
    back = op == "within"
    if kind is Kind.DAY:
        yield from _timed("since", ago(lasts) if back else TODAY, kind, key, source)
        yield from _timed("until", TODAY if back else ahead(lasts), kind, key, source)
    else:
        yield from _timed("after", ago(lasts) if back else NOW, kind, key, source)
        yield from _timed("until", NOW if back else ahead(lasts), kind, key, source)


def _timed(op: str, value: Any, kind: Kind, key: Key, source: Source) -> Iterator[Atom]:
    point = instant(value) if kind is Kind.MOMENT else None
    if point is None:
        here = day(value)
        if op in ("since", "is", "after"):
            yield Atom(key, "low", source, here.start(1 if op == "after" else 0))
        if op in ("before", "until", "is"):
            yield Atom(key, "high", source, here.start(0 if op == "before" else 1), strict=True)
        return
    if op in ("since", "is", "after"):
        yield Atom(key, "low", source, point, strict=op == "after")
    if op in ("before", "until", "is"):
        yield Atom(key, "high", source, point, strict=op == "before")


def walked(path: Path) -> Key:
    """What names a fact: where the walk begins, the relations along it, and the fact, a day by its moment."""
    assert path.fact is not None
    return (path.from_this, *(relation.name for relation in path.relations), path.fact.day_of or path.fact.name)


def asked(op: str, value: Any) -> str:
    """What a comparison asks, in words: ``before today``, ``at least 5``."""
    if op in ("missing", "present"):
        return op
    if op in ("within", "within_next"):
        return f"{'within' if op == 'within' else 'within the next'} {lasts_text(value)}"
    if isinstance(value, ListFile):
        return f"{BOUND_WORDS[op]}{value.name}"
    values = [_shown(member) for member in (value if isinstance(value, list) else [value])]
    joined = " and ".join(values) if op == "between" else ", ".join(values[:5]) + (" ..." if len(values) > 5 else "")
    return f"{BOUND_WORDS[op]}{joined}"


def _shown(value: Any) -> str:
    if isinstance(value, Path):
        return value.text
    if isinstance(value, Moment):
        return _moment(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return number_text(value)
    return f"'{value}'" if isinstance(value, str) else money_text(value.minor, value.currency).replace(".00 ", " ")


def _moment(value: Moment) -> str:
    if value.day is not None:
        return {0: "today", -1: "yesterday", 1: "tomorrow"}[value.day]
    if value.weekday is not None:
        return WEEKDAYS[value.weekday]
    if value.ago is not None:
        return f"{lasts_text(value.ago)} ago" if value.ago else "now"
    return f"in {lasts_text(value.ahead)}" if value.ahead is not None else str(value.on or value.at)


def flat(test: Any) -> Iterator[Any]:
    """The conditions that must all hold: groups of ``all`` unfolded."""
    if isinstance(test, Group) and test.how == "all":
        for member in test.members:
            yield from flat(member)
    elif test is not None:
        yield test
