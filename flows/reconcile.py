"""The flow ``reconcile``: a restored database is brought in line with the journal, asked for by a person."""

from prefect import flow
from prefect.artifacts import acreate_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed

from beforehand.reconciled import lines_of, still_held
from flows.hands import held
from flows.moving import moving
from flows.runs import link_to_console, rename, this_run


@flow(name="reconcile", flow_run_name="reconcile", retries=0, persist_result=False)
async def reconcile_journal() -> State:
    """Put right what the journal knows better, and let sending go on. ``--release`` is for the command line alone."""
    hands = held()
    done, asked = await moving("reconcile", hands.chores.reconcile, key="reconcile-progress")
    lines = list(lines_of(done, asked))
    await acreate_markdown_artifact("\n\n".join(lines) + "\n", key="reconcile", description="What reconciling found")
    said = "still held" if still_held(done) else ("nothing was held" if not done.was_held else "sending goes on")
    await rename(this_run(), f"reconcile · {said}")
    await link_to_console(hands)
    return Completed(message=said)
