"""``beforehand check``."""

import gc
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from beforehand.cli.common import FINDINGS, fail, print_json, settings

if TYPE_CHECKING:
    from beforehand.checking import Checked, Data
    from beforehand.settings import Settings


class Format(StrEnum):
    """Who reads it."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"


def check(
    path: Annotated[Path | None, typer.Argument(help="A folder of rules, or one file; else BEFOREHAND_RULES.")] = None,
    form: Annotated[
        Format, typer.Option("--format", help="For people, for machines, or as annotations of a pull request.")
    ] = Format.TEXT,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    database: Annotated[
        bool, typer.Option("--database/--no-database", help="Ask the database what only the data can say.")
    ] = True,
) -> None:
    """Check the rule files and their templates, and say all that is wrong, each with file, line and column."""
    said = settings()
    rules = path or said.rules
    if not rules.exists():
        fail(f"there is no folder or file '{rules}'")
    checked = _watched(said, rules, database=database)
    if as_json or form is Format.JSON:
        _print_json(checked)
    elif form is Format.GITHUB:
        _print_github(checked)
    else:
        _print_text(checked)
    raise typer.Exit(FINDINGS if checked.errors else 0)


def _watched(said: "Settings", rules: Path, *, database: bool) -> "Checked":
    """The same with a word on a terminal while it takes its time."""
    from rich.console import Console

    with Console(stderr=True).status("Looking at the rules ..."):
        return _checked(said, rules, database=database)


def _checked(said: "Settings", rules: Path, *, database: bool) -> "Checked":
    from beforehand.checking import House
    from beforehand.checking import check as check_rules
    from beforehand.checking.texts import Texts
    from messaging.rendering import Templates

    gc.disable()  # a third of the time went into looking for garbage, and this process ends right after
    texts = Texts(Templates(said.templates, language=said.language, zone=said.time_zone))
    data, why_not = _data(said) if database else (None, "no database was asked")
    house = House(said.webhooks, said.rates, said.currency, address=said.postal_address)
    try:
        return check_rules(rules, texts, said.facts, data=data, why_not=why_not, house=house)
    finally:
        if data is not None:
            data.engine.dispose()


def _data(said: "Settings") -> tuple["Data | None", str]:
    """The data to ask, or why they cannot be asked."""
    from beforehand.checking import Data
    from beforehand.checking.data import Unreachable, open_database
    from beforehand.wiring import wall_clock

    try:
        engine = open_database(said.database_url, allow_unsafe_sqlite=said.allow_unsafe_sqlite)
    except Unreachable as wrong:
        return None, str(wrong)
    return Data(engine, wall_clock(), said.time_zone), ""


def _print_text(checked: "Checked") -> None:
    from rich.console import Console

    from beforehand.cli.problems import show

    console = Console()
    show(checked.problems, console.print)
    for unchecked in checked.unchecked:
        typer.echo(unchecked, err=True)
    errors = len(checked.errors)
    typer.echo(_summary(checked.rules, errors, len(checked.problems) - errors, refused=checked.refused))


def _print_github(checked: "Checked") -> None:
    from beforehand.cli.problems import github

    for line in github(checked.problems, Path.cwd()):
        typer.echo(line)
    for unchecked in checked.unchecked:
        typer.echo(f"::notice::{unchecked}")


def _print_json(checked: "Checked") -> None:
    from beforehand.cli.problems import as_dict

    errors = len(checked.errors)
    said = [as_dict(problem) for problem in checked.problems]
    print_json({"rules": checked.rules, "errors": errors, "problems": said, "not_checked": list(checked.unchecked)})


def _summary(count: int, errors: int, warnings: int, *, refused: bool) -> str:
    noticed = f", {warnings} warning{'s' if warnings != 1 else ''}" if warnings else ""
    if errors:
        said = f"{errors} error{'s' if errors != 1 else ''}{noticed}"
        if refused:
            return f"{said}: the rules are refused, those in force stay in force."
        return f"{said}: the rules load, but put {'these' if errors > 1 else 'this'} right first."
    return f"{count} rule{'s' if count != 1 else ''}, all is well{noticed}."
