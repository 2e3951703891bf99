"""What the ingest tests share: write a mapping and its files, run it, look at the tables and the reject file."""

import csv
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text

from beforehand.ingest import IngestReport, run
from beforehand.settings import Settings

NOW = datetime(2026, 3, 10, 9, 0, tzinfo=UTC)

ORDERS = """
sources:
  orders: orders.csv
load:
  - into: orders
    from: orders
    key: id
    fields: {placed_at: placed, net_total: total, promised_on: promised}
"""


def ingest(
    engine: Engine, folder: Path, mapping: str, files: Mapping[str, str | bytes] | None = None, now: datetime = NOW
) -> IngestReport:
    """Write the files (text as UTF-8) and the mapping into ``folder`` and run it."""
    for name, content in (files or {}).items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    path = folder / "sources.yaml"
    path.write_text(mapping, encoding="utf-8")
    return run(engine, path, now=now, settings=Settings(_env_file=None, var=folder / "var"))


def rows(engine: Engine, sql: str) -> list[tuple[Any, ...]]:
    """The rows of a query, as tuples."""
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(sql))]


def rejects(report: IngestReport) -> list[dict[str, str]]:
    """The entries of the reject file."""
    if report.reject_file is None:
        return []
    with report.reject_file.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def figures(report: IngestReport, table: str) -> tuple[int, int, int, int]:
    """New, changed, same, rejected of a table."""
    part = report.tables[table]
    return part.new, part.changed, part.same, part.rejected.total()
