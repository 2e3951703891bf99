"""Parts that are servers: pages, post room and staff pages in threads of their own, Prefect's server as a child."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from beforehand.runtime.child import PrefectChild
from beforehand.runtime.keeper import Died

if TYPE_CHECKING:
    from beforehand.web.listening import InThread

Well = Callable[[], None]

LOOKS_EVERY = 0.5
"""Seconds between two looks whether a thread still lives."""
STARTS_WITHIN = 600.0
"""Seconds that Prefect's server may take to start: the first time it makes its database, and machines may be busy."""
HUNG_AFTER = 120.0
"""Seconds without an answer after which Prefect's server is taken for hung: a busy one was silent for one minute."""


def in_thread(make: "Callable[[], InThread]") -> Callable[[Well], Awaitable[object]]:
    """How a server that ``make`` opens is run as a part. ``make`` imports what it needs, so it runs in a thread too."""

    async def run(well: Well) -> None:
        making = asyncio.ensure_future(asyncio.to_thread(lambda: make().__enter__()))
        try:
            server = await asyncio.shield(making)
        except asyncio.CancelledError:
            server = await making
            await asyncio.to_thread(server.__exit__, None, None, None)
            raise
        try:
            well()
            while server.is_serving:
                await asyncio.sleep(LOOKS_EVERY)
        finally:
            await asyncio.to_thread(server.__exit__, None, None, None)
        raise Died(f"the {server.name} ended")

    return run


def child_process(child: PrefectChild, *, patience: float = HUNG_AFTER) -> Callable[[Well], Awaitable[object]]:
    """How Prefect's server is run as a part: well once it answers; dead once it ends or is silent for ``patience``."""

    async def run(well: Well) -> None:
        ends: list[asyncio.Task[str] | asyncio.Task[None]] = []
        try:
            if child.pid is None:
                await child.start()
            if not await child.until_healthy(STARTS_WITHIN) and child.pid is not None:
                raise Died(f"the Prefect server did not start within {STARTS_WITHIN:.0f} s")
            if child.pid is not None:
                well()
            ended, silent = asyncio.create_task(child.ended()), asyncio.create_task(child.until_silent(patience))
            ends = [ended, silent]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                raise Died(f"the Prefect server has not answered for {patience:.0f} s")
            raise Died(f"the Prefect server ended ({ended.result()})")
        finally:
            for waiting in ends:
                waiting.cancel()
            await child.stop()

    return run
