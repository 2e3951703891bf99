"""A plan as a person sees it in a terminal, and as a pull request shows it."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from beforehand.cli.plan_words import COLUMNS, lines_of, row
from beforehand.cli.words import plainly, safe, some

if TYPE_CHECKING:
    from beforehand.planning import Plan, RuleChange

STYLES = {"new": "green", "changed": "yellow", "gone": "red", "refused": "red"}
LOUD = {"refused": "red", "brake": "red", "limit": "yellow", "meets": "yellow"}


def _head(plan: "Plan") -> str:
    return f"{plan.rules} against {plan.against}, as of {plan.now:%Y-%m-%d %H:%M} UTC"


def _foot(plan: "Plan") -> str:
    same = f"{some(len(plan.unchanged), 'rule')} {'is' if len(plan.unchanged) == 1 else 'are'} the same. "
    refused = "The set is refused as it is, and the rules in force stay in force. " if plan.refused else ""
    return f"{same if plan.unchanged else ''}{refused}Nothing was written."


def show(plan: "Plan", *, told: "Plan | None" = None, more: int = 0) -> None:
    """Print a plan for people: a table, then each rule.

    ``more`` weeks are still to be replayed: that is said at the end. ``told`` is what was shown of the plan until then:
    its lines are not told again.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, emoji=False)
    console.print(f"[bold]{'Plan' if told is None else 'Weeks'}[/bold]  {safe(_head(plan))}\n")
    if not plan.changes:
        console.print("Nothing differs.")
    else:
        rows = [row(change) for change in plan.changes]
        table, kept = Table(box=None, padding=(0, 2, 0, 0)), _that_fit(rows, console.width)
        for place in kept:
            table.add_column(COLUMNS[place], no_wrap=True)
        for change, cells in zip(plan.changes, rows, strict=True):
            table.add_row(*(Text(cells[place]) for place in kept), style=STYLES[change.kind])
        console.print(table)
    known = {} if told is None else {change.rule_id: set(lines_of(change, told)) for change in told.changes}
    for change in plan.changes:
        lines = [line for line in lines_of(change, plan) if line not in known.get(change.rule_id, ())]
        if told is not None and not lines:
            continue
        title = Text(row(change)[0], style=f"bold {STYLES[change.kind]}").append(
            f"  {plainly(change.title)}", style="not bold"
        )
        console.print("\n", title, sep="")
        grid = Table.grid(padding=(0, 2, 0, 2))
        for what, said in lines:
            grid.add_row(Text(what, style="dim"), Text(plainly(said), style=LOUD.get(what, "")))
        console.print(grid)
    console.print()
    for note in plan.notes:
        console.print(f"In each replay, {note}.", style="dim", markup=False)
    if more:
        said = f"That is now. Replaying {some(more, 'week')} with the old text and the new; Ctrl-C leaves it at this."
        console.print(said, style="dim", markup=False)
    else:
        console.print(_foot(plan), style="dim", markup=False)


def _that_fit(rows: list[tuple[str, ...]], width: int) -> list[int]:
    """The columns that hold anything, as many from the left as fit: the lines below tell the rest, too."""
    kept: list[int] = []
    for place, name in enumerate(COLUMNS):
        widest = max(len(name), *(len(cells[place]) for cells in rows)) + 2
        if width >= widest and any(cells[place] for cells in rows):
            kept.append(place)
            width -= widest
    return kept


def markdown(plan: "Plan") -> str:
    """A plan for a pull request: a table, then a details block a rule."""
    parts = [f"### Plan: {_cell(_head(plan))}", ""]
    if plan.changes:
        rows = [row(change) for change in plan.changes]
        kept = [place for place in range(len(COLUMNS)) if any(cells[place] for cells in rows)]
        parts += [_line(COLUMNS[place] for place in kept), _line("---" for _ in kept)]
        parts += [_line(_cell(cells[place]) for place in kept) for cells in rows]
    else:
        parts.append("Nothing differs.")
    for change in plan.changes:
        parts += ["", *_details(change, plan)]
    parts += [""] if plan.notes else []
    parts += [f"In each replay, {_cell(note)}." for note in plan.notes]
    return "\n".join([*parts, "", _foot(plan)])


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    """Text of files and data, so that nothing in it is taken for markdown or HTML."""
    for sign in "\\`*_[]|":
        text = text.replace(sign, f"\\{sign}")
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\n", " ")


def _details(change: "RuleChange", plan: "Plan") -> list[str]:
    opened = " open" if change.problems else ""
    lines = [f"- **{what}**: {_cell(said)}" for what, said in lines_of(change, plan)]
    title = f" {_html(change.title)}" if change.title else ""
    summary = f"<summary><b>{_html(row(change)[0])}</b>{title}</summary>"
    return [f"<details{opened}>{summary}", "", *(lines or ["Nothing more to say."]), "", "</details>"]


def _html(text: str) -> str:
    from html import escape

    return escape(text)
