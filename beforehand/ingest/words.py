"""A mapping file as plain values: sources, views, loads, values and conditions."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from beforehand.ingest.tree import Node


@dataclass(frozen=True)
class Reading:
    """How text is read; None means: ask the next wider place (value, source, defaults, settings).

    ``times`` and ``dates`` are strftime formats, ``zone`` an IANA name, ``decimal`` and ``thousands`` marks in numbers,
    ``region`` an ISO country for phone numbers without a country code, ``currency`` ISO 4217.
    """

    times: tuple[str, ...] | None = None
    dates: tuple[str, ...] | None = None
    zone: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    region: str | None = None
    currency: str | None = None

    def over(self, wider: "Reading") -> "Reading":
        """This, with what it leaves open taken from ``wider``."""
        mine = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(wider, **{name: value for name, value in mine.items() if value is not None})


@dataclass(frozen=True)
class Test:
    """A condition: ``op`` on ``column`` with ``args``, or all_of/any_of/none_of over ``parts``."""

    op: str
    column: str = ""
    args: tuple[str, ...] = ()
    parts: tuple["Test", ...] = ()

    def columns(self) -> Iterator[str]:
        """Every column the condition looks at."""
        if self.column:
            yield self.column
        for part in self.parts:
            yield from part.columns()


@dataclass(frozen=True)
class Value:
    """How one value is made: ``op`` is the head word, ``args`` its parts, the rest are modifiers."""

    op: str
    at: Node
    args: tuple["Value", ...] = ()
    text: str = ""
    separator: str = ""
    skip_missing: bool = False
    mapped: dict[str, str | None] | None = None
    otherwise: "Value | None" = None
    when: Test | None = None
    default: str | None = None
    extract: str | None = None
    strip: str | None = None
    case: str | None = None
    pad: int = 0
    reading: Reading = field(default_factory=Reading)
    kind: str | None = None
    plus: tuple[tuple[str, "Value"], ...] = ()
    minus: tuple[tuple[str, "Value"], ...] = ()
    if_bad: str | None = None

    def parts(self) -> Iterator["Value"]:
        """The values this one is made of."""
        yield from self.args
        yield from (self.otherwise,) if self.otherwise else ()
        yield from (value for _, value in (*self.plus, *self.minus))

    def columns(self) -> Iterator[tuple[str, Node]]:
        """Every column this value is made of, with the place that names it."""
        if self.op == "column":
            yield self.text, self.at
        for name in expression_columns(self.text) if self.op == "expr" else ():
            yield name, self.at
        for part in self.parts():
            yield from part.columns()
        for name in self.when.columns() if self.when else ():
            yield name, self.at


def expression_columns(sql: str) -> list[str]:
    """The columns that an SQL expression names. Raises ValueError where it is not one."""
    import polars as pl

    try:
        return list(pl.sql_expr(sql).meta.root_names())
    except Exception as wrong:  # polars raises several kinds
        raise ValueError(str(wrong).splitlines()[0]) from wrong


@dataclass(frozen=True)
class Source:
    """Where rows come from: a file (or several of one form) or a query, and how it is written."""

    name: str
    at: Node
    file: str = ""
    database: str = ""
    query: str = ""
    format: str = "csv"
    encoding: str = "utf-8"
    delimiter: str = ","
    quote: str | None = '"'
    header: bool = True
    columns: tuple[str, ...] = ()
    widths: tuple[tuple[int, int], ...] = ()
    null: tuple[str, ...] = ("",)
    trim: bool = True
    skip_lines: int = 0
    drop_duplicates: bool = False
    reading: Reading = field(default_factory=Reading)


@dataclass(frozen=True)
class Join:
    """Look up one row of another source or view: ``on`` pairs our columns with theirs."""

    source: str
    name: str
    on: tuple[tuple[str, str], ...]
    take: str
    at: Node


@dataclass(frozen=True)
class Rows:
    """Which rows: a source or view, look-ups, filters, grouping. What views and loads share."""

    source: str
    at: Node
    joins: tuple[Join, ...] = ()
    leave_out: tuple[tuple[str, Test], ...] = ()
    group_by: tuple[str, ...] = ()
    sort: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class View:
    """A source made of another one: rows, and named columns."""

    name: str
    rows: Rows
    columns: dict[str, Value]


@dataclass(frozen=True)
class Load:
    """What is written: a table, its rows, key, fields and links."""

    into: str
    rows: Rows
    key: Value | None
    fields: dict[str, Value]
    links: dict[str, tuple[tuple[str, Value], ...]]
    extra: dict[str, Value]
    at: Node


@dataclass(frozen=True)
class Mapping:
    """A whole mapping file, checked."""

    path: Path
    data: Path
    sources: dict[str, Source]
    views: dict[str, View]
    loads: tuple[Load, ...]
    reading: Reading
    raw: Any = None


def all_values(load: Load) -> list[Value]:
    """Every value of a load: key, fields, links, extra."""
    linked = [value for ways in load.links.values() for _, value in ways]
    return [*load.fields.values(), *load.extra.values(), *linked, *([load.key] if load.key else [])]
