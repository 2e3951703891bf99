"""The windows of held runs in line with the rows: one is open while a run waits, and none when it has been answered."""

from collections.abc import Mapping
from uuid import UUID

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import State
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled

from flows.deployments import deployment_ids

DEPLOYMENT = "approve"


async def bring_windows_in_line(waiting: Mapping[int, str | None], over: Mapping[int, str]) -> dict[int, str | None]:
    """Open a window for each held run that waits and has none that lives; close those of runs that wait no more.

    Both map the held run's id to the flow run that asks. Gives what changed, in the same form (None: it was closed).
    """
    changed: dict[int, str | None] = {}
    async with get_client() as client:
        living = await _living(client, [window for window in waiting.values() if window])
        lost = [held_run_id for held_run_id, window in waiting.items() if window not in living]
        if lost and (deployment := (await deployment_ids()).get(DEPLOYMENT)):
            for held_run_id in lost:
                changed[held_run_id] = str(await _open(client, deployment, held_run_id))
        for held_run_id, window in over.items():
            await _close(client, UUID(window))
            changed[held_run_id] = None
    return changed


async def _living(client: PrefectClient, windows: list[str]) -> set[str]:
    if not windows:
        return set()
    only = FlowRunFilter(id=FlowRunFilterId(any_=[UUID(window) for window in windows]))
    found = await client.read_flow_runs(flow_run_filter=only)
    return {str(run.id) for run in found if run.state is not None and not run.state.is_final()}


async def _open(client: PrefectClient, deployment: UUID, held_run_id: int) -> UUID:
    run = await client.create_flow_run_from_deployment(deployment, parameters={"held_run_id": held_run_id})
    return run.id


async def _close(client: PrefectClient, window: UUID) -> None:
    """Close a window that still waits; one that ended by itself, or is gone, is left as it is."""
    try:
        run = await client.read_flow_run(window)
        if run.state is not None and not run.state.is_final():
            said: State[object] = Cancelled(
                name="Answered elsewhere", message="The held run was answered elsewhere, or is over."
            )
            await client.set_flow_run_state(window, said, force=True)
    except ObjectNotFound:
        return
