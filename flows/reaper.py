"""Dead runs: what a killed process left as Running is marked Crashed. Prefect does not notice by itself."""

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

from flows.boot import earlier_life, gone_here
from flows.environment import POOL

UNDER_WAY = (StateType.PENDING, StateType.RUNNING, StateType.CANCELLING)
STARTING = timedelta(minutes=2)
"""How long a run may be between being taken and being named by its process."""


async def crash_dead_runs(boot: str, now: datetime) -> int:
    """Mark runs of our pool Crashed whose process is gone; gives how many. ``boot`` is this process's own name.

    A dead run would hold its rule's only place for ever. Safe at any time and from any process.
    """
    async with get_client() as client:
        runs = await _under_way(client)
        if not runs:
            return 0
        living = await _living(client) | {boot}
        dead = [run for run in runs if _is_dead(run, living, boot, now)]
        for run in dead:
            said = "The process that ran it is gone; the next pass does its work."
            await client.set_flow_run_state(run.id, Crashed(message=said), force=True)
    return len(dead)


async def _under_way(client: PrefectClient) -> list[FlowRun]:
    return await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(UNDER_WAY))),
        ),
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL])),
        limit=200,
    )


async def _living(client: PrefectClient) -> set[str]:
    try:
        workers = await client.read_workers_for_work_pool(POOL)
    except ObjectNotFound:
        return set()
    return {worker.name for worker in workers if worker.status == WorkerStatus.ONLINE and not gone_here(worker.name)}


def _is_dead(run: FlowRun, living: set[str], boot: str, now: datetime) -> bool:
    name = run.infrastructure_pid
    if name is None:
        taken = run.state.timestamp if run.state else None
        return taken is not None and now - taken > STARTING
    return earlier_life(name, boot) or name not in living
