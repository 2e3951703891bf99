"""What can be wrong with a rule file, each with its place, all at once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches


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


class RuleErrors(Exception):
    """A rule set was refused. ``problems`` holds everything that is wrong, in the order of the files."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: Sequence[Problem] = tuple(sorted(problems))
        super().__init__("\n".join(map(str, self.problems)))


def closest(word: str, known: Iterable[str]) -> str:
    """The known word most like ``word``, or an empty string."""
    return next(iter(get_close_matches(word, list(known), n=1, cutoff=0.6)), "")


def listing(words: Iterable[str], limit: int = 12) -> str:
    """Words for an ``expected`` clause: ``a, b or c``; a long list is cut."""
    known = list(words)
    if len(known) > limit:
        return ", ".join(known[:limit]) + " ..."
    return " or ".join([", ".join(known[:-1]), known[-1]]) if len(known) > 1 else "".join(known)
