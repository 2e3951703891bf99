"""Everything about one person as JSON: what the law calls access (GDPR article 15) and portability (article 20)."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Table, select

from beforehand.people.held import TABLES, Held, key_of
from messaging.vouchers import voucher_code
from models import Base

OURS_ONLY = frozenset({"salt", "code_hash", "lease", "lease_until", "bucket", "address_hash", "digest", "fingerprint"})
"""Columns that say nothing of the person: secrets of a code, claims, hashes."""

Row = dict[str, Any]


def export(connection: Connection, found: Held, *, secret: bytes, now: datetime) -> dict[str, Any]:
    """What is held about a person: ``customer``, then rows by table, and what their addresses must not be used for.

    Moments are ISO 8601 in UTC, money is in minor units beside its currency; a voucher's code is told.
    """
    tables = {table.name: _rows(connection, table, found.keys[table.name], secret) for table in _filled(found)}
    return {
        "exported_at": now.isoformat(),
        "customer": tables.pop("customer")[0],
        "suppressions": _suppressions(connection, found),
        "rows": tables,
    }


def _filled(found: Held) -> list[Table]:
    return [table for table in TABLES if found.keys.get(table.name)]


def _rows(connection: Connection, table: Table, keys: list[int], secret: bytes) -> list[Row]:
    key = key_of(table)
    rows = connection.execute(select(table).where(key.in_(keys)).order_by(key)).mappings()
    return [_plain(dict(row), secret if table.name == "voucher" else b"") for row in rows]


def _plain(row: Row, secret: bytes) -> Row:
    code = {"code": voucher_code(secret, row["salt"])} if secret and row["salt"] else {}
    return {name: _value(value) for name, value in row.items() if name not in OURS_ONLY} | code


def _value(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime | date) else value


def _suppressions(connection: Connection, found: Held) -> list[Row]:
    table = Base.metadata.tables["suppression"]
    rows = connection.execute(select(table).where(table.c.address_hash.in_(found.hashes)).order_by(table.c.id))
    return [{name: _value(value) for name, value in row.items() if name != "address_hash"} for row in rows.mappings()]
