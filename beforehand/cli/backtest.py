"""``backtest`` replays a rule over the past: what it would have done, day by day."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from beforehand.cli import common
from beforehand.cli import preview as previews
from beforehand.cli.words import cost_lines, safe, some

if TYPE_CHECKING:
    from dateutil.relativedelta import relativedelta
    from rich.table import Table

    from beforehand.backtest import Backtest
    from beforehand.wiring import App

MOST_ROWS = 62
"""Days shown in the terminal; of a longer replay, weeks."""


def backtest(
    rule: previews.RuleId,
    start: Annotated[str, typer.Option("--from", metavar="ISO", help="The first moment.", show_default=False)],
    end: Annotated[str, typer.Option("--to", metavar="ISO", help="The moment it ends before.", show_default=False)],
    every: Annotated[
        str | None,
        typer.Option("--every", metavar="DURATION", help="Look this often instead of the rule's own schedule."),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write matches and messages per day as CSV.")
    ] = None,
    chart: Annotated[Path | None, typer.Option("--chart", metavar="FILE.svg", help="Write a bar chart as SVG.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Replay RULE over the past with the data as it was known then. Writes and sends nothing."""
    from beforehand.backtest import backtest as replay
    from beforehand.backtest import files
    from beforehand.passes import rule_of

    lasts = _duration(every)
    _writable(chart, csv)
    app = common.wired()
    begins, ends = common.moment(start, app, "--from"), common.moment(end, app, "--to")
    if begins >= ends:
        common.fail(f"--from {start} must lie before --to {end}")
    if begins > app.clock():
        common.fail(f"--from {start} has not come yet; only the past can be replayed")
    found = common.asked(lambda: rule_of(app, rule))
    with common.progress("replaying") as told:
        on = partial(told, "replaying")
        seen = common.asked(lambda: replay(app, found, begins, ends, every=lasts, progress=on))
    if csv is not None:
        files.write_csv(seen, csv)
    if chart is not None:
        files.write_chart(seen, chart)
    if json:
        common.print_json(seen.as_json())
        return
    _show(seen, app)


def _duration(said: str | None) -> "relativedelta | None":
    from rules.values import DURATION_FORM, duration

    if said is None:
        return None
    found = duration(said)
    if not found:
        common.fail(f"--every {said!r} is not {DURATION_FORM}")
    return found


def _writable(chart: Path | None, csv: Path | None) -> None:
    if chart is not None and chart.suffix.lower() != ".svg":
        common.fail(f"--chart {chart} must end in .svg: charts are drawn as SVG")
    for option, path in (("--chart", chart), ("--csv", csv)):
        if path is not None and not path.absolute().parent.is_dir():
            common.fail(f"{option} {path}: there is no folder {path.parent}")


def _show(seen: "Backtest", app: "App") -> None:
    from rich.console import Console

    console, zone = Console(highlight=False, emoji=False), app.settings.zone
    begins, ends = (f"{at.astimezone(zone):%Y-%m-%d %H:%M}" for at in (seen.start, seen.end))
    console.print(f"[bold]{seen.rule_id}[/bold]  {safe(seen.title)}")
    console.print(f"from {begins} to {ends} {app.settings.time_zone} · version {seen.version}\n", style="dim")
    found = f"Found {some(seen.matches, 'occasion')}; {some(seen.messages, 'message')} would have gone."
    more = [
        some(n, what) for n, what in ((seen.vouchers, "voucher"), (seen.tasks, "task"), (seen.webhooks, "webhook")) if n
    ]
    console.print(found + (f" With them {' and '.join(more)}." if more else ""))
    for line in cost_lines(seen.cost) if seen.cost is not None and seen.messages else []:
        console.print(safe(line))
    if seen.days:
        console.print(_chart(seen))
    if seen.withheld:
        console.print(previews.reasons(seen.withheld))
    for sample in seen.examples:
        console.print(previews.shown(sample))
    for note in seen.notes:
        console.print(f"Note: {safe(note)}.", style="yellow")
    looks = f"{some(seen.slots, 'slot')} of its schedule; {seen.looks:,} of them were decided anew"
    console.print(f"{looks}, at the others nothing could have changed. Nothing was written.", style="dim")


def _chart(seen: "Backtest") -> "Table":
    """Bars by day, or by week where there are many days."""
    from rich.bar import Bar
    from rich.table import Table

    from beforehand.backtest.files import every_day

    days = every_day(seen)
    weeks = len(days) > MOST_ROWS
    shown = {"found": "matches", "went": "messages"}
    shown |= {word: word for word in ("tasks", "webhooks") if getattr(seen, word)}
    rows: dict[str, list[int]] = {}
    for each in days:
        label = f"{each.day:%G-W%V}" if weeks else f"{each.day:%a %d %b}"
        had = rows.get(label, [0] * len(shown))
        rows[label] = [before + getattr(each, name) for before, name in zip(had, shown.values(), strict=True)]
    table = Table("", *shown, "", box=None, padding=(0, 2, 0, 0))
    for column in table.columns[1:-1]:
        column.justify = "right"
    most = max(1, *(max(row) for row in rows.values()))
    for label, counts in rows.items():
        done = sum(counts[1:])
        table.add_row(label, *(f"{count:,}" for count in counts), Bar(most, 0, done, width=40, color="green"))
    return table
