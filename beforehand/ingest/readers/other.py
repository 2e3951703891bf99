"""Reads JSON lines, fixed-width text, Parquet and SQL queries into frames of text."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from beforehand.ingest.readers.files import SourceProblem, TextFile
from beforehand.ingest.words import Source

Broken = list[tuple[int, str, str]]
Frames = Iterator[tuple[pl.DataFrame, Broken]]
ROWS = 50_000
BLOCK = 8 * 1024 * 1024


def read_json_lines(file: TextFile, wanted: set[str] | None) -> Frames:
    """One JSON object a line. ``a.b`` reaches into objects; what is still an object or a list is its JSON text."""
    line = 0
    while lines := file.lines(BLOCK):
        objects: list[dict[str, Any]] = []
        starts: list[int] = []
        broken: Broken = []
        for text in lines:
            line += 1
            if not text.strip():
                continue
            try:
                found = json.loads(text, parse_int=str, parse_float=str)
            except ValueError:
                cut = file.cut or "the line is not JSON (is the file cut off here?)"
                broken.append((line, cut, text.rstrip()))
                continue
            if isinstance(found, dict):
                objects.append(found)
                starts.append(line)
            else:
                broken.append((line, "the line is not a JSON object", text.rstrip()))
        yield _json_frame(objects, starts, wanted), broken


def _json_frame(objects: list[dict[str, Any]], starts: list[int], wanted: set[str] | None) -> pl.DataFrame:
    names = dict.fromkeys(key for found in objects for key in found) if wanted is None else sorted(wanted)
    columns = [pl.Series(name, [_reach(found, name) for found in objects], dtype=pl.String) for name in names]
    return pl.DataFrame([*columns, pl.Series("@line", starts, dtype=pl.Int64)])


def _reach(found: Any, name: str) -> str | None:
    if isinstance(found, dict) and name in found:
        return _as_text(found[name])
    head, _, rest = name.partition(".")
    return _reach(found[head], rest) if rest and isinstance(found, dict) and head in found else None


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False)


def read_fixed(source: Source, file: TextFile) -> Frames:
    """Lines with columns at fixed places (counted from 1, both ends included)."""
    line = source.skip_lines
    need = max(first for first, _ in source.widths)
    yield pl.DataFrame(schema=dict.fromkeys(source.columns, pl.String)), []
    skip = source.skip_lines + (1 if source.header else 0)
    line = 0
    while lines := file.lines(BLOCK):
        texts = pl.DataFrame({"t": pl.Series([text.rstrip("\r\n") for text in lines], dtype=pl.String)})
        texts = texts.with_row_index("@line", offset=line + 1).with_columns(pl.col("@line").cast(pl.Int64))
        line += len(lines)
        texts = texts.filter(pl.col("@line") > skip, pl.col("t").str.strip_chars() != "")
        short = pl.col("t").str.len_chars() < need
        reason = f"the line is too short: the last column begins at {need}"
        broken: Broken = [(at, reason, text) for at, text in texts.filter(short).iter_rows()]
        cuts = [
            pl.col("t").str.slice(first - 1, last - first + 1).alias(name)
            for name, (first, last) in zip(source.columns, source.widths, strict=True)
        ]
        yield texts.filter(~short).select(*cuts, "@line"), broken


def read_parquet(path: Path, wanted: set[str] | None) -> Frames:
    """A Parquet file, batch by batch; ``@line`` is the row's number from 1."""
    try:
        scan = pl.scan_parquet(path)
        names = scan.collect_schema().names()
        yield pl.DataFrame(schema=dict.fromkeys(names, pl.String)), []
        chosen = [name for name in names if wanted is None or name in wanted]
        at = 1
        for frame in scan.select(chosen).collect_batches(chunk_size=ROWS, maintain_order=True):
            yield _texts(frame, at), []
            at += frame.height
    except pl.exceptions.ComputeError as wrong:
        said = str(wrong).splitlines()[0]
        raise SourceProblem(f"{path} is not a whole Parquet file ({said}); fetch it again") from wrong


def read_query(source: Source) -> Frames:
    """The rows of an SQL query, streamed. Raises SourceProblem where the database refuses; never shows the URL."""
    from sqlalchemy import create_engine, text
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

    from models.database import DatabaseError, normal_url

    try:
        engine = create_engine(normal_url(source.database))
        with engine.connect().execution_options(stream_results=True, yield_per=ROWS) as connection:
            result = connection.execute(text(source.query))
            names = list(result.keys())
            yield pl.DataFrame(schema=dict.fromkeys(names, pl.String)), []
            at = 1
            for rows in result.partitions(ROWS):
                columns = list(zip(*rows, strict=True))
                frame = pl.DataFrame({name: _column(values) for name, values in zip(names, columns, strict=True)})
                yield _texts(frame, at), []
                at += frame.height
        engine.dispose()
    except (ArgumentError, NoSuchModuleError, DatabaseError) as wrong:
        raise SourceProblem("the 'database' is not a URL we can ask; expected sqlite:/// or postgresql://") from wrong
    except SQLAlchemyError as wrong:
        cause = getattr(wrong, "orig", None) or wrong
        raise SourceProblem(f"the database refuses the query: {str(cause).splitlines()[0]}") from wrong


def _column(values: tuple[Any, ...]) -> pl.Series:
    try:
        return pl.Series(values, strict=True)
    except (TypeError, pl.exceptions.PolarsError):
        return pl.Series([None if value is None else str(value) for value in values], dtype=pl.String)


def _texts(frame: pl.DataFrame, first: int) -> pl.DataFrame:
    columns = [_text(column) for column in frame.get_columns()]
    return pl.DataFrame([*columns, pl.Series("@line", range(first, first + frame.height), dtype=pl.Int64)])


def _text(column: pl.Series) -> pl.Series:
    kind = column.dtype
    if isinstance(kind, pl.Datetime):
        zoned = column.dt.convert_time_zone("UTC") if kind.time_zone else column
        return zoned.dt.strftime("%Y-%m-%dT%H:%M:%S%.6f" + ("Z" if kind.time_zone else ""))
    if isinstance(kind, pl.Struct):
        return column.struct.json_encode()
    if isinstance(kind, pl.List | pl.Array):
        texts = [None if entry is None else json.dumps(list(entry), default=str) for entry in column]
        return pl.Series(column.name, texts, dtype=pl.String)
    if kind == pl.Binary:
        return column.cast(pl.String, strict=False)
    return column.cast(pl.String)
