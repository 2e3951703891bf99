"""Dead runs: what a killed process left as Running is marked Crashed. Prefect does not notice by itself."""

from collections.abc import Collection
from datetime import datetime, timedelta

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType, WorkerStatus
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed

from flows.again import run_again
from flows.boot import earlier_life, gone_here
from flows.environment import POOL
from flows.hands import held
from flows.worker import UNDER_WAY as IN_HAND

UNDER_WAY = (StateType.PENDING, StateType.RUNNING, StateType.CANCELLING)
STARTING = timedelta(seconds=20)
"""How long a run may be between being taken and being named by its process."""


async def crash_dead_runs(boot: str, now: datetime, seen: Collection[str] = ()) -> int:
    """Mark runs of our pool Crashed whose process is gone, or which this process (``boot``) has in hand no more, since
    Prefect was away when they ended; gives how many. What they did not do is asked for again.

    A dead run would hold its rule's only place for ever. Safe at any time and from any process. ``seen`` are processes
    that have shown themselves lately: where Prefect was away, it takes a worker for offline that is not.
    """
    async with get_client() as client:
        dead = await _dead(client, boot, now, seen)
        for run in dead:
            await client.set_flow_run_state(run.id, Crashed(message=_said(run, boot)), force=True)
        await run_again(client, held(), now)
    return len(dead)


def _said(run: FlowRun, boot: str) -> str:
    if run.infrastructure_pid == boot:
        return "Prefect was away when it ended; what it did is kept, and what it did not do is done anew."
    return "The process that ran it is gone; what it did not do is done anew."


async def _dead(client: PrefectClient, boot: str, now: datetime, seen: Collection[str]) -> list[FlowRun]:
    in_hand = set(IN_HAND)
    runs = await _under_way(client)
    in_hand |= IN_HAND  # one that was taken or that ended while we asked is no dead one
    if not runs:
        return []
    living = await _living(client, seen) - {boot}
    return [run for run in runs if run.id not in in_hand and _is_dead(run, living, boot, now)]


async def _under_way(client: PrefectClient) -> list[FlowRun]:
    return await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(UNDER_WAY))),
        ),
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL])),
        limit=200,
    )


async def _living(client: PrefectClient, seen: Collection[str]) -> set[str]:
    try:
        workers = await client.read_workers_for_work_pool(POOL)
    except ObjectNotFound:
        workers = []
    online = {worker.name for worker in workers if worker.status == WorkerStatus.ONLINE}
    return {name for name in {*online, *seen} if not gone_here(name)}


def _is_dead(run: FlowRun, living: set[str], boot: str, now: datetime) -> bool:
    name = run.infrastructure_pid
    if name is None:
        taken = run.state.timestamp if run.state else None
        return taken is not None and now - taken > STARTING
    return earlier_life(name, boot) or name not in living
