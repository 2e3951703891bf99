"""``beforehand ingest``: data in, by a mapping file."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from beforehand.cli.common import FINDINGS, fail, moment, print_json, wired

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from beforehand.ingest import IngestReport


def ingest(
    sources: Annotated[
        Path, typer.Argument(help="The mapping file: which sources there are and what their columns are")
    ],
    data: Annotated[Path | None, typer.Option(help="The folder in which the source files are")] = None,
    var: Annotated[Path | None, typer.Option(help="The folder for reject files (in it, rejects/)")] = None,
    now: Annotated[str | None, typer.Option(help="The moment that dates what is new, ISO 8601; default: now")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON")] = False,
) -> None:
    """Read customers, orders, calls and the rest from files or a database; new rows are added, changed ones updated.

    Exit code 0: every row was taken; 1: a row was rejected or a source could not be used (nothing good is lost);
    2: the mapping file is wrong, and nothing was read.
    """
    from rich.console import Console
    from sqlalchemy.exc import SQLAlchemyError

    from beforehand.ingest import MappingErrors, run
    from beforehand.passes.households import form_households

    app = wired()
    console = Console(stderr=True)
    try:
        with _progress(console) as progress:
            report = run(
                app.engine, sources, now=moment(now, app), settings=app.settings, data=data, var=var, progress=progress
            )
        form_households(app, report)
    except SQLAlchemyError as wrong:
        fail(
            f"The database does not take it: {str(wrong).splitlines()[0]}\nWhat was written before is kept; try again."
        )
    except MappingErrors as wrong:
        fail(f"The mapping file is not right; nothing was read:\n{wrong}")
    if json:
        print_json(report.as_dict())
    else:
        show(report, Console())
    for problem in report.problems:
        typer.echo(problem, err=True)
    raise typer.Exit(0 if report.fine else FINDINGS)


class _progress:
    """A progress bar on a terminal; nothing elsewhere."""

    def __init__(self, console: "Console") -> None:
        self._console, self._tasks = console, dict[str, Any]()
        self._bar: Any = None

    def __enter__(self) -> "Callable[[str, int, int], None]":
        if self._console.is_terminal and sys.stderr.isatty():
            from rich.progress import Progress

            self._bar = Progress(console=self._console, transient=True)
            self._bar.start()
        return self._step

    def _step(self, name: str, done: int, total: int) -> None:
        if self._bar is None:
            return
        if name not in self._tasks:
            self._tasks[name] = self._bar.add_task(name, total=total)
        self._bar.update(self._tasks[name], completed=done, total=max(total, done))

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()


def show(report: "IngestReport", console: "Console") -> None:
    """Say what an ingest did, in two tables and a few sentences."""
    from rich.table import Table

    table = Table("table", "rows", "new", "changed", "same", "rejected", "left out", box=None, pad_edge=False)
    for name, part in report.tables.items():
        figures = (part.rows, part.new, part.changed, part.same, part.rejected.total(), part.left_out.total())
        table.add_row(name, *(f"{figure:,}" for figure in figures))
    console.print(f"{report.read:,} rows read from {len(report.sources)} sources")
    console.print(table)
    for kind, word in (
        ("rejected", "rejected"),
        ("left_out", "left out"),
        ("emptied", "dropped value"),
        ("notes", "note"),
    ):
        for name, source in (*report.sources.items(), *report.tables.items()):
            for reason, count in getattr(source, kind, {}).items():
                console.print(f"  {word}: {name}: {count:,} x {reason}", highlight=False, markup=False)
    if report.reject_file:
        console.print(f"What could not be taken is in {report.reject_file}", soft_wrap=True, highlight=False)
