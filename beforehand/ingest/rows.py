"""Carries out what views and loads share: look-ups, filters, reading values by kind, grouping."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from beforehand.ingest.expressions import condition, text
from beforehand.ingest.grammar import AGGREGATES, LINE, UNITS
from beforehand.ingest.readings import DECIMAL, read_whole
from beforehand.ingest.report import Rejects, TableReport
from beforehand.ingest.spool import FILE, Progress, Spool
from beforehand.ingest.typed import DTYPES, SOFT, read_typed
from beforehand.ingest.words import Reading, Rows, Value

ORDER, BATCH = "@n", 50_000


@dataclass(frozen=True)
class Column:
    """One column to make: how, of what kind, and whether a bad or missing value costs the row.

    ``limit`` is the longest text or the largest number; ``quiet``: a bad value is not worth a word.
    """

    name: str
    value: Value
    kind: str
    words: tuple[str, ...] = ()
    lenient: bool = False
    required: bool = False
    limit: int | None = None
    quiet: bool = False

    @property
    def aggregate(self) -> str:
        """How a group's values become one; a plain value is the first that is not empty."""
        return self.value.op if self.value.op in AGGREGATES else "first"

    @property
    def dtype(self) -> pl.DataType:
        """The type of the finished column."""
        found = "integer" if self.value.op == "count" else self.kind
        return DTYPES.get(found, pl.String())  # type: ignore[return-value]

    def softly(self) -> bool:
        """Whether a bad value only empties the field."""
        if self.value.if_bad:
            return self.value.if_bad == "empty"
        return (self.lenient or self.kind in SOFT) and not self.required


@dataclass
class Work:
    """What a view or load works with: spools by name, where to put files, and where to say what happened."""

    spools: Mapping[str, Spool]
    folder: Path
    reading: Reading
    rejects: Rejects
    report: TableReport
    progress: Progress
    name: str


def make(rows: Rows, columns: list[Column], work: Work) -> Spool:
    """Make the rows: a spool with the columns of ``columns``, ``@line`` and ``@file``, read by kind and grouped."""
    typed = Spool(work.folder / "typed", [])
    count = 0
    source = work.spools[rows.source]
    for batch in _joined(rows, columns, work):
        kept = _filtered(rows, batch, work)
        made = _typed(rows, columns, kept, work)
        made = made.with_columns(pl.int_range(count, count + made.height, dtype=pl.Int64).alias(ORDER))
        count += batch.height
        work.progress(work.name, count, source.rows)
        if made.height:
            typed.write(made)
    return _grouped(rows, columns, typed, work) if rows.group_by else typed


def _joined(rows: Rows, columns: list[Column], work: Work) -> Iterator[pl.DataFrame]:
    used = used_columns(rows, [column.value for column in columns])
    lookups = []
    for join in rows.joins:
        other = work.spools[join.source]
        ours, theirs = [ours for ours, _ in join.on], [theirs for _, theirs in join.on]
        take = [name for name in other.columns if f"{join.name}.{name}" in used or name in theirs]
        table = other.scan().select(take).collect(engine="streaming")
        table = table.drop_nulls(theirs).unique(subset=theirs, keep="last" if join.take == "last" else "first")
        renamed = table.rename({name: f"{join.name}.{name}" for name in take})
        lookups.append((renamed, ours, [f"{join.name}.{name}" for name in theirs]))
    for batch in batches(work.spools[rows.source]):
        for table, ours, theirs in lookups:
            batch = batch.join(table, left_on=ours, right_on=theirs, how="left", coalesce=False, maintain_order="left")
        yield batch.with_columns(pl.col(LINE).cast(pl.Int64))


def batches(spool: Spool) -> Iterator[pl.DataFrame]:
    """The rows of a spool, a bounded number at a time, in order."""
    if spool.hashed:
        yield from spool.scan().collect_batches(chunk_size=BATCH, maintain_order=True)
        return
    for part in spool.parts:
        yield from pl.read_parquet(part).iter_slices(BATCH)


def used_columns(rows: Rows, values: list[Value]) -> set[str]:
    """Every column, ``source.column`` for looked-up ones, that rows and values name."""
    used = {name for value in values for name, _ in value.columns()}
    used.update(name for _, test in rows.leave_out for name in test.columns())
    used.update(rows.group_by, (name for name, _ in rows.sort))
    used.update(ours for join in rows.joins for ours, _ in join.on)
    return used


def _filtered(rows: Rows, batch: pl.DataFrame, work: Work) -> pl.DataFrame:
    for name, test in rows.leave_out:
        out = batch.select(condition(test, work.reading).alias("out"))["out"]
        if left := int(out.sum()):
            work.report.left_out[name] += left
            batch = batch.filter(~out)
    return batch


def _typed(rows: Rows, columns: list[Column], batch: pl.DataFrame, work: Work) -> pl.DataFrame:
    frame = batch.select(
        LINE,
        FILE,
        *(pl.col(name).alias(f"@g{at}") for at, name in enumerate(rows.group_by)),
        *(pl.col(name).alias(f"@s{at}") for at, (name, _) in enumerate(rows.sort)),
        *(text(column.value, work.reading).alias(f"={column.name}") for column in columns),
        *(
            text(by, work.reading).alias(f"+{column.name}{number}")
            for column in columns
            for number, (_, by, _) in enumerate(shifts(column.value))
        ),
    )
    lost = pl.Series([False] * frame.height, dtype=pl.Boolean)
    made: list[pl.Series] = []
    for column in columns:
        values, refused = _column(column, frame, work)
        lost = lost | refused
        made.append(values.alias(column.name))
    for at, (name, kind) in enumerate(rows.sort):
        typed = read_typed(kind, frame[f"@s{at}"], work.reading)
        made.append(typed.values.alias(f"@s{at}"))
        del name
    for at, name in enumerate(rows.group_by):
        empty = frame[f"@g{at}"].is_null()
        lost = lost | _refuse(empty & ~lost, frame, f"@g{at}", name, "is empty, and rows are grouped by it", work)
        made.append(frame[f"@g{at}"])
    return frame.select(LINE, FILE).with_columns(made).filter(~lost)


def _column(column: Column, frame: pl.DataFrame, work: Work) -> tuple[pl.Series, pl.Series]:
    raw = frame[f"={column.name}"]
    kind = "text" if column.aggregate == "count" else column.kind
    typed = read_typed(kind, raw, column.value.reading.over(work.reading), column.words)
    refused = pl.Series([False] * frame.height, dtype=pl.Boolean)
    for mask, reason in (*typed.bad, *_too_much(column, typed.values)):
        if column.quiet:
            continue
        if column.softly():
            _note(mask, frame, column, reason, work)
        else:
            said = f"{column.name} {reason}"
            refused = refused | _refuse(mask, frame, f"={column.name}", source_column(column), said, work)
    work.report.notes.update(typed.notes)
    if column.required and column.aggregate == "first":
        empty = raw.is_null() & ~refused
        said = "the key is empty" if column.name == "external_id" else f"{column.name} is empty"
        refused = refused | _refuse(empty, frame, f"={column.name}", source_column(column), said, work)
    return _within(column, _shifted(column, typed.values, frame)), refused


def shifts(value: Value) -> list[tuple[str, Value, str]]:
    """The durations to add to a time or day: unit, how many, and the sign."""
    return [
        *((unit, by, "") for unit, by in value.plus),
        *((unit, by, "-") for unit, by in value.minus),
    ]


def _shifted(column: Column, values: pl.Series, frame: pl.DataFrame) -> pl.Series:
    """Add the durations; a row that does not say how much (or not in whole numbers) has no value."""
    if column.kind not in ("time", "day", "date"):
        return values
    for number, (unit, _, sign) in enumerate(shifts(column.value)):
        amount = read_whole(frame[f"+{column.name}{number}"], ".", "") * (-1 if sign else 1)
        at = pl.from_epoch(values, time_unit="us") if column.kind == "time" else values.cast(pl.Datetime("us"))
        by = pl.DataFrame({"at": at, "n": amount.fill_null(0)}).with_columns(
            pl.format("{}" + UNITS[unit], "n").alias("by")
        )
        moved = by.select(pl.col("at").dt.offset_by(pl.col("by")))["at"]
        moved = moved.set(amount.is_null(), None)
        values = moved.dt.epoch("us") if column.kind == "time" else moved.cast(pl.Date)
    return values


def _over(column: Column, values: pl.Series) -> pl.Series | None:
    if column.limit is None:
        return None
    if values.dtype == pl.String:
        return (values.str.len_chars() > column.limit).fill_null(False)
    return (values.abs() > column.limit).fill_null(False) if values.dtype == pl.Int64 else None


def _too_much(column: Column, values: pl.Series) -> list[tuple[pl.Series, str]]:
    over = _over(column, values)
    if over is None or not over.any():
        return []
    return [(over, f"is too long; at most {column.limit} characters" if values.dtype == pl.String else "is too large")]


def _within(column: Column, values: pl.Series) -> pl.Series:
    over = _over(column, values)
    return values if over is None or not over.any() else values.set(over, None)


def source_column(column: Column) -> str:
    """The names of the source's columns behind a value, for messages."""
    return ", ".join(dict.fromkeys(name for name, _ in column.value.columns())) or column.name


def _refuse(mask: pl.Series, frame: pl.DataFrame, values: str, column: str, reason: str, work: Work) -> pl.Series:
    if mask.any():
        work.report.rejected[reason] += int(mask.sum())
        _write(mask, frame, values, column, reason, "row", work)
    return mask


def _note(mask: pl.Series, frame: pl.DataFrame, column: Column, reason: str, work: Work) -> None:
    said = f"{column.name}: {reason}"
    work.report.emptied[said] += int(mask.sum())
    _write(mask, frame, f"={column.name}", source_column(column), said, "value", work)


def _write(mask: pl.Series, frame: pl.DataFrame, values: str, column: str, reason: str, lost: str, work: Work) -> None:
    shown = frame.filter(mask).select(FILE, LINE, pl.col(values).str.strip_prefix("\uf8fe")).rows()
    source = work.name.partition(" from ")[2]
    work.rejects.add(source, shown, column=column, reason=reason, lost=lost, table=work.name.partition(" from ")[0])


def _grouped(rows: Rows, columns: list[Column], typed: Spool, work: Work) -> Spool:
    grouped = Spool(work.folder / "grouped", [])
    if not typed.parts:
        return grouped
    by = [*(f"@s{at}" for at in range(len(rows.sort))), ORDER]
    groups = [f"@g{at}" for at in range(len(rows.group_by))]
    made = [_aggregate(column, by) for column in columns]
    frame = (
        typed.scan()
        .group_by(groups)
        .agg(*made, pl.col(LINE).min(), pl.col(FILE).min(), pl.col(ORDER).min())
        .sort(ORDER)
        .drop(groups)
        .collect(engine="streaming")
    )
    for part in frame.iter_slices(BATCH):
        grouped.write(part)
    return grouped


def _aggregate(column: Column, by: list[str]) -> pl.Expr:
    values = pl.col(column.name)
    match column.aggregate:
        case "sum":
            # The sum of nothing is nothing, not 0: a group without a value has none.
            return pl.when(values.count() > 0).then(values.sum()).otherwise(None).cast(column.dtype).alias(column.name)
        case "count":
            return values.count().cast(pl.Int64).alias(column.name)
        case "average":
            return values.cast(DECIMAL).mean().cast(pl.Float64).round(10).cast(column.dtype).alias(column.name)
        case "min":
            return values.min()
        case "max":
            return values.max()
    ordered = values.sort_by(by, nulls_last=True).drop_nulls()
    return (ordered.last() if column.aggregate == "last" else ordered.first()).alias(column.name)
