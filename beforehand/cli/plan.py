"""``plan`` says what a change of the rules would do, on the real data, before anything of it runs."""

import sys
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from beforehand.cli import common

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from beforehand.planning import Plan, Present
    from beforehand.wiring import App


class Format(StrEnum):
    """How a plan is printed."""

    TEXT = "text"
    MARKDOWN = "markdown"
    JSON = "json"


def plan(
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="REF|PATH",
            help="Compare with a git branch, tag or commit, or another folder; without it, with what is in force.",
            show_default=False,
        ),
    ] = None,
    rules: Annotated[
        Path | None,
        typer.Option("--rules", metavar="PATH", help="The rules to look at; without it BEFOREHAND_RULES."),
    ] = None,
    now: Annotated[
        str | None,
        typer.Option("--now", metavar="ISO", help="Decide as of this moment; without it, now.", show_default=False),
    ] = None,
    weeks: Annotated[
        int, typer.Option("--weeks", min=0, max=52, help="Replay so many weeks with the old text and the new; 0: none.")
    ] = 4,
    form: Annotated[
        Format, typer.Option("--format", help="text for people, markdown for a pull request, json for machines.")
    ] = Format.TEXT,
    json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Say what the changed rules would do: who is added, who drops out, what it costs. Writes nothing.

    Exit code 0, whether or not anything differs; 1 where a rule is refused; 2 where there is nothing to compare with.
    """
    from beforehand.cli.plan_shown import markdown, show

    app = common.wired()
    moment = common.moment(now, app)
    text = form is Format.TEXT and not json
    told = None
    with _looking(app, moment, against, rules, weeks) as looked:
        if text and looked.replays() and sys.stdout.isatty():
            told = looked.plan
            show(told, more=weeks)
        planned = _replayed(looked)
    if json or form is Format.JSON:
        common.print_json(planned.as_json())
    elif form is Format.MARKDOWN:
        typer.echo(markdown(planned))
    else:
        show(planned, told=told)
    if planned.refused:
        raise typer.Exit(common.FINDINGS)


@contextmanager
def _looking(app: "App", now: "datetime", against: str | None, rules: Path | None, weeks: int) -> "Iterator[Present]":
    from beforehand.planning import NothingToCompare, present

    with ExitStack() as until:
        try:
            with common.progress("looking"):
                looking = present(app, now, against=against, rules=rules, weeks=weeks)
                looked = common.asked(lambda: until.enter_context(looking))
        except NothingToCompare as wrong:
            common.fail(str(wrong))
        yield looked


def _replayed(looked: "Present") -> "Plan":
    with common.progress("replaying") as progress:
        return common.asked(lambda: looked.replayed(progress))
