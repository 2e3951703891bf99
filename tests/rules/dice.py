"""Where generated rules and rows take their choices from: Hypothesis (which shrinks) or a seed (which is fast)."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from random import Random
from typing import Any, TypeVar

from hypothesis import strategies as st

T = TypeVar("T")


@lru_cache(maxsize=1024)
def _below(count: int) -> st.SearchStrategy[int]:
    return st.integers(0, count - 1)


class Dice:
    """Choices; the first of several is the simplest."""

    def __init__(self, below: Callable[[int], int]) -> None:
        self.below = below

    def pick(self, several: Sequence[T]) -> T:
        """One of several."""
        return several[self.below(len(several))] if len(several) > 1 else several[0]

    def near(self, several: Sequence[T], most: int = 6) -> T:
        """One of several; mostly one of the first few, so that rows and rules often name the same."""
        return self.pick(several[:most]) if self.below(3) else self.pick(several)

    def chance(self, of: int) -> bool:
        """True once in ``of`` times."""
        return self.below(of) == of - 1

    def times(self, most: int, least: int = 0) -> range:
        """A loop of ``least`` to ``most`` turns."""
        return range(least + self.below(most - least + 1))


def drawn(draw: Callable[[st.SearchStrategy[int]], int]) -> Dice:
    """Dice in the hand of Hypothesis."""
    return Dice(lambda count: draw(_below(count)))


def rolled(seed: int) -> Dice:
    """Dice from a seed."""
    return Dice(Random(seed).randrange)


@st.composite
def made(draw: Any, make: Callable[[Dice], T]) -> T:
    """A strategy out of a function that takes dice."""
    return make(drawn(draw))
