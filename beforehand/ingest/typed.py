"""Reads a column of text as what a field is: values, the rows that are wrong and why, and remarks."""

from collections import Counter
from dataclasses import dataclass, field

import polars as pl

from beforehand.ingest import contacts
from beforehand.ingest.expressions import UNMAPPED
from beforehand.ingest.readings import DECIMAL, read_days, read_numbers, read_times, read_whole
from beforehand.ingest.tree import listing
from beforehand.ingest.words import Reading

TRUE = ("true", "yes", "y", "1", "1.0", "t", "on")
FALSE = ("false", "no", "n", "0", "0.0", "f", "off")
SOFT = ("phone", "email", "language", "zone", "country")
"""Kinds whose bad values never cost the row: they only make a customer harder to reach."""
DTYPES: dict[str, type[pl.DataType] | pl.DataType] = {
    "time": pl.Int64(),
    "date": pl.Date(),
    "day": pl.Date(),
    "number": DECIMAL,
    "money": DECIMAL,
    "integer": pl.Int64(),
    "boolean": pl.Boolean(),
}


@dataclass
class Typed:
    """A column read. ``values`` by kind: time Int64 microseconds UTC, day Date, money and number Decimal, else text."""

    values: pl.Series
    bad: list[tuple[pl.Series, str]] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)


def read_typed(kind: str, text: pl.Series, reading: Reading, words: tuple[str, ...] = ()) -> Typed:
    """Read ``text`` as ``kind``; ``reading`` is complete (zone, marks, region). Nulls stay null."""
    unmapped = text.str.starts_with(UNMAPPED).fill_null(False)
    bad: list[tuple[pl.Series, str]] = []
    if unmapped.any():
        bad.append((unmapped, "is not in the map; add it there, or say 'else'"))
        text = text.set(unmapped, None)
    typed = _read(kind, text, reading, words)
    typed.bad = bad + typed.bad
    return typed


def _read(kind: str, text: pl.Series, reading: Reading, words: tuple[str, ...]) -> Typed:
    if kind in contacts.CHECKS:
        return Typed(*contacts.check(kind, text, reading.region))
    if kind == "time":
        return _times(text, reading)
    if kind in ("day", "date"):
        forms = reading.dates or (*(reading.times or ()), "%Y-%m-%d", "iso")
        found = read_days(text, forms)
        said = f"is not a day {_formats(reading.dates or reading.times, 'yyyy-mm-dd', 'dates')}"
        return Typed(found, _wrong(text, found, said))
    if kind in ("money", "number"):
        found = read_numbers(text, reading.decimal or ".", reading.thousands or "")
        return Typed(found, _wrong(text, found, "is not a number"))
    if kind == "integer":
        found = read_whole(text, reading.decimal or ".", reading.thousands or "")
        return Typed(found, _wrong(text, found, "is not a whole number"))
    if kind == "boolean":
        lower = text.str.to_lowercase()
        found = pl.select(pl.when(lower.is_in(TRUE)).then(True).when(lower.is_in(FALSE)).then(False)).to_series()
        return Typed(found, _wrong(text, found, "is neither yes nor no"))
    if kind == "word":
        found = text.str.to_lowercase()
        found = found.set(~found.is_in(list(words)).fill_null(True), None)
        return Typed(found, _wrong(text, found, f"is not one of {listing(words)}; use 'map' to say what it means"))
    return Typed(text)


def _times(text: pl.Series, reading: Reading) -> Typed:
    times = read_times(text, reading.times, reading.zone or "UTC")
    notes: Counter[str] = Counter()
    if times.ambiguous:
        notes["local times that happened twice (clocks went back), read as the earlier"] += times.ambiguous
    if times.nonexistent:
        notes["local times that never happened (clocks went forward), read one hour later"] += times.nonexistent
    said = f"is not a time {_formats(reading.times)}"
    return Typed(times.micros, _wrong(text, times.micros, said), notes)


def _formats(formats: tuple[str, ...] | None, usual: str = "yyyy-mm-dd hh:mm:ss", word: str = "times") -> str:
    return f"of the form {' or '.join(formats)}" if formats else f"of the form {usual}; say '{word}: ...'"


def _wrong(text: pl.Series, found: pl.Series, reason: str) -> list[tuple[pl.Series, str]]:
    mask = text.is_not_null() & found.is_null()
    return [(mask, reason)] if mask.any() else []
