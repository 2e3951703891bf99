"""``beforehand test``: the tests in the rule files."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from beforehand.cli.common import FINDINGS, fail, print_json, settings
from beforehand.cli.words import plainly

if TYPE_CHECKING:
    from rich.console import Console

    from beforehand.proving import Outcome, Report
    from beforehand.settings import Settings

LOOK_EVERY = 0.3
"""Seconds between two looks at the files."""


def run_tests(
    rules: Annotated[
        list[str] | None, typer.Argument(metavar="[RULE...]", help="Rules by id or file; without any, all of them.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--rules", metavar="PATH", help="The rules folder or file; else BEFOREHAND_RULES.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Stay, and test again what is saved, until Ctrl-C.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Name every test and what happened in it.")] = False,
    junit: Annotated[
        Path | None,
        typer.Option("--junit", metavar="FILE", help="Write a JUnit XML report for continuous integration."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Run the tests in the rule files, each with its own clock and data. Sends nothing, and touches no database."""
    said = settings()
    if watch and (as_json or junit):
        fail("--watch shows results as they come; it goes with neither --json nor --junit")
    files = _chosen(folder or said.rules, rules or [])
    _facts_must_load(said)
    try:
        if watch:
            _stay(said, folder or said.rules, rules or [], files, verbose)
            return
        report = _run(files, said, quiet=as_json, verbose=verbose)
    except ValueError as wrong:
        fail(f"A setting is not right: {wrong}")
    if junit is not None:
        _write_junit(junit, report)
    if as_json:
        print_json(_as_json(report))
    raise typer.Exit(0 if report.fine else FINDINGS)


def _chosen(folder: Path, asked: Sequence[str]) -> list[Path]:
    """The files of the rules asked for; all of the folder where none is named."""
    from beforehand.proving import rule_files
    from models.places import closest

    if not folder.exists():
        fail(f"{folder}: there is no such folder or file; expected a folder with rule files")
    there = {file.stem: file for file in rule_files(folder)}
    found = []
    for name in asked:
        path = Path(name)
        if name in there:
            found.append(there[name])
        elif path.suffix in (".yaml", ".yml") and path.is_file():
            found.append(path)
        else:
            meant = closest(name, there)
            hint = f"did you mean {meant}?" if meant else f"there are: {', '.join(there) or 'none'}"
            fail(f"there is no rule '{name}' in {folder}; {hint}")
    return found or list(there.values())


def _facts_must_load(said: "Settings") -> None:
    """Say what is wrong with facts.yaml once, and not once a rule."""
    from rules.attributes import with_attributes
    from rules.errors import RuleErrors
    from rules.facts import subjects

    try:
        with_attributes(subjects(), said.facts)
    except RuleErrors as wrong:
        fail(str(wrong), code=FINDINGS)


def _run(files: Sequence[Path], said: "Settings", *, quiet: bool = False, verbose: bool = False) -> "Report":
    from time import perf_counter

    from rich.console import Console

    from beforehand.proving import prove_all

    console = Console(highlight=False, quiet=quiet, emoji=False)
    width = max((len(file.stem) for file in files), default=0)
    begun = perf_counter()
    report = prove_all(
        said,
        files,
        told=lambda rule_id, outcomes: _line(console, rule_id, outcomes, width, verbose),
    )
    for unread in report.unread:
        console.print(f"[red]✗[/red]  [bold]{_safe(Path(unread.path).stem)}[/bold]  does not load")
        for problem in unread.problems:
            console.print(f"   {_safe(str(problem))}", soft_wrap=True)
    for outcome in report.failed:
        _failure(console, outcome)
    console.print(_total(report, perf_counter() - begun), style="green" if report.fine else "red")
    return report


def _line(console: "Console", rule_id: str, outcomes: "Sequence[Outcome]", width: int, verbose: bool) -> None:
    ticks = "".join("[green]✓[/green]" if outcome.passed else "[red]✗[/red]" for outcome in outcomes)
    count = f"{len(outcomes)} test{'s' if len(outcomes) != 1 else ''}" if outcomes else "[yellow]no tests[/yellow]"
    console.print(f"{_safe(rule_id):<{width}}  {ticks or '[yellow]·[/yellow]'}  [dim]{count}[/dim]")
    for outcome in outcomes if verbose else ():
        tick = "[green]✓[/green]" if outcome.passed else "[red]✗[/red]"
        console.print(f"  {tick} {_safe(outcome.test)}: [dim]{_safe(outcome.got)}[/dim]", soft_wrap=True)


def _failure(console: "Console", outcome: "Outcome") -> None:
    place = f"{outcome.path}:{outcome.line}"
    console.print(
        f"\n[red]✗[/red] [bold]{_safe(outcome.rule_id)}[/bold]: {_safe(outcome.test)}  [dim]{_safe(place)}[/dim]"
    )
    console.print(f"    expected  {_safe(outcome.expected)}\n    got       {_safe(outcome.got)}", soft_wrap=True)
    for number, line in enumerate((*outcome.differences, *outcome.because)):
        head = "but       " if number == 0 else "because   " if number == len(outcome.differences) else " " * 10
        console.print(f"    {head}{_safe(line)}", soft_wrap=True)


def _total(report: "Report", took: float) -> str:
    tests, failed, unread = len(report.outcomes), len(report.failed), len(report.unread)
    rules = len(report.rules)
    parts = [f"{tests} test{'s' if tests != 1 else ''} of {rules} rule{'s' if rules != 1 else ''} in {took:.1f} s"]
    parts += [f"{failed} failed" if failed else "all pass"] if tests else ["no test"]
    parts += [f"{unread} file{'s' if unread != 1 else ''} not loaded"] if unread else []
    return "\n" + ", ".join(parts) + "."


def _as_json(report: "Report") -> dict[str, object]:
    return {
        "rules": len(report.rules),
        "tests": len(report.outcomes),
        "failed": len(report.failed),
        "untested": [rule_id for rule_id, outcomes in report.rules.items() if not outcomes],
        "results": [outcome.as_json() for outcome in report.outcomes],
        "unread": [
            {"file": each.path, "problems": [str(problem) for problem in each.problems]} for each in report.unread
        ],
    }


def _write_junit(path: Path, report: "Report") -> None:
    from beforehand.proving.junit import junit

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(junit(report), encoding="utf-8")
    except OSError as wrong:
        fail(f"{path} cannot be written: {wrong.strerror}")


def _stay(said: "Settings", folder: Path, asked: Sequence[str], files: list[Path], verbose: bool) -> None:
    import time

    from beforehand.proving.watching import affected, footprint, watch

    def again(changes: set[Path]) -> None:
        chosen = affected(_still(folder, asked, files), changes)
        if chosen:
            typer.echo(f"\n{', '.join(sorted(path.name for path in changes))} changed")
            _run(chosen, said, verbose=verbose)

    looked_at = [folder, said.templates, *([said.facts] if said.facts else []), *files]
    before = footprint(looked_at)
    _run(files, said, verbose=verbose)
    typer.echo("Watching; Ctrl-C ends.")
    try:
        watch(looked_at, again, rest=lambda: time.sleep(LOOK_EVERY), seen=before)
    except KeyboardInterrupt:
        typer.echo("")


def _still(folder: Path, asked: Sequence[str], files: list[Path]) -> list[Path]:
    """The files to watch as the folder is now: rules come and go while somebody works."""
    from beforehand.proving import rule_files

    return [path for path in files if path.is_file()] if asked else rule_files(folder)


def _safe(text: str) -> str:
    """Text from rule files and data, so that nothing in it is markup, or moves a terminal's cursor."""
    from rich.markup import escape

    return escape(plainly(text))
