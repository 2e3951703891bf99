"""Faults on purpose: a small plan of what goes wrong, where and how often. Empty unless a test or a drill sets it."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Place = Literal["messages", "calls", "mail", "callback"]
What = Literal["error", "busy", "hang", "truncate", "drop"]


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong.

    ``where``: creating a message or call, taking an e-mail, or posting a status callback. ``what``: ``error`` (HTTP
    500, SMTP 554), ``busy`` (HTTP 429 with Retry-After, SMTP 451), ``hang`` (no answer for ``seconds``),
    ``truncate`` (an answer cut in the middle), ``drop`` (the connection ends without an answer; a callback is not
    posted).
    ``accepted``: whether the message is in the ledger all the same, which is what makes an outcome unknown.
    ``to`` picks one address, ``times`` is how often it happens.
    """

    where: Place
    what: What
    times: int = 1
    to: str | None = None
    accepted: bool = False
    seconds: float = 30.0


@dataclass
class _Planned:
    fault: Fault
    left: int


class Faults:
    """The plan: faults are taken in order, each as often as it says. Safe to use from many threads."""

    def __init__(self, plan: Iterable[Fault] = ()) -> None:
        self._lock = threading.Lock()
        self._left: list[_Planned] = [_Planned(fault, fault.times) for fault in plan]

    def add(self, fault: Fault) -> None:
        """Plan one more."""
        with self._lock:
            self._left.append(_Planned(fault, fault.times))

    def take(self, where: Place, to: str) -> Fault | None:
        """The fault that is due here for this address, if any; it counts as used."""
        with self._lock:
            for planned in self._left:
                fault = planned.fault
                if planned.left and fault.where == where and fault.to in (None, to):
                    planned.left -= 1
                    return fault
        return None
