"""What the window of a held run asks, and how its answer is taken: the ways from a flow to the application."""

import asyncio
from dataclasses import dataclass

from beforehand import approving
from beforehand.wiring import App


@dataclass(frozen=True)
class Asked:
    """What a window shows: its ``text`` in markdown, and for how many ``seconds`` it may wait.

    ``shown`` is a word for what the text shows; an answer comes back with it.
    """

    text: str
    seconds: int
    shown: str


@dataclass(frozen=True)
class Taken:
    """Whether an answer ``counts``, and in a sentence what became of the run, or why it does not."""

    counts: bool
    said: str


def asked_of(app: App, held_run_id: int) -> Asked | None:
    """What a window shows of this held run; None where nobody needs to answer it any more."""
    now = app.clock()
    try:
        question = approving.question_of(app, held_run_id, now)
    except approving.NotAllowed:
        return None
    if not question.run.asks:
        return None
    seconds = int((question.run.expires_at - now).total_seconds())
    return Asked(question.as_markdown(), seconds, question.shown)


async def keep_windows(app: App) -> None:
    """One window in Prefect's UI for each held run that asks, and none for the others."""
    from flows.windows import Waiting, bring_windows_in_line  # prefect takes seconds to import

    runs = await asyncio.to_thread(approving.windows, app)
    waiting = {run.id: Waiting(run.asked_in, _occasion(run)) for run in runs if run.asks}
    over = {run.id: run.asked_in for run in runs if not run.asks and run.asked_in}
    if waiting or over:

        async def note(held_run_id: int, window: str | None) -> None:
            await asyncio.to_thread(approving.note_window, app, held_run_id, window)

        await bring_windows_in_line(waiting, over, note)


def _occasion(run: approving.HeldRunView) -> str:
    """What tells one time of asking from another: a run that was approved may stop and ask again."""
    return f"held {run.held_at.isoformat()}, last answer {run.decided_at.isoformat() if run.decided_at else 'none'}"


def take_answer(app: App, held_run_id: int, approve: bool, by: str, because: str, shown: str) -> Taken:
    """Take the answer that somebody gave in Prefect's UI, to a form that said ``shown``."""
    now = app.clock()
    try:
        run = approving.answer(
            app, held_run_id, approve=approve, by=by, via="prefect", now=now, why=because, shown=shown
        )
    except approving.NotAllowed as no:
        return Taken(counts=False, said=str(no))
    return Taken(counts=True, said=f"{run.rule_id}: {run.stands}")
