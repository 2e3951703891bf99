"""``beforehand reconcile``: bring a restored database in line with the journal of what was sent, and let it go on."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from beforehand.cli import common
from beforehand.cli.words import some

if TYPE_CHECKING:
    from beforehand.dispatching import ReapReport
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
    if json:
        common.print_json(_plain(done, asked))
    else:
        for line in _lines(done, asked):
            typer.echo(line)
    if _still_held(done) or _open(done) > asked.found:
        raise typer.Exit(common.FINDINGS)


def _open(done: "Reconciled") -> int:
    """How many outcomes nobody knew before the providers were asked."""
    from models.vocabulary import MessageState

    return max(done.open_ones, done.moved.get(MessageState.UNKNOWN, 0))


def _still_held(done: "Reconciled") -> bool:
    return done.was_held and not done.released


def _plain(done: "Reconciled", asked: "ReapReport") -> dict[str, Any]:
    said = asdict(done) | {"moved": {state.value: count for state, count in done.moved.items()}}
    said["known_until"] = done.known_until.isoformat() if done.known_until else None
    return said | {"held": _still_held(done), "asked": {"found": asked.found, "given_up": asked.given_up}}


def _lines(done: "Reconciled", asked: "ReapReport") -> Iterator[str]:
    if not done.was_held:
        yield "Nothing is held: the database knows everything that was sent from this machine."
        return
    yield _found(done)
    words = {"accepted": "had been sent already", "unknown": "may have been sent: their provider is asked"}
    words |= {"failed": "had been refused", "queued": "were not accepted, and go again"}
    for state, count in done.moved.items():
        yield f"  {some(count, 'message')}: {words.get(state.value, state.value)}."
    if done.past:
        yield (
            f"  {some(done.past, 'send')} whose message is not in the database any more: kept, so that it is not "
            "said again should a rule find it anew."
        )
    if done.unreadable:
        yield (
            f"  {some(done.unreadable, 'line')} of the journal cannot be read. A crash tears the last one, and what "
            "it says was not sent; more than one or two mean that its disk is not well."
        )
    if asked.found:
        yield f"  {some(asked.found, 'message')} found in the provider's listing."
    yield _ended(done)


def _found(done: "Reconciled") -> str:
    until = f" It knows its own sends until {done.known_until:%Y-%m-%d %H:%M} UTC." if done.known_until else ""
    return f"The journal knew {some(done.attempts, 'send')} that the database did not, or not to the end.{until}"


def _ended(done: "Reconciled") -> str:
    if done.released:
        return "Sending goes on."
    if done.too_old:
        return (
            "Sending is still held: the backup is older than journals are kept (BEFOREHAND_JOURNAL_DAYS), so some "
            "sends may be unknown. `beforehand reconcile --release` goes on all the same."
        )
    return (
        "Sending is still held: the journal on this machine has nothing that the database does not know. Run this on "
        "the machine that sent, with its journal; `beforehand reconcile --release` goes on all the same."
    )
