"""``beforehand audit``: who stopped, resumed, cancelled, corrected, approved or changed what, and is it whole."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from beforehand.cli import common
from beforehand.cli.words import plainly, some

if TYPE_CHECKING:
    from messaging.audit import Entry


def audit(
    last: Annotated[int, typer.Option("--last", min=1, metavar="N", help="Show so many entries")] = 20,
    verify: Annotated[bool, typer.Option("--verify", help="See whether every entry fits the one before it")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document")] = False,
) -> None:
    """Show the audit log, the newest entry last. Exit code 1 with --verify: an entry was changed, or one is missing."""
    from messaging import audit as log
    from models.database import reading

    app = common.wired(new=False)
    with reading(app.engine) as connection:
        if verify:
            broken, digest = log.first_broken(connection), log.last_digest(connection)
            count = log.count(connection)
        else:
            found = log.entries(connection, newest=last)
    if not verify:
        _show(found, as_json)
        return
    if as_json:
        common.print_json({"entries": count, "first_broken": broken, "last_digest": digest})
    elif broken is None:
        typer.echo(f"All of {some(count, 'entry', 'entries')} fit. The last one's digest: {digest or 'none'}")
        typer.echo("Keep that elsewhere: it shows later that nothing was taken off the end.")
    else:
        typer.echo(f"Entry {broken} was changed, or the one before it is missing. Look at a backup.", err=True)
    if broken is not None:
        raise typer.Exit(common.FINDINGS)


def _show(found: "list[Entry]", as_json: bool) -> None:
    if as_json:
        common.print_json([vars(entry) | {"at": entry.at.isoformat()} for entry in found])
        return
    for entry in found:
        said = _said(entry.details)
        line = f"{entry.id}  {entry.at:%Y-%m-%d %H:%M:%S} UTC  {entry.by}  {entry.action}  {entry.about}"
        typer.echo(plainly(line + (f"  {said}" if said else "")))
    if not found:
        typer.echo("Nothing has been written down yet.")


def _said(details: Any) -> str:
    """The details on one line; of a change of settings only what is another one now."""
    kept = {key: value for key, value in details.items() if key != "settings" and value not in (None, {}, [], 0)}
    return ", ".join(f"{key} {json.dumps(value, ensure_ascii=False)}" for key, value in kept.items())
