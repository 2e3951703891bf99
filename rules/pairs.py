"""Two rules beside one another: whether they exclude one another, or one finds whatever the other finds.

Each rule is worked out once, so that thousands of pairs take no time worth speaking of.
"""

from dataclasses import dataclass

from rules.atoms import Atom, Conjunction, Key, Ways
from rules.constraints import Memo, of_one, of_sets, product, ways
from rules.loader import Rule

FEW = 8
"""Ways that are held against those of another rule; what has more is taken to be possible."""


@dataclass(frozen=True, eq=False)
class _Way:
    """The pieces of one way by the number of their key, and the counts of related rows among them by key."""

    atoms: dict[int, list[Atom]]
    counts: dict[Key, list[Atom]]


@dataclass(frozen=True, eq=False)
class Finding:
    """How a rule may find a subject, and for each of its conditions how it may miss one."""

    finds: list[_Way]
    misses: list[list[_Way]]


class Findings:
    """Works rules out, with the same number for the same key in all of them."""

    def __init__(self) -> None:
        self._numbers: dict[Key, int] = {}

    def of(self, rule: Rule) -> Finding:
        """One rule, to be held against others."""
        memo: Memo = {}
        kept, spared = [*rule.conditions.values()], [*rule.exceptions.values()]
        finds = product([*(ways(c, memo=memo) for c in kept), *(ways(c, holds=False, memo=memo) for c in spared)])
        misses = [*(ways(c, holds=False, memo=memo) for c in kept), *(ways(c, memo=memo) for c in spared)]
        return Finding(self._several(finds), [self._several(each) for each in misses])

    def _several(self, found: Ways) -> list[_Way]:
        return [self._one(way) for way in found] if len(found) <= FEW else [_Way({}, {})]

    def _one(self, way: Conjunction) -> _Way:
        atoms: dict[int, list[Atom]] = {}
        counts: dict[Key, list[Atom]] = {}
        for atom in way:
            atoms.setdefault(self._numbers.setdefault(atom.key, len(self._numbers)), []).append(atom)
            if atom.key[0] == "count":
                counts.setdefault(atom.key, []).append(atom)
        return _Way(atoms, counts)


def disjoint(one: Finding, other: Finding) -> bool:
    """Whether two rules about the same kind of subject can never find the same one at the same moment."""
    return _never(one.finds, other.finds)


def implies(one: Finding, other: Finding) -> bool:
    """Whether whatever one rule finds is surely found by the other too."""
    return all(_never(one.finds, missed) for missed in other.misses)


def _never(some: list[_Way], others: list[_Way]) -> bool:
    return all(_clash(first, second) for first in some for second in others)


def _clash(first: _Way, second: _Way) -> bool:
    """Whether two ways, each possible in itself, contradict one another."""
    for number in first.atoms.keys() & second.atoms.keys():
        if of_one(first.atoms[number] + second.atoms[number]) is not None:
            return True
    if not first.counts or not second.counts:
        return False
    keys = {**first.counts, **second.counts}
    return of_sets({key: first.counts.get(key, []) + second.counts.get(key, []) for key in keys}) is not None
