"""The named points on a message's way: where a process may die, and what a death there means (DESIGN section 6)."""

from collections.abc import Callable
from enum import StrEnum


class Point(StrEnum):
    """Twelve moments of one message, in their order. Code says where it is; proofs crash or stop it there."""

    CLAIMING = "claiming"
    """Before claim's commit: nothing has happened."""
    CLAIMED = "claimed"
    """After claim's commit: certainly not sent; the lease brings it back to the queue."""
    RENDERED = "rendered"
    """The batch is rendered: certainly not sent."""
    ARMING = "arming"
    """Before arm's commit: certainly not sent."""
    ARMED = "armed"
    """After arm's commit: from here on a death leaves an unknown outcome."""
    JOURNALED = "journaled"
    """The journal outside the database has its line, too."""
    SENDING = "sending"
    """The deadline was looked at once more; the first byte is not yet on the wire."""
    ACCEPTED = "accepted"
    """The provider has it and we have not read the answer. Nothing of ours runs then: proofs have the wire say it."""
    ANSWERED = "answered"
    """The answer is read and nowhere written down."""
    RECORDING = "recording"
    """Before record's commit."""
    RECORDED = "recorded"
    """After record's commit: all is known."""
    REAPING = "reaping"
    """Before the commit of whoever puts right what a dead process left."""


At = Callable[[Point], None]
"""Told of each point as it is reached."""


def nowhere(_point: Point) -> None:
    """Nobody wants to know."""
