"""Temporary tables: one connection sees them, and nothing of them stays."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, MetaData, Table, text


def temporary(name: str, metadata: MetaData, *columns: Any, **more: Any) -> Table:
    """A temporary table with these columns, keys and indexes; PostgreSQL drops it with the transaction."""
    return Table(name, metadata, *columns, prefixes=["TEMPORARY"], postgresql_on_commit="DROP", **more)


def temporary_schema(connection: Connection) -> str:
    """The schema that temporary tables are in."""
    return "temp" if connection.dialect.name == "sqlite" else "pg_temp"


def make_anew(connection: Connection, tables: Iterable[Table]) -> None:
    """Make temporary tables, empty; what bore their names on this connection is dropped first."""
    for table in tables:
        connection.execute(text(f"DROP TABLE IF EXISTS {temporary_schema(connection)}.{table.name}"))
        table.create(connection, checkfirst=False)
