"""The in-process worker: flow runs start inside our own long-lived process, in under a second.

It extends ``BaseWorker``, Prefect's documented point of extension, and calls ``run_flow_async``, which is not promised
to stay: both are held by one contract test (tests/integration/test_worker.py). Should it break, Prefect's own
``process`` worker can serve the same deployments.
"""

import asyncio
import logging
from contextlib import nullcontext
from typing import Any
from uuid import UUID

import anyio.abc
from prefect import Flow, flow_engine
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.exceptions import Abort, ObjectNotFound, Pause
from prefect.flow_engine import run_flow_async
from prefect.states import Cancelled
from prefect.workers.base import BaseJobConfiguration, BaseVariables, BaseWorker, BaseWorkerResult

from flows.environment import POOL
from flows.wishes import FLOWS

LIMIT = 2
"""Runs at once: Prefect's server on SQLite is quicker with few (0.3 s a run against 2 s, and no 503)."""
WATCH_SECONDS = 2.0

UNDER_WAY: set[UUID] = set()
"""The runs that this process has in hand, whichever worker took them: others that bear its name are dead."""

log = logging.getLogger("beforehand.worker")

# For the time of a run Prefect's engine would take SIGTERM and raise out of the event loop that the whole house lives
# in: a stop would be a crash. Ours is told by the house; a run under way is drained.
vars(flow_engine)["capture_sigterm"] = nullcontext


class InProcess(BaseWorker[BaseJobConfiguration, BaseVariables, BaseWorkerResult]):
    """Runs our flows as tasks of the event loop that it is started in."""

    type = "beforehand"
    job_configuration = BaseJobConfiguration
    _description = "Runs Beforehand's flows inside the Beforehand process."

    def __init__(self, boot: str, *, limit: int = LIMIT, watch_seconds: float = WATCH_SECONDS) -> None:
        super().__init__(work_pool_name=POOL, name=boot, limit=limit, heartbeat_interval_seconds=10)
        self.boot = boot
        self.draining = False
        self._watch_seconds = watch_seconds

    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        """Look for due runs; none are taken while we close."""
        return [] if self.draining else await super().get_and_submit_flow_runs()

    async def _give_worker_labels_to_flow_run(self, flow_run_id: UUID) -> None:
        """No labels: a write for each run that shows nothing new, and whose failure would crash the run."""

    async def _propose_submitting_state(self, flow_run: FlowRun) -> None:
        """No state between Pending and Running: there is no machine to wait for."""

    async def drain(self, patience: float) -> None:
        """Take no new runs, and wait up to ``patience`` seconds for those under way."""
        self.draining = True
        with anyio.move_on_after(patience):
            while self._limiter is not None and self._limiter.borrowed_tokens:
                await asyncio.sleep(0.05)

    async def run(
        self,
        flow_run: FlowRun,
        configuration: BaseJobConfiguration,
        task_status: anyio.abc.TaskStatus[Any] | None = None,
    ) -> BaseWorkerResult:
        """Run one flow run to its end; an error in it is its state, never ours."""
        UNDER_WAY.add(flow_run.id)
        try:
            return await self._run(flow_run, task_status)
        finally:
            UNDER_WAY.discard(flow_run.id)

    async def _run(self, flow_run: FlowRun, task_status: anyio.abc.TaskStatus[Any] | None) -> BaseWorkerResult:
        if task_status is not None:
            task_status.started(self.boot)  # Prefect keeps it as the run's infrastructure_pid
        flow = FLOWS[(await self.client.read_flow(flow_run.flow_id)).name]
        body = asyncio.create_task(_body(flow, flow_run))
        watch = asyncio.create_task(_until_cancelling(flow_run.id, self._watch_seconds))
        try:
            await asyncio.wait({body, watch}, return_when=asyncio.FIRST_COMPLETED)
            if watch.done() and not body.done():
                await _stopped(body)
                await _mark_cancelled(flow_run.id)
        finally:
            watch.cancel()
            await _stopped(body)
        return BaseWorkerResult(status_code=0, identifier=str(flow_run.id))


async def _body(flow: Flow[Any, Any], flow_run: FlowRun) -> State[Any] | None:
    try:
        state: State[Any] | None = await run_flow_async(
            flow, flow_run=flow_run, parameters=flow_run.parameters, return_type="state"
        )
    except (Pause, Abort):  # not Exceptions, and no end of a worker: the run waits, or was called off
        return None
    except Exception as error:
        log.warning("run %s could not be brought to its end: %s", flow_run.id, type(error).__name__)
        return None
    return state


async def _stopped(body: "asyncio.Task[Any]") -> None:
    """Cancel ``body`` where it still runs, and wait for it. A database step in a thread ends its transaction first."""
    if not body.done():
        body.cancel()
    await asyncio.gather(body, return_exceptions=True)


async def _until_cancelling(flow_run_id: UUID, seconds: float) -> None:
    """Return once a person has asked for the run's end: Prefect itself cannot stop what runs in our process."""
    async with get_client() as client:
        while True:
            await asyncio.sleep(seconds)
            try:
                state = (await client.read_flow_run(flow_run_id)).state
            except ObjectNotFound:
                return
            except Exception as error:  # the server may be away; the run goes on
                log.debug("cannot look at run %s: %s", flow_run_id, type(error).__name__)
                continue
            if state is not None and state.type == StateType.CANCELLING:
                return


async def _mark_cancelled(flow_run_id: UUID) -> None:
    async with get_client() as client:
        try:
            await client.set_flow_run_state(
                flow_run_id, Cancelled(message="Stopped at a person's request."), force=True
            )
        except ObjectNotFound:
            log.info("run %s was deleted while it ran", flow_run_id)
