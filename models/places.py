"""Where things stand in a file, and what is said of them: the words behind rule files, mapping files and issues."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

Place = tuple[int, int]
"""Line and column in a file, from 1."""

MOST = 100
"""Problems that are told of one file; who has more has one cause, and looks again."""
LONGEST_WORD = 60
"""Characters of somebody's word that are shown, and compared with known words."""


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong: where, what, what was expected, and what was perhaps meant. Lines and columns from 1."""

    path: str
    line: int
    column: int
    said: str
    expected: str = ""
    meant: str = ""
    warning: bool = False

    def __str__(self) -> str:
        """``file:line:column: sentence; expected ...; did you mean ...?``."""
        parts = [f"{self.path}:{self.line}:{self.column}: {'warning: ' if self.warning else ''}{self.said}"]
        if self.expected:
            parts.append(f"expected {self.expected}")
        if self.meant:
            parts.append(f"did you mean {self.meant}?")
        return "; ".join(parts)


class Refused(Exception):
    """Files were refused. ``problems`` holds everything that is wrong, in the order of the files."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: Sequence[Problem] = tuple(sorted(set(problems)))
        super().__init__("\n".join(map(str, self.problems)))


@dataclass(frozen=True, eq=False)
class Node:
    """A value and its place. ``value`` is a dict of Nodes, a list of Nodes, or a scalar; ``plain``: not in quotes."""

    value: Any
    line: int
    column: int
    plain: bool = False
    keys: dict[str, "Node"] = field(default_factory=dict)

    @property
    def place(self) -> Place:
        """Line and column, from 1."""
        return self.line, self.column

    @property
    def is_map(self) -> bool:
        """Whether this is a mapping."""
        return isinstance(self.value, dict)

    @property
    def is_list(self) -> bool:
        """Whether this is a list."""
        return isinstance(self.value, list)

    def items(self) -> Iterator[tuple[str, "Node"]]:
        """The entries of a mapping; none for anything else."""
        yield from self.value.items() if self.is_map else ()

    def get(self, key: str) -> "Node | None":
        """One entry of a mapping, or None."""
        return self.value.get(key) if self.is_map else None

    def plainly(self) -> Any:
        """The same without places: dicts, lists and scalars."""
        if self.is_map:
            return {key: node.plainly() for key, node in self.value.items()}
        if self.is_list:
            return [node.plainly() for node in self.value]
        return self.value


class Complaints:
    """Gathers what is wrong with one file."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.problems: list[Problem] = []

    def add(self, at: Node, said: str, *, expected: str = "", meant: str = "", warning: bool = False) -> None:
        """Note a problem at a node's place; beyond MOST of them only that there are more."""
        if len(self.problems) < MOST:
            self.problems.append(Problem(self.path, at.line, at.column, said, expected, meant, warning))
        elif len(self.problems) == MOST:
            self.problems.append(Problem(self.path, at.line, at.column, "and more that is wrong from here on"))

    @property
    def full(self) -> bool:
        """Whether there are so many problems that no more are told, and no hint need be looked for."""
        return len(self.problems) > MOST

    def unknown(self, at: Node, kind: str, word: str, known: Iterable[str]) -> None:
        """Note an unknown word, with what is known and what was perhaps meant."""
        if self.full:
            return
        words = list(known)
        self.add(at, f"unknown {kind} '{cut(word)}'", expected=listing(words), meant=closest(word, words))

    @property
    def errors(self) -> list[Problem]:
        """The problems that are not mere warnings."""
        return [problem for problem in self.problems if not problem.warning]


def cut(word: str) -> str:
    """A word of somebody's as it is shown: not longer than LONGEST_WORD."""
    return word if len(word) <= LONGEST_WORD else word[: LONGEST_WORD - 1] + "…"


def closest(word: str, known: Iterable[str]) -> str:
    """The known word most like ``word``, or an empty string."""
    if len(word) > LONGEST_WORD:
        return ""
    return next(iter(get_close_matches(word, list(known), n=1, cutoff=0.6)), "")


def listing(words: Iterable[str], limit: int = 12) -> str:
    """Words for an ``expected`` clause: ``a, b or c``; a long list is cut."""
    known = list(words)
    if len(known) > limit:
        return ", ".join(known[:limit]) + " ..."
    return " or ".join([", ".join(known[:-1]), known[-1]]) if len(known) > 1 else "".join(known)
