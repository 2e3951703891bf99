"""A person is forgotten: first silent, then gone from the rows, the free pages and our files (GDPR article 17).

What stays is a keyed hash of their addresses, so that a new load of the same source does not reach them again.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, delete, select, update

from beforehand.people.held import TABLES, Held, held, key_of
from beforehand.people.traces import remaining, scrub, words_of
from messaging.addresses import EMAIL, PHONE
from messaging.candidates import match, message
from messaging.claims import CLAIMABLE, attempt
from messaging.consents import erasing, silence, suppress
from models import Base
from models.database import writing
from models.vocabulary import AttemptState, MatchState, MessageState, Reason

CAUSE = "erased"
"""The cause of the suppression that outlives the person's rows."""

MOST = 500


class OnTheWire(Exception):
    """A message to this person is on the wire just now, so nothing was deleted; they get no other one."""


@dataclass(frozen=True)
class Forgotten:
    """What went: rows by table, lines by file; ``kept`` addresses somebody else has, too; ``left``: words by file."""

    rows: dict[str, int]
    lines: dict[Path, int] = field(default_factory=dict)
    suppressed: int = 0
    kept: int = 0
    left: dict[Path, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "rows": self.rows,
            "lines": {str(path): count for path, count in self.lines.items()},
            "suppressed_addresses": self.suppressed,
            "shared_addresses": self.kept,
            "left": {str(path): count for path, count in self.left.items()},
        }


def forget(
    engine: Engine,
    customer_id: int,
    *,
    secret: bytes,
    folder: Path,
    clock: Callable[[], datetime],
    patience: timedelta = timedelta(minutes=2),
    pause: Callable[[float], None] = time.sleep,
) -> Forgotten:
    """Forget a customer. ``folder`` is the house's own (``BEFOREHAND_VAR``).

    Raises LookupError for an unknown key, and OnTheWire where a message is still under way after ``patience``.
    """
    with writing(engine) as connection:
        silence(connection)
        found = held(connection, customer_id, secret)
        _say_no_more(connection, found, clock())
    _wait_for_the_wire(engine, found, clock, patience, pause)
    with engine.connect().execution_options(write=True) as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA secure_delete=ON")
            connection.rollback()
        with connection.begin():
            found = held(connection, customer_id, secret)
            _delete(connection, found, clock())
    _free_pages(engine, [name for name, count in found.rows.items() if count])
    own = [address for address in found.addresses if address not in found.shared]
    words = words_of(own, found.name, found.external_id)
    lines = scrub(folder, words)
    left = remaining([folder, *_database_files(engine)], words)
    return Forgotten(found.rows, lines, len(own), len(found.shared), left)


def _say_no_more(connection: Connection, found: Held, now: datetime) -> None:
    """Nothing is begun or sent from here on, whatever a pass under way has decided."""
    for address, hashed in zip(found.addresses, found.hashes, strict=True):
        if address not in found.shared:
            channel = EMAIL if "@" in address else PHONE
            suppress(connection, channel=channel, cause=CAUSE, address_hash=hashed, source="forget", at=now)
    over = {"state": MessageState.CANCELLED, "reason": Reason.SUPPRESSED, "ended_at": now}
    waiting = (message.c.customer_id == found.customer_id, message.c.state.in_((*CLAIMABLE, MessageState.HELD)))
    connection.execute(update(message).where(*waiting).values(over))
    begun = match.c.state.in_([MatchState.OPEN, MatchState.HELD])
    ours = (match.c.customer_id == found.customer_id, begun)
    connection.execute(update(match).where(*ours).values(state=MatchState.STOPPED, ended_at=now))


def _wait_for_the_wire(
    engine: Engine, found: Held, clock: Callable[[], datetime], patience: timedelta, pause: Callable[[float], None]
) -> None:
    until = clock() + patience
    flying = (
        select(attempt.c.id)
        .join(message, message.c.id == attempt.c.message_id)
        .where(
            message.c.customer_id == found.customer_id,
            attempt.c.state.in_([AttemptState.CLAIMED, AttemptState.IN_FLIGHT]),
        )
        .limit(1)
    )
    while True:
        with engine.connect() as connection:
            if connection.execute(flying).first() is None:
                return
        if clock() >= until:
            raise OnTheWire("a message to this person is on the wire just now; nothing was deleted yet, ask again soon")
        pause(0.5)


def _delete(connection: Connection, found: Held, now: datetime) -> None:
    for column, keys in found.loose:
        table = column.table
        for some in _parts(keys):
            change = update(table).where(key_of(table).in_(some))
            connection.execute(change.values({column: None}))
    customer = Base.metadata.tables["customer"]
    head = select(customer.c.id).where(customer.c.household_id == found.customer_id, customer.c.id != found.customer_id)
    others = sorted(connection.execute(head).scalars())
    if others:
        next_head = others[0] if len(others) > 1 else None
        connection.execute(update(customer).where(customer.c.id.in_(others)).values(household_id=next_head))
    with erasing(connection, now):
        for table in reversed(TABLES):
            for some in _parts(found.keys.get(table.name, [])):
                connection.execute(delete(table).where(key_of(table).in_(some)))


def _parts(keys: list[int]) -> list[list[int]]:
    return [keys[start : start + MOST] for start in range(0, len(keys), MOST)]


def _free_pages(engine: Engine, tables: list[str]) -> None:
    """Write the files anew without what was deleted. PostgreSQL: its log and backups have their own time."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if connection.dialect.name == "sqlite":
            raw = connection.connection.driver_connection
            if raw is not None:
                raw.execute("VACUUM")
                raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            return
        for name in tables:
            connection.exec_driver_sql(f'VACUUM "{name}"')


def _database_files(engine: Engine) -> list[Path]:
    name = engine.url.database
    if engine.dialect.name != "sqlite" or not name or name == ":memory:":
        return []
    return [path for end in ("", "-wal", "-journal") if (path := Path(name + end)).exists()]
