"""What two looks have seen: a clock that is wrong for a moment, or a file that is gone for one, ends no held run."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

APART = 3.0
"""Seconds that lie between two looks at least; the heartbeat looks every five."""

What = tuple[int, str]
"""The number of a run, and what was seen of it."""


@dataclass
class Looks:
    """What the looks of one process have seen of held runs so far.

    ``monotonic`` gives seconds by a clock that nobody sets: it tells how far two looks are apart.
    """

    apart: float = APART
    monotonic: Callable[[], float] = time.monotonic
    _since: dict[What, float] = field(default_factory=dict)
    _now: set[What] = field(default_factory=set)

    def begin(self) -> None:
        """A look begins. What the one before did not see is forgotten."""
        self._since = {what: since for what, since in self._since.items() if what in self._now}
        self._now.clear()

    @property
    def doubts(self) -> bool:
        """Whether the last look has seen something that another must see, too."""
        now = self.monotonic()
        return any(now - self._since[what] < self.apart for what in self._now)

    def sure(self, run_id: int, what: str) -> bool:
        """Note that this is so of a run; True: every look has seen it for long enough."""
        self._now.add((run_id, what))
        now = self.monotonic()
        return now - self._since.setdefault((run_id, what), now) >= self.apart


def at_once() -> Looks:
    """Looks of which one is enough: for whoever gives the moment by hand."""
    return Looks(apart=0)
