"""What reconciling found and did, in words: for the command line and for the run in Prefect."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from beforehand.counting import some
from models.vocabulary import MessageState

if TYPE_CHECKING:
    from beforehand.dispatching import ReapReport
    from messaging.journal.reconciling import Reconciled


def open_outcomes(done: "Reconciled") -> int:
    """How many outcomes nobody knew before the providers were asked."""
    return max(done.open_ones, done.moved.get(MessageState.UNKNOWN, 0))


def still_held(done: "Reconciled") -> bool:
    """Whether sending is held on."""
    return done.was_held and not done.released


def lines_of(done: "Reconciled", asked: "ReapReport") -> Iterator[str]:
    """The report, a sentence or two a line."""
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
