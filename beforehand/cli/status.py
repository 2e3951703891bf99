"""``beforehand status``."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from beforehand.cli import common
from beforehand.cli.approve import held_table
from beforehand.cli.words import some

if TYPE_CHECKING:
    from rich.table import Table

    from beforehand.status import RuleStanding, Status
    from messaging.policy import Brakes


def status(
    now: Annotated[
        str | None,
        typer.Option("--now", metavar="ISO", help="As of this moment; without it, now.", show_default=False),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Say how things stand: rules in force, their last passes, what waits. Exit code 1: the rule files are refused."""
    from rich.console import Console

    from beforehand.status import status_of

    app = common.wired()
    seen = common.asked(lambda: status_of(app, common.moment(now, app)))
    if json:
        common.print_json(seen.as_json())
    else:
        console = Console(highlight=False)
        for line, style in _lines(seen):
            console.print(line, style=style, markup=False)
        if seen.held_runs:
            console.print(held_table(seen.held_runs))
        if seen.rules:
            console.print(_rules(seen))
    if seen.files.problems:
        raise typer.Exit(common.FINDINGS)


def _lines(seen: "Status") -> Iterator[tuple[str, str]]:
    """The sentences, each with its style."""
    yield ("The house is running." if seen.running else "No house is running: nothing goes by itself."), ""
    yield _messages(seen), ""
    if seen.held_since:
        since = f"{seen.held_since:%Y-%m-%d %H:%M} UTC"
        yield f"Everything is held since {since}: the database knows less than what was sent from it.", "red"
        yield "Run `beforehand reconcile`; docs/how-to/restore-a-backup.md says what it does.", "red"
    for scope, by in seen.stopped.items():
        yield f"Stopped: {scope} (by {by}); `beforehand resume {scope}` takes it back.", "red"
    for one in seen.resting:
        again = f"; tried again at {one.until:%H:%M} UTC"
        often = f", {one.times} times in a row" if one.times > 1 else ""
        yield f"Resting: {' and '.join(one.channels)}, because {one.name} says {one.code}{often}{again}.", "red"
    if seen.brakes:
        yield _brakes(seen.brakes), ""
    for call in seen.calls:
        yield f"Staff are called since {call.since:%Y-%m-%d %H:%M} UTC, {call.topic}: {call.said}", "red"
    if not seen.rules:
        yield "No rule has been in force yet: `beforehand up` or `beforehand run RULE` brings them into force.", ""
    for word, said in (("new", "not in force yet"), ("changed", "changed"), ("gone", "without a file")):
        if seen.rules and (found := getattr(seen.files, word)):
            yield f"The rule files differ from what is in force, {said}: {', '.join(found)}.", "yellow"
    if seen.files.problems:
        since = f" (since {seen.refused_since:%Y-%m-%d %H:%M} UTC)" if seen.refused_since else ""
        yield f"The rule files are refused{since}; the rules below stay in force:", "red"
        for problem in seen.files.problems:
            yield f"  {problem}", "red"


def _brakes(brakes: "Brakes") -> str:
    said = f"more than {brakes.percent:g}% of the customers (or the rule's own brake), or {brakes.times:g} times"
    return f"Held is a run that reaches {said} what the rule usually does; one of at most {brakes.canary:,} never is."


def _messages(seen: "Status") -> str:
    if not seen.messages:
        return "No message is open."
    parts = [f"{count:,} {state.replace('_', ' ')}" for state, count in seen.messages.items()]
    return f"Messages that are open: {', '.join(parts)}."


def _rules(seen: "Status") -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for word in ("rule", "status", "version", "last pass (UTC)", "it found", "waiting"):
        table.add_column(word, justify="right" if word == "waiting" else "left")
    for rule in seen.rules:
        last = rule.last_pass
        when = f"{last.started_at:%Y-%m-%d %H:%M}" if last else "never"
        table.add_row(rule.rule, rule.status, rule.version[:8], when, _found(rule), _waiting(rule))
    return table


def _found(rule: "RuleStanding") -> str:
    last = rule.last_pass
    return f"{some(last.matched, 'match', 'matches')}, {some(last.messages, 'message')} planned" if last else ""


def _waiting(rule: "RuleStanding") -> str:
    """How many matches wait, and how many of them on an earlier text of the rule."""
    count, old = sum(rule.waiting.values()), sum(n for text, n in rule.waiting.items() if text != rule.version)
    if not count:
        return ""
    return f"{count:,} ({old:,} on an earlier text)" if old else f"{count:,}"
