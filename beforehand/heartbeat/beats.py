"""The clockwork: beats on APScheduler, each on its own, none of which can stop the others."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic

from apscheduler.executors.asyncio import AsyncIOExecutor
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from sqlalchemy import Engine

from beforehand.heartbeat.lease import give_back, is_free, take
from beforehand.wiring import Clock
from flows.failure import named
from messaging.onlookers import Beaten, Leading, tell

log = logging.getLogger("beforehand.heartbeat")

DUTY = "heartbeat"
LASTS = timedelta(seconds=10)
RENEW_SECONDS = 3.0
LOOK_SECONDS = 1.0
"""Who holds the lease renews it every 3 s, a small write; who does not looks every second whether it is free, a small
read. So the duties of a process that stops have moved within a second or two, those of one that dies within 11 s.
"""


@dataclass(frozen=True)
class Beat:
    """Work done every ``seconds``. ``alone``: only in the process that holds the heartbeat's lease."""

    name: str
    seconds: float
    work: Callable[[], Awaitable[None]]
    alone: bool = True


class Heartbeat:
    """Runs ``beats`` on the running event loop. ``holder`` names this process in the lease row.

    Without ``leads`` it never asks for the lease: another process does what is done alone.
    """

    def __init__(self, engine: Engine, clock: Clock, holder: str, beats: list[Beat], *, leads: bool = True) -> None:
        self._engine, self._clock, self._holder = engine, clock, holder
        self._beats, self._leads = beats, leads
        self._said: dict[str, str] = {}
        self._under_way: set[asyncio.Task[None]] = set()
        self.holding = False
        self._renewed = 0.0
        self._scheduler = AsyncIOScheduler(
            jobstores={"default": MemoryJobStore()},  # never a shared store: it fires twice, then its thread dies
            executors={"default": AsyncIOExecutor()},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone="UTC",
        )

    @property
    def running(self) -> bool:
        """Whether it beats."""
        return bool(self._scheduler.running)

    async def start(self) -> None:
        """Take the lease if it is free, and begin to beat."""
        logging.getLogger("apscheduler").setLevel(logging.ERROR)  # a slow beat that skips one is no news
        lease = [Beat("lease", LOOK_SECONDS, self._renew, alone=False)] if self._leads else []
        for one in lease:
            await self.beat(one)
        for one in [*lease, *self._beats]:
            if self._leads or not one.alone:
                self._scheduler.add_job(self.beat, "interval", seconds=one.seconds, args=[one], id=one.name)
        self._scheduler.start()

    async def stop(self, patience: float = 10.0) -> None:
        """Begin no new beat, let those under way end within ``patience`` seconds, and give the lease back."""
        if self._scheduler.running:
            self._scheduler.pause()
        under_way = set(self._under_way)
        if under_way:
            await asyncio.wait(under_way, timeout=patience)
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
        if self.holding:
            self.holding = False
            tell(Leading(False))
            await asyncio.to_thread(give_back, self._engine, DUTY, self._holder)

    async def beat(self, one: Beat) -> None:
        """One beat. An error is logged, without data, and ends nothing."""
        if one.alone and not self.holding:
            return
        work = asyncio.ensure_future(self._guarded(one))
        self._under_way.add(work)
        try:
            await asyncio.shield(work)
        finally:
            self._under_way.discard(work)

    async def _guarded(self, one: Beat) -> None:
        began, failed = monotonic(), False
        try:
            await one.work()
        except Exception as error:
            failed = True
            self._say(one.name, named(error))
        else:
            if self._said.pop(one.name, None):
                log.info("the beat '%s' is well again", one.name)
        finally:
            tell(Beaten(one.name, monotonic() - began, failed))

    def _say(self, name: str, error: str) -> None:
        """Log an error when it is new, not at every beat."""
        if self._said.get(name) != error:
            self._said[name] = error
            log.error("the beat '%s' failed and will be tried again: %s", name, error)

    def _take(self) -> bool:
        now = self._clock()
        free = self.holding or is_free(self._engine, DUTY, now, LASTS)
        return free and take(self._engine, DUTY, self._holder, now, LASTS)

    async def _renew(self) -> None:
        held = self.holding
        if held and time.monotonic() - self._renewed < RENEW_SECONDS - LOOK_SECONDS / 2:
            return
        try:
            self.holding = await asyncio.to_thread(self._take)
            self._renewed = time.monotonic()
        except Exception:
            self.holding = False
            raise
        finally:
            tell(Leading(self.holding))
        if self.holding is not held:
            log.info("this process %s the heartbeat", "has" if self.holding else "has lost")
