"""A database that cannot go on, said in plain words: its disk is full, or its file is damaged."""

import traceback
from enum import StrEnum
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError

HOUSE = Path(__file__).resolve().parent.parent
RESTORE_PAGE = "docs/how-to/restore-a-backup.md"


class Trouble(StrEnum):
    """What keeps a database from going on."""

    FULL = "full"
    DAMAGED = "damaged"


SIGNS: dict[Trouble, tuple[str, ...]] = {
    Trouble.FULL: ("database or disk is full", "no space left on device", "could not extend file", "disk full"),
    Trouble.DAMAGED: (
        "database disk image is malformed",
        "file is not a database",
        "malformed database schema",
        "invalid page in block",
        "page verification failed",
    ),
}
"""What SQLite and PostgreSQL say, by trouble. Sources: https://sqlite.org/rescode.html (SQLITE_FULL, SQLITE_CORRUPT,
SQLITE_NOTADB), https://www.postgresql.org/docs/current/errcodes-appendix.html (53100, XX001)."""


def trouble_of(error: BaseException) -> Trouble | None:
    """The trouble that an error of the database tells of, or None: it is another one."""
    said = str(error.orig if isinstance(error, DBAPIError) else error).lower()
    return next((trouble for trouble, signs in SIGNS.items() if any(sign in said for sign in signs)), None)


def place(error: BaseException) -> str:
    """Where in our own code an error came from: ``rules/evaluate.py:42``. Its text may quote rows, its place cannot."""
    frames = traceback.extract_tb(error.__traceback__)
    for frame in reversed(frames):
        path = Path(frame.filename)
        if HOUSE in path.parents and ".venv" not in path.parts:
            return f"{path.relative_to(HOUSE)}:{frame.lineno}"
    return "outside of our code"


def plainly(error: BaseException, url: URL | str | None = None) -> str:
    """What is wrong with the database (at ``url``) and what to do about it, in plain sentences and without data."""
    trouble = trouble_of(error)
    if trouble is Trouble.FULL:
        return (
            f"The disk of the database{where(url)} is full. Nothing is sent without a record, and nothing that is due "
            "is lost: make room there, and it goes on by itself."
        )
    if trouble is Trouble.DAMAGED:
        return damaged(url)
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    return f"The database does not answer as it should: {first}"


def damaged(url: URL | str | None, detail: str = "") -> str:
    """What to do about a damaged database."""
    found = f" ({detail})" if detail else ""
    return (
        f"The database{where(url)} is damaged{found}. Sending has stopped. Stop every process, keep a copy of the "
        f"file, put a backup in its place and run `beforehand reconcile`: {RESTORE_PAGE} says how."
    )


def where(url: URL | str | None) -> str:
    """A database's place for people, after a space: the file, or the URL without its login; empty where unknown."""
    if url is None:
        return ""
    parsed = make_url(url) if isinstance(url, str) else url
    if parsed.get_backend_name() == "sqlite":
        return f" {parsed.database or ':memory:'}"
    return f" {parsed.set(username=None, password=None).render_as_string()}"


def quick_check(engine: Engine) -> str | None:
    """Read every page of a SQLite file. Returns the first thing that is wrong, or None; PostgreSQL checks by itself."""
    if engine.dialect.name != "sqlite":
        return None
    try:
        with engine.connect() as connection:
            said = str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one())
    except DBAPIError as wrong:
        if trouble_of(wrong) is Trouble.DAMAGED:
            return str(wrong.orig)
        raise
    return None if said == "ok" else said.splitlines()[0][:200]
