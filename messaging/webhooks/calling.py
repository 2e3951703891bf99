"""Calls what is due: each endpoint on its own, a few at a time, so that a slow one holds up nobody."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import httpx
from sqlalchemy import Engine

from messaging.journal import Journal
from messaging.stop_file import KILL_SWITCH, Halted, halts_nothing, is_halted
from messaging.webhooks import queue
from messaging.webhooks.body import body, headers, webhook_id
from messaging.webhooks.queue import Called
from messaging.webhooks.wire import Answer, Endpoint, post
from models.database import reading, writing
from models.vocabulary import WebhookState

_log = logging.getLogger(__name__)
logging.getLogger("httpx").setLevel(logging.WARNING)  # at INFO it logs each address, which may hold a token

Clock = Callable[[], datetime]

AT_ONCE = 8
"""Calls under way to one endpoint."""


@dataclass(frozen=True)
class Wires:
    """Where webhooks may go: the endpoints by name; ``trial``: nowhere at all. ``timeout`` in seconds, for one try.

    ``retired`` is asked at each claim: the rules whose webhooks do not go any more. ``journal``: nothing is called from
    a database that is behind it. ``halted`` gives what the stop file stops: asked at each claim and before each call.
    """

    endpoints: Mapping[str, Endpoint]
    trial: bool = False
    timeout: float = 15
    stopping: Callable[[], bool] = lambda: False
    retired: Callable[[], Collection[str]] = tuple
    journal: Journal | None = None
    halted: Halted = halts_nothing


@dataclass(frozen=True)
class WebhookReport:
    """What one go did, in webhooks by the state they came to; ``planned`` are tried again later."""

    states: Mapping[WebhookState, int] = field(default_factory=dict)

    @property
    def tried(self) -> int:
        """How many were tried, or withheld."""
        return sum(self.states.values())


def call_due(engine: Engine, clock: Clock, wires: Wires, *, limit: int = 1000) -> WebhookReport:
    """Call what is due now, at most ``limit`` an endpoint. Safe in any number of processes: the claim decides who may.

    An endpoint that fails with a whole batch is left alone until the next go.
    """
    now = clock()
    with reading(engine) as connection:
        names = queue.waiting_endpoints(connection, now)
    if not names:
        return WebhookReport()
    if wires.trial:
        with writing(engine) as connection:
            return WebhookReport({WebhookState.WITHHELD: queue.withhold_all(connection, now)})
    counts: Counter[WebhookState] = Counter()
    counts[WebhookState.CANCELLED] += _cancel_retired(engine, wires, now)
    known = [wires.endpoints[name] for name in names if name in wires.endpoints]
    if len(known) < len(names):
        with writing(engine) as connection:
            counts.update(queue.fail_unknown(connection, wires.endpoints, now, limit=limit, halted=wires.halted()))
    with ThreadPoolExecutor(max(1, len(known)), thread_name_prefix="webhooks") as pool:
        for states in pool.map(lambda endpoint: _drain(engine, clock, endpoint, wires, limit), known):
            counts.update(states)
    return WebhookReport({state: count for state, count in counts.items() if count})


def _cancel_retired(engine: Engine, wires: Wires, now: datetime) -> int:
    """What is due of retired rules; also where their endpoint is not named, or away."""
    retired = wires.retired()
    if not retired:
        return 0
    with writing(engine) as connection:
        return queue.cancel_retired(connection, retired, now)


def _drain(engine: Engine, clock: Clock, endpoint: Endpoint, wires: Wires, limit: int) -> list[WebhookState]:
    """Call one endpoint, batch after batch. Runs in a thread of its own, with an event loop of its own."""
    states: list[WebhookState] = []
    while len(states) < limit and not wires.stopping():
        retired = wires.retired()
        with writing(engine) as connection:
            most = min(AT_ONCE, limit - len(states))
            if retired:
                queue.cancel_retired(connection, retired, clock())
            if wires.journal is not None:
                wires.journal.look(connection, clock())
            claimed = queue.claim(
                connection,
                endpoint.name,
                clock(),
                limit=most,
                lease_seconds=4 * wires.timeout,
                halted=wires.halted(),
            )
        if not claimed:
            break
        results = asyncio.run(_post_all(claimed, endpoint, clock, wires))
        now = clock()
        with writing(engine) as connection:
            states += queue.record(connection, results, now)
            asked = max((answer.retry_after or 0 for _, answer in results if not answer.taken), default=0)
            if asked:
                queue.rest(connection, endpoint.name, now + min(timedelta(seconds=asked), queue.LONGEST_RETRY_AFTER))
        if asked or not any(answer.taken for _, answer in results):
            break
    return states


async def _post_all(
    claimed: Sequence[Called], endpoint: Endpoint, clock: Clock, wires: Wires
) -> list[tuple[Called, Answer]]:
    async with httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=wires.timeout) as client:
        answers = await asyncio.gather(*(_post(client, called, endpoint, clock(), wires) for called in claimed))
    return list(zip(claimed, answers, strict=True))


async def _post(client: httpx.AsyncClient, called: Called, endpoint: Endpoint, now: datetime, wires: Wires) -> Answer:
    if is_halted(wires.halted, f"rule:{called.row['rule_id']}", f"webhook:{endpoint.name}"):
        return Answer(KILL_SWITCH)
    try:
        text = body(called.row)
        signed = headers(endpoint.secret, webhook_id(called.row), text, now)
        return await post(client, endpoint, text, signed, now, timeout=wires.timeout)
    except Exception as bug:  # one row must not hold up its batch, and its text may hold a customer's words
        _log.error("webhook %s could not be sent: %s", called.row["id"], type(bug).__name__)
        return Answer(type(bug).__name__[:40])
