"""What is around the tables: the processes that run, the disk, the clocks, and whether Prefect answers."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, build_opener

from sqlalchemy import Connection, func, select
from sqlalchemy.engine import make_url

from beforehand.settings import Settings
from beforehand.wiring import Clock
from models.housekeeping import Lease
from models.staff import Process

PROCESS: Any = Process.__table__  # type: ignore[attr-defined]
LEASE: Any = Lease.__table__  # type: ignore[attr-defined]

SILENT = timedelta(seconds=15)
"""A process that was not seen for so long is gone, or cannot reach the database."""
SKEW = timedelta(seconds=2)
"""Clocks that differ by more are told: leases, quiet hours and send-by are reckoned by them."""
LOW_BYTES = 1024**3
LOW_SHARE = 0.05
"""A disk with less than a GB or less than so much of it free is told."""

_direct = build_opener(ProxyHandler({}))


@dataclass(frozen=True)
class ProcessSeen:
    """A process of the house by its row. ``silent``: not seen lately. ``leads``: it does what is done alone."""

    boot: str
    host: str
    version: str
    parts: Mapping[str, Mapping[str, Any]]
    rules: str | None
    started_at: datetime
    seen_at: datetime
    ahead_ms: int | None
    silent: bool
    leads: bool

    @property
    def not_well(self) -> list[str]:
        """The names of its parts that are down."""
        well = ("well", "starting", "stopped")
        return sorted(name for name, part in self.parts.items() if part.get("state") not in well)


@dataclass(frozen=True)
class Disk:
    """Room where ``what`` is written, in bytes."""

    what: str
    path: str
    free: int
    total: int

    @property
    def low(self) -> bool:
        """Whether it will be full soon."""
        return self.free < LOW_BYTES or self.free < LOW_SHARE * self.total


@dataclass(frozen=True)
class PrefectSeen:
    """Prefect's server: whether it answers, and by how many seconds our clock is ahead of its own (whole seconds)."""

    api: str
    up: bool
    ahead_seconds: float | None = None


@dataclass(frozen=True)
class Surroundings:
    """All of it. ``prefect`` is None where no process that works with it runs. ``database_ahead_ms``: our clock's."""

    processes: list[ProcessSeen] = field(default_factory=list)
    disks: list[Disk] = field(default_factory=list)
    prefect: PrefectSeen | None = None
    database_ahead_ms: int | None = None


def look_around(connection: Connection, settings: Settings, clock: Clock, now: datetime) -> Surroundings:
    """Look at all of it. Prefect is asked only where a process runs that works with it."""
    seen = processes(connection, now)
    api = prefect_api(seen, settings)
    return Surroundings(
        processes=seen,
        disks=disks(settings),
        prefect=ask_prefect(api, clock) if api else None,
        database_ahead_ms=database_ahead_ms(connection, clock),
    )


def living(connection: Connection, now: datetime) -> set[str]:
    """The names (``boot``) of the processes that have shown themselves lately."""
    return set(connection.execute(select(PROCESS.c.boot).where(PROCESS.c.seen_at > now - SILENT)).scalars())


def processes(connection: Connection, now: datetime) -> list[ProcessSeen]:
    """The processes by their rows, the one in charge first, the longest running next."""
    holder = select(LEASE.c.holder).where(LEASE.c.duty == "heartbeat", LEASE.c.until > now)
    leader = connection.execute(holder).scalar_one_or_none()
    rows = connection.execute(select(PROCESS).order_by(PROCESS.c.started_at, PROCESS.c.boot)).all()
    seen = [
        ProcessSeen(
            boot=row.boot,
            host=row.host,
            version=row.version,
            parts=row.parts or {},
            rules=row.rules,
            started_at=row.started_at,
            seen_at=row.seen_at,
            ahead_ms=row.ahead_ms,
            silent=row.seen_at < now - SILENT,
            leads=row.boot == leader,
        )
        for row in rows
    ]
    return sorted(seen, key=lambda one: not one.leads)


def prefect_api(seen: list[ProcessSeen], settings: Settings) -> str:
    """The API of the server that the processes work with; empty where none does."""
    users = [one for one in seen if not one.silent and {"worker", "heartbeat", "prefect"} & one.parts.keys()]
    parts = [one.parts.get(name, {}) for one in users for name in ("prefect", "worker")]
    if told := [part["address"] for part in parts if part.get("address")]:
        return str(told[0])
    own = f"http://127.0.0.1:{settings.prefect_port}/api"
    return (settings.prefect_api_url or os.environ.get("PREFECT_API_URL", "") or own) if users else ""


SLOW = timedelta(seconds=0.5)
"""An answer that took longer says nothing of a clock."""


def ask_prefect(api: str, clock: Clock, timeout: float = 2.0) -> PrefectSeen:
    """Ask Prefect's server how it is. Blocking, up to ``timeout`` seconds."""
    try:
        before = clock()
        with _direct.open(f"{api}/health", timeout=timeout) as answer:
            date, up = answer.headers.get("Date"), answer.status == 200
        took = clock() - before
        return PrefectSeen(api, up, _ahead(before + took / 2, date) if took < SLOW else None)
    except HTTPError:
        return PrefectSeen(api, up=False)
    except (URLError, OSError, ValueError):
        return PrefectSeen(api, up=False)


def _ahead(ours: datetime, date: str | None) -> float | None:
    """Theirs is cut to whole seconds, so that half a second is added to it."""
    if not date:
        return None
    theirs = parsedate_to_datetime(date).astimezone(UTC) + timedelta(seconds=0.5)
    return round((ours - theirs) / timedelta(seconds=1), 1)


def database_ahead_ms(connection: Connection, clock: Clock) -> int | None:
    """By how much our clock is ahead of the database's; None on SQLite, which has ours."""
    if connection.dialect.name != "postgresql":
        return None
    connection.execute(select(1))  # the first statement also opens the transaction
    before = clock()
    theirs: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
    return round((before + (clock() - before) / 2 - theirs) / timedelta(milliseconds=1))


def disks(settings: Settings) -> list[Disk]:
    """The room for VAR, the journal and, where it is a file, the database."""
    places = {"VAR": settings.var, "journal": settings.journal or settings.var / "journal"}
    url = make_url(settings.database_url)
    if url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:":
        places["database"] = Path(url.database)
    found = []
    for what, place in places.items():
        there = next((path for path in (place.absolute(), *place.absolute().parents) if path.exists()), None)
        if there is not None:
            usage = shutil.disk_usage(there)
            found.append(Disk(what, str(place), usage.free, usage.total))
    return found
