"""The flow ``approve``: the window in Prefect's UI in which a second person answers a run that the brake holds.

The run is suspended while it waits, so it costs nothing and outlives restarts. The answer is kept as a row of ours: a
window that is lost is opened again, and one that somebody answered elsewhere is closed.

Prefect runs the flow from the top after each answer, and still has all that was said before. So only the newest answer
is read, once, for what its form showed: one that did not count must not count later, when somebody else has answered.
"""

import asyncio
import re
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from prefect import flow
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectHTTPStatusError
from prefect.flow_runs import asuspend_flow_run
from prefect.input import RunInput, aread_flow_run_input, keyset_from_paused_state
from prefect.states import Completed, Suspended
from pydantic import Field

from flows.asking import Taken
from flows.failure import plainly
from flows.hands import held

MOST_TRIES = 20
"""Answers that may be refused (by the author, without a name ...) before the window is left; another one opens then."""

HINT = (
    "\n\n---\n*Look at the samples and at the number of people. The author of the rule's text cannot approve it. "
    "Refuse when in doubt: nothing is lost, and the run can be made again by an edited rule.*"
)

LOST = Taken(counts=False, said="the last answer did not arrive, or was read before; give it once more")

CONFLICT = 409


class Answer(RunInput):
    """What the form asks."""

    decision: Literal["refuse", "approve"] = Field(
        title="Your decision", description="approve: the first few go, and the rest when nothing bad comes back"
    )
    your_name: str = Field(min_length=1, title="Your name or e-mail address", description="It is kept in the audit log")
    because: str = Field(default="", title="Why")


@dataclass(frozen=True)
class _Form:
    """One form of a window: its ``number``, and a word for what it showed. Prefect keeps both, as its pause key."""

    number: int
    shown: str

    @property
    def key(self) -> str:
        return f"{self.number}-{self.shown}"


@flow(name="approve", flow_run_name="held run {held_run_id}", retries=0, persist_result=False)
async def approve_held_run(held_run_id: int) -> State:
    """Ask a second person about the held run, until somebody whose answer counts has given one."""
    hands = held()
    last = await _last_form()
    taken = await _take(held_run_id, last) if last else None
    if taken and taken.counts:
        return Completed(message=taken.said, name="Answered")
    question = await plainly("approve", asyncio.to_thread(hands.question, held_run_id))
    if question is None:
        return Completed(message="answered already, or over", name="Answered")
    number = last.number + 1 if last else 1
    if number > MOST_TRIES:
        return Completed(message="too many answers that do not count; another window opens", name="Given up")
    warning = f"> **Not taken:** {taken.said}\n\n" if taken else ""
    form = Answer.with_initial_data(description=f"{warning}{question.text}{HINT}")
    await asuspend_flow_run(
        wait_for_input=form, timeout=max(60, question.seconds), key=_Form(number, question.shown).key
    )
    raise RuntimeError("Prefect did not suspend a run that waits for an answer")


def _run_id() -> UUID:
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise RuntimeError("a window is opened by Prefect only")
    return context.flow_run.id


async def _last_form() -> _Form | None:
    """The newest form that this flow run has shown; None: it has shown none."""
    async with get_client() as client:
        policy = (await client.read_flow_run(_run_id())).empirical_policy
    keys = [re.fullmatch(r"(\d+)-?(\w*)", key) for key in policy.pause_keys or ()]
    return max((_Form(int(key[1]), key[2]) for key in keys if key), key=lambda form: form.number, default=None)


async def _take(held_run_id: int, form: _Form) -> Taken:
    """What becomes of the answer to this form."""
    keys = keyset_from_paused_state(Suspended(timeout_seconds=60, pause_key=form.key))
    said = await aread_flow_run_input(keys["response"])
    async with get_client() as client:
        if said is None or not await _first_to_read(client, form):
            return LOST
    given = Answer.model_validate(said)
    hands, approve = held(), given.decision == "approve"
    work = asyncio.to_thread(hands.answer, held_run_id, approve, given.your_name, given.because, form.shown)
    return await plainly("approve", work)


async def _first_to_read(client: PrefectClient, form: _Form) -> bool:
    """Mark the answer to this form as read, before it is taken: better asked twice than replayed. False: it was."""
    try:
        await client.create_flow_run_input(_run_id(), key=f"read-{form.number}", value="true")
    except PrefectHTTPStatusError as wrong:
        if wrong.response.status_code != CONFLICT:
            raise
        return False
    return True
