"""Processes that really die: dispatchers and reapers, forked from a server that has imported and warmed everything.

The forked ones open their own database connections and their own sockets; nothing is shared but a few counted bytes.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Engine

from beforehand.passes import run_rule
from beforehand.web.postroom.server import PostRoom
from messaging.channels.base import Channel as Way
from messaging.dispatch import Plan, dispatch
from messaging.journal import Journal
from messaging.outbox import reap
from messaging.points import At, Point, nowhere
from messaging.stop_file import StopFile
from models.database import connect
from models.vocabulary import Channel
from tests.deciding import House
from tests.integration.out_world import POLICY, SECRET, envelopes, ways

FAR = "http://127.0.0.1:9"
_warm = ways(SimpleNamespace(account_sid="AC", auth_token="t", http_url=FAR, host="127.0.0.1", smtp_port=9))  # type: ignore[arg-type]
_warm[Channel.SMS].look(["SM" + "0" * 32])  # the SDK loads its parts when first used
_warm[Channel.VOICE].look(["CA" + "0" * 32])


def forks() -> ForkServerContext:
    """A context whose processes start within some milliseconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


@dataclass(frozen=True)
class Site:
    """Where a process works: a database, its journals, and a post room, by their addresses."""

    url: str
    account_sid: str
    auth_token: str
    http_url: str
    host: str
    smtp_port: int
    folder: Path

    @classmethod
    def of(cls, engine: Engine, room: PostRoom, folder: Path) -> "Site":
        """The addresses of them; ``folder`` is for the journals."""
        url = engine.url.render_as_string(hide_password=False)
        return cls(url, room.account_sid, room.auth_token, room.http_url, room.host, room.smtp_port, folder)

    def journal(self) -> Journal:
        """This process's own journal."""
        return Journal(self.folder, SECRET)

    def ways(self, timeout: float = 10) -> dict[Channel, Way]:
        """Our channels, pointed at the post room."""
        return ways(self, timeout=timeout)  # type: ignore[arg-type]


def wall() -> datetime:
    """The real clock."""
    return datetime.now(UTC)


def die() -> None:
    """As if the power went."""
    os.kill(os.getpid(), signal.SIGKILL)


def stop() -> None:
    """As if the machine slept: until somebody says SIGCONT."""
    # to this very thread: another one might take the signal some time later, while this one goes on
    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


def on(point: Point, nth: int, then: Callable[[], None]) -> At:
    """Do ``then`` when ``point`` is reached for the ``nth`` time, from 1."""
    left, lock = [nth], threading.Lock()

    def at(reached: Point) -> None:
        if reached == point:
            with lock:
                left[0] -= 1
                mine = left[0] == 0
            if mine:
                then()

    return at


def dispatch_once(site: Site, channels: list[str], at: At = nowhere, **plan: Any) -> None:
    """Dispatch what is due by the real clock on these channels, then let go."""
    engine = connect(site.url)
    chosen = {name: way for name, way in site.ways().items() if name in channels}
    dispatch(engine, wall, chosen, envelopes, Plan(POLICY, at=at, journal=site.journal(), **plan))
    engine.dispose()


def crash_dispatching(site: Site, channel: str, point: str, nth: int, batch: int) -> None:
    """Dispatch one batch and die at a point."""
    dispatch_once(site, [channel], on(Point(point), nth, die), batch=batch, limit=batch)


def crash_reaping(site: Site, ahead: float) -> None:
    """Reap by a clock that is ahead (in seconds), and die just before that is committed."""
    reap(connect(site.url), wall() + timedelta(seconds=ahead), at=on(Point.REAPING, 1, die))


def stopped_dispatching(site: Site, channel: str, point: str, lease: float, batch: int) -> None:
    """Dispatch one batch with a short lease, and stop at a point as if the machine slept."""
    at = on(Point(point), 1, stop) if point != Point.ACCEPTED else nowhere
    dispatch_once(site, [channel], at, batch=batch, limit=batch, lease_seconds=lease, send_timeout=lease / 4)


def dispatch_on(site: Site, lease: float, batch: int, armed: Any) -> None:
    """Dispatch on and on, all channels, until killed. ``armed`` is a shared number: groups armed and not recorded."""
    engine, channels, lock = connect(site.url), site.ways(), threading.Lock()

    def at(point: Point) -> None:
        step = {Point.ARMED: 1, Point.RECORDED: -1}.get(point, 0)
        if step:
            with lock:
                armed.value += step

    plan = Plan(POLICY, batch=batch, lease_seconds=lease, send_timeout=1, at=at, journal=site.journal())
    plan = replace(plan, halted=StopFile(site.folder / "STOP").halted)
    while True:
        dispatch(engine, wall, channels, envelopes, plan)
        time.sleep(0.02)


def plan_at_once(url: str, folder: Path, now: datetime, slot: datetime, ready: Any) -> None:
    """One pass of the house's rule at ``now``, begun when every other planner is ready, too."""
    engine = connect(url)
    app = House(engine, folder).app
    ready.wait(60)
    run_rule(app, "hello", now, slot=slot)
    engine.dispose()


def spawn(context: ForkServerContext, job: Callable[..., None], *given: Any) -> ForkServerProcess:
    """Start a process that does one job."""
    process = context.Process(target=job, args=given, daemon=True)
    process.start()
    return process


def runs(process: ForkServerProcess) -> bool:
    """Whether it neither sleeps by SIGSTOP (Linux's own word on it) nor is at its end."""
    try:
        stat = Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii")
    except OSError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] not in "TZX"


def send_signal(processes: Iterable[ForkServerProcess], number: int) -> None:
    """Send a signal to those that are still there."""
    for one in processes:
        if one.pid and one.exitcode is None:
            with suppress(ProcessLookupError):
                os.kill(one.pid, number)


def wait_until(true: Callable[[], bool], seconds: float = 20) -> None:
    """Look every few milliseconds. Raises TimeoutError."""
    until = time.monotonic() + seconds
    while not true():
        if time.monotonic() > until:
            raise TimeoutError
        time.sleep(0.003)
