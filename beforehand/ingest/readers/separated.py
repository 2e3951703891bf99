"""Reads CSV and its kin in blocks of lines. A broken line is rejected alone: what stands around it is kept."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from beforehand.ingest.readers.files import TextFile
from beforehand.ingest.words import Source

BLOCK = 8 * 1024 * 1024
RECORD_LINES = 2000
"""A quoted text of more lines than this is taken for a quote that nobody closed."""
ENDS = re.compile(r"\r\n|\r|\n")


@dataclass
class Block:
    """The records of a block, the line each begins at, and the lines that are none (line, reason, text)."""

    records: list[list[str]] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    broken: list[tuple[int, str, str]] = field(default_factory=list)


def _dialect(source: Source) -> dict[str, Any]:
    plain: dict[str, Any] = {"delimiter": source.delimiter, "strict": True}
    if source.quote is None:
        return {**plain, "quoting": csv.QUOTE_NONE, "quotechar": None}
    return {**plain, "quotechar": source.quote, "doublequote": True}


def _span(record: list[str]) -> int:
    return 1 + sum(len(ENDS.findall(text)) for text in record if "\n" in text or "\r" in text)


class Splitter:
    """Splits lines into records of ``width`` values, carrying an unfinished record over to the next block."""

    def __init__(self, source: Source, first_line: int) -> None:
        self._dialect = _dialect(source)
        self._rest: list[str] = []
        self._line = first_line
        self.width = 0

    def split(self, lines: list[str], *, last: bool) -> Block:
        """Split a block; ``last`` says that no more lines follow, so that an open quote is a cut file."""
        lines = self._rest + lines
        self._rest = []
        block = Block()
        at = 0
        while at < len(lines):
            at = self._take(lines, at, block, last=last)
            if self._rest:
                break
        self._line += at
        return block

    def _take(self, lines: list[str], at: int, block: Block, *, last: bool) -> int:
        records: list[list[str]] = []
        said = ""
        try:
            records.extend(csv.reader(lines[at:] if at else lines, **self._dialect))
        except csv.Error as wrong:
            said = str(wrong)
        plain = not said and len(records) == len(lines) - at and all(map(self.width.__eq__, map(len, records)))
        if plain:  # one record a line, all of the right width
            block.records.extend(records)
            block.starts.extend(range(self._line + at, self._line + at + len(records)))
            return len(lines)
        for record in records:
            span = _span(record)
            if record and len(record) != self.width:
                self._reject(block, lines, at, f"the line has {len(record)} values, the header has {self.width}")
                if span > 1:  # a stray quote may have swallowed good lines: look at them one by one
                    return at + 1
            elif record:
                block.records.append(record)
                block.starts.append(self._line + at)
            at += span
        if said:
            return self._stumble(lines, at, block, said, last=last)
        return at

    def _stumble(self, lines: list[str], at: int, block: Block, said: str, *, last: bool) -> int:
        unfinished = "unexpected end of data" in said
        if unfinished and not last and len(lines) - at < RECORD_LINES:
            self._rest = lines[at:]
            return at
        reason = "a quote is opened and never closed: the file is cut off here, or a quote is missing"
        if not unfinished:
            reason = f"the line is not well quoted ({said})"
        self._reject(block, lines, at, reason)
        return at + 1

    @property
    def next_line(self) -> int:
        """The number of the line after the last one split."""
        return self._line

    def _reject(self, block: Block, lines: list[str], at: int, reason: str) -> None:
        block.broken.append((self._line + at, reason, lines[at].rstrip("\r\n")))


def read_separated(
    source: Source, file: TextFile, wanted: set[str] | None
) -> Iterator[tuple[pl.DataFrame, list[tuple[int, str, str]]]]:
    """Frames of the wanted columns with ``@line``, and the broken lines; the first frame is empty: it is the header.

    A source without a header names its columns in the mapping.
    """
    splitter = Splitter(source, source.skip_lines + 1)
    lines = _skipped(file, source.skip_lines)
    header = list(source.columns)
    if source.header:
        header, lines = _header(source, file, lines)
        splitter = Splitter(source, source.skip_lines + 2)
        header = list(source.columns) or header
    splitter.width = len(header)
    take = [at for at, name in enumerate(header) if wanted is None or name in wanted]
    names = [header[at] for at in take]
    yield pl.DataFrame(schema=dict.fromkeys(header, pl.String)), []
    while True:
        more = file.lines(BLOCK)
        last = not more
        if last and file.cut and lines and not lines[-1].endswith(("\n", "\r")):
            block = splitter.split(lines[:-1], last=True)
            block.broken.append((splitter.next_line, f"the line is cut off: {file.cut}", lines[-1]))
        else:
            block = splitter.split(lines, last=last)
        yield _frame(block, take, names), block.broken
        if last:
            return
        lines = more


def _skipped(file: TextFile, count: int) -> list[str]:
    lines = file.lines(BLOCK)
    return lines[count:]


def _header(source: Source, file: TextFile, lines: list[str]) -> tuple[list[str], list[str]]:
    if not lines:
        return [], []
    names = next(csv.reader(lines[:1], **{**_dialect(source), "strict": False}))
    return told_apart(names), lines[1:]


def told_apart(names: list[str]) -> list[str]:
    """Names of columns without blanks around them; an empty one or one that stands twice gets a number."""
    told: list[str] = []
    for number, name in enumerate((name.strip() for name in names), 1):
        again = name or f"column_{number}"
        while again in told:
            again = f"{name}_{number}"
            name = again
        told.append(again)
    return told


def _frame(block: Block, take: list[int], names: list[str]) -> pl.DataFrame:
    columns = list(zip(*block.records, strict=True)) if block.records else []
    series = [
        pl.Series(name, columns[at] if columns else [], dtype=pl.String) for name, at in zip(names, take, strict=True)
    ]
    return pl.DataFrame([*series, pl.Series("@line", block.starts, dtype=pl.Int64)])
