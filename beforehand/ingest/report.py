"""What an ingest did, in figures, and the file of what it could not take."""

import csv
import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from beforehand.ingest.readers.files import BAD, BAD_BYTE

COLUMNS = ("source", "file", "line", "column", "value", "reason", "lost", "table")
LONGEST = 500


@dataclass
class SourceReport:
    """One source: rows read, lines that were none (by reason), and remarks."""

    read: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)


@dataclass
class TableReport:
    """One load: rows looked at and what became of them.

    ``rows`` are the rows offered to the table after grouping. ``rejected`` counts source rows by reason, ``left_out``
    source rows by the filter's name, ``emptied`` values that were dropped from rows that were kept.
    """

    rows: int = 0
    new: int = 0
    changed: int = 0
    same: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    emptied: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: "TableReport") -> "TableReport":
        """Both together (two loads into one table)."""
        return TableReport(**{name: getattr(self, name) + getattr(other, name) for name in vars(self)})


@dataclass
class IngestReport:
    """A whole ingest. ``problems`` are sources that could not be used and what to do about them."""

    sources: dict[str, SourceReport] = field(default_factory=dict)
    tables: dict[str, TableReport] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    reject_file: Path | None = None

    def _sum(self, name: str) -> int:
        return sum(getattr(table, name) for table in self.tables.values())

    @property
    def read(self) -> int:
        """Rows read from all sources, broken lines included."""
        return sum(source.read + source.rejected.total() for source in self.sources.values())

    @property
    def new(self) -> int:
        """Rows that were not known before."""
        return self._sum("new")

    @property
    def changed(self) -> int:
        """Rows that were known and are different now."""
        return self._sum("changed")

    @property
    def same(self) -> int:
        """Rows that were known just so."""
        return self._sum("same")

    @property
    def reasons(self) -> Counter[str]:
        """Rejected rows by reason, over sources and tables."""
        total: Counter[str] = Counter()
        for counted in (*(s.rejected for s in self.sources.values()), *(t.rejected for t in self.tables.values())):
            total.update(counted)
        return total

    @property
    def rejected(self) -> int:
        """Rows that could not be taken."""
        return self.reasons.total()

    @property
    def fine(self) -> bool:
        """Whether every source could be used and every row was taken; values that were dropped do not count."""
        return not self.problems and not self.rejected

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "read": self.read,
            "new": self.new,
            "changed": self.changed,
            "same": self.same,
            "rejected": self.rejected,
            "reasons": dict(self.reasons),
            "sources": {name: _plain(part) for name, part in self.sources.items()},
            "tables": {name: _plain(part) for name, part in self.tables.items()},
            "problems": self.problems,
            "reject_file": str(self.reject_file) if self.reject_file else None,
        }


def _plain(part: SourceReport | TableReport) -> dict[str, Any]:
    shown: dict[str, Any] = {
        name: dict(value) if isinstance(value, Counter) else value for name, value in vars(part).items()
    }
    shown["rejected"] = part.rejected.total()
    shown["reasons"] = dict(part.rejected)
    return shown


def shown_bytes(text: str) -> str:
    r"""Text with the bytes that the encoding did not know written as ``\xNN``."""
    return re.sub(BAD, lambda found: f"\\x{ord(found[0]) - BAD_BYTE:02x}", text)


class Rejects:
    """The reject file: written only when there is something to reject, readable by its owner only."""

    def __init__(self, folder: Path, name: str, now: datetime) -> None:
        self._path = folder / f"{now:%Y%m%dT%H%M%S}Z-{name}.csv"
        self._file: IO[str] | None = None
        self._files: dict[str, list[str]] = {}

    @property
    def path(self) -> Path | None:
        """Where the file is; None while nothing was rejected."""
        return self._path if self._file else None

    def name_files(self, source: str, files: list[str]) -> None:
        """Say which files a source has, in the order of their numbers."""
        self._files[source] = files

    def add(
        self,
        source: str,
        entries: Iterable[tuple[int | None, int | None, str | None]],
        *,
        column: str,
        reason: str,
        lost: str = "row",
        table: str = "",
    ) -> None:
        """Write entries (file number, line, value). ``lost`` says what is missing now: the row, or only the value."""
        files = self._files.get(source, [])
        writer = csv.writer(self._opened())
        for number, line, value in entries:
            file = files[number] if number is not None and number < len(files) else ""
            shown = shown_bytes(value or "")[:LONGEST]
            writer.writerow((source, file, line, column, shown, reason, lost, table))

    def _opened(self) -> IO[str]:
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            number = 1
            while self._path.exists():
                number += 1
                self._path = self._path.with_stem(f"{self._path.stem.partition('~')[0]}~{number}")
            handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            self._file = os.fdopen(handle, "w", encoding="utf-8", newline="")
            csv.writer(self._file).writerow(COLUMNS)
        return self._file

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()
