"""What commands share: the wired application with errors said plainly, moments, JSON and tables."""

import json
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from beforehand.settings import Settings
    from beforehand.wiring import App

Asked = TypeVar("Asked")

By = Annotated[str | None, typer.Option(help="Who says so; without it git's user where the rules lie, else the login")]
"""An option that names whoever is written into the audit log: see :func:`who`."""

FINDINGS = 1
WRONG_USE = 2


def fail(message: str, *, code: int = WRONG_USE) -> NoReturn:
    """Say what is wrong on stderr and leave with ``code``."""
    from beforehand.cli.words import plainly

    typer.echo(plainly(message), err=True)
    raise typer.Exit(code)


def settings() -> "Settings":
    """The settings as the environment gives them; what is wrong is said in a sentence each."""
    from pydantic import ValidationError
    from pydantic_settings.exceptions import SettingsError

    from beforehand.settings import Settings

    try:
        return Settings()
    except ValidationError as wrong:
        lines = ["_".join(["BEFOREHAND", *map(str, e["loc"])]).upper() + f": {e['msg']}" for e in wrong.errors()]
        fail("The settings are not right:\n  " + "\n  ".join(lines))
    except SettingsError as wrong:
        fail(f"The settings are not right: {wrong}; lists and tables are written as JSON")


def wired(*, new: bool = True) -> "App":
    """The application as the environment sets it; a setting or database that is wrong is said in a sentence.

    ``new`` False: where there is no database yet, none is made.
    """
    from sqlalchemy.exc import SQLAlchemyError

    from beforehand.wiring import bootstrap
    from models.database import DatabaseError
    from models.trouble import plainly

    try:
        return bootstrap(settings(), new=new)
    except DatabaseError as wrong:
        fail(str(wrong))
    except SQLAlchemyError as wrong:
        fail(plainly(wrong, settings().database_url))


@contextmanager
def or_the_stop_file() -> "Iterator[None]":
    """Where what is asked inside fails, say what this machine's stop file says: that holds with the database down."""
    from beforehand.cli.words import plainly
    from beforehand.wiring import stop_file_of

    file = stop_file_of(settings())
    try:
        yield
    except typer.Exit:
        said = file.look()
        what = f"stops {', '.join(sorted(said.scopes))}" if said.scopes else "is not there, so it stops nothing"
        typer.echo(plainly(f"The stop file {file.path} {what}{said.problem and f' ({said.problem})'}."), err=True)
        raise


def moment(text: str | None, app: "App", option: str = "--now") -> datetime:
    """Read ``--now`` (or ``option``): ISO 8601; without a zone it is read in the default zone. None: the clock's."""
    if text is None:
        return app.clock()
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        fail(
            f"{option} {text!r} is not a moment; expected ISO 8601, for example 2026-03-10T10:00:00+01:00 or 2026-03-10"
        )
    if not 1000 <= read.year <= 9000:
        fail(f"{option} {text!r} is too far from today to reckon with")
    return (read if read.tzinfo else read.replace(tzinfo=app.settings.zone)).astimezone(UTC)


def asked(question: "Callable[[], Asked]") -> "Asked":
    """The answer; or what is wrong, said plainly: an unknown rule and a setting are wrong use, rule files findings."""
    from sqlalchemy.exc import SQLAlchemyError

    from beforehand.passes import UnknownRule
    from models.trouble import plainly
    from rules.errors import RuleErrors

    try:
        return question()
    except UnknownRule as wrong:
        fail(str(wrong))
    except RuleErrors as wrong:
        fail("\n".join(map(str, wrong.problems)), code=FINDINGS)
    except ValueError as wrong:
        fail(f"This cannot be answered: {wrong}")
    except SQLAlchemyError as wrong:
        fail(plainly(wrong, settings().database_url))


def who(given: str | None, rules: "Path") -> str:
    """Whose name goes into the audit log: as given, else whoever works in ``rules``, else ``unknown``."""
    from beforehand.git import me

    return (given or "").strip() or me(rules) or "unknown"


@contextmanager
def progress(first: str) -> "Iterator[Callable[[str, int, int], None]]":
    """A bar on stderr where that is a terminal; what it gives is told what is being done, how far, and of how many.

    ``first`` is what it says until then.
    """
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(first, total=None)
        yield lambda what, done, of: bar.update(task, description=what, completed=done, total=of)


def print_json(value: Any) -> None:
    """Print one JSON document."""
    json.dump(value, sys.stdout, ensure_ascii=False, indent=2, default=str)
    sys.stdout.write("\n")
