"""How an explanation looks in a terminal: rules that match first, then near misses, the gates, and the past by time."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from beforehand.cli.words import plainly, safe, some

if TYPE_CHECKING:
    from rich.console import Console

    from beforehand.explaining.report import Decision, Explanation, PastMatch, RuleReport, StepReport, SubjectReport
    from rules.verdicts import Verdict

YES, NO = "[green]yes[/green]", "[red]no [/red]"
UNLIKE = {"all": "all of", "any": "any of", "none": "none of"}


def show(told: "Explanation", *, past: bool = True) -> None:
    """Print an explanation. ``past`` False: of a preview, which looks ahead only."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True, emoji=False)
    name = f"{told.name}, " if told.name else ""
    console.print(f"[bold]{safe(name)}customer {safe(told.customer)}[/bold]")
    console.print(f"as of {_both(told.now, told.zone)}", style="dim")
    for note in told.notes:
        console.print(safe(note), style="yellow")
    for rule in told.rules:
        _rule(console, rule, told.zone)
    if past:
        _past(console, told)


def _both(moment: datetime, zone: str) -> str:
    """A moment on the customer's clock, with UTC beside it."""
    from rules.saying import Voice

    utc = moment.astimezone(UTC)
    return f"{Voice(moment, zone).at(moment)} {zone} ({utc:%Y-%m-%d %H:%M} UTC)"


def _rule(console: "Console", rule: "RuleReport", zone: str) -> None:
    console.print(
        f"\n[bold]{rule.rule_id}[/bold]  {safe(rule.title)}  [dim]{rule.status}, version {rule.version}[/dim]"
    )
    if rule.problem:
        console.print(f"  {safe(rule.problem)}", style="red")
    if not rule.looked_at:
        console.print(f"  nothing to look at: the customer has no {rule.kind}", style="dim")
    for subject in rule.subjects:
        _subject(console, subject, zone)
    hidden = rule.looked_at - len(rule.subjects)
    if rule.subjects and hidden > 0:
        console.print(f"  ... and {some(hidden, rule.kind)} further off or matching too", style="dim")
    for note in rule.notes:
        console.print(f"  {safe(note)}", style="dim")


def _subject(console: "Console", subject: "SubjectReport", zone: str) -> None:
    told = subject.told
    if told.holds:
        outcome = "[green]matches[/green]"
    elif not told.there:
        outcome = "[red]was not there yet[/red]"
    else:
        total = len(told.conditions) + len(told.exceptions)
        outcome = f"[red]does not match[/red]: {some(len(told.failing), 'condition')} of {total} in the way"
    console.print(f"  {safe(subject.kind)} {safe(subject.key)} {outcome}")
    for verdict in told.conditions:
        _lines(console, subject, verdict, stops=False)
    for verdict in told.exceptions:
        _lines(console, subject, verdict, stops=True)
    _misses(console, subject)
    if subject.unsure:
        said = ", ".join(subject.unsure)
        console.print(f"      as it is now; no history is kept: {safe(said)}", style="yellow")
    if subject.decision is not None:
        _decision(console, subject.decision, zone)
    for step in subject.steps:
        _step(console, step, zone)


def _lines(console: "Console", subject: "SubjectReport", verdict: "Verdict", *, stops: bool) -> None:
    word = "unless" if stops else "if"
    fine = verdict.holds is not stops
    mark = "[green]✓[/green]" if fine else "[red]✗[/red]"
    console.print(f"    {mark} {word} [bold]{safe(verdict.part.name)}[/bold]")
    for line in _parts(subject, verdict, 6, stops=stops):
        console.print(line)


def _parts(subject: "SubjectReport", verdict: "Verdict", indent: int, *, stops: bool) -> Iterator[str]:
    """The leaves of a condition; a group says how its members hang together where that is more than *all of*."""
    from rules.conditions import Group
    from rules.saying import sentence

    test = verdict.part.test
    answer = YES if verdict.holds else NO
    if not isinstance(test, Group):
        yield f"{' ' * indent}{answer} {safe(sentence(verdict, subject.voice, stops=stops))}"
        return
    told = test.how != "all" and len(test.members) > 0
    if told:
        yield f"{' ' * indent}{answer} {UNLIKE[test.how]}:"
    for member in verdict.members:
        yield from _parts(subject, member, indent + 4 if told else indent, stops=stops)


def _misses(console: "Console", subject: "SubjectReport") -> None:
    from rules.misses import miss_text

    for miss in subject.misses:
        said = miss_text(miss, subject.voice)
        if said:
            console.print(f"      nearest miss, {safe(miss.verdict.part.name)}: {safe(said)}", style="cyan")


def _decision(console: "Console", decision: "Decision", zone: str) -> None:
    from models.vocabulary import REASON_TEXT

    passed = [gate.name for gate in decision.gates if gate.reason is None]
    if passed:
        console.print(f"    gates passed: {', '.join(passed)}", style="dim")
    for gate in decision.gates:
        if gate.reason is not None:
            why = f"{REASON_TEXT[gate.reason]} ({gate.reason.value})"
            console.print(f"    [red]✗[/red] gate [bold]{gate.name}[/bold] withholds: {safe(why)}")
    for choice in decision.choices:
        if choice.reason is not None:
            why = REASON_TEXT[choice.reason]
            console.print(f"      not by {choice.channel} ({safe(choice.template)}): {why}", style="dim")
    if decision.reason is None:
        by = f"{decision.template} by {decision.channel}" if decision.channel else "its first step"
        due = f", {_both(decision.due_at, zone)}" if decision.due_at else ""
        console.print(f"    [green]✓[/green] all gates passed: {safe(by)}{due}")
    if decision.held:
        console.print(f"      {safe(decision.held)}", style="yellow")


def _step(console: "Console", step: "StepReport", zone: str) -> None:
    from rich.padding import Padding
    from rich.panel import Panel
    from rich.text import Text

    from models.vocabulary import REASON_TEXT

    when = _both(step.at, zone) if step.at is not None else step.after
    console.print(f"    [bold]{step.place}[/bold]  {safe(step.says)}  [dim]{safe(when)}[/dim]")
    if step.reason is not None:
        console.print(f"       would not go: {REASON_TEXT[step.reason]} ({step.reason.value})", style="red")
    if step.problem:
        console.print(f"       cannot be filled: {safe(step.problem)}", style="red")
    if step.text:
        body = Text(plainly("\n".join(part for part in (step.headline, step.text) if part)))
        title = f"{step.channel}, {step.language}"
        shown = Padding(Panel(body, title=Text(plainly(title)), title_align="left"), (0, 0, 0, 7))
        console.print(shown, soft_wrap=False)


def _past(console: "Console", told: "Explanation") -> None:
    if not told.past:
        console.print("\nNothing is stored of the past.", style="dim")
        return
    console.print("\n[bold]What is stored[/bold]  [dim]facts and rule text as they were stored then[/dim]")
    if told.more_past:
        console.print(f"  {some(told.more_past, 'older match', 'older matches')} not shown (--limit)", style="dim")
    for match in told.past:
        _match(console, match, told.zone)


def _match(console: "Console", match: "PastMatch", zone: str) -> None:
    from models.vocabulary import REASON_TEXT

    why = f": {REASON_TEXT[match.reason]} ({match.reason.value})" if match.reason else ""
    head = f"\n  [bold]{match.rule_id}[/bold]  {safe(match.subject)}, occasion {safe(match.occasion)}"
    console.print(f"{head}  {match.state}{safe(why)}  [dim]version {match.version}[/dim]")
    if match.other_text:
        console.print(f"    {safe(match.other_text)}", style="yellow")
    for line in match.because:
        console.print(f"    because {safe(line)}", style="dim")
    for event in match.events:
        console.print(f"    {_both(event.at, zone)}  [bold]{event.kind}[/bold] {safe(event.says)}")
