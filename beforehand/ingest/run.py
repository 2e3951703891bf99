"""Runs a whole mapping file: reads its sources, makes its views, carries out its loads."""

import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import polars as pl
from sqlalchemy import Engine

from beforehand.ingest.grammar import LINE
from beforehand.ingest.load import Loader, carry_out
from beforehand.ingest.mapping import load_mapping
from beforehand.ingest.readers.files import SourceProblem
from beforehand.ingest.readings import iso_text, plain_numbers
from beforehand.ingest.report import IngestReport, Rejects, SourceReport, TableReport
from beforehand.ingest.rows import Column, Work, batches, make, used_columns
from beforehand.ingest.spool import FILE, Progress, Spool, spool_source
from beforehand.ingest.targets import TARGETS
from beforehand.ingest.tree import MappingErrors, Problem, meant
from beforehand.ingest.words import Load, Mapping, Reading, Rows, Value, View, all_values
from beforehand.settings import Settings


def _silent(_name: str, _done: int, _total: int) -> None:
    """No progress is shown."""


def run(
    engine: Engine,
    mapping: Path,
    *,
    now: datetime,
    settings: Settings,
    data: Path | None = None,
    var: Path | None = None,
    progress: Progress = _silent,
) -> IngestReport:
    """Ingest the sources of a mapping file.

    ``now`` (aware UTC) dates what is new or changed; ``settings`` give the default zone, currency and language, the
    secret key and the folder for reject files (``var`` names another); ``data`` is where relative file names start.
    Raises MappingErrors where the mapping file is wrong: then nothing was read. A source that cannot be used is named
    in the report's ``problems``; loads that need it are left, the others are carried out.
    """
    plan = load_mapping(mapping, data=data)
    return _Run(plan, engine, now, settings, var or settings.var, progress).all()


class _Run:
    def __init__(
        self, plan: Mapping, engine: Engine, now: datetime, settings: Settings, var: Path, progress: Progress
    ) -> None:
        self._plan, self._progress = plan, progress
        self._loader = Loader(engine, now, settings.secret_key.get_secret_value().encode())
        wider = Reading(zone=settings.time_zone, currency=settings.currency, decimal=".", thousands="")
        self._reading = plan.reading.over(wider)
        self._rejects = Rejects(var / "rejects", plan.path.parent.name or plan.path.stem, now)
        self._report = IngestReport()
        self._spools: dict[str, Spool] = {}

    def all(self) -> IngestReport:
        wanted = _wanted(self._plan)
        try:
            with tempfile.TemporaryDirectory(prefix="beforehand-ingest-") as folder:
                self._read(Path(folder), wanted)
                for view in self._plan.views.values():
                    self._view(view, Path(folder), wanted[view.name])
                order = list(TARGETS)
                for number, load in enumerate(sorted(self._plan.loads, key=lambda load: order.index(load.into))):
                    self._load(load, Path(folder) / f"load-{number}")
        finally:
            self._rejects.close()
        self._report.reject_file = self._rejects.path
        return self._report

    def _read(self, folder: Path, wanted: dict[str, set[str]]) -> None:
        used = {name for rows, _ in _uses(self._plan) for name in (rows.source, *(join.source for join in rows.joins))}
        for source in (source for name, source in self._plan.sources.items() if name in used):
            report = self._report.sources.setdefault(source.name, SourceReport())
            try:
                spool = spool_source(
                    source, self._plan.data, folder, wanted[source.name], report, self._rejects, self._progress
                )
            except SourceProblem as wrong:
                self._problem(source.at.line, source.at.column, f"source '{source.name}': {wrong}")
            else:
                self._spools[source.name] = spool

    def _problem(self, line: int, column: int, said: str) -> None:
        self._report.problems.append(str(Problem(str(self._plan.path), line, column, said)))

    def _failed(self, rows: Rows, what: str, wrong: Exception) -> None:
        said = str(wrong).splitlines()[0]
        self._problem(rows.at.line, rows.at.column, f"{what} cannot be carried out; look at its expressions: {said}")

    def _reading_of(self, rows: Rows) -> Reading:
        name = rows.source
        while name in self._plan.views:
            name = self._plan.views[name].rows.source
        return self._plan.sources[name].reading.over(self._reading)

    def _usable(self, rows: Rows, what: str) -> bool:
        missing = [name for name in (rows.source, *(j.source for j in rows.joins)) if name not in self._spools]
        if missing:
            self._problem(rows.at.line, rows.at.column, f"{what} is left out, since '{missing[0]}' cannot be used")
        return not missing

    def _view(self, view: View, folder: Path, used: set[str]) -> None:
        if not self._usable(view.rows, f"view '{view.name}'"):
            return
        columns = [
            Column(name, value, value.kind or _natural(value)) for name, value in view.columns.items() if name in used
        ]
        report = TableReport()
        name = f"{view.name} from {view.rows.source}"
        reading = self._reading_of(view.rows)
        work = Work(self._spools, folder / f"view-{view.name}", reading, self._rejects, report, self._progress, name)
        try:
            made = make(view.rows, columns, work)
        except pl.exceptions.PolarsError as wrong:
            self._failed(view.rows, f"view '{view.name}'", wrong)
            return
        spool = Spool(folder / view.name, [column.name for column in columns])
        for frame in batches(made):
            spool.write(frame.select(LINE, FILE, *map(_as_text, columns)))
        self._spools[view.name] = spool
        shown = self._report.sources.setdefault(view.name, SourceReport())
        shown.rejected.update(report.rejected)
        shown.left_out.update(report.left_out)
        shown.notes.update(report.notes + report.emptied)

    def _load(self, load: Load, folder: Path) -> None:
        if not self._usable(load.rows, f"the load into {load.into}"):
            return
        report = TableReport()
        name = f"{load.into} from {load.rows.source}"
        reading = self._reading_of(load.rows)
        work = Work(self._spools, folder, reading, self._rejects, report, self._progress, name)
        try:
            carry_out(load, work, self._loader)
        except pl.exceptions.PolarsError as wrong:  # an expression that fits no data, say
            self._failed(load.rows, f"the load into {load.into}", wrong)
        self._report.tables[load.into] = self._report.tables.get(load.into, TableReport()) + report


def _natural(value: Value) -> str:
    return "number" if value.op in ("sum", "average") else "text"


def _as_text(column: Column) -> pl.Expr:
    found = pl.col(column.name)
    if column.value.op == "count" or column.kind in ("text", "integer", "boolean", "date"):
        return found.cast(pl.String)
    return (iso_text(found) if column.kind == "time" else plain_numbers(found)).alias(column.name)


def _wanted(plan: Mapping) -> dict[str, set[str]]:
    """The columns that are needed of each source and view; a wrong name in a view is a problem at once."""
    wanted: dict[str, set[str]] = {name: set() for name in (*plan.sources, *plan.views)}
    problems: list[Problem] = []
    for rows, values in _uses(plan):
        joined = {join.name: join.source for join in rows.joins}
        for join in rows.joins:
            wanted[join.source].update(theirs for _, theirs in join.on)
        for name in used_columns(rows, values):
            prefix, _, rest = name.partition(".")
            if rest and prefix in joined:
                wanted[joined[prefix]].add(rest)
            elif name != LINE:
                wanted[rows.source].add(name)
    for view in plan.views.values():
        for name in sorted(wanted[view.name] - set(view.columns)):
            said = f"view '{view.name}' has no column '{name}'{meant(name, view.columns)}"
            problems.append(Problem(str(plan.path), view.rows.at.line, view.rows.at.column, said))
    if problems:
        raise MappingErrors(problems)
    return wanted


def _uses(plan: Mapping) -> Iterator[tuple[Rows, list[Value]]]:
    for view in plan.views.values():
        yield view.rows, list(view.columns.values())
    for load in plan.loads:
        yield load.rows, all_values(load)
