"""The parts of a process and how each stands: its supervisor writes it, health pages and status read it."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

STUCK_AFTER = 30.0
"""Seconds without a tick after which the process's own loop counts as stuck."""


class PartName(StrEnum):
    """What a process may run. ``--only`` names the first five; the post room and the staff pages come by themselves."""

    PREFECT = "prefect"
    WORKER = "worker"
    HEARTBEAT = "heartbeat"
    DISPATCHER = "dispatcher"
    WEB = "web"
    POST_ROOM = "post_room"
    STAFF = "staff"


CHOSEN = (PartName.PREFECT, PartName.WORKER, PartName.HEARTBEAT, PartName.DISPATCHER, PartName.WEB)
"""The parts that an operator may choose among; all of them where none is named."""


class PartState(StrEnum):
    """How a part stands."""

    STARTING = "starting"
    WELL = "well"
    DOWN = "down"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Standing:
    """How a part stands: ``said`` is why it is down, or a word beside (``holds the lease``); ``deaths`` so far."""

    state: PartState
    said: str = ""
    deaths: int = 0

    def as_json(self) -> dict[str, object]:
        """As JSON values; what is empty is left out."""
        told: dict[str, object] = {"state": self.state.value}
        return told | ({"said": self.said} if self.said else {}) | ({"deaths": self.deaths} if self.deaths else {})


class Parts:
    """How the parts of this process stand. Safe to use from any thread; ``ticks`` are seconds that never go back."""

    def __init__(self, ticks: Callable[[], float] = time.monotonic) -> None:
        self._ticks = ticks
        self._lock = threading.Lock()
        self._standing: dict[str, Standing] = {}
        self._ticked = ticks()

    def note(self, name: str, state: PartState, said: str = "") -> None:
        """Write down how a part stands now. One that was well or starting and is down has died once more."""
        with self._lock:
            before = self._standing.get(name)
            deaths = before.deaths if before else 0
            died = state is PartState.DOWN and (before is None or before.state is not PartState.DOWN)
            self._standing[name] = Standing(state, said, deaths + died)

    def now(self) -> Mapping[str, Standing]:
        """How each part stands, by name."""
        with self._lock:
            return dict(self._standing)

    def tick(self) -> None:
        """The process's own loop goes round; to be called every few seconds."""
        self._ticked = self._ticks()

    @property
    def stuck(self) -> bool:
        """Whether the loop has not gone round for long: only a restart of the process helps."""
        return self._ticks() - self._ticked > STUCK_AFTER

    def not_well(self) -> list[str]:
        """The names of the parts that are neither well nor stopped on purpose."""
        fine = (PartState.WELL, PartState.STOPPED)
        return [name for name, standing in self.now().items() if standing.state not in fine]
