"""The dispatcher: sends what is due. Any number of processes may have one, as the claim decides who sends what."""

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from time import monotonic

from flows.failure import named
from messaging.onlookers import Beaten, tell

log = logging.getLogger("beforehand.heartbeat")

LOOKS_EVERY = 1.0
"""Seconds between two looks whether anything is due."""

PATIENCE = 15.0
"""Seconds that what is under way has to let go; a database that hangs must not keep the house from closing."""


class Dispatcher:
    """Every second one cheap look at what is due, and only then the machinery that sends it.

    ``look`` gives the names of the ``ways`` for which something is due (one statement); a way is not begun again while
    it is under way, so that slow webhooks hold up no message. All are blocking, and run in threads of their own.
    """

    def __init__(
        self, look: Callable[[], set[str]], ways: Mapping[str, Callable[[], object]], *, every: float = LOOKS_EVERY
    ) -> None:
        self._look, self._ways, self._every = look, ways, every
        self._said: dict[str, str] = {}

    async def run(self, well: Callable[[], None]) -> None:
        """Work until cancelled, and then wait for what is under way: it lets go by itself when the house closes."""
        stop = threading.Event()
        pool = ThreadPoolExecutor(1, thread_name_prefix="due")
        going = asyncio.get_running_loop().run_in_executor(pool, self._go, stop)
        well()
        try:
            await asyncio.wait({going})
            going.result()
        finally:
            stop.set()
            await asyncio.wait({going}, timeout=PATIENCE)
            pool.shutdown(wait=False)

    def _go(self, stop: threading.Event) -> None:
        under_way: dict[str, Future[None]] = {}
        with ThreadPoolExecutor(max(1, len(self._ways)), thread_name_prefix="dispatcher") as pool:
            while not stop.is_set():
                for name in self._due() & self._ways.keys():
                    if name not in under_way or under_way[name].done():
                        under_way[name] = pool.submit(self._guarded, name, self._ways[name])
                stop.wait(self._every)

    def _due(self) -> set[str]:
        found: set[str] = set()
        self._guarded("look", lambda: found.update(self._look()))
        return found

    def _guarded(self, name: str, work: Callable[[], object]) -> None:
        """An error is said when it is new, not every second, and ends nothing: the database may be back soon."""
        began, failed = monotonic(), False
        try:
            work()
        except Exception as error:
            failed = True
            said = named(error)
            if self._said.get(name) != said:
                self._said[name] = said
                log.error("the dispatcher's '%s' failed and will be tried again: %s", name, said)
        else:
            if self._said.pop(name, None):
                log.info("the dispatcher's '%s' is well again", name)
        finally:
            tell(Beaten(f"dispatcher {name}", monotonic() - began, failed))
