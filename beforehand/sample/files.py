"""Writing rows as a shop's export would: CSV, gzipped CSV, JSON lines; the same rows give the same bytes."""

import csv
import gzip
import io
import json
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from beforehand.sample.contact import Row

MONEY = frozenset({"net", "shipping", "gross", "price", "unit_price", "amount"})
"""Columns that hold cents here and are written as 12.34."""


def _shown(name: str, value: object) -> object:
    # None and days are written by the csv module as they should be
    if type(value) is datetime:
        return str(value)[:19]
    if type(value) is int and name in MONEY:
        return f"{value // 100}.{value % 100:02}"
    return value


def write_csv(path: Path, rows: Iterable[Row]) -> None:
    """Write rows (all with the keys of the first) as CSV; gzipped where the name ends in ``.gz``. Times are UTC."""
    rows = list(rows)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows[0])
    writer.writerows([_shown(name, value) for name, value in row.items()] for row in rows)
    data = text.getvalue().encode()
    path.write_bytes(gzip.compress(data, compresslevel=4, mtime=0) if path.suffix == ".gz" else data)


def write_jsonl(path: Path, rows: Iterable[Row]) -> None:
    """Write rows as JSON lines. Times are UTC, in ISO 8601 with a Z."""

    def plain(value: object) -> str:
        return f"{value:%Y-%m-%dT%H:%M:%SZ}"

    path.write_text("".join(json.dumps(row, ensure_ascii=False, default=plain) + "\n" for row in rows))
