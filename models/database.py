"""The way to the database: engines with the right settings, the safety gate, transactions and migrations."""

import json
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, Table, create_engine, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import OperationalError

from models.types import day_of_micros, start_of_day_micros

try:  # a wheel that ships a SQLite without the WAL-reset bug; the standard library's is the system's
    from pysqlite3 import dbapi2 as _sqlite
except ImportError:  # no such wheel for this machine: the gate below looks at what there is
    _sqlite = sqlite3

WAL_RESET_FIXED = (3, 51, 3)
WAL_RESET_FIRST = (3, 7, 0)
WAL_RESET_BACKPORTS = {(3, 44): 6, (3, 50): 7}
"""Branches that got the fix, and from which patch release on. Source: https://sqlite.org/wal.html#walresetbug"""

LOCK_SECONDS = 30
"""How long a writer waits for its turn on SQLite."""
LOCK_POLL_SECONDS = 0.004

BROKEN_OFF = ("40P01", "40001")
"""SQLSTATEs of a deadlock and of a transaction that cannot be serialized: the same again may well succeed."""

AFTERWARDS = "beforehand: to do once committed"
"""The key of a connection's info for what waits for its commit."""

T = TypeVar("T")

MIGRATIONS = Path(__file__).parent / "migrations"


class DatabaseError(Exception):
    """The database cannot be used as it is; the text says what to do."""


def sqlite_module() -> ModuleType:
    """The SQLite driver in use: ``pysqlite3`` where its wheel is installed, else the standard library's."""
    return _sqlite  # type: ignore[no-any-return]


def sqlite_is_safe(version: tuple[int, ...]) -> bool:
    """Whether a SQLite of this version is free of the WAL-reset bug (3.7.0 to 3.51.2 without backport)."""
    if version < WAL_RESET_FIRST or version >= WAL_RESET_FIXED:
        return True
    patch = WAL_RESET_BACKPORTS.get((version[0], version[1]))
    return patch is not None and version[2] >= patch


def sqlite_gate(version: tuple[int, ...] | None = None, *, allow_unsafe: bool = False) -> str | None:
    """Look at the SQLite library before it is used.

    Returns a warning to show, or None where all is well. Raises DatabaseError for a library with the WAL-reset bug,
    unless ``allow_unsafe`` (the setting ``BEFOREHAND_ALLOW_UNSAFE_SQLITE``) says to go on.
    """
    found = version or tuple(sqlite_module().sqlite_version_info)
    if sqlite_is_safe(found):
        return None
    name = ".".join(map(str, found))
    said = (
        f"SQLite {name} can lose committed data when two connections checkpoint at once (the WAL-reset bug, "
        "3.7.0 to 3.51.2). Install the wheel 'pysqlite3', which ships a fixed SQLite, or use PostgreSQL by "
        "BEFOREHAND_DATABASE_URL"
    )
    if allow_unsafe:
        return f"{said}. Going on, because BEFOREHAND_ALLOW_UNSAFE_SQLITE is set."
    raise DatabaseError(f"{said}; or set BEFOREHAND_ALLOW_UNSAFE_SQLITE=true to accept the risk with one process.")


def normal_url(url: str) -> URL:
    """Read a database URL and choose our driver for it. Raises DatabaseError for other databases."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() == "sqlite":
        return parsed.set(drivername="sqlite+pysqlite")
    raise DatabaseError(f"{parsed.get_backend_name()} is not a database we know; expected sqlite or postgresql")


def connect(url: str, *, allow_unsafe_sqlite: bool = False, new: bool = True) -> Engine:
    """Make the engine for ``url``; no connection is opened yet, except that a SQLite file's folder is made.

    Raises DatabaseError where the SQLite library fails the gate or the database is of another kind; with ``new`` False
    also where there is no SQLite file yet: one that was moved away must not be made anew by a look.
    """
    parsed = normal_url(url)
    if parsed.get_backend_name() == "postgresql":
        # the claims are made for this level, whatever the server's default is
        engine = create_engine(
            parsed,
            json_serializer=_dumps,
            pool_pre_ping=True,
            isolation_level="READ COMMITTED",
            hide_parameters=True,  # errors end in logs, and must not quote a customer's values
        )
        event.listen(engine, "connect", _prepare_postgres)
        return engine
    sqlite_gate(allow_unsafe=allow_unsafe_sqlite)
    if parsed.database and parsed.database != ":memory:":
        if not new and not Path(parsed.database).exists():
            raise DatabaseError(f"there is no database at {parsed.database}; `beforehand up` or `ingest` makes it")
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        parsed,
        module=sqlite_module(),
        json_serializer=_dumps,
        connect_args={"timeout": LOCK_SECONDS, "check_same_thread": False},
        hide_parameters=True,
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _prepare_postgres(connection: Any, _record: Any) -> None:
    """What is armed must be on disk before the first byte is on the wire; stronger settings stay as they are."""
    before, connection.autocommit = connection.autocommit, True
    connection.execute(
        "SELECT set_config('synchronous_commit', 'on', false) "
        "WHERE current_setting('synchronous_commit') IN ('off', 'local')"
    )
    connection.autocommit = before


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves, so that a writer can say BEGIN IMMEDIATE
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "temp_store=MEMORY",
        "cache_size=-65536",
    ):
        connection.execute(f"PRAGMA {pragma}")
    connection.create_function("local_day", 2, day_of_micros, deterministic=True)
    connection.create_function("day_start", 2, start_of_day_micros, deterministic=True)


def _begin_sqlite(connection: Connection) -> None:
    if not connection.get_execution_options().get("write", False):
        connection.exec_driver_sql("BEGIN")
        return
    driver: Any = connection.connection.driver_connection
    driver.execute("PRAGMA busy_timeout=0")
    try:
        _begin_immediate(connection, driver)
    finally:
        driver.execute(f"PRAGMA busy_timeout={LOCK_SECONDS * 1000}")


def _begin_immediate(connection: Connection, driver: Any) -> None:
    """Ask for the lock every few milliseconds: SQLite's own waiting goes up to 100 ms, and a STOP would starve."""
    last = time.monotonic() + LOCK_SECONDS
    while time.monotonic() < last:
        try:
            driver.execute("BEGIN IMMEDIATE")
            return
        except _sqlite.OperationalError as wrong:
            if wrong.sqlite_errorcode & 0xFF != _sqlite.SQLITE_BUSY:
                break
        time.sleep(LOCK_POLL_SECONDS)
    connection.exec_driver_sql("BEGIN IMMEDIATE")  # fails again, in SQLAlchemy's own words


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One snapshot to read from; whatever is written in it (temporary tables) is rolled back."""
    with engine.connect() as connection:
        transaction = connection.begin()
        try:
            yield connection
        finally:
            transaction.rollback()


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One write transaction: committed at the end, rolled back on an error. SQLite: BEGIN IMMEDIATE."""
    calls: list[Callable[[], None]] = []
    with engine.connect().execution_options(write=True) as connection:
        connection.info[AFTERWARDS] = calls
        try:
            with connection.begin():
                yield connection
        finally:
            if not connection.invalidated:
                connection.info.pop(AFTERWARDS, None)
    for call in calls:
        call()


def once_committed(connection: Connection, call: Callable[[], None]) -> None:
    """Have ``call`` done when the transaction of :func:`writing` is committed and its connection free again.

    Where it is rolled back, and in a transaction that only reads, it is never done.
    """
    calls = connection.info.get(AFTERWARDS)
    if calls is not None:
        calls.append(call)


def dialect_insert(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """An insert that can say ON CONFLICT, in the dialect at hand."""
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)


def in_one_go(engine: Engine, work: Callable[[Connection], T], *, tries: int = 3) -> T:
    """``work`` in one write transaction, and the whole of it anew where PostgreSQL ended it to break a deadlock.

    For what somebody outside tells only once: a STOP must not be lost because two transactions met.
    """
    for left in reversed(range(tries)):
        try:
            with writing(engine) as connection:
                return work(connection)
        except OperationalError as wrong:
            if not left or getattr(wrong.orig, "sqlstate", None) not in BROKEN_OFF:
                raise
    raise AssertionError("a try either returns or raises")


def alembic_config() -> Config:
    """Alembic's configuration, without an ini file."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


def migrate(engine: Engine, *, revision: str = "head") -> None:
    """Bring the schema to ``revision``. Safe to call at every start."""
    config = alembic_config()
    with engine.connect().execution_options(write=True) as connection, connection.begin():
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def is_current(engine: Engine) -> bool:
    """Whether the schema is at the newest migration."""
    with engine.connect() as connection:
        here = MigrationContext.configure(connection).get_current_revision()
    return here == ScriptDirectory.from_config(alembic_config()).get_current_head()


def server_version_problem(connection: Connection) -> str | None:
    """What is wrong with the PostgreSQL server's version, or None. We need 15 or newer."""
    if connection.dialect.name != "postgresql":
        return None
    shown = str(connection.execute(text("SHOW server_version")).scalar_one())
    found = re.match(r"\d+", shown)
    if found and int(found.group()) >= 15:
        return None
    return f"PostgreSQL {shown} is too old; Beforehand needs 15 or newer"
