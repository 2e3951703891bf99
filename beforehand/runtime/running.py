"""From the first line to the last: the house started, used, and stopped by Ctrl-C or SIGTERM.

The parts are imported where they are used: the Prefect server must start at once, and they take seconds to import.
"""

import asyncio
import importlib
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError
from rich.console import Console

from beforehand.parts import CHOSEN, PartName
from beforehand.runtime import logs
from beforehand.runtime.child import PrefectChild
from beforehand.runtime.demo import DemoFolder, Watch, demo_settings, from_anywhere
from beforehand.runtime.opening import server_elsewhere, set_up_prefect, start_prefect, with_free_ports
from beforehand.runtime.ports import NoPortError
from beforehand.runtime.run_file import AlreadyRunning, RunFile, told_of
from beforehand.settings import Settings
from flows.boot import new_boot

if TYPE_CHECKING:
    from beforehand.runtime.house import House
    from beforehand.runtime.shop import Loaded
    from beforehand.wiring import App

T = TypeVar("T")
_log = logging.getLogger("beforehand.house")


class NotStarted(Exception):
    """The house could not be started; the text says why and what to do."""


class Stopped(Exception):
    """A person asked for the end before we were ready."""


def run_demo(*, once: bool, as_json: bool, keep: bool) -> int:
    """Run the demo to its end; gives the exit code. Raises NotStarted."""
    watch = Watch()
    console = Console(stderr=as_json, highlight=False, soft_wrap=True)
    from_anywhere()
    try:
        folder = DemoFolder(Settings(_env_file=None, delivery="post_room").var, keep=keep)
        settings = with_free_ports(demo_settings(folder.path), console.print)
    except (RuntimeError, OSError, ValidationError, NoPortError) as wrong:
        raise NotStarted(f"The demo cannot start: {wrong}") from wrong
    logs.set_up(folder.path / "house.log", terminal=logging.ERROR)
    console.print("[bold]Beforehand[/]: the sample shop. Everything stays on this machine; Ctrl-C stops it.")
    demo = Demo(folder, settings, watch, console, once, as_json)
    try:
        return asyncio.run(demo.run())
    except Stopped:
        console.print("Stopped.")
        return 1 if once else 0
    except OSError as wrong:
        raise NotStarted(f"The demo cannot start: {wrong}") from wrong
    finally:
        folder.close()


class Demo:
    """One demo, from the server's start to its end."""

    def __init__(
        self, folder: DemoFolder, settings: Settings, watch: Watch, console: Console, once: bool, as_json: bool
    ) -> None:
        self._folder, self._settings, self._watch, self._console = folder, settings, watch, console
        self._once, self._as_json = once, as_json

    async def run(self) -> int:
        """Start the server, load the shop meanwhile, run the first round, and go on until stopped, or end."""
        stopping = Stopping()
        stop = stopping.stop
        child = start_prefect(self._settings)
        stopping.at_once = child.kill
        await child.start()
        try:
            await unless(stop, asyncio.to_thread(importlib.import_module, "beforehand.runtime.house"))
            return await self._over_the_shop(stop, child)
        finally:
            await child.stop()

    async def _over_the_shop(self, stop: asyncio.Event, child: PrefectChild) -> int:
        from beforehand.ingest import MappingErrors
        from beforehand.runtime import shop, shown
        from beforehand.runtime.house import House
        from flows.hands import SourcesUnusable
        from models.database import DatabaseError
        from rules.errors import RuleErrors

        say = self._console.print
        try:
            opening = asyncio.to_thread(shop.open_shop, self._settings, self._folder, self._watch, say)
            app, loaded = await unless(stop, opening)
            shown.show_shop(self._console, loaded)
            house = House(app, child, sources=str(shop.SOURCES), pulse=False)
        except (DatabaseError, MappingErrors, SourcesUnusable, RuleErrors) as wrong:
            raise NotStarted(f"The demo cannot start: {wrong}") from wrong
        async with house:
            if not await unless(stop, house.ready()):
                log = self._folder.path / "prefect-server.log"
                raise NotStarted(f"The Prefect server did not become ready; see {log}")
            await unless(stop, _deployed(house))
            self._watch.mark("ready")
            return await self._rounds(stop, house, loaded)

    async def _rounds(self, stop: asyncio.Event, house: "House", loaded: "Loaded") -> int:
        from beforehand.runtime import shown
        from beforehand.runtime.first_round import first_round

        found = await unless(stop, first_round(house, self._watch))
        if self._as_json:
            figures = shown.as_json(loaded, found, self._watch, house.addresses)
            json.dump(figures, sys.stdout, ensure_ascii=False, indent=2)
            sys.stdout.write("\n")
        else:
            shown.show_round(self._console, found)
            shown.show_end(self._console, self._watch, None if self._once else house.addresses)
        if self._once:
            return 1 if found.problems else 0
        await house.start_heartbeat()
        self._console.print("The heartbeat goes on; rules can be edited while it runs. Ctrl-C stops everything.")
        await stop.wait()
        self._console.print("Stopping ...")
        return 0


async def _deployed(house: "House") -> None:
    """Until every rule has its deployment: a server that is busy may not answer for a moment."""
    while house.watch.out_of_line:
        await house.watch.bring_in_line()
        await asyncio.sleep(0.1)


def run_up(wire: Callable[[], "App"], only: Collection[PartName] = CHOSEN) -> int:
    """Run the house's parts ``only`` over the user's own data until it is stopped. Raises NotStarted and RuleErrors."""
    console = Console(highlight=False, soft_wrap=True)
    app = wire()
    _make_sure(app, console)
    boot = new_boot()
    settings = app.settings
    logs.set_up(settings.var / "house.log", terminal=logging.INFO, style=settings.log_format, boot=boot)
    if settings.log_format == "json":
        console = Console(highlight=False, soft_wrap=True, quiet=True)  # what is said is in the log, for machines
    try:
        return asyncio.run(_up(app, console, boot, only))
    except Stopped:
        return 0
    except AlreadyRunning as wrong:
        raise NotStarted(str(wrong)) from wrong
    except (NoPortError, OSError) as wrong:
        raise NotStarted(f"The house cannot start: {wrong}") from wrong


def _make_sure(app: "App", console: Console) -> None:
    """Look at the database before anything goes out. Raises NotStarted where it is damaged; says where it is held."""
    from messaging.journal.book import SAID
    from models.database import writing
    from models.trouble import damaged, quick_check

    found = quick_check(app.engine)
    app.journal.note_damage(damaged(app.engine.url, found) if found else "")
    if found:
        raise NotStarted(damaged(app.engine.url, found))
    with writing(app.engine) as connection:
        if app.journal.look(connection, app.clock()):
            console.print(f"[bold red]Held:[/] {SAID}")


async def _up(app: "App", console: Console, boot: str, only: Collection[PartName]) -> int:
    stopping = Stopping()
    own_server = PartName.PREFECT in only and not server_elsewhere(app.settings)
    settings = with_free_ports(app.settings, console.print, only, server=own_server)
    staff = f"http://{settings.staff_host}:{settings.staff_port}"
    started = app.clock().isoformat(timespec="seconds")
    file = RunFile(settings.var, told_of(boot, only, own_server=own_server, started_at=started, staff=staff))
    try:
        api, child = set_up_prefect(settings, only)
        if child is not None:
            stopping.at_once = child.kill
            await child.start()
        try:
            await unless(stopping.stop, asyncio.to_thread(importlib.import_module, "beforehand.runtime.house"))
            await _over_their_data(stopping.stop, replace(app, settings=settings), (api, child), console, (boot, only))
        finally:
            if child is not None:
                await child.stop()
    finally:
        file.close()
    return 0


async def _over_their_data(
    stop: asyncio.Event,
    app: "App",
    server: "tuple[str, PrefectChild | None]",
    console: Console,
    who: tuple[str, Collection[PartName]],
) -> None:
    from beforehand.runtime import shown
    from beforehand.runtime.house import House

    (api, child), (boot, only) = server, who
    began = time.monotonic()
    async with House(app, child, api=api, boot=boot, only=only) as house:
        _log.info("the house is starting: %s; staff pages at %s", ", ".join(sorted(only)), house.addresses.staff)
        shown.show_addresses(console, house.addresses)
        if child is not None:
            _log.info("the Prefect server's own words are in %s", app.settings.var / "prefect-server.log")
            console.print("The Prefect server is starting; messages that are due go out already.")
        if await unless(stop, house.ready()):
            _log.info("every part is well after %.1f s", time.monotonic() - began)
            console.print("Everything is up. Ctrl-C stops it.")
        await stop.wait()
        began = time.monotonic()
        console.print("Stopping ... (a second Ctrl-C ends it at once)")
    _log.info("stopped in %.1f s", time.monotonic() - began)


class Stopping:
    """``stop`` is set by the first SIGINT or SIGTERM. The second ends the process at once, after ``at_once``."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.at_once: Callable[[], None] = lambda: None
        loop = asyncio.get_running_loop()
        for one in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(one, self._signalled, one)

    def _signalled(self, which: signal.Signals) -> None:
        if self.stop.is_set():
            self.at_once()
            os._exit(128 + which)
        self.stop.set()


async def unless(stop: asyncio.Event, work: Awaitable[T]) -> T:
    """The value of ``work``. Raises Stopped as soon as ``stop`` is set; ``work`` is cancelled then."""
    stopping = asyncio.ensure_future(stop.wait())
    working = asyncio.ensure_future(work)
    try:
        await asyncio.wait({stopping, working}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            raise Stopped
        return working.result()
    finally:
        stopping.cancel()
