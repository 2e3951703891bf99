"""How things stand, read from the database while Prometheus asks: few small statements, and not more often than needed.

Every count is bounded, so that a scrape costs the same with a thousand rows and with a hundred million.
"""

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from sqlalchemy import Connection, Select, func, select, text
from sqlalchemy.exc import SQLAlchemyError

from beforehand.parts import PartState
from beforehand.sight.classes import scope_class, topic_class
from beforehand.surroundings import SILENT
from beforehand.wiring import App
from messaging.breaker import ACCOUNTS, opened
from messaging.claims import message
from messaging.events_out import event_out
from messaging.switches import is_held, switch
from models.database import reading
from models.housekeeping import Lease, Notice, RuleInForce
from models.staff import HeldRun, Process
from models.vocabulary import Channel, HeldState

MOST = 100_000
"""No row beyond this is counted: "a hundred thousand or more" is all that somebody on duty needs."""

KEPT = 5.0
"""Seconds for which what was read is told again, however many ask."""

HEARTBEAT = "heartbeat"

held_run: Any = HeldRun.__table__  # type: ignore[attr-defined]
process: Any = Process.__table__  # type: ignore[attr-defined]
notice: Any = Notice.__table__  # type: ignore[attr-defined]
lease: Any = Lease.__table__  # type: ignore[attr-defined]
in_force: Any = RuleInForce.__table__  # type: ignore[attr-defined]

WAITING = text("message.state IN ('planned', 'queued')")
HELD = text("message.state = 'held'")
UNSETTLED = text("message.state = 'unknown' AND message.ended_at IS NULL")
"""Literal, so that SQLite knows its partial indexes by them."""

OPEN_HELD = (HeldState.WAITING, HeldState.CANARY, HeldState.GOING, HeldState.STOPPED)


class Gauges(Collector):
    """The gauges of an application, for a registry."""

    def __init__(self, app: App, kept: float = KEPT) -> None:
        self._app, self._keep = app, kept
        self._lock = Lock()
        self._read: list[Metric] = []
        self._at = -1e9

    def describe(self) -> Iterable[Metric]:
        """Nothing, so that registering asks no database."""
        return []

    def collect(self) -> Iterable[Metric]:
        """The gauges as they were read some seconds ago at most; one reads, the others wait for it."""
        with self._lock:
            if monotonic() - self._at >= self._keep:
                self._read = list(self._look())
                self._at = monotonic()
            return list(self._read)

    def _look(self) -> Iterator[Metric]:
        yield InfoMetricFamily("beforehand", "Which version runs, over which database.", value=self._about())
        yield from _parts(self._app)
        yield from _disks(self._app)
        try:
            with reading(self._app.engine) as connection:
                found = list(_standing(connection, self._app, self._app.clock()))
        except SQLAlchemyError:
            yield _one("database_up", "1 where the database answered, else 0.", 0)
            return
        yield _one("database_up", "1 where the database answered, else 0.", 1)
        yield from found

    def _about(self) -> dict[str, str]:
        return {"version": _version(), "database": self._app.engine.dialect.name}


def _version() -> str:
    try:
        return version("beforehand")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "unknown"


def _parts(app: App) -> Iterator[Metric]:
    standing = app.parts.now() if app.parts else {}
    if not standing:
        return
    well = {name: int(one.state is PartState.WELL) for name, one in standing.items()}
    yield _by("part_up", "1 where a part of this process is well, else 0.", "part", well)
    deaths = CounterMetricFamily("beforehand_part_deaths", "How often a part of this process died.", labels=["part"])
    for name in sorted(standing):
        deaths.add_metric([name], standing[name].deaths)
    yield deaths


def _standing(connection: Connection, app: App, now: datetime) -> Iterator[Metric]:
    yield from _queue(connection, now)
    yield _one("messages_held", "Messages that are held.", _up_to(connection, select(message.c.id).where(HELD)))
    unsettled = _up_to(connection, select(message.c.id).where(UNSETTLED))
    yield _one("messages_unsettled", "Messages of which nobody knows yet whether they went.", unsettled)
    yield from _held_runs(connection)
    yield from _switches(connection, app, now)
    resting = {channel.value: 0 for channel in Channel} | dict.fromkeys(ACCOUNTS.values(), 0)
    resting |= {one.name: 1 for one in opened(connection)}
    yield _by("breaker_open", "1 where an account or a channel rests because it is at fault.", "name", resting)
    topics = Counter(topic_class(topic) for topic in connection.execute(select(notice.c.topic)).scalars())
    yield _by("notices", "What staff are called for, by what it is about.", "about", {"rules": 0} | topics)
    yield from _processes(connection, now)
    statuses = select(in_force.c.status, func.count()).group_by(in_force.c.status)
    rules = {"live": 0} | dict(connection.execute(statuses).tuples().all())
    yield _by("rules_in_force", "Rules in force, by status.", "status", rules)
    untold = _up_to(connection, select(event_out.c.id).where(text("event_out.told_at IS NULL")))
    yield _one("events_untold", "Events that Prefect has not been told of.", untold)


def _queue(connection: Connection, now: datetime) -> Iterator[Metric]:
    due_at = select(message.c.due_at).where(WAITING, message.c.due_at <= now)
    oldest = connection.execute(due_at.order_by(message.c.due_at).limit(1)).scalar_one_or_none()
    age = max(0.0, (now - oldest).total_seconds()) if oldest else 0.0
    yield _one("messages_due", "Messages that could go now.", _up_to(connection, due_at))
    yield _one("queue_age_seconds", "Since when the oldest of them could have gone.", age)


def _held_runs(connection: Connection) -> Iterator[Metric]:
    h = held_run.c
    rows = (
        select(h.state, func.count(), func.sum(h.subjects)).where(text("held_run.ended_at IS NULL")).group_by(h.state)
    )
    runs, reach = {state.value: 0 for state in OPEN_HELD}, {state.value: 0 for state in OPEN_HELD}
    for state, count, would_reach in connection.execute(rows):
        runs[state], reach[state] = count, int(would_reach or 0)
    yield _by("held_runs", "Runs that the brake holds or watches, by state.", "state", runs)
    yield _by("held_run_reach", "What they would reach in all, in customers or subjects.", "state", reach)


def _switches(connection: Connection, app: App, now: datetime) -> Iterator[Metric]:
    rows = connection.execute(select(switch.c.scope, switch.c.stopped_at).where(switch.c.stopped_at.is_not(None)))
    in_file = dict.fromkeys(app.stop_file.halted(), app.stop_file.since() or now)
    by_row = {row.scope: row.stopped_at for row in rows if scope_class(row.scope) != "other"}
    set_now = in_file | by_row
    kinds = Counter(scope_class(scope) for scope in set_now)
    everything = {"all": 0, "channel": 0, "rule": 0, "webhook": 0} | kinds
    age = (now - min(set_now.values())).total_seconds() if set_now else 0.0
    yield _by(
        "kill_switches_set", "Kill switches that are set, by what they stop; the stop file's, too.", "scope", everything
    )
    yield _one("kill_switch_age_seconds", "Since when the oldest of them is set.", max(0.0, age))
    yield _one("restore_hold", "1 while all is held because a database was restored.", int(is_held(connection)))


def _processes(connection: Connection, now: datetime) -> Iterator[Metric]:
    seen = select(func.count()).select_from(process).where(process.c.seen_at > now - SILENT)
    yield _one(
        "processes_seen", "Processes that have shown a sign of life lately.", connection.execute(seen).scalar_one()
    )
    holds = select(lease.c.holder).where(lease.c.duty == HEARTBEAT, lease.c.until > now)
    held = connection.execute(holds).first() is not None
    yield _one("heartbeat_held", "1 where any process holds the heartbeat, else 0.", int(held))


def _disks(app: App) -> Iterator[Metric]:
    folders = {"var": app.settings.var, "journal": app.settings.journal or app.settings.var / "journal"}
    free = {name: room for name, path in folders.items() if (room := _free(path)) is not None}
    if free:
        yield _by("disk_free_bytes", "Room where the house writes.", "folder", free)


def _free(path: Path) -> int | None:
    while not path.exists() and path != path.parent:
        path = path.parent
    try:
        return shutil.disk_usage(path).free
    except OSError:
        return None


def _up_to(connection: Connection, rows: Select[Any]) -> int:
    counted = rows.limit(MOST).subquery()
    return int(connection.execute(select(func.count()).select_from(counted)).scalar_one())


def _one(name: str, about: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"beforehand_{name}", about, value=value)


def _by(name: str, about: str, label: str, values: dict[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"beforehand_{name}", about, labels=[label])
    for word in sorted(values):
        family.add_metric([word], values[word])
    return family
