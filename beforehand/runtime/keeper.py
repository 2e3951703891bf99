"""The supervisor: keeps one part going, and starts it again with back-off when it dies. One for each part."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from beforehand.parts import Parts, PartState

log = logging.getLogger("beforehand.house")

WAITS = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Seconds before it is started again after the first death, the second in a row ...; the last again and again."""
WELL_FOR = 60.0
"""After so many seconds of being well a death is the first again."""


class Died(Exception):
    """A part has ended that should not; the text says how, in words that show no one's data."""


@dataclass(frozen=True)
class Part:
    """``run`` works until it is cancelled, and then closes what it opened. It is handed what it calls once it is well.

    When it returns or raises by itself it has died.
    """

    name: str
    run: Callable[[Callable[[], None]], Awaitable[object]]


Told = Callable[[str, str], None]
"""Is told the name of a part and why it died; an empty text: it is well again. Called in the event loop; quick."""


class Keeper:
    """Keeps ``part``; how it stands goes to ``parts``, deaths and recoveries to ``told``."""

    def __init__(
        self,
        part: Part,
        parts: Parts,
        told: Told,
        *,
        ticks: Callable[[], float] = time.monotonic,
        waits: tuple[float, ...] = WAITS,
    ) -> None:
        self.part, self._parts, self._told, self._ticks, self._waits = part, parts, told, ticks, waits
        self._task: asyncio.Task[None] | None = None
        self._well_since: float | None = None
        self._dead = False
        self._settled = asyncio.Event()

    @property
    def is_well(self) -> bool:
        """Whether the part works now."""
        return self._well_since is not None

    def start(self) -> None:
        """Begin to keep the part."""
        self._parts.note(self.part.name, PartState.STARTING)
        self._task = asyncio.create_task(self._keep(), name=f"keeper of {self.part.name}")

    async def settled(self, patience: float) -> bool:
        """Wait until the part is well or has died for the first time; whether it is well. False after ``patience``."""
        try:
            await asyncio.wait_for(self._settled.wait(), patience)
        except TimeoutError:
            return False
        return self.is_well

    async def stop(self) -> None:
        """End the part, and wait until it has closed what it opened. Safe to call twice."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task, self._well_since = None, None
        self._parts.note(self.part.name, PartState.STOPPED)

    async def _keep(self) -> None:
        times = 0
        while True:
            why = await self._once()
            if self._well_since is not None and self._ticks() - self._well_since >= WELL_FOR:
                times = 0
            self._well_since, self._dead = None, True
            self._parts.note(self.part.name, PartState.DOWN, why)
            self._settled.set()
            wait = self._waits[min(times, len(self._waits) - 1)]
            log.error("%s died: %s; it is started again in %g s", self.part.name, why, wait)
            self._told(self.part.name, why)
            times += 1
            await asyncio.sleep(wait)
            self._parts.note(self.part.name, PartState.STARTING)

    async def _once(self) -> str:
        """Run the part until it dies; gives how. An error is named by its kind alone: its text may hold data."""
        try:
            await self.part.run(self._well)
        except Died as died:
            return str(died)
        except Exception as error:
            return f"it failed ({type(error).__name__})"
        return "it ended"

    def _well(self) -> None:
        self._well_since = self._ticks()
        self._parts.note(self.part.name, PartState.WELL)
        self._settled.set()
        if self._dead:
            self._dead = False
            log.info("%s is well again", self.part.name)
            self._told(self.part.name, "")
