"""The end of a process that ran flows: what waits to be told to Prefect is told, within bounds.

Left to itself, Prefect's client tries for minutes to reach a server that is gone already.
"""

import asyncio
import contextlib

from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogHandler


async def flush(patience: float = 3.0) -> None:
    """Send the log lines and events still queued; gives up after ``patience`` seconds. Call before the server stops."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.gather(APILogHandler.aflush(), _events()), patience)


async def _events() -> None:
    drained = EventsWorker.drain_all(timeout=2)
    if asyncio.iscoroutine(drained):
        await drained
