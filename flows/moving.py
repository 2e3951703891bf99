"""A progress bar in Prefect that moves while a blocking function works in a thread."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import TypeVar

from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact

from flows.chores import Told
from flows.failure import plainly

T = TypeVar("T")
PAUSE = 2.0
"""Seconds between two looks: the bar is for people, and each move is a request and an event in Prefect's feed."""


class Halted(Exception):
    """The run was called off, so its work ends where it is."""


class Stages:
    """How far work of several stages is, in percent, never back. ``of`` is how many stages there will be, if known."""

    def __init__(self, of: int | None = None) -> None:
        self._of = of
        self._seen: list[str] = []
        self.percent = 0.0
        self.said = "begins"
        self.halted = False

    def tell(self, what: str, done: int, of: int) -> None:
        """Called by the work, from its own thread. Raises Halted once the run is called off: no thread goes on alone.

        A thread cannot be stopped from outside, and a house that stops waits for it.
        """
        if self.halted:
            raise Halted
        if what not in self._seen:
            self._seen.append(what)
        stages = max(self._of or len(self._seen), len(self._seen))
        share = min(done / of, 1.0) if of > 0 else 0.0
        self.percent = max(self.percent, min(99.0, 100 * (len(self._seen) - 1 + share) / stages))
        self.said = f"{what}: {done:,} of {of:,}" if of > 0 else what


async def moving(what: str, work: Callable[[Told], T], *, key: str, stages: int | None = None) -> T:
    """The value of ``work(told)``, run in a thread, with a bar on ``key`` beside it. Errors are said without data.

    A bar that Prefect does not take stops nothing.
    """
    seen = Stages(stages)
    bar = await acreate_progress_artifact(0.0, key=key, description=f"{what}: begins")
    watch = asyncio.create_task(_follow(bar, what, seen))
    try:
        value = await plainly(what, asyncio.to_thread(work, seen.tell))
    finally:
        seen.halted = True
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
    with contextlib.suppress(Exception):
        await aupdate_progress_artifact(bar, 100.0, description=f"{what}: done")
    return value


async def _follow(bar: object, what: str, seen: Stages) -> None:
    shown = (0.0, "")
    while True:
        await asyncio.sleep(PAUSE)
        now = (round(seen.percent, 1), seen.said)
        if now != shown:
            with contextlib.suppress(Exception):
                await aupdate_progress_artifact(bar, now[0], description=f"{what}: {now[1]}")  # type: ignore[arg-type]
            shown = now
