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


def child_process(child: PrefectChild) -> Callable[[Well], Awaitable[object]]:
    """How Prefect's server is run as a part: well once it answers, dead once the process ends."""

    async def run(well: Well) -> None:
        try:
            if child.pid is None:
                await child.start()
            if await child.until_healthy():
                well()
            raise Died(f"the Prefect server ended ({await child.ended()})")
        finally:
            await child.stop()

    return run
