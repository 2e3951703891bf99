"""Faults on purpose: a small plan of what goes wrong, where and how often. Empty unless a test or a drill sets it."""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Place = Literal["messages", "calls", "listing", "callback", "mail"]
Phase = Literal["connect", "hello", "starttls", "login", "mail", "rcpt", "data", "body", "dot"]
What = Literal[
    "error", "bad_gateway", "busy", "hang", "truncate", "drop", "garbage", "early", "lag", "late", "double", "reorder"
]

PHASES: tuple[Phase, ...] = get_args(Phase)
_ANSWERS: tuple[What, ...] = ("error", "bad_gateway", "busy", "hang", "truncate", "drop", "garbage")
KINDS: Mapping[Place, tuple[What, ...]] = {
    "messages": (*_ANSWERS, "early"),
    "calls": (*_ANSWERS, "early"),
    "listing": (*_ANSWERS, "lag"),
    "callback": ("drop", "late", "double", "reorder"),
    "mail": ("error", "busy", "hang", "drop"),
}
"""What can go wrong where."""

WORDS: Mapping[What, str] = {
    "error": "HTTP 500, SMTP 5xx",
    "bad_gateway": "HTTP 502 with a page of HTML",
    "busy": "HTTP 429 with Retry-After, SMTP 4xx",
    "hang": "no answer for SECONDS",
    "truncate": "half an answer, then the connection ends",
    "drop": "the connection ends without an answer; a callback is not posted",
    "garbage": "an answer that is no JSON",
    "early": "the callbacks are posted before the request is answered",
    "lag": "the list does not show the entries of the last SECONDS",
    "late": "the callback is posted after SECONDS, others do not wait for it",
    "double": "the callback is posted twice",
    "reorder": "the callback is posted after those that follow it",
}
"""What each fault does, in words."""


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong.

    ``where``: creating a message or call, listing them, posting a status callback, or a mail's transaction, there in
    its ``phase``. ``what``: see :data:`WORDS`. ``accepted``: whether the message is in the ledger all the same, which
    is what makes an outcome unknown. ``to`` picks one address (before RCPT a mail has none), ``times`` is how often it
    happens. ``retry_after`` is what a busy API asks for, in seconds, ``as_date`` as a moment.
    Raises ValueError for what cannot go wrong there.
    """

    where: Place
    what: What
    times: int = 1
    to: str | None = None
    accepted: bool = False
    seconds: float = 30.0
    phase: Phase = "dot"
    retry_after: float = 1.0
    as_date: bool = False

    def __post_init__(self) -> None:
        if self.what not in KINDS.get(self.where, ()):
            fitting = ", ".join(KINDS.get(self.where, ())) or "nothing"
            raise ValueError(f"{self.what!r} cannot happen at {self.where!r}; expected one of: {fitting}")
        if self.accepted and self.where in ("listing", "callback"):
            raise ValueError(f"nothing is accepted at {self.where!r}")
        if self.accepted and self.where == "mail" and self.phase != "dot":
            raise ValueError("a mail can be accepted after its final dot only")


@dataclass
class Planned:
    """A fault of the plan, and how often it is still to happen."""

    fault: Fault
    left: int


class Faults:
    """The plan: faults are taken in order, each as often as it says. Safe to use from many threads.

    ``happened`` counts those that were taken.
    """

    def __init__(self, plan: Iterable[Fault] = ()) -> None:
        self._lock = threading.Lock()
        self._planned: list[Planned] = [Planned(fault, fault.times) for fault in plan]
        self.happened = 0

    def add(self, fault: Fault) -> None:
        """Plan one more."""
        with self._lock:
            self._planned.append(Planned(fault, fault.times))

    def clear(self) -> int:
        """Nothing goes wrong any more. Returns how many faults were left in the plan."""
        with self._lock:
            left = sum(planned.left for planned in self._planned)
            self._planned.clear()
            return left

    @property
    def left(self) -> list[Planned]:
        """What is still to happen, in order."""
        with self._lock:
            return [Planned(planned.fault, planned.left) for planned in self._planned if planned.left]

    def take(self, where: Place, to: str, *, phase: Phase = "dot", among: tuple[What, ...] = ()) -> Fault | None:
        """The fault that is due here for this address, if any; it counts as used. ``among``: only one of these."""
        with self._lock:
            for planned in self._planned:
                fault = planned.fault
                here = fault.where == where and fault.phase == phase and fault.to in (None, to)
                if planned.left and here and (not among or fault.what in among):
                    planned.left -= 1
                    self.happened += 1
                    return fault
        return None
