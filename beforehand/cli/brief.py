"""``beforehand brief``: the morning brief, at any time."""

from typing import Annotated

import typer

from beforehand.cli import common
from beforehand.cli.words import plainly


def brief(
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="ISO", help="Begin here; without it, where the last brief ended."),
    ] = None,
    now: Annotated[
        str | None,
        typer.Option("--now", metavar="ISO", help="As of this moment; without it, now.", show_default=False),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Say what was sent and withheld since the last morning brief, what needs somebody, and what is due today."""
    from rich.console import Console
    from rich.markdown import Markdown

    from beforehand.briefing import brief_of
    from beforehand.briefing_words import markdown

    app = common.wired(new=False)
    until = common.moment(now, app)
    begin = None if since is None else common.moment(since, app, "--since")
    if begin is not None and begin >= until:
        common.fail(f"--since {since} must lie before {'now' if now is None else f'--now {now}'}")
    seen = common.asked(lambda: brief_of(app, until, since=begin))
    if json:
        common.print_json(seen.as_json())
        return
    console = Console(highlight=False)
    text = plainly(markdown(seen))
    console.print(Markdown(text) if console.is_terminal else text, markup=False)
