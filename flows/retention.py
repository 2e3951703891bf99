"""The flow ``retention``: what is old goes, ours and Prefect's.

A server of our own clears its runs, logs, artifacts and events by itself (``environment``). What it leaves is done
here: artifacts that belong to no run, and all of it on a server that somebody else set up.
"""

import asyncio
from datetime import datetime, timedelta

from prefect import flow
from prefect.artifacts import acreate_table_artifact
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import Artifact, State, StateType
from prefect.client.schemas.sorting import ArtifactSort
from prefect.states import Completed

from flows.environment import POOL
from flows.failure import plainly
from flows.hands import held
from flows.notices import RULES_KEY
from flows.runs import link_to_console, rename, this_run

FINISHED = [StateType.COMPLETED, StateType.FAILED, StateType.CANCELLED, StateType.CRASHED]
PAGE = 50
"""Runs looked for at once."""
MOST_PAGES = 100
"""Pages in one run of this flow: the rest is for tomorrow's."""


@flow(name="retention", flow_run_name="retention", retries=0, persist_result=False)
async def clear_what_is_old() -> State:
    """Clear away what is older than anybody needs; the artifact counts it."""
    hands = held()
    counts = dict(await plainly("retention", asyncio.to_thread(hands.chores.clear_old_rows)))
    before = hands.clock() - timedelta(days=hands.chores.prefect_days)
    async with get_client() as client:
        runs, artifacts = await plainly("retention", clear_runs(client, before))
        artifacts += await plainly("retention", clear_notices(client, before))
    counts |= {"runs in Prefect": runs, "artifacts in Prefect": artifacts}
    rows = [{"what": what, "cleared": count} for what, count in counts.items()]
    said = f"{sum(counts.values()):,} cleared"
    await rename(this_run(), f"retention · {said}")
    kept = f"Prefect's runs and artifacts are kept for {hands.chores.prefect_days} days."
    await acreate_table_artifact(rows, key="retention", description=kept)
    await link_to_console(hands)
    return Completed(message=said)


async def clear_runs(client: PrefectClient, before: datetime) -> tuple[int, int]:
    """Delete our runs that ended before a moment, with their artifacts; gives how many runs and artifacts."""
    old = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[POOL]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=FINISHED)),
        end_time=FlowRunFilterEndTime(before_=before),
    )
    runs = artifacts = 0
    for _ in range(MOST_PAGES):
        page = [run.id for run in await client.read_flow_runs(flow_run_filter=old, limit=PAGE)]
        if not page:
            break
        of_these = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=page))
        artifacts += await _delete(client, await client.read_artifacts(artifact_filter=of_these))
        for run_id in page:
            await client.delete_flow_run(run_id)
        runs += len(page)
    return runs, artifacts


async def clear_notices(client: PrefectClient, before: datetime) -> int:
    """Delete old words on the rules in force, which belong to no run; the newest stays, however old."""
    ours = ArtifactFilter(key=ArtifactFilterKey(any_=[RULES_KEY]))
    newest_first = await client.read_artifacts(artifact_filter=ours, sort=ArtifactSort.CREATED_DESC)
    old = [one for one in newest_first[1:] if one.created is not None and one.created < before]
    return await _delete(client, old)


async def _delete(client: PrefectClient, artifacts: list[Artifact]) -> int:
    for artifact in artifacts:
        await client.delete_artifact(artifact.id)
    return len(artifacts)
