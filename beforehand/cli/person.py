"""``beforehand customer export`` and ``forget``: all about one person as JSON, or gone for good."""

from typing import TYPE_CHECKING, Annotated

import typer

from beforehand.cli import common
from beforehand.cli.words import some

if TYPE_CHECKING:
    from beforehand.people import Forgotten, Held
    from beforehand.wiring import App

Who = Annotated[str, typer.Argument(metavar="ID", help="The customer's id in your source, e-mail address or phone")]


def export(
    who: Who,
    output: Annotated[str, typer.Option(help="Write it to this file; '-' prints it")] = "-",
) -> None:
    """Print everything we hold about one person as one JSON document."""
    import json
    from pathlib import Path

    from beforehand import people
    from beforehand.passes import secret_of
    from models.database import reading

    app = common.wired()
    with reading(app.engine) as connection:
        found = _held(app, who)
        told = people.export(connection, found, secret=secret_of(app.settings), now=app.clock())
    if output == "-":
        common.print_json(told)
        return
    try:
        path = Path(output)
        path.touch(mode=0o600)
        path.write_text(json.dumps(told, ensure_ascii=False, indent=2, default=str) + "\n", encoding="utf-8")
    except OSError as wrong:
        common.fail(f"{output} cannot be written: {wrong.strerror}")
    typer.echo(f"{output}: {some(sum(found.rows.values()), 'row')} about {found.external_id}")


def forget(
    who: Who,
    for_good: Annotated[
        bool, typer.Option("--for-good", help="Do it; without this it is only said what would go")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object")] = False,
) -> None:
    """Forget a person: rows, free pages, our own files. Their addresses stay unusable, as a keyed hash.

    Exit code 1: traces are left that we cannot take out (they are named), or a message is on the wire just now.
    """
    from beforehand import people
    from beforehand.passes import secret_of

    app = common.wired()
    found = _held(app, who)
    if not for_good:
        _show_plan(found, as_json)
        return
    try:
        gone = people.forget(
            app.engine, found.customer_id, secret=secret_of(app.settings), folder=app.settings.var, clock=app.clock
        )
    except people.OnTheWire as wrong:
        common.fail(f"{wrong}.", code=common.FINDINGS)
    if as_json:
        common.print_json(gone.as_json())
    else:
        typer.echo("\n".join(_lines(gone)))
    if gone.left:
        raise typer.Exit(common.FINDINGS)


def _held(app: "App", who: str) -> "Held":
    from beforehand import people
    from beforehand.explaining.people import UnknownCustomer, person_of
    from beforehand.passes import secret_of
    from models.database import reading

    with reading(app.engine) as connection:
        try:
            person = person_of(connection, who, {}, app.settings.time_zone)
        except UnknownCustomer as wrong:
            common.fail(str(wrong))
        return people.held(connection, person.id, secret_of(app.settings))


def _show_plan(found: "Held", as_json: bool) -> None:
    if as_json:
        common.print_json({"customer": found.external_id, "would_delete": found.rows})
        return
    typer.echo(f"{found.external_id}: these rows would be deleted for good:")
    for name, count in found.rows.items():
        typer.echo(f"  {count:>7,}  {name}")
    typer.echo("Nothing was deleted. Say --for-good to do it; export first what you must keep.")


def _lines(gone: "Forgotten") -> list[str]:
    said = [f"Forgotten: {some(sum(gone.rows.values()), 'row')} in {some(len(gone.rows), 'table')}."]
    said += [f"{path}: {some(count, 'line')} taken out." for path, count in gone.lines.items()]
    if gone.suppressed:
        said.append(f"{some(gone.suppressed, 'address', 'addresses')} will not be used again; a keyed hash keeps that.")
    if gone.kept:
        said.append(
            f"{some(gone.kept, 'address', 'addresses')} somebody else has, too, and may still be used for them."
        )
    said += [f"Left: {path} still names them, {some(count, 'time')}." for path, count in gone.left.items()]
    if gone.left:
        said.append("Such a file is not ours to change: delete it, or wait until its own retention does.")
    return said
