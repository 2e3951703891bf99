"""Carries out one load: rows of a source or view into one table."""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime

import polars as pl
from sqlalchemy import BigInteger, Engine, Integer, String

from beforehand.ingest import contacts
from beforehand.ingest.grammar import LINE
from beforehand.ingest.readings import plain_numbers
from beforehand.ingest.rows import ORDER, Column, Work, batches, make, source_column
from beforehand.ingest.spool import FILE, Spool
from beforehand.ingest.targets import TARGETS, Field, Target
from beforehand.ingest.upsert import Outcome, Shape, upsert
from beforehand.ingest.words import Load, Value
from models.database import writing

SMALL = 2**31 - 1
DIFFERENT = "the same key stands again further down with other content; the last one counts"


@dataclass(frozen=True)
class Loader:
    """What a load needs beside the work: the database, the moment, and the key of the holdout buckets."""

    engine: Engine
    now: datetime
    secret: bytes


def bucket_of(secret: bytes, external_id: str) -> int:
    """The sticky holdout bucket of a customer, 0 to 9999: a keyed hash of the external id."""
    digest = hmac.new(secret, external_id.encode(), hashlib.sha256).digest()
    return int.from_bytes(digest[:8]) % 10_000


def carry_out(load: Load, work: Work, loader: Loader) -> None:
    """Make the rows and upsert them batch by batch, one transaction each; counts go into ``work.report``."""
    target = TARGETS[load.into]
    columns = columns_of(load, target, work)
    spool = make(load.rows, columns, work)
    losers = _losers(load, spool, columns, work) if load.key is not None else pl.Series([], dtype=pl.Int64)
    for frame in batches(spool):
        if len(losers):
            frame = frame.filter(~pl.col(ORDER).is_in(losers.implode()))
        ready = _finished(load, target, frame, work)
        work.report.rows += ready.height
        if not ready.height:
            continue
        shape = _shape(load, target, work)
        ready = ready.with_columns(pl.int_range(ready.height, dtype=pl.Int64).alias("n"))
        with writing(loader.engine) as connection:
            outcome = upsert(connection, shape, _with_bucket(ready, target, loader), loader.now)
        _account(outcome, ready, load, target, work)


def columns_of(load: Load, target: Target, work: Work) -> list[Column]:
    """The columns to make for a load: the key, the fields, the keys of what is linked, and extra values."""
    made = []
    if load.key is not None:
        made.append(Column("external_id", load.key, "text", required=True, limit=200))
    for name, value in load.fields.items():
        field = target.fields[name]
        made.append(
            Column(name, value, field.kind, field.words, target.lenient, field.required, _limit(target, name, field))
        )
    for link, ways in load.links.items():
        must = target.links[link] and len(ways) == 1
        for way, value in ways:
            kind = "text" if way == "key" else way
            made.append(Column(f"{link}:{way}", value, kind, required=must, quiet=way != "key"))
    for name, value in load.extra.items():
        made.append(Column(f"{target.extra}.{name}", value, value.kind or "text", lenient=target.lenient))
    if _money(load, target) and "currency" not in load.fields:
        constant = Value("value", load.at, text=work.reading.currency or "EUR")
        made.append(Column("currency", constant, "currency"))
    return made


def _limit(target: Target, name: str, field: Field) -> int | None:
    kind = target.table.c[name].type
    if isinstance(kind, String):
        return kind.length
    small = isinstance(kind, Integer) and not isinstance(kind, BigInteger)
    return SMALL if small and field.kind == "integer" else None


def _money(load: Load, target: Target) -> list[str]:
    return [name for name in load.fields if target.fields[name].kind == "money"]


def _shape(load: Load, target: Target, work: Work) -> Shape:
    del work
    fields = list(load.fields)
    if _money(load, target) and "currency" not in fields:
        fields.append("currency")
    if target.extra and load.extra:
        fields.append(target.extra)
    once = {"customers": ("bucket",), "lines": ("quantity",), "orders": ("number",)}.get(target.name, ())
    links = {link: tuple(way for way, _ in ways) for link, ways in load.links.items()}
    return Shape(target, tuple(fields), tuple(name for name in once if name not in fields), links)


def _losers(load: Load, spool: Spool, columns: list[Column], work: Work) -> pl.Series:
    """The numbers of rows whose key stands again further down; those with other content are reported."""
    none = pl.Series([], dtype=pl.Int64)
    if not spool.parts:
        return none
    key = pl.col("external_id").hash(seed=1).alias("h")
    parts = (pl.read_parquet(part, columns=["external_id", ORDER]).select(ORDER, key) for part in spool.parts)
    hashes = pl.concat(parts)
    suspects = hashes.filter(pl.col("h").is_duplicated())[ORDER]
    if not len(suspects):
        return none
    rows = spool.scan().filter(pl.col(ORDER).is_in(suspects.implode())).collect(engine="streaming").sort(ORDER)
    content = [column.name for column in columns]
    rows = rows.with_columns(rows.select(content).hash_rows(seed=1).alias("h"))
    last = pl.col(ORDER).max().over("external_id")
    rows = rows.with_columns(
        (pl.col(ORDER) < last).alias("loses"), pl.col("h").sort_by(ORDER).last().over("external_id").alias("won")
    ).filter("loses")
    different = rows.filter(pl.col("h") != pl.col("won"))
    if same := rows.height - different.height:
        work.report.notes["rows repeated with the same key and content"] += same
    if different.height:
        work.report.rejected[DIFFERENT] += different.height
        assert load.key is not None
        named = source_column(Column("key", load.key, "text"))
        work.rejects.add(
            load.rows.source, different.select(FILE, LINE, "external_id").rows(),
            column=named, reason=DIFFERENT, table=load.into,
        )  # fmt: skip
    return rows[ORDER]


def _finished(load: Load, target: Target, frame: pl.DataFrame, work: Work) -> pl.DataFrame:
    """A batch as the table takes it: money in minor units, extra values as JSON, what a new row needs."""
    for name in _money(load, target):
        frame = _in_minor_units(name, frame, load, work)
    if target.extra and load.extra:
        frame = frame.with_columns(_json(load, target, frame))
    if target.name == "orders" and "number" not in load.fields:
        frame = frame.with_columns(pl.col("external_id").alias("number"))
    if target.name == "lines":
        quantity = pl.col("quantity").fill_null(1) if "quantity" in load.fields else pl.lit(1, dtype=pl.Int64)
        frame = frame.with_columns(quantity.alias("quantity"))
    return frame


def _in_minor_units(name: str, frame: pl.DataFrame, load: Load, work: Work) -> pl.DataFrame:
    powers = {code: 10 ** contacts.digits(code) for code in frame["currency"].drop_nulls().unique()}
    power = pl.col("currency").replace_strict(list(powers), list(powers.values()), default=100, return_dtype=pl.Int64)
    exact = pl.col(name) * power
    minor = exact.round(0, mode="half_away_from_zero")
    frame = frame.with_columns(
        minor.cast(pl.Int64, strict=False).alias("@minor"), (exact != minor).fill_null(False).alias("@rounded")
    )
    if rounded := int(frame["@rounded"].sum()):
        work.report.notes[f"{name}: amounts rounded to the minor unit of the currency"] += rounded
    lost = frame.filter(pl.col("@minor").is_null() & pl.col(name).is_not_null())
    if lost.height:
        reason = f"{name} is too large"
        work.report.rejected[reason] += lost.height
        shown = lost.select(FILE, LINE, pl.col(name).cast(pl.String)).rows()
        work.rejects.add(load.rows.source, shown, column=name, reason=reason, table=load.into)
        frame = frame.filter(~(pl.col("@minor").is_null() & pl.col(name).is_not_null()))
    return frame.with_columns(pl.col("@minor").alias(name)).drop("@minor", "@rounded")


def _json(load: Load, target: Target, frame: pl.DataFrame) -> pl.Expr:
    parts = []
    for name, value in load.extra.items():
        column = pl.col(f"{target.extra}.{name}")
        kind = frame.schema[f"{target.extra}.{name}"]
        if value.kind == "time":
            column = pl.from_epoch(column, time_unit="us").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
        elif value.kind == "date":
            column = column.cast(pl.String)
        elif isinstance(kind, pl.Decimal):
            column = column.cast(pl.Float64) if value.kind == "number" else plain_numbers(column)
        parts.append(column.alias(name))
    return pl.struct(parts).struct.json_encode().alias(target.extra)


def _with_bucket(frame: pl.DataFrame, target: Target, loader: Loader) -> pl.DataFrame:
    if target.name != "customers":
        return frame
    buckets = [bucket_of(loader.secret, key) for key in frame["external_id"]]
    return frame.with_columns(pl.Series("bucket", buckets, dtype=pl.Int64))


def _account(outcome: Outcome, frame: pl.DataFrame, load: Load, target: Target, work: Work) -> None:
    report = work.report
    lost: set[int] = set()
    for link, numbers in outcome.lost.items():
        reason = f"its {link} is unknown; load {link}s first, or look at the {link}'s key"
        fresh = [number for number in numbers if number not in lost]
        lost.update(fresh)
        _tell(load, frame, link, fresh, reason, "row", work)
        if fresh:
            report.rejected[reason] += len(fresh)
    for link, numbers in outcome.unlinked.items():
        kept = [number for number in numbers if number not in lost]
        ways = [way for way, _ in load.links[link]]
        by_key = [n for n in kept if "key" in ways and frame[f"{link}:key"][n] is not None]
        if by_key:
            said = f"{link}: no {link} with this key; the row is kept without"
            _tell(load, frame, link, by_key, said, "value", work)
            report.emptied[said] += len(by_key)
        others = len(set(kept) - set(by_key) - set(outcome.shared))
        if others:
            behind = " or ".join(way for way in ways if way != "key")
            report.notes[f"nobody known behind the {behind}; the rows are kept"] += others
    if outcome.shared:
        report.notes["several customers share the phone or e-mail; none was chosen"] += len(outcome.shared)
    report.new += outcome.new
    report.changed += outcome.changed
    report.same += frame.height - len(lost) - outcome.new - outcome.changed


def _tell(load: Load, frame: pl.DataFrame, link: str, numbers: list[int], reason: str, lost: str, work: Work) -> None:
    if not numbers:
        return
    ways = [f"{link}:{way}" for way, _ in load.links.get(link, ())]
    value = pl.coalesce(ways) if ways else pl.lit(None, dtype=pl.String)
    shown = frame[numbers].select(FILE, LINE, value.alias("v")).rows()
    names = dict.fromkeys(name for _, way in load.links.get(link, ()) for name, _ in way.columns())
    work.rejects.add(load.rows.source, shown, column=", ".join(names), reason=reason, lost=lost, table=load.into)
