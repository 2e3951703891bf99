"""Deployments brought in line with the rules in force.

Only what changed is touched, and only what is ours: a pause that staff set survives an edit of the rule, and a schedule
that staff added by hand stays.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import (
    DeploymentScheduleCreate,
    DeploymentUpdate,
    GlobalConcurrencyLimitCreate,
    WorkPoolCreate,
)
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    DeploymentFilterTags,
    FlowRunFilter,
    FlowRunFilterId,
)
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.client.schemas.sorting import DeploymentSort
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.utilities.callables import parameter_schema

from flows import mark
from flows.environment import HEAVY_LIMIT, POOL
from flows.slots import SLUG, slug_of
from flows.wishes import OURS, Wanted, wanted
from flows.worker import InProcess

READ_AT_ONCE = 200
"""The most that Prefect's server gives in one answer."""
AT_ONCE = 2
"""Deployments created at once: a quarter quicker than one by one; with more, Prefect's server on SQLite answers 503."""


@dataclass
class InLine:
    """What bringing deployments in line did, by name. ``left`` were not come to, because it was told to stop."""

    created: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [f"{len(names)} {word}" for word, names in vars(self).items() if names]
        return ", ".join(parts) or "none"


def _never() -> bool:
    return False


async def bring_in_line(
    wishes: list[Wanted], *, stopping: Callable[[], bool] = _never, known: Mapping[str, str] | None = None
) -> InLine:
    """Change what changed, remove what is wanted no more, then create what is new, and leave the rest.

    In this order, so that an edit need not wait until two hundred new ones are there. ``stopping`` is asked before each
    of them. One that Prefect refuses keeps no other: its error is raised at the end. ``known`` are the deployments that
    are in line, name to version: Prefect is asked for the others only. None: it is asked for all, unless its
    :mod:`mark <flows.mark>` says that they are in line.
    """
    async with get_client() as client:
        ground = await _ground(client)
        if known is None and await mark.is_set(client, wishes):
            return InLine(same=[wish.name for wish in wishes])
        ours = await _ours(client, _in_doubt(wishes, known))
        done, wrong = InLine(), list[Exception]()
        change, remove, create = _sorted(wishes, known or {}, {found.name: found for found in ours}, done)

        async def one(name: str, where: list[str], work: Callable[[], Awaitable[object]]) -> None:
            if stopping():
                done.left.append(name)
                return
            try:
                await work()
            except Exception as error:
                wrong.append(error)
            else:
                where.append(name)

        lifted = await mark.lift(client)
        for wish, found in change:
            await one(wish.name, done.changed, partial(ground.change, wish, found))
        for left in remove:
            await one(left.name, done.removed, partial(client.delete_deployment, left.id))
        await _a_few_at_once(one(wish.name, done.created, partial(ground.create, wish)) for wish in create)
        if wrong:
            raise wrong[0]
        if not done.left:
            await mark.set_down(client, lifted, wishes)
        return done


def _sorted(
    wishes: list[Wanted], known: Mapping[str, str], there: dict[str, DeploymentResponse], done: InLine
) -> tuple[list[tuple[Wanted, DeploymentResponse]], list[DeploymentResponse], list[Wanted]]:
    """What to change, to remove and to create; what is in line goes to ``done``."""
    change, create = [], []
    for wish in wishes:
        found = there.pop(wish.name, None)
        if known.get(wish.name) == wish.version or (found is not None and found.version == wish.version):
            done.same.append(wish.name)
        elif found is None:
            create.append(wish)
        else:
            change.append((wish, found))
    return change, list(there.values()), create


def _in_doubt(wishes: Sequence[Wanted], known: Mapping[str, str] | None) -> list[str] | None:
    """The names of which it is not known that they are in line; None: nothing is known of any."""
    if known is None:
        return None
    wanted_now = {wish.name: wish.version for wish in wishes}
    return [name for name in {**known, **wanted_now} if known.get(name) != wanted_now.get(name)]


async def _a_few_at_once(works: Iterable[Awaitable[object]]) -> None:
    """Do all of them, in their order, up to AT_ONCE under way."""
    waiting = iter(works)

    async def hand() -> None:
        for work in waiting:
            await work

    await asyncio.gather(*(hand() for _ in range(AT_ONCE)))


async def deployment_ids(names: Sequence[str] | None = None) -> dict[str, UUID]:
    """Our deployments, all or those of ``names``: name to id."""
    async with get_client() as client:
        return {found.name: found.id for found in await _ours(client, names)}


async def paused_schedules() -> dict[str, frozenset[str]]:
    """Schedules of ours that staff paused: the deployment's name to their slugs. Reads the answers as they come, since
    to make two hundred deployments of them would take us a second each time.
    """
    only = DeploymentFilter(tags=DeploymentFilterTags(all_=[OURS])).model_dump(mode="json")
    read: list[dict[str, Any]] = []
    async with get_client() as client:
        more = True
        while more:
            asked = {"deployments": only, "offset": len(read), "limit": READ_AT_ONCE, "sort": "NAME_ASC"}
            page = (await client.request("POST", "/deployments/filter", json=asked)).json()
            read += page
            more = len(page) == READ_AT_ONCE
    paused = {one["name"]: frozenset(_paused_of(one)) for one in read}
    return {name: slugs for name, slugs in paused.items() if slugs}


def _paused_of(deployment: Mapping[str, Any]) -> Iterator[str]:
    """The slugs of a deployment's schedules from the rule's file that do not fire."""
    for schedule in deployment["schedules"]:
        slug = schedule["slug"] or ""
        if slug.startswith(SLUG) and (deployment["paused"] or not schedule["active"]):
            yield slug


async def start_run(deployment_id: UUID) -> UUID:
    """Ask for one run now; gives the flow run's id."""
    async with get_client() as client:
        return (await client.create_flow_run_from_deployment(deployment_id)).id


async def _ours(client: PrefectClient, names: Sequence[str] | None = None) -> list[DeploymentResponse]:
    found: list[DeploymentResponse] = []
    if names is not None and not names:
        return found
    named = None if names is None else DeploymentFilterName(any_=list(names))
    only = DeploymentFilter(tags=DeploymentFilterTags(all_=[OURS]), name=named)
    sort, more = DeploymentSort.NAME_ASC, True
    while more:
        page = await client.read_deployments(deployment_filter=only, sort=sort, offset=len(found), limit=READ_AT_ONCE)
        found += page
        more = len(page) == READ_AT_ONCE
    return found


async def _ground(client: PrefectClient) -> "_Ground":
    """What deployments stand on: the pool, and the limit of heavy work; made where they are not there."""
    try:
        await client.read_work_pool(POOL)
    except ObjectNotFound:
        template = InProcess.get_default_base_job_template()
        pool = WorkPoolCreate(name=POOL, type=InProcess.type, base_job_template=template)
        with contextlib.suppress(ObjectAlreadyExists):  # another process was quicker
            await client.create_work_pool(pool)
    try:
        limit = (await client.read_global_concurrency_limit_by_name(HEAVY_LIMIT)).id
    except ObjectNotFound:
        with contextlib.suppress(ObjectAlreadyExists):
            await client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=HEAVY_LIMIT, limit=1))
        limit = (await client.read_global_concurrency_limit_by_name(HEAVY_LIMIT)).id
    return _Ground(client, limit)


@dataclass
class _Ground:
    """Creates and changes deployments. ``limit`` is the id of the limit of heavy work."""

    client: PrefectClient
    limit: UUID
    flows: dict[str, UUID] = field(default_factory=dict)
    naming: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def create(self, wish: Wanted) -> None:
        """A deployment that is new. A heavy one waits for the others without taking a place of the worker."""
        once = None if wish.heavy or wish.at_once else 1
        options = ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)
        made = await self.client.create_deployment(
            flow_id=await self._flow(wish),
            name=wish.name,
            version=wish.version,
            description=wish.description,
            tags=wish.tags,
            parameters=wish.parameters,
            entrypoint=wish.entrypoint,
            work_pool_name=POOL,
            schedules=_schedules(wish),
            concurrency_limit=once,
            concurrency_options=options if once else None,
            parameter_openapi_schema=parameter_schema(wish.flow).model_dump(),
            enforce_parameter_schema=True,
        )
        if wish.heavy:
            await self._share_the_limit(made)

    async def _flow(self, wish: Wanted) -> UUID:
        async with self.naming:  # asked once a flow, not once a deployment
            if wish.flow.name not in self.flows:
                self.flows[wish.flow.name] = await self.client.create_flow_from_name(wish.flow.name)
        return self.flows[wish.flow.name]

    async def _share_the_limit(self, deployment: UUID) -> None:
        """Prefect's API knows limits that deployments share; its client has no word for them yet."""
        where = {"id": deployment}
        shared = {"global_concurrency_limit_id": str(self.limit)}
        await self.client.request("PATCH", "/deployments/{id}", path_params=where, json=shared)

    async def change(self, wish: Wanted, found: DeploymentResponse) -> None:
        """Schedules one by one, then the rest with the new version last: a failure half-way is done anew next time."""
        client = self.client
        there = {one.slug: one for one in found.schedules if one.slug and one.slug.startswith(SLUG)}
        new = []
        for schedule in _schedules(wish):
            old = there.pop(schedule.slug or "", None)
            if old is None:
                new.append(schedule)
            elif old.schedule != schedule.schedule:
                await client.update_deployment_schedule(found.id, old.id, schedule=schedule.schedule)
        if new:
            await client.create_deployment_schedules(found.id, new)
        for old in there.values():
            await client.delete_deployment_schedule(found.id, old.id)
        if wish.heavy:
            await self._share_the_limit(found.id)
        update = DeploymentUpdate(
            version=wish.version,
            description=wish.description,
            tags=wish.tags,
            parameters=wish.parameters,
            entrypoint=wish.entrypoint,
        )
        await client.update_deployment(found.id, update)


def _schedules(wish: Wanted) -> list[DeploymentScheduleCreate]:
    return [
        DeploymentScheduleCreate(schedule=CronSchedule(cron=cron, timezone=wish.zone), slug=slug_of(number))
        for number, cron in enumerate(wish.crons, start=1)
    ]


async def start_runs(names: Sequence[str]) -> dict[str, UUID]:
    """Ask for one run now of each of these deployments, in this order; gives their flow runs' ids."""
    ids = await deployment_ids()
    return {name: await start_run(ids[name]) for name in names}


async def ended_runs(runs: Mapping[str, UUID], pause: float = 0.25) -> AsyncIterator[tuple[str, str | None]]:
    """Each run as it ends: its name, and what went wrong where it did not complete."""
    left = dict(runs)
    async with get_client() as client:
        while left:
            only = FlowRunFilter(id=FlowRunFilterId(any_=list(left.values())))
            states = {run.id: run.state for run in await client.read_flow_runs(flow_run_filter=only)}
            for name, run_id in list(left.items()):
                state = states.get(run_id)
                if state is not None and state.is_final():
                    del left[name]
                    yield name, None if state.is_completed() else (state.message or state.name or "not completed")
            await asyncio.sleep(pause)


__all__ = ["InLine", "bring_in_line", "deployment_ids", "ended_runs", "start_run", "start_runs", "wanted"]
