"""``preview`` says who a rule would reach and what they would get; ``run`` does it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from beforehand.cli import common
from beforehand.cli.words import cost_lines, plainly, safe, some

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from beforehand.passes import PassReport, Preview, Sample
    from models.vocabulary import Reason

RuleId = Annotated[str, typer.Argument(metavar="RULE", help="The rule's id.", show_default=False)]
Now = Annotated[
    str | None,
    typer.Option("--now", metavar="ISO", help="Decide as of this moment; without it, now.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]

NOTHING_SENT = {
    "draft": "This rule is a draft: a run would plan nothing.",
    "shadow": "This rule runs in the shadow: a run keeps what it decides, and sends nothing.",
    "retired": "This rule is retired: a run would plan nothing.",
}


def preview(
    rule: RuleId,
    now: Now = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="Show so many messages as customers get them.")] = 5,
    customer: Annotated[
        str | None,
        typer.Option("--customer", metavar="ID", help="For this one person, step by step.", show_default=False),
    ] = None,
    json: AsJson = False,
) -> None:
    """Say who RULE would reach and what they would get. Writes nothing and sends nothing."""
    from beforehand.passes import preview_rule

    app = common.wired()
    moment = common.moment(now, app)
    if customer is not None:
        from beforehand.cli.explain import preview_customer

        preview_customer(app, rule, customer, moment, json=json)
        return
    seen = common.asked(lambda: preview_rule(app, rule, moment, limit=limit))
    if json:
        common.print_json(seen.as_json())
        return
    _show_preview(seen)


def run(rule: RuleId, now: Now = None, json: AsJson = False) -> None:
    """Find who RULE reaches and plan their messages, for real. The dispatch then sends what is due."""
    from beforehand.passes import run_rule

    app = common.wired()
    moment = common.moment(now, app)
    report = common.asked(lambda: run_rule(app, rule, moment))
    if json:
        common.print_json(report.as_json())
        return
    _show_run(report)


def _show_preview(seen: "Preview") -> None:
    from rich.console import Console

    console = Console(highlight=False, emoji=False)
    console.print(f"[bold]{seen.rule_id}[/bold]  {safe(seen.title)}")
    console.print(f"as of {seen.now:%Y-%m-%d %H:%M} UTC · version {seen.version}\n", style="dim")
    for line, style in _summary(seen):
        console.print(line, style=style, markup=False)
    if seen.withheld:
        console.print(reasons(seen.withheld))
    for problem in seen.template_problems:
        console.print(f"Template: {problem}", style="red", markup=False)
    for sample in seen.samples:
        console.print(shown(sample))
    left = seen.messages - len(seen.samples)
    if seen.samples and left > 0:
        console.print(f"... and {left:,} more (--limit shows more of them).", style="dim")
    if seen.status in NOTHING_SENT:
        console.print(NOTHING_SENT[seen.status], style="yellow")


def _summary(seen: "Preview") -> Iterator[tuple[str, str]]:
    """What a preview found in sentences, each with its style."""
    found = f"Matched {some(seen.matched, 'subject')} of {some(seen.customers, 'customer')}."
    yield f"{found} {some(seen.messages, 'message')} would go.", ""
    for problem in seen.set_problems:
        yield f"Another rule file is broken: {problem}", "yellow"
    if seen.waiting:
        yield f"{seen.waiting:,} of them wait for the morning, for the end of the customer's quiet hours.", ""
    for count, what in ((seen.vouchers, "voucher"), (seen.tasks, "task"), (seen.webhooks, "webhook call")):
        if count:
            yield f"{some(count, what)} would come with them.", ""
    if seen.backlog:
        yield _backlog(seen), "yellow"
    if seen.brake:
        yield f"A run would be held until a second person approves it. {seen.brake.because}", "red"
    for line in cost_lines(seen.cost) if seen.cost else ():
        yield line, ""
    if seen.later_steps:
        yield "Messages of later steps are not counted here; plan and backtest count them.", "dim"


def _backlog(seen: "Preview") -> str:
    all_of = "All of them are" if seen.backlog == seen.messages else f"{seen.backlog:,} of them are"
    said = "matched before this text of the rule went live, and its next live pass leaves them alone"
    return f"{all_of} backlog: they {said}. `from:` with an earlier moment lets them go."


def _show_run(report: "PassReport") -> None:
    from rich.console import Console

    console = Console(highlight=False, emoji=False)
    if report.skipped:
        console.print(f"{report.rule_id}: a pass for {report.now.isoformat()} was done before; nothing changed.")
        return
    found = f"Matched {some(report.matched, 'subject')} of {some(report.customers, 'customer')}."
    console.print(f"[bold]{report.rule_id}[/bold]  {found} Planned {some(report.planned, 'message')}.")
    if report.brake:
        console.print(
            f"Held until a second person approves it: `beforehand approve`. {report.brake.because}", style="red"
        )
    if report.waiting:
        console.print(f"{report.waiting:,} of them wait for the morning, for the end of the customer's quiet hours.")
    if report.begun:
        console.print(f"{some(report.begun, 'match', 'matches')} began with a wait; the message comes after it.")
    for count, what in ((report.vouchers, "voucher"), (report.tasks, "task"), (report.webhooks, "webhook call")):
        if count:
            console.print(f"{some(count, what)} came with them.")
    for line in _not_sent(report):
        console.print(line, style="yellow")
    if report.displaced:
        console.print(f"{some(report.displaced, 'less important message')} gave way.")
    if report.withheld:
        console.print(reasons(report.withheld))


def _not_sent(report: "PassReport") -> Iterator[str]:
    """Why a pass that found people planned nothing for them, where that is the rule's own life."""
    from models.vocabulary import Reason

    if report.status == "shadow":
        yield "This rule runs in the shadow: its matches and decisions are kept, and nothing is sent."
    elif report.status != "live":
        yield f"This rule is {'a draft' if report.status == 'draft' else report.status}: nothing is sent."
    backlog = report.withheld.get(Reason.BACKLOG, 0)
    if backlog and not report.planned:
        yield "What was so before the rule went live is left alone; `from:` with an earlier moment lets it go."


def reasons(withheld: "dict[Reason, int]") -> "RenderableType":
    """How many were withheld, and why, as a table."""
    from rich.table import Table

    from models.vocabulary import REASON_TEXT

    table = Table("withheld", "why", box=None, padding=(0, 2, 0, 0), title_justify="left")
    table.columns[0].justify = "right"
    for reason, count in withheld.items():
        table.add_row(f"{count:,}", f"{REASON_TEXT[reason]} [dim]({reason.value})[/dim]")
    return table


def shown(sample: "Sample") -> "RenderableType":
    """A message as its channel shows it, with what made it go."""
    from rich.console import Group
    from rich.panel import Panel
    from rich.text import Text

    about = f"{sample.subject} {sample.external_id} · {sample.due_at:%d %b %H:%M} UTC"
    head = f"{sample.channel} to {sample.customer} · {about}"
    size = "" if sample.segments is None else f" · {some(sample.segments, 'segment')} of {sample.encoding}"
    parts: list[Any] = [Text(plainly(f"cannot be filled: {sample.problem}"), style="red")] if sample.problem else []
    if sample.headline:
        parts.append(Text(plainly(sample.headline), style="bold"))
    if sample.text:
        parts.append(Text(plainly(sample.text)))
    if sample.because:
        parts.append(Text(plainly("\n" + "\n".join(f"because {said}" for said in sample.because)), style="dim"))
    foot = f"{sample.template} · {sample.language or 'default language'}{size}"
    return Panel(Group(*parts), title=_title(head), subtitle=_title(foot), title_align="left", subtitle_align="left")


def _title(text: str) -> "Text":
    """A title on one line, in which nothing is markup."""
    from rich.text import Text

    from beforehand.cli.problems import clean

    return Text(clean(text))
