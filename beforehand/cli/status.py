"""``beforehand status``."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from beforehand.cli import common
from beforehand.cli.approve import held_table, whole_column

if TYPE_CHECKING:
    from rich.table import Table

    from beforehand.status import RuleStanding, Status
    from beforehand.surroundings import ProcessSeen
    from messaging.policy import Brakes


def status(
    now: Annotated[
        str | None,
        typer.Option("--now", metavar="ISO", help="As of this moment; without it, now.", show_default=False),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Say how things stand: what runs, what is due, held and unknown, rules in force and their last passes, what
    needs a person and what to do. Exit code 1: something does.
    """
    from rich.console import Console

    from beforehand.status import status_of

    with common.or_the_stop_file():
        app = common.wired(new=False)
    at = common.moment(now, app)
    with common.or_the_stop_file():
        seen = common.asked(lambda: status_of(app, at))
    if json:
        common.print_json(seen.as_json())
    else:
        console = Console(highlight=False)
        for line, style in _lines(seen):
            console.print(line, style=style, markup=False, soft_wrap=True)
        if seen.held_runs:
            console.print(held_table(seen.held_runs))
        if seen.rules:
            console.print(_rules(seen))
        for finding in seen.findings:
            console.print(f"! {finding.what}: {finding.said}.", style="red", markup=False, soft_wrap=True)
            console.print(f"  What to do: {finding.do}.", markup=False, soft_wrap=True)
    if seen.findings:
        raise typer.Exit(common.FINDINGS)


def _lines(seen: "Status") -> Iterator[tuple[str, str]]:
    """The sentences, each with its style."""
    yield ("The house is running." if _runs(seen) else "No house is running: nothing goes by itself."), ""
    for process in seen.around.processes:
        yield _process(process), "red" if process.silent or process.not_well else ""
    yield from _around(seen)
    yield _messages(seen), ""
    if seen.held_since:
        yield f"Everything is held since {seen.held_since:%Y-%m-%d %H:%M} UTC.", "red"
    for scope, by in seen.stopped.items():
        yield f"Stopped: {scope} (by {by}); `beforehand resume {scope}` says what would go.", "red"
    for one in seen.resting:
        again = f"; tried again at {one.until:%H:%M} UTC"
        often = f", {one.times} times in a row" if one.times > 1 else ""
        yield f"Resting: {' and '.join(one.channels)}, because {one.name} says {one.code}{often}{again}.", "red"
    if seen.brakes:
        yield _brakes(seen.brakes), ""
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


def _runs(seen: "Status") -> bool:
    return bool(seen.running) or any(not one.silent for one in seen.around.processes)


def _process(one: "ProcessSeen") -> str:
    """A line for a process: which parts, which version, and what is not well."""
    parts = ", ".join(
        name if name not in one.not_well else f"{name} ({one.parts[name]['state']})" for name in one.parts
    )
    leads = "; does what only one may do" if one.leads else ""
    staff = one.parts.get("staff", {}).get("address", "")
    silent = f"; NOT SEEN since {one.seen_at:%H:%M:%S} UTC" if one.silent else ""
    number = one.boot.rpartition("-")[0].rpartition("-")[2]
    return f"  {one.host}, process {number}, version {one.version}: {parts}{leads}; {staff}{silent}"


def _around(seen: "Status") -> Iterator[tuple[str, str]]:
    around = seen.around
    if around.prefect:
        yield (
            f"Prefect: {'up' if around.prefect.up else 'DOWN'} ({around.prefect.api})",
            "" if around.prefect.up else "red",
        )
    room = ", ".join(f"{disk.free / 1e9:.1f} GB for {disk.what}" for disk in around.disks)
    yield f"Free on disk: {room}.", "red" if any(disk.low for disk in around.disks) else ""
    if around.database_ahead_ms is not None:
        yield f"This clock and the database's differ by {around.database_ahead_ms} ms.", ""


def _brakes(brakes: "Brakes") -> str:
    share = f"more than {brakes.percent:g}% of the customers (or the rule's own brake)"
    usual = f"{brakes.times:g} times what the rule usually does"
    few = f"at most {brakes.canary:,} within an hour never are"
    return f"Held is a run that reaches {share}, or {usual}; {few}."


def _messages(seen: "Status") -> str:
    due = f" {seen.due.count:,} are due now." if seen.due.count else ""
    return f"{_open(seen)}{due}"


def _open(seen: "Status") -> str:
    if not seen.messages:
        return "No message is open."
    parts = [f"{count:,} {state.replace('_', ' ')}" for state, count in seen.messages.items()]
    return f"Messages that are open: {', '.join(parts)}."


def _rules(seen: "Status") -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    whole_column(table, "rule", [rule.rule for rule in seen.rules])
    for word in ("status", "version", "last (UTC)"):
        table.add_column(word, no_wrap=True)
    for word in ("found", "planned"):
        table.add_column(word, justify="right", no_wrap=True)
    table.add_column("waiting", justify="right")
    for rule in seen.rules:
        last = rule.last_pass
        when = f"{last.started_at:%m-%d %H:%M}" if last else "never"
        said = (when, *((f"{last.matched:,}", f"{last.messages:,}") if last else ("", "")))
        table.add_row(rule.rule, rule.status, rule.version[:8], *said, _waiting(rule))
    return table


def _waiting(rule: "RuleStanding") -> str:
    """How many matches wait, and how many of them on an earlier text of the rule."""
    count, old = sum(rule.waiting.values()), sum(n for text, n in rule.waiting.items() if text != rule.version)
    if not count:
        return ""
    return f"{count:,}, {old:,} old" if old else f"{count:,}"
