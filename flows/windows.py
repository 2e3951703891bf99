"""The windows of held runs in line with the rows: one is open while a run waits, and none when it has been answered."""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import State
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled

from flows.deployments import deployment_ids

DEPLOYMENT = "approve"

AGAIN_AFTER = 300.0
"""Seconds before a window that ended without an answer is followed by another: what made it fail may last all day."""

log = logging.getLogger("beforehand.prefect")


@dataclass(frozen=True)
class Waiting:
    """A held run that waits: the ``window`` that asks, as far as is known, and the ``occasion`` that it asks on."""

    window: str | None
    occasion: str


@dataclass(frozen=True)
class Patience:
    """Since when this process has seen which windows ended without an answer, by a clock that nobody sets."""

    monotonic: Callable[[], float] = time.monotonic
    seen: dict[str, float] = field(default_factory=dict)

    def is_over(self, held_run_id: int, window: str, ended: str) -> bool:
        """Whether another one may follow this window, which ``ended`` so; it is said once where that takes a while."""
        if window not in self.seen:
            self.seen[window] = self.monotonic()
            wait = (
                f"another one opens in {AGAIN_AFTER / 60:g} minutes, beforehand approve {held_run_id} works meanwhile"
            )
            log.warning("the window of held run %s ended without an answer (%s); %s", held_run_id, ended, wait)
        if self.monotonic() < self.seen[window] + AGAIN_AFTER:
            return False
        del self.seen[window]
        return True


PATIENCE = Patience()
"""That of this process."""


async def bring_windows_in_line(
    waiting: Mapping[int, Waiting], over: Mapping[int, str], note: Callable[[int, str | None], Awaitable[None]]
) -> None:
    """Close the windows of runs that wait no more; open one for each run that waits and has none that lives.

    Both map the held run's id. ``note`` is told of each window as soon as it is opened, and of None when it is closed.
    One that fails keeps no other: its error is raised at the end.
    """
    wrong: list[Exception] = []

    async def attempt(held_run_id: int, work: Awaitable[str | None]) -> None:
        try:
            await note(held_run_id, await work)
        except Exception as error:
            wrong.append(error)

    async with get_client() as client:
        for held_run_id, window in over.items():
            await attempt(held_run_id, _close(client, UUID(window)))
        lost = await _lost(client, waiting)
        if lost and (deployment := (await deployment_ids([DEPLOYMENT])).get(DEPLOYMENT)):
            for held_run_id in lost:
                await attempt(held_run_id, _open(client, deployment, held_run_id, waiting[held_run_id]))
    if wrong:
        raise wrong[0]


async def _lost(client: PrefectClient, waiting: Mapping[int, Waiting]) -> list[int]:
    """The held runs that wait and need a window now: there is none any more, or it ended a while ago."""
    known = [UUID(run.window) for run in waiting.values() if run.window]
    only = FlowRunFilter(id=FlowRunFilterId(any_=known))
    found = await client.read_flow_runs(flow_run_filter=only, limit=len(known)) if known else []
    states = {str(run.id): run.state for run in found}
    lost = []
    for held_run_id, run in waiting.items():
        if run.window is None or run.window not in states:
            lost.append(held_run_id)
            continue
        state = states[run.window]
        if state and state.is_final() and PATIENCE.is_over(held_run_id, run.window, state.name or state.type.value):
            lost.append(held_run_id)
    return lost


async def _open(client: PrefectClient, deployment: UUID, held_run_id: int, run: Waiting) -> str:
    """Open a window, or find the one that was opened and could not be noted: the key is the same until one is."""
    key = f"held run {held_run_id}, {run.occasion}, after {run.window or 'none'}"
    parameters = {"held_run_id": held_run_id}
    made = await client.create_flow_run_from_deployment(deployment, parameters=parameters, idempotency_key=key)
    return str(made.id)


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
