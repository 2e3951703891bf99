"""Brings every source into the same form: Parquet files of text columns with ``@file`` and ``@line``.

So joins and groups need no memory for the whole, and a source that several loads use is read once.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from beforehand.ingest.grammar import LINE
from beforehand.ingest.readers.files import BAD, SourceProblem, TextFile, find_files
from beforehand.ingest.readers.other import Broken, read_fixed, read_json_lines, read_parquet, read_query
from beforehand.ingest.readers.separated import read_separated
from beforehand.ingest.report import Rejects, SourceReport
from beforehand.ingest.tree import meant
from beforehand.ingest.words import Source

FILE, HASH = "@file", "@hash"
Progress = Callable[[str, int, int], None]
"""Called with a name, how much is done and how much there is."""


@dataclass
class Spool:
    """The parts of a source in Parquet; ``hashed`` where exact duplicates are to be dropped."""

    folder: Path
    columns: list[str]
    parts: list[Path] = field(default_factory=list)
    rows: int = 0
    hashed: bool = False

    def write(self, frame: pl.DataFrame) -> None:
        """Add rows."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{len(self.parts):06}.parquet"
        frame.write_parquet(path, compression="lz4", statistics=False)
        self.parts.append(path)
        self.rows += frame.height

    def scan(self) -> pl.LazyFrame:
        """All rows, in order."""
        if not self.parts:
            schema = {**dict.fromkeys(self.columns, pl.String), LINE: pl.Int64, FILE: pl.Int32}
            return pl.LazyFrame(schema=schema)
        rows = pl.scan_parquet(self.parts)
        if not self.hashed:
            return rows
        return rows.unique(subset=HASH, keep="first", maintain_order=True).drop(HASH)


def spool_source(
    source: Source,
    data: Path,
    folder: Path,
    wanted: set[str],
    report: SourceReport,
    rejects: Rejects,
    progress: Progress,
) -> Spool:
    """Read a source whole. Raises SourceProblem where it cannot be used; broken lines are rejected one by one."""
    spool = Spool(folder / source.name, sorted(wanted), hashed=source.drop_duplicates)
    if source.format == "sql":
        _spool_one(source, read_query(source), 0, spool, wanted, report, rejects)
        return spool
    files = find_files(source, data)
    rejects.name_files(source.name, [file.name for file in files])
    for number, path in enumerate(files):
        _spool_file(source, path, number, spool, wanted, report, rejects, progress)
    if source.format == "jsonl" and spool.rows:
        absent = (
            spool.scan().select(pl.col(spool.columns).is_null().all()).collect(engine="streaming").row(0, named=True)
        )
        for name in (name for name, nowhere in absent.items() if nowhere):
            report.notes[f"no object has a value for '{name}'; is it spelt so?"] += 1
    if spool.hashed and spool.rows:
        left = spool.scan().select(pl.len()).collect(engine="streaming").item()
        if left < spool.rows:
            report.left_out["exact duplicate of an earlier line"] += spool.rows - left
    return spool


def _spool_file(
    source: Source,
    path: Path,
    number: int,
    spool: Spool,
    wanted: set[str],
    report: SourceReport,
    rejects: Rejects,
    progress: Progress,
) -> None:
    if source.format == "parquet":
        frames = read_parquet(path, None if source.drop_duplicates else wanted)
        _spool_one(source, frames, number, spool, wanted, report, rejects)
        return
    size = path.stat().st_size
    file = TextFile(path, source.encoding, lambda done: progress(f"read {path.name}", done, size))
    try:
        _spool_one(source, _frames(source, file, wanted), number, spool, wanted, report, rejects)
    except SourceProblem as wrong:
        if file.bad_bytes or file.guess == "utf-16":
            raise SourceProblem(f"{wrong}. The file looks like {file.guess}: try 'encoding: {file.guess}'") from wrong
        raise
    finally:
        file.close()
    if file.cut:
        report.notes[f"{path.name}: {file.cut}"] += 1
    if file.rather_utf8:
        report.notes[f"{path.name} looks like utf-8, but the mapping says {source.encoding}; look at the letters"] += 1
    if file.bad_bytes:
        said = f"{path.name} is not {source.encoding.removesuffix('-sig')} throughout; try 'encoding: {file.guess}'"
        report.notes[said] += 1


def _frames(source: Source, file: TextFile, wanted: set[str]) -> Iterator[tuple[pl.DataFrame, Broken]]:
    if source.format == "jsonl":
        return read_json_lines(file, wanted)
    if source.format == "fixed":
        return read_fixed(source, file)
    return read_separated(source, file, None if source.drop_duplicates else wanted)


def _spool_one(
    source: Source,
    frames: Iterator[tuple[pl.DataFrame, Broken]],
    number: int,
    spool: Spool,
    wanted: set[str],
    report: SourceReport,
    rejects: Rejects,
) -> None:
    first = source.format != "jsonl"
    for frame, broken in frames:
        if first:
            _check_header(source, frame.columns, wanted)
            first = False
            continue
        for line, reason, text in broken:
            report.rejected[reason] += 1
            rejects.add(source.name, [(number, line, text)], column="", reason=reason)
        report.read += frame.height
        if frame.height:
            spool.write(_clean(source, frame, number, sorted(wanted), report, rejects))


def _close(name: str, header: list[str]) -> str:
    """A column of nearly that name, in brackets; or nothing."""
    return meant(name, header).replace("; ", " (").replace("?", "?)")


def _check_header(source: Source, header: list[str], wanted: set[str]) -> None:
    missing = sorted(wanted - set(header))
    if not missing:
        return
    if not header:
        raise SourceProblem("it is empty, it has not even a header; fetch it again")
    names = ", ".join(f"'{name}'{_close(name, header)}" for name in missing)
    hint = "Is the 'delimiter' right? " if len(header) == 1 and any(mark in header[0] for mark in ";\t|,") else ""
    raise SourceProblem(
        f"it has no column {names}. Its header is: {', '.join(header[:60])}. {hint}"
        "If the file's header changed, change the names in the mapping file; if not, this is another file"
    )


def _clean(
    source: Source, frame: pl.DataFrame, number: int, wanted: list[str], report: SourceReport, rejects: Rejects
) -> pl.DataFrame:
    """Trimmed text with nulls, without the rows that hold bytes of another encoding."""
    texts = [name for name in frame.columns if name != LINE]
    frame = frame.with_columns(pl.lit(number, dtype=pl.Int32).alias(FILE))
    frame = _without_bad_bytes(source, frame, wanted, report, rejects)
    if spoolable_hash := source.drop_duplicates:
        frame = frame.with_columns(frame.select(texts).hash_rows(seed=1).alias(HASH))
    extra = [LINE, FILE, *([HASH] if spoolable_hash else [])]
    cleaned = [pl.col(name).str.strip_chars() if source.trim else pl.col(name) for name in wanted]
    nulls = list(source.null)
    emptied = [
        pl.when(text.is_in(nulls)).then(None).otherwise(text).alias(name)
        for name, text in zip(wanted, cleaned, strict=True)
    ]
    return frame.select(*emptied, *extra)


def _without_bad_bytes(
    source: Source, frame: pl.DataFrame, wanted: list[str], report: SourceReport, rejects: Rejects
) -> pl.DataFrame:
    bad = pl.Series([False] * frame.height)
    reason = f"holds bytes that are not {source.encoding.removesuffix('-sig')}; say the file's encoding in the mapping"
    for name in wanted:
        here = frame[name].str.contains(BAD).fill_null(False)
        if here.any():
            found = frame.filter(here).select(FILE, LINE, name).rows()
            rejects.add(source.name, found, column=name, reason=reason)
            bad = bad | here
    if bad.any():
        report.rejected[reason] += int(bad.sum())
        return frame.filter(~bad)
    return frame
