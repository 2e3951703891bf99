"""The house: the parts of one process as a tree that starts and stops as one, each kept by its own supervisor."""

import asyncio
import contextlib
import importlib
import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Self

from sqlalchemy.exc import SQLAlchemyError

from beforehand import approving, dispatching, passes
from beforehand.heartbeat import Beat, Heartbeat, RuleBook
from beforehand.heartbeat.dispatcher import Dispatcher
from beforehand.heartbeat.duties import Work, duties, send_due, watching
from beforehand.heartbeat.pauses import Paused, Pauses
from beforehand.heartbeat.prefect import PrefectSide, PrefectWatch
from beforehand.heartbeat.presence import EVERY, Presence
from beforehand.parts import CHOSEN, PartName, Parts
from beforehand.passes.in_force import write_down
from beforehand.returned import read_maildir
from beforehand.runtime.child import PrefectChild, is_healthy
from beforehand.runtime.keeper import Died, Keeper, Part
from beforehand.runtime.servers import child_process, in_thread
from beforehand.runtime.words import Words
from beforehand.surroundings import living
from beforehand.wiring import App
from flows.asking import keep_windows
from flows.boot import new_boot
from flows.environment import ui_of
from flows.hands import Hands, hold, of_app
from models.database import reading
from models.terms import Terms

if TYPE_CHECKING:
    from beforehand.web.listening import InThread
    from flows.news import News
    from flows.worker import InProcess

log = logging.getLogger("beforehand.house")

SERVER_PATIENCE = 120.0
DOORS_PATIENCE = 15.0
"""Seconds that pages and post room have to open before the rest goes on without them."""
DRAIN_PATIENCE = 10.0

INBOUND = "/hooks/twilio/sms"
"""Where a customer's SMS is posted (``beforehand.web.hooks.inbound``)."""

Well = Callable[[], None]


@dataclass(frozen=True)
class Addresses:
    """Where people look; None or empty where this process has no such thing."""

    post_room: str | None
    prefect: str
    deployments: str
    pages: str = ""
    staff: str = ""


class House:
    """The parts around one application. ``async with House(...)`` starts what is quick; ``ready`` waits for the rest.

    ``api`` is the Prefect server's, ``child`` that server where it is ours (from :func:`start_prefect`, started already
    or not). ``only`` are the parts that this process runs. ``sources`` is the mapping file that the ingest deployment
    offers. ``pulse`` False leaves heartbeat and dispatcher for :meth:`start_heartbeat`.
    """

    def __init__(
        self,
        app: App,
        child: PrefectChild | None,
        *,
        api: str = "",
        boot: str = "",
        only: Collection[PartName] = CHOSEN,
        sources: str | None = None,
        pulse: bool = True,
    ) -> None:
        settings = app.settings
        self.book = RuleBook(settings.rules, settings.facts, vet=lambda loaded: passes.vet(settings, loaded))
        told = settings.status_callbacks if settings.status_callbacks is not None else settings.delivery == "post_room"
        settings = settings.model_copy(update={"status_callbacks": told})
        self.parts = Parts()
        self.app = replace(app, settings=settings, rules_in_force=lambda: self.book.rules, parts=self.parts)
        self.boot = boot or new_boot()
        self._api = child.api if child else api
        self._child, self._only, self._sources, self._pulse = child, frozenset(only), sources, pulse
        self._worker: InProcess | None = None
        self._heartbeat: Heartbeat | None = None
        self._news: News | None = None
        self._in_line: dict[str, str] | None = None
        self._closing = self._no_runs = False
        self._clockwork: Heartbeat | None = None
        self._words = Words(app.engine, app.clock)
        self.presence = Presence(app.engine, app.clock, self.boot, self.parts, lambda: self.book.digest)
        self.hands: Hands = of_app(self.app, post_room=self.addresses.post_room or "", stopping=lambda: self._closing)
        side = PrefectSide(
            lambda: is_healthy(self._api),
            self._bring_in_line,
            self._crash_dead_runs,
            self._tell_rules,
            self._tell_events,
            lambda: keep_windows(self.app),
            Pauses(app.engine, app.clock, self._paused),
        )
        self.watch = PrefectWatch(side, self.hands)
        self._keepers = {part.name: Keeper(part, self.parts, self._words.tell) for part in self._all_parts()}

    def runs(self, part: PartName) -> bool:
        """Whether this process has the part."""
        return part in self._only

    @property
    def addresses(self) -> Addresses:
        """The addresses to open."""
        settings, web = self.app.settings, self.runs(PartName.WEB)
        room = f"http://{settings.host}:{settings.post_room_port}" if web and settings.delivery == "post_room" else None
        host = f"[{settings.staff_host}]" if ":" in settings.staff_host else settings.staff_host
        staff = f"http://{host}:{settings.staff_port}"
        dashboard, deployments = (ui_of(self._api, path) for path in ("dashboard", "deployments"))
        return Addresses(room, dashboard, deployments, settings.public_url if web else "", staff)

    @property
    def holding(self) -> bool:
        """Whether this process does what is done alone."""
        return self._heartbeat is not None and self._heartbeat.holding

    def _all_parts(self) -> list[Part]:
        """What this process runs, in the order in which it starts; it stops the other way round, the server last."""
        settings, found = self.app.settings, []
        if self._child is not None:
            found.append(Part(PartName.PREFECT, child_process(self._child)))
        found.append(Part(PartName.STAFF, in_thread(self._staff_pages)))
        if self.runs(PartName.WEB):
            found.append(Part(PartName.WEB, in_thread(self._pages)))
            if settings.delivery == "post_room":
                found.append(Part(PartName.POST_ROOM, in_thread(self._post_room)))
        if self.runs(PartName.HEARTBEAT):
            found.append(Part(PartName.HEARTBEAT, self._beat))
        if self.runs(PartName.DISPATCHER):
            found.append(Part(PartName.DISPATCHER, self._dispatch))
        if self.runs(PartName.WORKER):
            found.append(Part(PartName.WORKER, self._work))
        return found

    async def __aenter__(self) -> Self:
        hold(self.hands)
        try:
            await asyncio.to_thread(self._arrive)
            doors = [name for name in self._keepers if name not in (*_PULSE, PartName.WORKER)]
            for name in doors:
                self._keepers[name].start()
            servers = [self._keepers[name] for name in doors if name != PartName.PREFECT]
            await asyncio.gather(*(keeper.settled(DOORS_PATIENCE) for keeper in servers))
            if not self._pulse:  # the deployments of the first round are made before anybody holds the lease
                await asyncio.to_thread(write_down, self.app, self.book.rules, "", self.app.clock())
            else:
                await self.start_heartbeat()
            await self._start_clockwork()
            if PartName.WORKER in self._keepers:
                self._keepers[PartName.WORKER].start()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(self, *_wrong: object) -> None:
        await self._close()

    async def ready(self, patience: float = SERVER_PATIENCE) -> bool:
        """Wait until every part is well: of the worker that means that it looks for runs."""
        waiting = [keeper for name, keeper in self._keepers.items() if self._pulse or name not in _PULSE]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while not all(keeper.is_well for keeper in waiting):
                    await asyncio.sleep(0.1)
                return True
        return False

    @contextlib.contextmanager
    def no_new_runs(self) -> Iterator[None]:
        """The worker takes no run inside: to ask for many is quick while none is at work."""
        self._no_runs = True
        self._hold_back()
        try:
            yield
        finally:
            self._no_runs = False
            self._hold_back()

    def _hold_back(self) -> None:
        """Let the worker take runs: not while we close, were told not to, or have other rules than those in force."""
        if self._worker is not None:
            self._worker.draining = self._closing or self._no_runs or bool(self.presence.others_rules)

    async def start_heartbeat(self) -> None:
        """Let the heart beat, and the dispatcher look for what is due."""
        for name in _PULSE:
            if name in self._keepers:
                self._keepers[name].start()

    def _arrive(self) -> None:
        self._words.forget([*self._keepers])
        self.presence.arrive()

    async def _start_clockwork(self) -> None:
        """The beats that every process has: its own rules, Prefect up or down, the row that shows that it lives."""
        uses_prefect = self.runs(PartName.WORKER) or self.runs(PartName.HEARTBEAT)
        beats = watching(self.book, self.watch, uses_prefect=uses_prefect)
        beats.append(Beat("presence", EVERY, self._show, alone=False))
        self._clockwork = Heartbeat(self.app.engine, self.app.clock, self.boot, beats, leads=False)
        await self._clockwork.start()

    async def _show(self) -> None:
        self.parts.tick()
        if self._words.waiting:
            await asyncio.to_thread(self._words.write)
        here = self.addresses
        self.presence.addresses = {"staff": here.staff, "web": here.pages, "prefect": self._api, "worker": self._api}
        await asyncio.to_thread(self.presence.note)
        self._hold_back()

    def _lease_clock(self) -> datetime:
        """The database's clock as far as we know it: the lease moves in time though a machine's clock is wrong."""
        return self.app.clock() - timedelta(milliseconds=self.presence.ahead_ms or 0)

    async def _beat(self, well: Well) -> None:
        """The heartbeat as a part."""
        app, looks = self.app, approving.Looks()
        work = Work(
            advance=lambda now: passes.advance(app, now),
            event_rules_due=lambda now: passes.event_rules_due(app, now),
            reap=lambda now: dispatching.reap(app, now),
            poll_receipts=lambda now: dispatching.poll_receipts(app, now),
            write_down=lambda loaded, problems, now: write_down(app, loaded, problems, now),
            watch_held_runs=lambda now: approving.watch(app, now, looks),
            read_mail=lambda: read_maildir(app, app.settings.maildir) if app.settings.maildir else None,
        )
        beats = duties(self.hands, work, self.book, self.watch)
        heartbeat = self._heartbeat = Heartbeat(app.engine, self._lease_clock, self.boot, beats)
        try:
            await heartbeat.start()
            well()
            while heartbeat.running:
                await asyncio.sleep(1)
            raise Died("its scheduler ended")
        finally:
            await heartbeat.stop()

    async def _dispatch(self, well: Well) -> None:
        """The dispatcher as a part."""
        app = self.app
        await asyncio.to_thread(self._warm_dispatch)
        ways = {
            dispatching.MESSAGES: lambda: send_due(self.hands),
            dispatching.WEBHOOKS: lambda: dispatching.call_webhooks(app, stopping=lambda: self._closing),
        }
        await Dispatcher(lambda: dispatching.what_is_due(app, app.clock()), ways).run(well)

    def _warm_dispatch(self) -> None:
        passes.templates_of(self.app)
        _ = self.app.channels

    def _pages(self) -> "InThread":
        from beforehand.web.serving import Pages

        return Pages(self.app, self.app.settings.web_port)

    def _post_room(self) -> "InThread":
        from beforehand.web.postroom.server import from_settings

        settings = self.app.settings
        return from_settings(settings, inbound_url=f"{settings.callback_url}{INBOUND}")

    def _staff_pages(self) -> "InThread":
        from beforehand.web.staff import StaffPages

        return StaffPages(self.app, self.app.settings.staff_port)

    async def _work(self, well: Well) -> None:
        """The worker as a part; while the server is away it waits for it, which is no death."""
        await asyncio.to_thread(self._warm_up)
        while True:
            while not await asyncio.to_thread(is_healthy, self._api):
                await asyncio.sleep(0.2)
            try:
                await self._take_runs(well)
            except Exception as error:
                if await asyncio.to_thread(is_healthy, self._api):
                    raise
                log.warning("the worker stopped (%s): the Prefect server is away", type(error).__name__)

    async def _take_runs(self, well: Well) -> None:
        from flows.worker import InProcess

        await self.watch.look()
        await self._crash_dead_runs(self.app.clock())
        worker = self._worker = InProcess(self.boot)
        self._hold_back()
        working = asyncio.ensure_future(worker.start(printer=lambda *_: None))
        try:
            well()
            await asyncio.wait({working})
            working.result()
            raise Died("it stopped looking for runs")
        finally:
            await worker.drain(DRAIN_PATIENCE)
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)

    def _warm_up(self) -> None:
        """While the server starts: what takes seconds to import or to compile, and would hold up the first run."""
        for name in ("flows.worker", "flows.news", "prefect.artifacts"):
            importlib.import_module(name)
        self._warm_dispatch()

    async def _bring_in_line(self, rules: Mapping[str, Terms], everything: bool) -> object:
        from flows.automations import install
        from flows.deployments import bring_in_line, wanted

        def interrupted() -> bool:
            return self._closing or self.watch.out_of_line  # an edit meanwhile goes first

        wishes = wanted(rules, self.hands, self._sources)
        done = await bring_in_line(wishes, stopping=interrupted, known=None if everything else self._in_line)
        self._in_line = None if done.left else {wish.name: wish.version for wish in wishes}
        if everything and not interrupted():
            await install(self.app.engine, self.app.clock)
        return done

    async def _paused(self) -> Paused:
        from flows.deployments import paused_schedules

        return await paused_schedules()

    async def _tell_events(self) -> int:
        from flows.news import News

        if self._news is None:
            self._news = News(self.app.engine, self.app.clock)
        return await self._news.tell()

    async def _tell_rules(self, rules: Mapping[str, Terms], problems: str) -> None:
        from flows.notices import tell_rules

        await tell_rules(rules, problems)

    async def _crash_dead_runs(self, now: datetime) -> int:
        from flows.reaper import crash_dead_runs

        return await crash_dead_runs(self.boot, now, await asyncio.to_thread(self._seen, now))

    def _seen(self, now: datetime) -> set[str]:
        try:
            with reading(self.app.engine) as connection:
                return living(connection, now)
        except SQLAlchemyError:  # then Prefect's word alone counts
            return set()

    async def _close(self) -> None:
        """Worker first, then dispatcher, heartbeat, post room and pages, the server last: each may need the next."""
        self._closing = True
        for name in reversed([name for name in self._keepers if name != PartName.PREFECT]):
            await self._stop(name)
        if self._clockwork is not None:
            await self._clockwork.stop()
        if self._worker is not None:
            from flows.ending import flush

            await flush()
        if PartName.PREFECT in self._keepers:
            await self._stop(PartName.PREFECT)
        with contextlib.suppress(Exception):  # the database may be away; the row is cleared away by others then
            await asyncio.to_thread(self.presence.leave)
        self.app.engine.dispose()

    async def _stop(self, name: str) -> None:
        began = time.monotonic()
        await self._keepers[name].stop()
        log.info("%s stopped in %.1f s", name, time.monotonic() - began)


_PULSE = (PartName.HEARTBEAT, PartName.DISPATCHER)
