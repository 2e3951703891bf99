"""``beforehand stop`` and ``beforehand resume``: the kill switches."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from beforehand.cli import common
from beforehand.cli.words import some

if TYPE_CHECKING:
    from beforehand.settings import Settings
    from beforehand.stopping import Resuming
    from messaging.waiting import Held, Line

WHAT = "all, a rule's id, sms, voice, email, or in full: rule:ID, channel:sms, webhook:NAME"

Scope = Annotated[str, typer.Argument(metavar="WHAT", help=WHAT)]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document")]


def stop(scope: Scope = "all", by: common.By = None, as_json: AsJson = False) -> None:
    """Stop sending at once: all of it, a rule, a channel or a webhook. What waits keeps its place in the queue.

    Exit code 1: the file holds on this machine and the database does not know of it, or the other way round.
    """
    from beforehand.stopping import impatient, stop_by_file, stop_by_row
    from beforehand.wiring import stop_file_of, wall_clock

    settings = impatient(common.settings())
    what = _scope(settings, scope)
    file = stop_file_of(settings)
    wrong = stop_by_file(file, what)
    if not (wrong or as_json):
        typer.echo(f"{what} is stopped by the file {file.path}, for all that runs with it.")
    done = stop_by_row(settings, what, common.who(by, settings.rules), wall_clock())
    if as_json:
        said = {"file": str(file.path), "problems": [problem for problem in (wrong, done.row) if problem]}
        common.print_json({"scope": what, "stopped": done.standing, **said})
    else:
        if done.standing is not None:
            typer.echo(f"{what} is stopped everywhere{'' if done.new else ' already'}; {_back(what)}")
            _list(done.standing)
        _problems(what, wrong, done.row, known=done.standing is not None)
    if wrong or done.row:
        raise typer.Exit(common.FINDINGS)


def _back(scope: str) -> str:
    return f"`beforehand resume {scope} --yes` takes it back."


def _problems(scope: str, file: str, row: str, *, known: bool) -> None:
    """What did not work, and what holds all the same."""
    if file:
        typer.echo(f"Attention: {file}.", err=True)
    if row and known:
        typer.echo(f"Attention: {row}", err=True)
    elif row:
        typer.echo(f"Attention: the row in the database could not be written. {row}", err=True)
        if not file:
            typer.echo(
                "The file holds for what runs with it ON THIS MACHINE ONLY, until "
                f"`beforehand resume {scope} --yes` or until it is taken away by hand. On other machines: the same "
                "command there. Once the database answers, say it again.",
                err=True,
            )
        else:
            typer.echo("NOTHING IS STOPPED. Stop the processes themselves.", err=True)


def _scope(settings: "Settings", word: str) -> str:
    """A stop of a misspelt rule would stop nothing, and nobody would see it."""
    from beforehand.stopping import scope_of

    found = scope_of(settings, word)
    if found is None:
        common.fail(f"{word!r} is nothing that can be stopped; expected {WHAT}")
    return found


def resume(
    scope: Scope = "all",
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without this it is only said")] = False,
    by: common.By = None,
    as_json: AsJson = False,
) -> None:
    """Take a stop back. Without --yes it says what would go out, and changes nothing.

    Exit code 1: nothing was changed (--yes is missing, or it was not stopped), or another stop still holds something.
    """
    from beforehand import stopping
    from beforehand.wiring import stop_file_of

    with common.or_the_stop_file():
        app = common.wired(new=False)
        what, now = _resumed(app.settings, scope), app.clock()
        seen = common.asked(lambda: stopping.resuming(app, what, now))
    going = seen.is_set and yes
    says = common.who(by, app.settings.rules)
    wrong = common.asked(lambda: stopping.resume(app, what, says, now, seen.held)) if going else ""
    if as_json:
        common.print_json(_plain(seen, going, wrong))
    else:
        for line in _lines(seen, going, str(stop_file_of(app.settings).path)):
            typer.echo(line)
        if wrong:
            typer.echo(f"Attention: {wrong}", err=True)
    if not going or wrong or seen.left:
        raise typer.Exit(common.FINDINGS)


def _resumed(settings: "Settings", word: str) -> str:
    """What shall go on; a scope whose rule or endpoint is gone may still be stopped."""
    from beforehand.stopping import scope_of

    return scope_of(settings, word) or (word if ":" in word else f"rule:{word}")


def _plain(seen: "Resuming", going: bool, wrong: str) -> dict[str, Any]:
    return {
        "scope": seen.scope,
        "was_stopped": seen.is_set,
        "resumed": going,
        "at_once": seen.held.at_once,
        "held": asdict(seen.held),
        "stopped": seen.left if going else seen.left | ({seen.scope: ""} if seen.is_set else {}),
        "problems": [wrong] if wrong else [],
    }


def _lines(seen: "Resuming", going: bool, path: str) -> Iterator[str]:
    if not seen.is_set:
        yield f"{seen.scope} was not stopped."
    else:
        yield from _would_go(seen.held)
        yield f"{seen.scope} goes on." if going else f"Nothing was changed: `beforehand resume {seen.scope} --yes`."
    for scope, by in seen.left.items():
        yield f"  still stopped: {scope} (by {by})"
    if seen.left and seen.scope == "all" and any(path in by for by in seen.left.values()):
        yield f"  {path} names these; each is taken back by its own `beforehand resume`."


def _would_go(held: "Held") -> Iterator[str]:
    if not (held.messages or held.webhooks):
        yield "Nothing waits for it."
        return
    sums = {"now": 0, "soon": 0, "late": 0}
    for line in (*held.messages, *held.webhooks):
        sums = {name: count + getattr(line, name) for name, count in sums.items()}
    yield (
        f"At once: up to {sums['now']:,}. Due within 24 hours: {sums['soon']:,}. "
        f"Too late meanwhile, and never sent: {sums['late']:,}."
    )
    for line in held.messages:
        yield f"  {line.rule} by {line.way}: {_counts(line)}"
    for line in held.webhooks:
        yield f"  {line.rule}, webhook {line.way}: {_counts(line)}"


def _counts(line: "Line") -> str:
    said = [some(line.now, "at once", "at once"), f"{line.soon:,} within 24 hours"]
    return ", ".join(said + ([f"{line.late:,} too late"] if line.late else []))


def _list(standing: dict[str, str]) -> None:
    for scope, by in standing.items():
        typer.echo(f"  stopped: {scope} (by {by})")
