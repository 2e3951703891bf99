"""``beforehand reconcile``: bring a restored database in line with the journal of what was sent, and let it go on."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from beforehand.cli import common

if TYPE_CHECKING:
    from datetime import datetime

    from beforehand.dispatching import ReapReport
    from beforehand.wiring import App
    from messaging.journal.reconciling import Reconciled


def reconcile(
    release: Annotated[
        bool,
        typer.Option(
            "--release",
            help="Let sending go on even where the journal cannot tell everything that was sent.",
        ),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Put right what the journal of sends knows better than a restored database, and release the hold.

    Exit code 1: sending is still held, or some outcomes are open.
    """
    from beforehand import dispatching
    from beforehand.reconciled import lines_of, open_outcomes, still_held
    from messaging.journal import JournalError
    from messaging.journal.reconciling import OtherSecret
    from messaging.journal.reconciling import reconcile as put_right

    app = common.wired()
    now = app.clock()
    try:
        with common.progress("reading the journal") as tell:
            done = put_right(app.engine, app.journal, now, force=release, progress=tell)
            tell("asking the providers", 0, 1)
            asked = common.asked(lambda: dispatching.reap(app, now))
    except (OtherSecret, JournalError) as wrong:
        common.fail(str(wrong))
    if release and done.was_held and done.released:
        _write_down(app, now)
    if json:
        common.print_json(_plain(done, asked))
    else:
        for line in lines_of(done, asked):
            typer.echo(line)
    if still_held(done) or open_outcomes(done) > asked.found:
        raise typer.Exit(common.FINDINGS)


def _write_down(app: "App", now: "datetime") -> None:
    """That somebody let sending go on although the journal could not tell everything."""
    from messaging import audit
    from models.database import writing

    says = common.who(None, app.settings.rules)
    with writing(app.engine) as connection:
        audit.write(connection, by=says, action="release", about="restore", now=now)


def _plain(done: "Reconciled", asked: "ReapReport") -> dict[str, Any]:
    from beforehand.reconciled import still_held

    said = asdict(done) | {"moved": {state.value: count for state, count in done.moved.items()}}
    said["known_until"] = done.known_until.isoformat() if done.known_until else None
    return said | {"held": still_held(done), "asked": {"found": asked.found, "given_up": asked.given_up}}
