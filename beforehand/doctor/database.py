"""The database: its version, whether what is committed stays, and whether its tables are the newest."""

from collections.abc import Iterator

from sqlalchemy import Connection, Engine, text

from beforehand.doctor.check import Check, look, ok, wrong
from beforehand.settings import Settings
from messaging.journal.secret import check_secret
from models.database import DatabaseError, is_current, reading, server_version_problem, sqlite_is_safe, sqlite_module
from models.trouble import quick_check

LARGE = 2 * 1024**3
"""Bytes: a larger SQLite file is not read whole, which would take minutes."""


def database_checks(engine: Engine, settings: Settings) -> Iterator[Check]:
    """Every check of the database. It must answer."""
    if not is_current(engine):
        do = "`beforehand up` brings it up to date; make a backup first"
        yield wrong("database: schema", "it is not the newest", do)
        return
    with reading(engine) as connection:
        yield from _postgres(connection) if engine.dialect.name == "postgresql" else _sqlite(connection)
    if engine.dialect.name == "sqlite":
        yield _whole(engine)
    yield _secret(engine, settings)


def _postgres(connection: Connection) -> Iterator[Check]:
    if problem := server_version_problem(connection):
        yield wrong("database: version", problem, "move to PostgreSQL 15 or newer")
    else:
        version = connection.execute(text("SHOW server_version")).scalar_one()
        yield ok("database: version", f"PostgreSQL {version}, schema newest")
    unsafe = [name for name in ("fsync", "full_page_writes") if _shown(connection, name) == "off"]
    if unsafe:
        do = f"set {' and '.join(f'{name} = on' for name in unsafe)}: after a power cut messages could go twice"
        yield wrong("database: safety", f"{' and '.join(unsafe)} off", do)
    else:
        yield ok("database: safety", "fsync and full_page_writes on")
    reset = text("SELECT reset_val FROM pg_settings WHERE name = 'synchronous_commit'")
    default = connection.execute(reset).scalar_one()
    if default in ("off", "local"):
        do = "set synchronous_commit = on for other users of this database too; our own connections ask for it"
        yield look("database: synchronous_commit", f"the server's default is {default}", do)
    if _shown(connection, "data_checksums") == "off":
        do = "pg_checksums --enable, with the server stopped: a bad disk is noticed by them"
        yield look("database: checksums", "data_checksums are off", do)


def _shown(connection: Connection, name: str) -> str:
    found = connection.execute(text("SELECT setting FROM pg_settings WHERE name = :name"), {"name": name})
    return str(found.scalar_one_or_none() or "")


def _sqlite(connection: Connection) -> Iterator[Check]:
    module = sqlite_module()
    if not sqlite_is_safe(tuple(module.sqlite_version_info)):
        do = "install the wheel pysqlite3, or use PostgreSQL"
        yield wrong("database: version", f"SQLite {module.sqlite_version} can lose data (the WAL-reset bug)", do)
    else:
        yield ok("database: version", f"SQLite {module.sqlite_version}, without the WAL-reset bug; schema newest")
    mode = str(connection.exec_driver_sql("PRAGMA journal_mode").scalar_one())
    synchronous = int(connection.exec_driver_sql("PRAGMA synchronous").scalar_one())
    if mode != "wal" or synchronous < 2:
        do = "keep it on a local disk: a network disk cannot have a write-ahead log"
        yield wrong("database: safety", f"journal_mode {mode}, synchronous {synchronous}", do)
    else:
        yield ok("database: safety", "write-ahead log, synchronous FULL; for one machine")


def _whole(engine: Engine) -> Check:
    with reading(engine) as connection:
        pages = int(connection.exec_driver_sql("PRAGMA page_count").scalar_one())
        size = pages * int(connection.exec_driver_sql("PRAGMA page_size").scalar_one())
    if size > LARGE:
        return look("database: file", f"{size / 1e9:.1f} GB: not read whole", "PRAGMA quick_check, in a quiet hour")
    damage = quick_check(engine)
    if damage:
        return wrong("database: file", f"it is damaged: {damage}", "docs/how-to/restore-a-backup.md")
    return ok("database: file", f"read whole, {size / 1e6:.1f} MB, nothing damaged")


def _secret(engine: Engine, settings: Settings) -> Check:
    try:
        check_secret(engine, settings.secret_key.get_secret_value().encode(), allow_another=False)
    except DatabaseError as other:
        return wrong("database: secret key", str(other), "set the BEFOREHAND_SECRET_KEY that it was used with")
    return ok("database: secret key", "it is the one that the database was used with")
