"""From the first line to the last: the house started, used, and stopped by Ctrl-C or SIGTERM."""

import asyncio
import json
import logging
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

from pydantic import ValidationError
from rich.console import Console

from beforehand.ingest import MappingErrors
from beforehand.runtime import logs, shown
from beforehand.runtime.demo import (
    SOURCES,
    DemoFolder,
    Loaded,
    Watch,
    demo_settings,
    from_anywhere,
    open_shop,
)
from beforehand.runtime.first_round import Round, first_round
from beforehand.runtime.house import House, start_prefect, with_free_ports
from beforehand.runtime.ports import NoPortError
from beforehand.settings import Settings
from beforehand.wiring import App
from flows.hands import SourcesUnusable
from models.database import DatabaseError
from rules.errors import RuleErrors

T = TypeVar("T")


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
        folder = DemoFolder(Settings(_env_file=None).var, keep=keep)
    except (RuntimeError, OSError, ValidationError) as wrong:
        raise NotStarted(f"The demo cannot start: {wrong}") from wrong
    logs.set_up(folder.path / "house.log", terminal=logging.ERROR)
    try:
        return asyncio.run(_demo(folder, watch, console, once=once, as_json=as_json))
    except Stopped:
        console.print("Stopped.")
        return 0 if not once else 1
    except (NoPortError, DatabaseError, MappingErrors, SourcesUnusable, RuleErrors, ValidationError, OSError) as wrong:
        raise NotStarted(f"The demo cannot start: {wrong}") from wrong
    finally:
        folder.close()


async def _demo(folder: DemoFolder, watch: Watch, console: Console, *, once: bool, as_json: bool) -> int:
    stop = stop_on_signals()
    console.print("[bold]Beforehand[/]: the sample shop. Everything stays on this machine; Ctrl-C stops it.")
    settings = with_free_ports(demo_settings(folder.path), console.print)
    child = start_prefect(settings)
    await child.start()
    try:
        app, loaded = await unless(stop, asyncio.to_thread(open_shop, settings, folder, watch, console.print))
    except BaseException:
        await child.stop()
        raise
    shown.show_shop(console, loaded)
    async with House(app, child, sources=str(SOURCES), pulse=False) as house:
        if not await unless(stop, house.ready()):
            raise NotStarted(f"The Prefect server did not become ready; see {folder.path / 'prefect-server.log'}")
        watch.mark("ready")
        found = await unless(stop, first_round(house, watch))
        _tell(console, loaded, found, watch, house, as_json=as_json)
        if not once:
            await house.start_heartbeat()
            console.print("The heartbeat goes on; rules can be edited while it runs. Ctrl-C stops everything.")
            await stop.wait()
            console.print("Stopping ...")
    return 1 if found.problems and once else 0


def _tell(console: Console, loaded: Loaded, found: Round, watch: Watch, house: House, *, as_json: bool) -> None:
    if as_json:
        json.dump(shown.as_json(loaded, found, watch, house.addresses), sys.stdout, ensure_ascii=False, indent=2)
        sys.stdout.write("\n")
        return
    shown.show_round(console, found)
    first = watch.seconds.get("first message")
    console.print(f"First message after {first} s, all of it after {watch.seconds['first round']} s. Open:")
    shown.show_addresses(console, house.addresses)


def run_up(wire: Callable[[], App]) -> int:
    """Run the house over the user's own data until it is stopped. Raises NotStarted and RuleErrors."""
    console = Console(highlight=False, soft_wrap=True)
    app = wire()
    logs.set_up(app.settings.var / "house.log", terminal=logging.INFO)
    try:
        return asyncio.run(_up(app, console))
    except Stopped:
        return 0
    except (NoPortError, OSError) as wrong:
        raise NotStarted(f"The house cannot start: {wrong}") from wrong


async def _up(app: App, console: Console) -> int:
    stop = stop_on_signals()
    settings = with_free_ports(app.settings, console.print)
    app = App(settings, app.engine, app.clock)
    child = start_prefect(settings)
    async with House(app, child) as house:
        shown.show_addresses(console, house.addresses)
        console.print("The Prefect server is starting; messages that are due go out already.")
        if await unless(stop, house.ready()):
            console.print("Everything is up. Ctrl-C stops it.")
        await stop.wait()
        console.print("Stopping ...")
    return 0


def stop_on_signals() -> asyncio.Event:
    """An event that SIGINT and SIGTERM set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for one in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(one, stop.set)
    return stop


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
