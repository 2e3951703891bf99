"""Two ready automations of Prefect: staff are called when a brake was pulled, and when a provider is down.

Made once for each Prefect server. What staff change, switch off or delete stays so: our database remembers that they
were made, and for which server, since a wiped one has lost them without anybody's wish.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.events.actions import RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from sqlalchemy import Engine

from flows.deployments import deployment_ids
from flows.environment import POOL
from messaging import events_out, memos
from models.database import reading, writing

log = logging.getLogger("beforehand.automations")

DEPLOYMENT = "call-staff"


@dataclass(frozen=True)
class Ready:
    """An automation that the house brings along: its ``name``, what it is for, and the events that it waits for."""

    name: str
    said: str
    events: tuple[str, ...]


READY = (
    Ready(
        "Beforehand: brake pulled",
        "A run of a rule would reach more customers than it may, so it is held, or what came back stopped it. Mails "
        "every address of BEFOREHAND_STAFF_MAIL what happened and what to do.",
        (events_out.BRAKE_PULLED, events_out.BRAKE_STOPPED_AGAIN),
    ),
    Ready(
        "Beforehand: provider down",
        "A provider refuses what we send, or cannot be reached, so messages wait. Mails every address of "
        "BEFOREHAND_STAFF_MAIL what happened and what to do.",
        (events_out.PROVIDER_DOWN,),
    ),
)


async def install(engine: Engine, clock: Callable[[], datetime]) -> list[str]:
    """Make those that were never made for this server; gives their names. Needs the deployment ``call-staff``."""
    async with get_client() as client:
        server = str((await client.read_work_pool(POOL)).id)
        made = await asyncio.to_thread(_made, engine)
        missing = [ready for ready in READY if made.get(ready.name) != server]
        if not missing:
            return []
        call_staff = (await deployment_ids([DEPLOYMENT]))[DEPLOYMENT]
        for ready in missing:
            if not await client.read_automations_by_name(ready.name):  # another database of ours may have made it
                await client.create_automation(automation(ready, call_staff))
                log.info("the automation '%s' was made", ready.name)
            await asyncio.to_thread(_remember, engine, ready.name, server, clock())
    return [ready.name for ready in missing]


def automation(ready: Ready, call_staff: UUID) -> AutomationCore:
    """The automation as Prefect takes it: each event once, its kind and what it is about as the run's parameters."""
    return AutomationCore(
        name=ready.name,
        description=ready.said,
        tags=[POOL],
        trigger=EventTrigger(
            expect=set(ready.events),
            match=ResourceSpecification.model_validate({"prefect.resource.id": "beforehand.*"}),
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        actions=[
            RunDeployment(
                source="selected",
                deployment_id=call_staff,
                parameters={"kind": _from_event("event.event"), "about": _from_event("event.payload.about")},
            )
        ],
    )


def _from_event(what: str) -> dict[str, str]:
    return {"__prefect_kind": "jinja", "template": f"{{{{ {what} }}}}"}


def _topic(name: str) -> str:
    return f"automation:{name}"


def _made(engine: Engine) -> dict[str, str]:
    with reading(engine) as connection:
        found = {ready.name: memos.noted(connection, _topic(ready.name)) for ready in READY}
    return {name: noted[0] for name, noted in found.items() if noted}


def _remember(engine: Engine, name: str, server: str, now: datetime) -> None:
    with writing(engine) as connection:
        memos.note(connection, _topic(name), server, now)
