"""Whether conditions can hold at all, or can fail at all, found without any data.

A condition becomes the ways in which it may hold (a disjunction of conjunctions of :class:`rules.atoms.Atom`); it is
impossible where each way contradicts itself, and always true where the same is so of its contrary. Where something is
not known, or would take too many ways, it is taken to be possible: what is said here is certain.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from typing import Any

from rules.atoms import ANY, Atom, Conjunction, Key, Source, Ways, asked, compared, flat, numbered, timed, walked
from rules.conditions import Compare, Condition, Group, Path, Related
from rules.facts import Fact, Kind
from rules.points import NOW, Point, instant, number, seconds
from rules.scope import BORN

MOST_WAYS = 64
"""So many ways are looked at; of what has more, one part is taken to be possible."""


Memo = dict[tuple[int, bool], Ways]
"""Ways that were worked out before, by the condition's identity: those of one rule, while it is looked at."""


def ways(test: Condition, name: str = "", *, holds: bool = True, memo: Memo | None = None) -> Ways:
    """The ways in which a condition holds, or (``holds`` False) in which it does not; never too few."""
    if memo is None:
        memo = {}
    key = (id(test), holds)
    if key not in memo:
        memo[key] = _ways(test, name, memo, holds=holds)
    return memo[key]


def _ways(test: Condition, name: str, memo: Memo, *, holds: bool) -> Ways:
    if isinstance(test, Group):
        together = (test.how == "all") == holds
        turned = holds if test.how != "none" else not holds
        if test.how == "none":
            together = holds
        found = [ways(member, name, holds=turned, memo=memo) for member in test.members]
        return product(found) if together else _either(found)
    if isinstance(test, Compare):
        return _compare(test, name, holds=holds)
    return _related(test, name, memo, holds=holds)


def product(parts: Iterable[Ways]) -> Ways:
    """The ways in which all of these hold."""
    made: Ways = [()]
    for part in parts:
        if len(made) * len(part) <= MOST_WAYS:
            made = [one + other for one in made for other in part]
    return made


def _either(parts: list[Ways]) -> Ways:
    joined = list(chain.from_iterable(parts))
    return joined if len(joined) <= MOST_WAYS and all(part != ANY for part in parts) else ANY


def contrary(positive: Ways) -> Ways:
    """The ways in which none of these ways is gone: of each, one piece fails."""
    return product([[(atom.turned(),) for atom in way] for way in positive])


# -- facts -----------------------------------------------------------------------------------------------------


def _compare(test: Compare, name: str, *, holds: bool) -> Ways:
    fact = test.path.fact
    if fact is None or any(relation.many for relation in test.path.relations):
        return ANY
    key = walked(test.path)
    source = Source(f"'{test.path.text}'", asked(test.operator, test.value), test.at, name)
    there, gone = (Atom(key, kind, replace(source, said=kind)) for kind in ("present", "missing"))
    if test.operator in ("missing", "present"):
        return [(there, *_known(fact, key))] if (test.operator == "present") is holds else [(gone,)]
    found = compared(test, key, source)
    if test.operator in ("is_not", "not_in"):
        if fact.kind in (Kind.MOMENT, Kind.DAY) or found == ANY:
            return [(_itself(test, source, holds=holds),)]
        return found if holds else [(there, *(atom.turned() for atom in way)) for way in found]
    others = tuple(_others(test.value, source))
    there = replace(there, source=source)
    itself = _itself(test, source, holds=holds)
    if holds:
        return [(itself, there, *_known(fact, key), *others, *way) for way in found]
    if found == ANY or fact.kind is Kind.MONEY or others:
        return [(itself,)]
    return [(gone,), *((there, *_known(fact, key), *way) for way in contrary(found))]


def _known(fact: Fact, key: Key) -> Iterator[Atom]:
    """What has happened is known once it has: never later than now."""
    if fact.planned or fact.kind not in (Kind.MOMENT, Kind.DAY) or (fact.kind is Kind.DAY and not fact.day_of):
        return
    point = instant(NOW)
    because = "it is known only once it has happened"
    yield Atom(key, "high", Source(f"'{fact.name}'", "", because=because), point)


def _others(value: Any, source: Source) -> Iterator[Atom]:
    """What is compared with another fact needs that fact to be there."""
    for member in value if isinstance(value, list) else [value]:
        if isinstance(member, Path) and member.fact is not None:
            yield Atom(walked(member), "present", Source(f"'{member.text}'", "present", source.at, source.name))


# -- relations -------------------------------------------------------------------------------------------------


def _related(test: Related, name: str, memo: Memo, *, holds: bool) -> Ways:
    rows, label = _rows(test), f"'{test.path.text}'"
    count: Key = ("count", rows)
    inside = _inside(test, name, memo)
    always = [*_counted(count, label), *([] if inside is None else [Atom(count, "high", inside, number(0))])]
    some = Atom(count, "low", Source(label, "some", test.at, name), number(1))
    if test.aggregate in ("any", "none"):
        none = Atom(count, "high", Source(label, "none", test.at, name), number(0))
        return [((some if (test.aggregate == "any") is holds else none), *always)]
    itself = _itself(test, Source(label, f"as the {test.aggregate} asks", test.at, name), holds=holds)
    if test.aggregate != "count":
        return _measured(test, name, rows, (some, *always, itself)) if holds else [(itself,)]
    bounds = [
        atom
        for op, value in test.bounds
        for atom in numbered(op, value, count, _bound_source(test, op, value, name), whole=True)
    ]
    if holds:
        return [(*bounds, *always, itself)]
    if not bounds or any(op == "is_not" for op, _ in test.bounds):
        return [(itself,)]
    return [(*way, *always, itself) for way in contrary([tuple(bounds)])]


def _itself(test: Condition, source: Source, *, holds: bool) -> Atom:
    """That the very same condition does not hold and fail at once, whatever it is about."""
    said = source.said if holds else f"not {source.said}"
    key: Key = ("said", _canonical(test))
    return Atom(key, "present" if holds else "missing", replace(source, said=said))


def _measured(test: Related, name: str, rows: Key, there: Conjunction) -> Ways:
    """What is made of rows: their sum, average, least, greatest, change, or the latest of them."""
    if test.aggregate == "latest":
        return [there]
    needed = there if test.aggregate in ("average", "min", "max") else there[-1:]
    key: Key = (test.aggregate, test.of.name if test.of else "", rows)
    found: list[Ways] = []
    for op, value in test.bounds:
        source = _bound_source(test, op, value, name)
        if test.of is not None and test.of.kind in (Kind.MOMENT, Kind.DAY):
            found.append(timed(op, value, test.of.kind, key, source))
        else:
            found.append([tuple(numbered(op, value, key, source))])
    if test.aggregate == "change" and test.of is None:
        least = Source(f"'{test.path.text}'", "", because="a number cannot shrink by more than 100%")
        found.append([(Atom(key, "low", least, number(-100)),)])
    return product([[needed], *found])


def _bound_source(test: Related, op: str, value: Any, name: str) -> Source:
    what = "the count" if test.aggregate == "count" else f"the {test.aggregate}"
    of = f" of {test.of.name}" if test.of is not None else ""
    return Source(f"{what}{of} of '{test.path.text}'", asked(op, value), test.at, name)


def _counted(count: Key, label: str) -> Iterator[Atom]:
    yield Atom(count, "low", Source(f"the count of {label}", "", because="a count is never less than 0"), number(0))


def _inside(test: Related, name: str, memo: Memo) -> Source | None:
    """Why no row can be meant at all; None where one may be."""
    parts = [part for part in (test.where, test.holds) if part is not None]
    if test.aggregate == "change":
        parts = [test.where] if test.where is not None else []
    found = product([*(ways(part, name, memo=memo) for part in parts), [tuple(_dated(test, name))]])
    clash = impossible(found)
    if clash is None:
        return None
    return Source(f"'{test.path.text}'", "", clash.at, name, instead=clash.said)


def _dated(test: Related, name: str) -> Iterator[Atom]:
    """What ``within``, ``within_next`` and ``since`` ask of the moment that dates a row."""
    subject = test.path.subject
    if not subject.natural or test.aggregate == "change":
        return
    key: Key = (False, subject.natural)
    label = f"'{subject.natural}'"
    for op, value in (("within", test.within), ("within_next", test.within_next), ("since", test.since)):
        if value is None:
            continue
        source = Source(label, asked(op, value), test.at, name)
        if op != "within_next":
            yield Atom(key, "present", source)
        yield from chain.from_iterable(timed(op, value, Kind.MOMENT, key, source))


def _rows(test: Related) -> Key:
    """What names a set of related rows: the walk, the window, and all that its rows must meet."""
    held = [*flat(test.where), *(flat(test.holds) if test.aggregate in ("any", "none") else ())]
    window = (test.within, test.within_next, _canonical(test.since))
    walk = (test.path.from_this, *(relation.name for relation in test.path.relations))
    return (walk, window, frozenset(map(_canonical, held)), test.path.subject.name)


def _canonical(test: Any) -> Any:
    """The same for conditions that say the same in the same words."""
    if isinstance(test, Group):
        return (test.how, frozenset(_canonical(member) for member in test.members))
    if isinstance(test, Compare):
        return (walked(test.path), test.path.fact and test.path.fact.name, test.operator, _canonical(test.value))
    if isinstance(test, Related):
        bounds = tuple((op, _canonical(value)) for op, value in test.bounds)
        holds = None if test.holds is None else _canonical(test.holds)
        return (test.aggregate, test.of.name if test.of else "", bounds, holds, _rows(test))
    if isinstance(test, list):
        return tuple(map(_canonical, test))
    if isinstance(test, Path):
        return ("path", walked(test), test.fact and test.fact.name)
    return test


def _within(small: Key, large: Key) -> bool:
    """Whether each row of one set is a row of the other too."""
    if small[0] != large[0] or small[3] != large[3] or not small[2] >= large[2]:
        return False
    (within, ahead_, since), (outer, outer_ahead, outer_since) = small[1], large[1]
    if (ahead_, since) != (outer_ahead, outer_since):
        # Rows that are dated are there by now, but for those whose row comes to be at another moment.
        return (outer, outer_ahead, outer_since) == (None,) * 3 and ahead_ is None and small[3] not in BORN
    if within == outer:
        return True
    if outer is None:
        return outer_since is None and small[3] not in BORN
    return within is not None and seconds(within)[1] <= seconds(outer)[0]


# -- contradictions --------------------------------------------------------------------------------------------


class Clash:
    """Why it cannot be: two pieces that contradict one another, said in words, at the place of the later one."""

    def __init__(self, first: Atom, second: Atom | None = None) -> None:
        sources = [first.source, *([second.source] if second else [])]
        told = [source for source in sources if source.said]
        self.names = list(dict.fromkeys(source.name for source in told if source.name))
        inner = next((source for source in sources if source.instead), None)
        self.at = inner.at if inner else max(source.at for source in told or sources)
        because = next((source.because for source in sources if source.because), "")
        said = " and ".join(dict.fromkeys(source.said for source in told))
        label = next((source.label for source in told), sources[0].label)
        self.said = inner.instead if inner else f"{label} can never be {said}"
        if because:
            self.said += f": {because}"


def impossible(found: Ways) -> Clash | None:
    """Why none of the ways can be; None where one may."""
    first: Clash | None = None
    for way in found:
        clash = contradiction(way)
        if clash is None:
            return None
        first = first or clash
    return first


def contradiction(way: Conjunction) -> Clash | None:
    """Two pieces of a conjunction that cannot both hold, or None."""
    by_key: dict[Key, list[Atom]] = {}
    for atom in way:
        by_key.setdefault(atom.key, []).append(atom)
    for atoms in by_key.values():
        clash = of_one(atoms)
        if clash is not None:
            return clash
    return of_sets({key: atoms for key, atoms in by_key.items() if key[0] == "count"})


def of_one(atoms: list[Atom]) -> Clash | None:
    """Two pieces about the same value that cannot both hold, or None."""
    kinds: dict[str, list[Atom]] = {}
    for atom in atoms:
        kinds.setdefault(atom.kind, []).append(atom)
    if "missing" in kinds and "present" in kinds:
        return Clash(kinds["present"][0], kinds["missing"][0])
    lows, highs = kinds.get("low", []), kinds.get("high", [])
    for low in lows:
        for high in highs:
            if _crossed(low, high):
                return Clash(low, high)
    return _of_values(kinds, lows + highs)


def _crossed(low: Atom, high: Atom) -> bool:
    bottom, top = low.value, high.value
    return bottom.surely_after(top) or ((low.strict or high.strict) and bottom.is_same(top))


def _of_values(kinds: dict[str, list[Atom]], bounds: list[Atom]) -> Clash | None:
    """Whether one of the values that are left is let through by everything else."""
    likes = kinds.get("like", [])
    for like in likes:
        for unlike in kinds.get("unlike", []):
            if like.value == unlike.value:
                return Clash(like, unlike)
        for other in likes:
            starts = like.value[0] == other.value[0] == "starts_with"
            if starts and not (like.value[1].startswith(other.value[1]) or other.value[1].startswith(like.value[1])):
                return Clash(like, other)
    among = kinds.get("among", [])
    for first in among:
        others = [*among, *kinds.get("not_among", []), *likes, *kinds.get("unlike", []), *bounds]
        left = set(first.value)
        for other in others:
            left = {value for value in left if _lets(other, value)}
            if not left:
                return Clash(first, other)
    return None


def _lets(atom: Atom, value: Any) -> bool:
    """Whether a piece lets a known value through."""
    if atom.kind in ("among", "not_among"):
        return (value in atom.value) is (atom.kind == "among")
    if atom.kind in ("like", "unlike"):
        op, text = atom.value
        return (text in value if op == "contains" else value.startswith(text)) is (atom.kind == "like")
    if not isinstance(atom.value, Point) or isinstance(value, bool | str):
        return True
    exactly = Atom(atom.key, "high" if atom.kind == "low" else "low", atom.source, number(value))
    return not _crossed(*((atom, exactly) if atom.kind == "low" else (exactly, atom)))


def of_sets(counts: dict[Key, list[Atom]]) -> Clash | None:
    """A set of rows that is smaller than a part of it, or None."""
    for small, lows in counts.items():
        for large, highs in counts.items():
            if small == large or not _within(small[1], large[1]):
                continue
            for low in (atom for atom in lows if atom.kind == "low"):
                for high in (atom for atom in highs if atom.kind == "high"):
                    if _crossed(low, high):
                        return Clash(low, high)
    return None
