"""Passes and ingests that a crash or a database that was away cut short are run again, while they are not too late.

A rule that runs once a day must not lose its day to a process that died at nine. Done anew is done once: a pass is
unique by rule and slot, and an ingest touches only rows that differ.
"""

import logging
from collections.abc import Sequence
from datetime import datetime

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.states import Scheduled

from flows.failure import AWAY
from flows.hands import Hands
from flows.slots import LONGEST_GRACE, grace, plain

AGAIN = "again"
"""The tag of a run that takes the place of one that was cut short."""
TRIES = 3
"""Runs of one slot, the first included: what fails that often has another reason."""
WORTH_IT = FlowFilter(name=FlowFilterName(any_=["evaluate", "ingest"]))
"""The dispatch is not here: the heartbeat sends what is due, a second later."""

log = logging.getLogger("beforehand.prefect")


async def run_again(client: PrefectClient, hands: Hands, now: datetime) -> int:
    """Ask for what was cut short within the last hour; gives for how many. Safe from several processes at once."""
    ended = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.CRASHED, StateType.FAILED]))
    lately = FlowRunFilterExpectedStartTime(after_=now - LONGEST_GRACE)
    found = await client.read_flow_runs(
        flow_filter=WORTH_IT, flow_run_filter=FlowRunFilter(state=ended, expected_start_time=lately), limit=200
    )
    asked, seen = 0, set()
    for run in filter(_cut_short, found):
        key = (run.deployment_id, run.expected_start_time)
        if key in seen or not await _in_time(run, hands, now):
            continue
        seen.add(key)
        try:
            asked += await _ask(client, run)
        except (ObjectNotFound, PrefectHTTPStatusError) as error:  # its deployment was deleted meanwhile, say
            log.debug("run %s cannot be asked for again: %s", run.id, type(error).__name__)
    return asked


def _cut_short(run: FlowRun) -> bool:
    """Crashed, or failed because the database was away; an error of the rule or the mapping would only come again."""
    if run.state is None or run.deployment_id is None or run.expected_start_time is None:
        return False
    return run.state.is_crashed() or AWAY in (run.state.message or "")


async def _in_time(run: FlowRun, hands: Hands, now: datetime) -> bool:
    assert run.expected_start_time is not None
    slot = plain(run.expected_start_time)
    terms = hands.rules().get(run.parameters.get("rule_id", ""))
    crons = terms.cron if terms else ()
    return now - slot <= await grace(crons, hands.time_zone, slot)


async def _ask(client: PrefectClient, run: FlowRun) -> bool:
    """Ask once more for the slot of ``run``, unless another run has it or it was tried often enough."""
    assert run.deployment_id is not None
    assert run.expected_start_time is not None
    slot = run.expected_start_time
    tries = await _of_slot(client, run)
    if len(tries) >= TRIES or not all(map(_cut_short, tries)):
        return False
    await client.create_flow_run_from_deployment(
        run.deployment_id,
        parameters=run.parameters,
        state=Scheduled(scheduled_time=slot),
        tags=[AGAIN],
        idempotency_key=f"{AGAIN} {run.deployment_id} {slot.isoformat()} {len(tries)}",
    )
    return True


async def _of_slot(client: PrefectClient, run: FlowRun) -> Sequence[FlowRun]:
    slot = FlowRunFilterExpectedStartTime(after_=run.expected_start_time, before_=run.expected_start_time)
    return await client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[run.deployment_id])),
        flow_run_filter=FlowRunFilter(expected_start_time=slot),
    )
