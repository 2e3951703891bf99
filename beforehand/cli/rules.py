"""``beforehand facts``."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from beforehand.cli.common import FINDINGS, print_json, settings

if TYPE_CHECKING:
    from rules.facts import Subject

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def facts(
    subject: Annotated[str | None, typer.Argument(help="One subject, such as order; else all.")] = None,
    as_json: Json = False,
) -> None:
    """List the words a rule may use: subjects, their facts and relations."""
    from beforehand.cli.common import fail
    from rules.attributes import with_attributes
    from rules.errors import RuleErrors, closest
    from rules.facts import subjects

    try:
        known = with_attributes(subjects(), settings().facts)
    except RuleErrors as wrong:
        fail(str(wrong), code=FINDINGS)
    if subject is not None and subject not in known:
        near = closest(subject, known)
        fail(
            f"there is no subject '{subject}'"
            + (f"; did you mean {near}?" if near else f"; there are: {', '.join(known)}")
        )
    chosen = {name: value for name, value in known.items() if subject in (None, name)}
    if as_json:
        print_json({name: _subject_dict(value) for name, value in chosen.items()})
        return
    for value in chosen.values():
        _print_subject(value)


def _subject_dict(subject: "Subject") -> dict[str, Any]:
    return {
        "help": subject.help,
        "for_each": subject.for_each,
        "counted_by": subject.natural or None,
        "events": list(subject.events),
        "facts": {
            fact.name: {"type": str(fact.kind), "help": fact.help, "values": list(fact.values) or None}
            for fact in subject.facts.values()
        },
        "relations": {
            relation.name: {"to": relation.target, "many": relation.many, "help": relation.help}
            for relation in subject.relations.values()
        },
    }


def _print_subject(subject: "Subject") -> None:
    from rich.console import Console
    from rich.table import Table

    title = f"[bold]{subject.name}[/bold]: {subject.help}"
    if subject.natural:
        title += f" [dim](counted by {subject.natural})[/dim]"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("word", "type", "what it is"):
        table.add_column(column)
    for fact in subject.facts.values():
        values = f" ({', '.join(fact.values)})" if fact.values else ""
        table.add_row(fact.name, str(fact.kind), fact.help + values)
    for relation in subject.relations.values():
        many = f"many {relation.target}" if relation.many else f"one {relation.target}"
        table.add_row(f"[cyan]{relation.name}[/cyan]", many, relation.help)
    Console().print(table, "")
