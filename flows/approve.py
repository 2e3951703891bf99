"""The flow ``approve``: the window in Prefect's UI in which a second person answers a run that the brake holds.

The run is suspended while it waits, so it costs nothing and outlives restarts. The answer is kept as a row of ours: a
window that is lost is opened again, and one that somebody answered elsewhere is closed.
"""

import asyncio
from typing import Literal

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.flow_runs import asuspend_flow_run
from prefect.input import RunInput
from prefect.states import Completed
from pydantic import Field

from flows.failure import plainly
from flows.hands import held

MOST_TRIES = 20
"""Answers that may be refused (by the author, without a name ...) before the window is left; another one opens then."""

HINT = (
    "\n\n---\n*Look at the samples and at the number of people. The author of the rule's text cannot approve it. "
    "Refuse when in doubt: nothing is lost, and the run can be made again by an edited rule.*"
)


class Answer(RunInput):
    """What the form asks."""

    decision: Literal["refuse", "approve"] = Field(
        title="Your decision", description="approve: the first few go, and the rest when nothing bad comes back"
    )
    your_name: str = Field(min_length=1, title="Your name or e-mail address", description="It is kept in the audit log")
    because: str = Field(default="", title="Why")


@flow(name="approve", flow_run_name="held run {held_run_id}", retries=0, persist_result=False)
async def approve_held_run(held_run_id: int) -> State:
    """Ask a second person about the held run, until somebody whose answer counts has given one."""
    hands = held()
    problem = ""
    for _ in range(MOST_TRIES):
        question = await plainly("approve", asyncio.to_thread(hands.question, held_run_id))
        if question is None:
            return Completed(message="answered already, or over", name="Answered")
        warning = f"> **Not taken:** {problem}\n\n" if problem else ""
        form = Answer.with_initial_data(description=f"{warning}{question.text}{HINT}")
        said = await asuspend_flow_run(wait_for_input=form, timeout=max(60, question.seconds))
        answer = asyncio.to_thread(hands.answer, held_run_id, said.decision == "approve", said.your_name, said.because)
        taken = await plainly("approve", answer)
        if taken.counts:
            return Completed(message=taken.said, name="Answered")
        problem = taken.said
    return Completed(message="too many answers that do not count; another window opens", name="Given up")
