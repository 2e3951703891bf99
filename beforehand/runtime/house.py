"""The house: Prefect server, post room, worker and heartbeat as one tree that starts and stops as one."""

import asyncio
import contextlib
import importlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Self

from beforehand import approving, dispatching, passes
from beforehand.heartbeat import Heartbeat, RuleBook
from beforehand.heartbeat.duties import Work, duties
from beforehand.heartbeat.prefect import PrefectSide, PrefectWatch
from beforehand.passes.in_force import write_down
from beforehand.returned import read_maildir
from beforehand.runtime.child import PrefectChild, is_healthy
from beforehand.wiring import App
from flows.boot import new_boot
from flows.environment import ui_url
from flows.hands import Hands, hold, of_app
from models.terms import Terms

if TYPE_CHECKING:
    from beforehand.web.postroom.server import PostRoom
    from beforehand.web.serving import Pages
    from flows.worker import InProcess

log = logging.getLogger("beforehand.house")

SERVER_PATIENCE = 120.0
WORKER_PAUSE = 2.0

INBOUND = "/hooks/twilio/sms"
"""Where a customer's SMS is posted (``beforehand.web.hooks.inbound``)."""


@dataclass(frozen=True)
class Addresses:
    """Where people look."""

    post_room: str | None
    prefect: str
    deployments: str
    pages: str = ""


class House:
    """All parts around one application. ``async with House(...)`` starts what is quick; ``ready`` waits for the rest.

    ``child`` is the server made by :func:`start_prefect`, started already or not. ``sources`` is the mapping file that
    the ingest deployment offers. ``pulse`` False leaves the heartbeat for :meth:`start_heartbeat`.
    """

    def __init__(self, app: App, child: PrefectChild, *, sources: str | None = None, pulse: bool = True) -> None:
        settings = app.settings
        self.book = RuleBook(settings.rules, settings.facts, vet=lambda loaded: passes.vet(settings, loaded))
        told = settings.status_callbacks if settings.status_callbacks is not None else settings.delivery == "post_room"
        settings = settings.model_copy(update={"status_callbacks": told})
        self.app = replace(app, settings=settings, rules_in_force=lambda: self.book.rules)
        self.boot = new_boot()
        self._child, self._sources, self._pulse = child, sources, pulse
        self._room: PostRoom | None = None
        self._pages: Pages | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._working: asyncio.Task[None] | None = None
        self._worker: InProcess | None = None
        self._ready = asyncio.Event()
        self._heartbeat: Heartbeat | None = None
        self._closing = False
        self.hands: Hands = of_app(self.app, post_room=self.addresses.post_room or "", stopping=lambda: self._closing)
        side = PrefectSide(lambda: is_healthy(child.api), self._bring_in_line, self._crash_dead_runs, self._tell_rules)
        self.watch = PrefectWatch(side, self.hands)

    @property
    def addresses(self) -> Addresses:
        """The addresses to open."""
        settings = self.app.settings
        room = f"http://{settings.host}:{settings.post_room_port}" if settings.delivery == "post_room" else None
        port = settings.prefect_port
        return Addresses(room, ui_url(port, "dashboard"), ui_url(port, "deployments"), settings.public_url)

    async def __aenter__(self) -> Self:
        hold(self.hands)
        try:
            if self._child.pid is None:
                await self._child.start()
            self._open_doors()
            await asyncio.to_thread(write_down, self.app, self.book.rules, "", self.app.clock())
            self._keeping = asyncio.create_task(self._child.keep(), name="prefect server")
            self._working = asyncio.create_task(self._keep_working(), name="worker")
            if self._pulse:
                await self.start_heartbeat()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(self, *_wrong: object) -> None:
        await self._close()

    async def ready(self, patience: float = SERVER_PATIENCE) -> bool:
        """Wait until the server is well, the deployments are in line and the worker looks for runs."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ready.wait(), patience)
        return self._ready.is_set()

    @contextlib.contextmanager
    def no_new_runs(self) -> Iterator[None]:
        """The worker takes no run inside: to ask for many is quick while none is at work."""
        worker = self._worker
        if worker is not None:
            worker.draining = True
        try:
            yield
        finally:
            if worker is not None:
                worker.draining = self._closing

    async def start_heartbeat(self) -> None:
        """Let the heart beat."""
        app = self.app
        work = Work(
            advance=lambda now: passes.advance(app, now),
            event_rules_due=lambda now: passes.event_rules_due(app, now),
            reap=lambda now: dispatching.reap(app, now),
            poll_receipts=lambda now: dispatching.poll_receipts(app, now),
            write_down=lambda loaded, problems, now: write_down(app, loaded, problems, now),
            call_webhooks=lambda: dispatching.call_webhooks(app, stopping=lambda: self._closing),
            watch_held_runs=lambda now: approving.watch(app, now),
            read_mail=lambda: read_maildir(app, app.settings.maildir) if app.settings.maildir else None,
        )
        beats = duties(self.hands, work, self.book, self.watch)
        self._heartbeat = Heartbeat(app.engine, app.clock, self.boot, beats)
        await self._heartbeat.start()

    def _open_doors(self) -> None:
        """Our pages, then the post room, which may have things to tell them."""
        from beforehand.web.serving import Pages

        settings = self.app.settings
        self._pages = Pages(self.app, settings.web_port).__enter__()
        if settings.delivery == "post_room":
            from beforehand.web.postroom.server import from_settings

            self._room = from_settings(settings, inbound_url=f"{settings.callback_url}{INBOUND}").__enter__()

    async def _keep_working(self) -> None:
        """Run the worker, and another one when it falls; each begins once the server is well."""
        await asyncio.to_thread(self._warm_up)
        from flows.worker import InProcess

        while True:
            try:
                while not await asyncio.to_thread(is_healthy, self._child.api):
                    await asyncio.sleep(0.2)
                await self.watch.look()
                await self._crash_dead_runs(self.app.clock())
                await self.watch.bring_in_line()
                self._worker = InProcess(self.boot)
                self._ready.set()
                await self._worker.start(printer=lambda *_: None)
            except Exception as error:
                log.warning("the worker stopped (%s) and starts again", type(error).__name__)
            await asyncio.sleep(WORKER_PAUSE)

    def _warm_up(self) -> None:
        """While the server starts: what takes seconds to import or to compile, and would hold up the first run."""
        for name in ("flows.worker", "prefect.artifacts"):
            importlib.import_module(name)
        passes.templates_of(self.app)
        _ = self.app.channels

    async def _bring_in_line(self, rules: Mapping[str, Terms]) -> object:
        from flows.deployments import bring_in_line, wanted

        return await bring_in_line(wanted(rules, self.hands, self._sources))

    async def _tell_rules(self, rules: Mapping[str, Terms], problems: str) -> None:
        from flows.notices import tell_rules

        await tell_rules(rules, problems)

    async def _crash_dead_runs(self, now: datetime) -> int:
        from flows.reaper import crash_dead_runs

        return await crash_dead_runs(self.boot, now)

    async def _close(self) -> None:
        """Worker first, then the heartbeat, the post room, our pages, and the server last: each may need the next."""
        self._closing = True
        if self._worker is not None:
            await self._worker.drain(10)
        await _ended(self._working)
        if self._heartbeat is not None:
            await self._heartbeat.stop()
        if self._room is not None:
            await asyncio.to_thread(self._room.__exit__, None, None, None)
        if self._pages is not None:
            await asyncio.to_thread(self._pages.__exit__, None, None, None)
        if self._worker is not None:
            from flows.ending import flush

            await flush()
        await _ended(self._keeping)
        await self._child.stop()
        self.app.engine.dispose()


async def _ended(task: "asyncio.Task[None] | None") -> None:
    """Cancel a task, and wait for its end."""
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
