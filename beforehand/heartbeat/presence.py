"""The row by which a process shows that it lives, and by which processes notice that their rules are not the same."""

import importlib.metadata
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, delete, select

from beforehand.heartbeat.beats import DUTY
from beforehand.heartbeat.lease import LEASE
from beforehand.parts import Parts
from beforehand.surroundings import PROCESS, SILENT, database_ahead_ms
from beforehand.wiring import Clock
from flows.boot import earlier_life, gone_here
from messaging.breaker import call_staff, dismiss
from models.database import dialect_insert, writing

log = logging.getLogger("beforehand.house")

EVERY = 5.0
"""Seconds between two signs of life."""
FORGOTTEN = timedelta(minutes=10)
"""After so long its row is taken away."""
ROLLING_OUT = timedelta(seconds=20)
"""So long new rule files may take to reach all machines before staff are told."""


def version() -> str:
    """The version of Beforehand that runs here."""
    try:
        return importlib.metadata.version("beforehand")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


@dataclass
class Presence:
    """Signs of life of this process, ``boot``. ``rules`` gives the digest of the rules that it has loaded.

    ``addresses`` go into the row beside the parts that listen there. ``ahead_ms`` is by how much our clock is ahead of
    the database's, None where that has none of its own. ``others_rules`` is the process in charge when its rules are
    others than ours: then no pass is run here, since what the one in charge has loaded is in force.
    """

    engine: Engine
    clock: Clock
    boot: str
    parts: Parts
    rules: Callable[[], str]
    addresses: dict[str, str] = field(default_factory=dict)
    ahead_ms: int | None = None
    others_rules: str = ""
    _since: datetime | None = None
    _started: datetime | None = None

    def note(self) -> None:
        """Show that we live, look whose rules are in force, and clear away who is gone. Blocking."""
        with writing(self.engine) as connection:
            self.ahead_ms = database_ahead_ms(connection, self.clock)
            now = self.clock()
            self._started = self._started or now
            row = self._row(now)
            put = dialect_insert(connection, PROCESS).values(boot=self.boot, **row)
            connection.execute(put.on_conflict_do_update(index_elements=["boot"], set_=row))
            leader = self._leader(connection, now)
            self._compare(connection, leader, now)
            if leader is not None and leader.boot == self.boot:
                _forget(connection, now)

    def arrive(self) -> None:
        """Take away what an earlier process of this machine left behind."""
        with writing(self.engine) as connection:
            boots = connection.execute(select(PROCESS.c.boot)).scalars().all()
            _take_away(connection, [boot for boot in boots if gone_here(boot) or earlier_life(boot, self.boot)])

    def leave(self) -> None:
        """Take our row away: we stop in peace."""
        with writing(self.engine) as connection:
            _take_away(connection, [self.boot])

    def _row(self, now: datetime) -> dict[str, Any]:
        parts = {name: standing.as_json() for name, standing in self.parts.now().items()}
        for name, address in self.addresses.items():
            if name in parts:
                parts[name]["address"] = address
        return {
            "host": socket.gethostname()[:255],
            "parts": parts,
            "version": version(),
            "rules": self.rules(),
            "started_at": self._started,
            "seen_at": now,
            "ahead_ms": self.ahead_ms,
        }

    def _leader(self, connection: Connection, now: datetime) -> Any:
        found = select(PROCESS).join(LEASE, LEASE.c.holder == PROCESS.c.boot)
        found = found.where(LEASE.c.duty == DUTY, LEASE.c.until > now, PROCESS.c.seen_at > now - SILENT)
        return connection.execute(found).first()

    def _compare(self, connection: Connection, leader: Any, now: datetime) -> None:
        if leader is None or leader.boot == self.boot or leader.rules == self.rules():
            if self.others_rules:
                log.info("the rules here are those in force again")
                dismiss(connection, topic_of(self.boot))
            self.others_rules, self._since = "", None
            return
        self.others_rules, self._since = leader.boot, self._since or now
        if now - self._since >= ROLLING_OUT:
            said = (
                f"the process {self.boot} has other rule files than {leader.boot}, whose rules are in force; it runs "
                "no pass until they are the same"
            )
            call_staff(connection, topic_of(self.boot), said, now)


def topic_of(boot: str) -> str:
    """The notice's topic while a process has other rules than those in force."""
    return f"rules:{boot[-50:]}"


def _forget(connection: Connection, now: datetime) -> None:
    silent = select(PROCESS.c.boot).where(PROCESS.c.seen_at < now - FORGOTTEN)
    _take_away(connection, list(connection.execute(silent).scalars()))


def _take_away(connection: Connection, boots: list[str]) -> None:
    connection.execute(delete(PROCESS).where(PROCESS.c.boot.in_(boots)))
    for boot in boots:
        dismiss(connection, topic_of(boot))
