"""The flow ``dispatch``: send what is due, asked for by a person; the heartbeat does the same every second."""

import asyncio

from prefect import flow
from prefect.artifacts import acreate_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.failure import plainly
from flows.hands import Hands, held
from flows.shown import Sent

MOST_BATCHES = 200
"""Batches in one run: the heartbeat takes what is left."""


async def send_what_is_due(hands: Hands) -> Sent:
    """Dispatch batch after batch until nothing is due. Threads, so that the loop stays free."""
    total = Sent()
    for _ in range(MOST_BATCHES):
        if not total.add(await asyncio.to_thread(hands.dispatch)):
            break
    return total


@flow(name="dispatch", flow_run_name="dispatch what is due", retries=0, persist_result=False)
async def dispatch_due() -> State:
    """Send everything that may go now."""
    hands = held()
    sent = await plainly("dispatch", send_what_is_due(hands))
    where = f"Messages: [{hands.post_room}]({hands.post_room})" if hands.post_room else "Messages that were due."
    await acreate_table_artifact(sent.rows(), key="dispatch", description=where)
    return Completed(message=f"{sent.sent:,} sent, {sent.failed:,} failed, {sent.unknown:,} unknown")
