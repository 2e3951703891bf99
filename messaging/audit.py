"""The audit log: who decided what. Append-only, and each entry is chained to the one before by its digest."""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select, text

from models.staff import Audit

audit: Any = Audit.__table__  # type: ignore[attr-defined]

WRITING = 0x_BEF1
"""The key of the PostgreSQL lock under which entries are chained one after the other."""


@dataclass(frozen=True)
class Entry:
    """One entry: ``by`` whom, the ``action`` (``approve``, ``stop`` ...) and what it is ``about`` (``rule:ID`` ...)."""

    id: int
    at: datetime
    by: str
    action: str
    about: str
    details: Mapping[str, Any]


def write(
    connection: Connection,
    *,
    by: str,
    action: str,
    about: str,
    now: datetime,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Add one entry, in the transaction of what it tells. ``details`` are ids, counts and words of staff; no person."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": WRITING})
    newest = select(audit.c.digest).order_by(audit.c.id.desc()).limit(1)
    before = connection.execute(newest).scalar_one_or_none() or ""
    # as JSON gives it back: what is hashed now must be what is read later
    kept = json.loads(json.dumps(dict(details or {}), default=str))
    row = {"at": now, "by": by[:200], "action": action, "about": about[:200], "details": kept}
    connection.execute(insert(audit).values(**row, before=before, digest=digest_of(before, row)))


def digest_of(before: str, row: Mapping[str, Any]) -> str:
    """The SHA-256 over an entry and the digest before it, as hexadecimal digits."""
    told = [before, row["at"].astimezone(UTC).isoformat(), row["by"], row["action"], row["about"], row["details"] or {}]
    return hashlib.sha256(json.dumps(told, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def newest_of(connection: Connection, actions: Collection[str]) -> Entry | None:
    """The last entry that tells one of these actions."""
    rows = select(audit).where(audit.c.action.in_(actions)).order_by(audit.c.id.desc()).limit(1)
    row = connection.execute(rows).first()
    return None if row is None else Entry(row.id, row.at, row.by, row.action, row.about, row.details or {})


def last_digest(connection: Connection) -> str:
    """The digest of the last entry, empty without one: kept elsewhere, it shows that no entry was taken off the end."""
    return connection.execute(select(audit.c.digest).order_by(audit.c.id.desc()).limit(1)).scalar_one_or_none() or ""


def entries(connection: Connection, *, newest: int | None = None) -> list[Entry]:
    """The entries, oldest first; with ``newest`` only the last so many."""
    rows = connection.execute(select(audit).order_by(audit.c.id.desc()).limit(newest)).all()
    return [Entry(row.id, row.at, row.by, row.action, row.about, row.details or {}) for row in reversed(rows)]


def count(connection: Connection) -> int:
    """How many entries there are."""
    return int(connection.execute(select(func.count()).select_from(audit)).scalar_one())


def first_broken(connection: Connection) -> int | None:
    """The id of the first entry that does not fit the one before it; None where the whole chain holds."""
    before = ""
    for row in map(dict, connection.execute(select(audit).order_by(audit.c.id)).mappings()):
        if row["before"] != before or row["digest"] != digest_of(before, row):
            return int(row["id"])
        before = row["digest"]
    return None
