"""``beforehand approve``: what the brake holds, what it would do, and the answer of a second person."""

from typing import TYPE_CHECKING, Annotated

import typer

from beforehand.cli import common
from beforehand.cli.words import CHANNELS, cost_lines, plainly, safe, some

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table

    from beforehand.approving import HeldRunView, Question
    from beforehand.wiring import App


def approve(
    run: Annotated[
        int | None, typer.Argument(metavar="[RUN]", help="The held run's number; without it, all.", show_default=False)
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Approve it: the first few go, and then the rest.")] = False,
    shown: Annotated[
        str | None,
        typer.Option(
            "--shown", metavar="WORD", help="With --yes: the word that its page ends with.", show_default=False
        ),
    ] = None,
    refuse: Annotated[bool, typer.Option("--refuse", help="Refuse it: nothing more of it goes.")] = False,
    by: Annotated[
        str | None,
        typer.Option("--by", metavar="NAME", help="Who answers; else git's user, else the login.", show_default=False),
    ] = None,
    because: Annotated[str, typer.Option("--because", metavar="TEXT", help="Why; kept in the audit log.")] = "",
    now: Annotated[
        str | None,
        typer.Option("--now", metavar="ISO", help="Show it as of this moment; without it, now.", show_default=False),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Say which runs the brake holds and what they would do; approve or refuse one. Exit code 1: it is not allowed."""
    if yes and refuse:
        common.fail("--yes and --refuse are two answers; give one of them")
    if now is not None and (yes or refuse):
        common.fail("an answer is given now; --now only shows what a run would do at another moment")
    if run is None and (yes or refuse):
        common.fail("which run? `beforehand approve` shows those that wait, with their numbers")
    if yes and not shown:
        common.fail(
            f"a yes is for what was shown: `beforehand approve {run}` ends with the command for it, --shown WORD"
        )
    app = common.wired(new=False)
    if run is None:
        _list(app, json=json)
    elif yes or refuse:
        _answer(app, run, shown if yes else None, by=by, because=because, json=json)
    else:
        _ask(app, run, now, json=json)


def _list(app: "App", *, json: bool) -> None:
    from rich.console import Console

    from beforehand.approving import open_runs

    found = common.asked(lambda: open_runs(app))
    if json:
        common.print_json({"held_runs": [one.as_json() for one in found]})
        return
    console = Console(highlight=False)
    if not found:
        console.print("The brake holds nothing.")
        return
    console.print(held_table(found))
    for one in found:
        if one.asks:
            console.print(f"`beforehand approve {one.id}` shows what run {one.id} would do.", markup=False)


def held_table(runs: "Sequence[HeldRunView]") -> "Table":
    """The held runs, a line each."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("run", justify="right", no_wrap=True)
    whole_column(table, "rule", [safe(run.rule_id) for run in runs])
    for word in ("reaches", "limit"):
        table.add_column(word, justify="right", no_wrap=True)
    table.add_column("it (UTC)")
    for run in runs:
        stands = f"{run.stands} until {run.expires_at:%m-%d %H:%M}" if run.asks else run.stands
        table.add_row(str(run.id), safe(run.rule_id), f"{run.count:,}", f"{run.most:,}", stands)
    return table


def whole_column(table: "Table", name: str, words: "Sequence[str]") -> None:
    """Add a column whose words are never cut and never wrapped: names that somebody types."""
    table.add_column(name, no_wrap=True, overflow="fold", min_width=max(map(len, words), default=0))


def _ask(app: "App", run: int, now: str | None, *, json: bool) -> None:
    from rich.console import Console

    from beforehand.approving import NotAllowed, question_of

    moment = common.moment(now, app)
    try:
        asked = common.asked(lambda: question_of(app, run, moment))
    except NotAllowed as wrong:
        common.fail(f"{wrong}.", code=common.FINDINGS)
    if json:
        common.print_json(asked.as_json())
    else:
        _show(Console(highlight=False, emoji=False), asked)


def _show(console: "Console", asked: "Question") -> None:
    from rich.panel import Panel
    from rich.text import Text

    from beforehand.approving.shown import sentences
    from beforehand.cli.preview import reasons

    console.print(f"[bold]{asked.run.rule_id}[/bold]  {safe(asked.title)}")
    costs = cost_lines(asked.cost) if asked.run.asks and asked.cost and asked.cost.messages else []
    for line in [*sentences(asked, costs)]:
        console.print(plainly(line), markup=False)
    if asked.withheld:
        console.print(reasons(dict(asked.withheld)))
    for sample in asked.samples:
        said = [f"cannot be filled: {sample.problem}"] if sample.problem else [sample.headline, sample.text]
        title = f"{CHANNELS[sample.channel][0]}, {sample.language or 'default language'}"
        console.print(Panel(Text(plainly("\n\n".join(filter(None, said)))), title=title, title_align="left"))
    if asked.run.asks:
        console.print(f"Yes: beforehand approve {asked.run.id} --yes --shown {asked.shown}", markup=False)
        console.print(f"No:  beforehand approve {asked.run.id} --refuse", markup=False)


def _answer(app: "App", run: int, shown: str | None, *, by: str | None, because: str, json: bool) -> None:
    """``shown`` is the word of what is approved; None: it is refused."""
    from beforehand.approving import NotAllowed, answer
    from beforehand.git import me
    from beforehand.passes.authors import known_as

    who = me(app.settings.rules) if by is None else by
    known, now, approve = known_as(app.settings.rules), app.clock(), shown is not None
    try:
        done = common.asked(
            lambda: answer(
                app, run, approve=approve, by=who, via="cli", now=now, why=because, known_as=known, shown=shown
            )
        )
    except NotAllowed as wrong:
        common.fail(f"Not done: {wrong}.", code=common.FINDINGS)
    if json:
        common.print_json(done.as_json())
        return
    typer.echo(_said(done, approve=approve, minutes=app.settings.canary_minutes))


def _said(run: "HeldRunView", *, approve: bool, minutes: float) -> str:
    if not approve:
        return f"Run {run.id} of {run.rule_id} is refused by {run.decided_by}; nothing more of it goes."
    if run.rest_at:
        return f"Run {run.id} of {run.rule_id} goes on, approved by {run.decided_by}."
    first = f"{some(run.canary, 'match', 'matches')} of {run.subjects:,} go first, or have gone"
    wait = "a minute" if minutes == 1 else f"{minutes:g} minutes"
    rest = f"{wait} after the last of them the rest follows, unless what comes back stops it"
    return f"Run {run.id} of {run.rule_id} is approved by {run.decided_by}: {first}; {rest}."
