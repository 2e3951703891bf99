"""Prefect is told what happened: the rows of ``event_out``, in order, each at least once, and none twice in its feed.

Posted events are asked for again before their rows count as told: Prefect keeps them in memory for a few seconds, and
a server that dies then has never heard of them. Each has an id by its row, so that one told twice is one event.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from prefect.client.orchestration import PrefectClient, get_client
from prefect.events import Event
from prefect.events.filters import EventFilter, EventIDFilter, EventOccurredFilter
from sqlalchemy import Engine

from flows.deployments import deployment_ids
from messaging import events_out
from messaging.events_out import Happened, note_told, untold
from models.database import reading, writing

log = logging.getLogger("beforehand.news")

OURS = UUID("6f1c7c1e-5f0e-4f0b-9d64-0c5f6f2d6b1a")
"""The namespace of our events' ids."""
AT_ONCE = 200
PAGE = 50
"""Events that Prefect gives by one request, at most."""
AGAIN = timedelta(seconds=30)
"""When an event that was posted and is not to be found is posted once more."""

NAMES = {
    events_out.RULE_MATCHED: "the rule {name} found customers",
    events_out.MESSAGE_UNKNOWN: "messages of {name}: nobody knows whether they went",
    events_out.BRAKE_PULLED: "the brake stopped a run of {name}",
    events_out.BRAKE_ANSWERED: "a held run of {name} was answered",
    events_out.BRAKE_STOPPED_AGAIN: "an approved run of {name} was stopped again",
    events_out.RULES_REFUSED: "an edit of the rule files was refused",
    events_out.PROVIDER_DOWN: "{name} is down",
    events_out.PROVIDER_UP: "{name} is well again",
    events_out.PART_DIED: "a part of the house died: {name}",
    events_out.STOPPED: "sending was stopped: {name}",
    events_out.RESUMED: "sending goes on: {name}",
}
"""How an event's resource is called in Prefect's feed."""


class News:
    """Tells Prefect of what happened. One for each process; only the one that holds the heartbeat tells."""

    def __init__(self, engine: Engine, clock: Callable[[], datetime]) -> None:
        self._engine, self._clock = engine, clock
        self._posted: dict[int, datetime] = {}

    async def tell(self) -> int:
        """Post what is new, and note what Prefect has; gives how many events it was found to have."""
        rows = await asyncio.to_thread(self._untold)
        if not rows:
            self._posted.clear()
            return 0
        async with get_client() as client:
            told = await self._found([row for row in rows if row.id in self._posted], client)
            if told:
                await asyncio.to_thread(self._note, told)
            now = self._clock()
            new = [row for row in rows if row.id not in told and not self._under_way(row.id, now)]
            if new:
                await self._post(client, new)
                self._posted |= {row.id: now for row in new}
        self._posted = {key: at for key, at in self._posted.items() if key not in told}
        return len(told)

    def _untold(self) -> list[Happened]:
        with reading(self._engine) as connection:
            return untold(connection, AT_ONCE)

    def _note(self, told: set[int]) -> None:
        with writing(self._engine) as connection:
            note_told(connection, told, self._clock())

    def _under_way(self, key: int, now: datetime) -> bool:
        at = self._posted.get(key)
        return at is not None and now - at < AGAIN

    async def _post(self, client: PrefectClient, rows: Sequence[Happened]) -> None:
        rules = sorted({row.about.removeprefix("rule:") for row in rows if row.about.startswith("rule:")})
        deployments = await deployment_ids(rules) if rules else {}
        events = [as_event(row, deployments).model_dump(mode="json") for row in rows]
        await client.request("POST", "/events", json=events)

    async def _found(self, rows: Sequence[Happened], client: PrefectClient) -> set[int]:
        """Those of ``rows`` that Prefect has written down."""
        ids = {event_id(row): row.id for row in rows}
        there: set[int] = set()
        wanted = list(ids)
        since = min((row.happened_at for row in rows), default=self._clock()) - timedelta(days=1)
        for begin in range(0, len(wanted), PAGE):
            asked = EventFilter(
                id=EventIDFilter(id=wanted[begin : begin + PAGE]), occurred=EventOccurredFilter(since=since)
            )
            there |= {ids[event.id] for event in (await client.read_events(asked, limit=PAGE)).events}
        return there


def event_id(row: Happened) -> UUID:
    """The same for the same row, whoever tells it and however often."""
    return uuid5(OURS, f"{row.id} {row.event} {row.about} {row.happened_at.timestamp():.6f}")


def as_event(row: Happened, deployments: Mapping[str, UUID]) -> Event:
    """A row as Prefect's event: ids and counts, on a resource such as ``beforehand.rule.late-order``."""
    kind, _, name = row.about.partition(":")
    shown = NAMES.get(row.event, "{name}: " + " ".join(row.event.split(".")[1:])).format(name=name or kind)
    related: list[dict[str, Any]] = []
    if kind == "rule" and name in deployments:
        related.append(
            {
                "prefect.resource.id": f"prefect.deployment.{deployments[name]}",
                "prefect.resource.role": "deployment",
                "prefect.resource.name": name,
            }
        )
    resource = {
        "prefect.resource.id": ".".join(["beforehand", kind, *([name] if name else [])]),
        "prefect.resource.name": shown,
        "beforehand.about": row.about,
    }
    payload = dict(row.content) | {"about": row.about}
    return Event.model_validate(
        {
            "id": event_id(row),
            "event": row.event,
            "occurred": row.happened_at,
            "resource": resource,
            "related": related,
            "payload": payload,
        }
    )
