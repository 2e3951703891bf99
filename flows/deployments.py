"""Deployments: one for each rule that runs (live or shadow) and is in force; and one each for ingest and dispatch.

Only what changed is touched, and only what is ours: a pause that staff set survives an edit of the rule, and a schedule
that staff added by hand stays.
"""

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from prefect import Flow
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate, WorkPoolCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags, FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.utilities.callables import parameter_schema

from flows.approve import approve_held_run
from flows.dispatch import dispatch_due
from flows.environment import POOL
from flows.evaluate import evaluate_rule
from flows.hands import Hands
from flows.ingest import ingest_sources
from flows.shown import rule_description, rule_tags
from flows.worker import InProcess
from models.terms import Terms
from models.vocabulary import RUNNING

OURS = "beforehand"
SLUG = "rule-"


@dataclass(frozen=True)
class Wanted:
    """A deployment as it should be. ``at_once``: how many of its runs may go at a time (None: all)."""

    flow: Flow[Any, Any]
    entrypoint: str
    name: str
    description: str
    tags: list[str]
    parameters: dict[str, Any]
    crons: tuple[str, ...] = ()
    zone: str = "UTC"
    at_once: int | None = 1

    @property
    def version(self) -> str:
        """The hash of all of it: unchanged deployments are left alone."""
        told = [self.entrypoint, self.description, self.tags, self.parameters, self.crons, self.zone]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


@dataclass
class InLine:
    """What bringing deployments in line did, by name."""

    created: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [f"{len(names)} {word}" for word, names in vars(self).items() if names]
        return ", ".join(parts) or "none"


def wanted(rules: Mapping[str, Terms], hands: Hands, sources: str | None = None) -> list[Wanted]:
    """The deployments for the rules in force; only live and shadow rules have one."""
    running = [terms for terms in rules.values() if terms.status in RUNNING]
    return [
        *(_for_rule(terms, hands) for terms in sorted(running, key=lambda terms: terms.rule_id)),
        Wanted(
            dispatch_due,
            "flows.dispatch.dispatch_due",
            "dispatch",
            "Send what is due now. The heartbeat does this every second; run it by hand to see what it does.",
            [OURS],
            {},
        ),
        Wanted(
            ingest_sources,
            "flows.ingest.ingest_sources",
            "ingest",
            "Read customers, orders, calls and the rest from the sources that a mapping file declares.",
            [OURS],
            {"sources": sources} if sources else {},
        ),
        Wanted(
            approve_held_run,
            "flows.approve.approve_held_run",
            "approve",
            "Asks a second person about a run that the brake holds. The heartbeat opens one for each held run: it "
            "waits as *Suspended*, and *Resume* shows the form. On the command line: `beforehand approve`.",
            [OURS, "approval"],
            {},
            at_once=None,
        ),
    ]


def _for_rule(terms: Terms, hands: Hands) -> Wanted:
    return Wanted(
        flow=evaluate_rule,
        entrypoint="flows.evaluate.evaluate_rule",
        name=terms.rule_id,
        description=rule_description(terms, hands),
        tags=[*rule_tags(terms), OURS],
        parameters={"rule_id": terms.rule_id},
        crons=terms.cron,
        zone=hands.time_zone,
    )


async def bring_in_line(wishes: list[Wanted]) -> InLine:
    """Create what is new, change what changed, remove what is wanted no more, leave the rest."""
    done = InLine()
    async with get_client() as client:
        await _ensure_pool(client)
        there = {found.name: found for found in await _ours(client)}
        for wish in wishes:
            found = there.pop(wish.name, None)
            if found is None:
                await _create(client, wish)
                done.created.append(wish.name)
            elif found.version != wish.version:
                await _change(client, wish, found)
                done.changed.append(wish.name)
            else:
                done.same.append(wish.name)
        for left in there.values():
            await client.delete_deployment(left.id)
            done.removed.append(left.name)
    return done


async def deployment_ids() -> dict[str, UUID]:
    """Our deployments: name to id."""
    async with get_client() as client:
        return {found.name: found.id for found in await _ours(client)}


async def start_run(deployment_id: UUID) -> UUID:
    """Ask for one run now; gives the flow run's id."""
    async with get_client() as client:
        return (await client.create_flow_run_from_deployment(deployment_id)).id


async def _ours(client: PrefectClient) -> list[DeploymentResponse]:
    found: list[DeploymentResponse] = []
    only = DeploymentFilter(tags=DeploymentFilterTags(all_=[OURS]))
    while page := await client.read_deployments(deployment_filter=only, offset=len(found), limit=200):
        found += page
    return found


async def _ensure_pool(client: PrefectClient) -> None:
    try:
        await client.read_work_pool(POOL)
    except ObjectNotFound:
        template = InProcess.get_default_base_job_template()
        pool = WorkPoolCreate(name=POOL, type=InProcess.type, base_job_template=template)
        with contextlib.suppress(ObjectAlreadyExists):  # another process was quicker
            await client.create_work_pool(pool)


async def _create(client: PrefectClient, wish: Wanted) -> None:
    await client.create_deployment(
        flow_id=await client.create_flow_from_name(wish.flow.name),
        name=wish.name,
        version=wish.version,
        description=wish.description,
        tags=wish.tags,
        parameters=wish.parameters,
        entrypoint=wish.entrypoint,
        work_pool_name=POOL,
        schedules=_schedules(wish),
        concurrency_limit=wish.at_once,
        concurrency_options=_one_at_a_time() if wish.at_once else None,
        parameter_openapi_schema=parameter_schema(wish.flow).model_dump(),
        enforce_parameter_schema=True,
    )


def _one_at_a_time() -> ConcurrencyOptions:
    return ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW)


async def _change(client: PrefectClient, wish: Wanted, found: DeploymentResponse) -> None:
    """Schedules one by one, then the rest with the new version last: a failure half-way is done anew next time."""
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
        DeploymentScheduleCreate(schedule=CronSchedule(cron=cron, timezone=wish.zone), slug=f"{SLUG}{number}")
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
