"""The webhook table as a queue: claim what is due, record what a try led to.

A claim counts a try and holds it for a while. Where the process dies, the lease runs out and the try is made again: at
least once, never lost; the receiver knows a doubled one by its id.
"""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select, update

from messaging.breaker import PAUSE
from messaging.candidates import TABLES
from messaging.held.going import of_stopped
from messaging.stop_file import KILL_SWITCH
from messaging.switches import stopped
from messaging.webhooks.wire import Answer
from models.database import dialect_insert
from models.vocabulary import WebhookState

webhook = TABLES["webhook"]
lease = TABLES["lease"]

WAITS = tuple(timedelta(seconds=n) for n in (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400))
"""How long after a try that failed the next one comes: the specification's own schedule, ten tries in three days."""

LONGEST_RETRY_AFTER = timedelta(hours=24)
GONE = "http_410"


@dataclass(frozen=True)
class Called:
    """One claimed webhook: its row as it was planned, and the lease by which its result is recorded."""

    row: dict[str, Any]
    lease: str


def waiting_endpoints(connection: Connection, now: datetime) -> list[str]:
    """The names of the endpoints for which something is due, those that rest left out."""
    resting = select(lease.c.duty).where(lease.c.duty.startswith(f"{PAUSE}webhook:"), lease.c.until > now)
    rests = {duty.removeprefix(f"{PAUSE}webhook:") for duty in connection.execute(resting).scalars()}
    found = connection.execute(select(webhook.c.endpoint).where(_is_due(now)).distinct()).scalars()
    return sorted(set(found) - rests)


def _is_due(now: datetime) -> ColumnElement[bool]:
    w = webhook.c
    waits = and_(w.state == WebhookState.PLANNED, w.due_at <= now)
    return or_(waits, and_(w.state == WebhookState.CALLING, w.lease_until <= now))


def claim(
    connection: Connection,
    endpoint: str,
    now: datetime,
    *,
    limit: int,
    lease_seconds: float,
    halted: Collection[str] = (),
) -> list[Called]:
    """Take up to ``limit`` due webhooks of one endpoint, the oldest first. Must run in a write transaction.

    ``halted`` are the scopes that the stop file names. What is of a held run waits while that is stopped.
    """
    w, token = webhook.c, uuid.uuid4().hex
    stops_now = stopped(connection, w.rule_id, "webhook", w.endpoint, halted=halted)
    due = (
        select(w.id)
        .where(w.endpoint == endpoint, _is_due(now), ~stops_now, ~of_stopped(w.match_id))
        .order_by(w.due_at, w.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    values = {
        "state": WebhookState.CALLING,
        "lease": token,
        "lease_until": now + timedelta(seconds=lease_seconds),
        "tried_at": now,
        "tries": w.tries + 1,
    }
    ids = list(connection.execute(due).scalars())
    taken = connection.execute(update(webhook).where(w.id.in_(ids)).values(values).returning(webhook)).mappings()
    return [Called(dict(row), token) for row in sorted(taken, key=lambda row: (row["due_at"], row["id"]))]


def cancel_retired(connection: Connection, rules: Collection[str], now: datetime) -> int:
    """End what is due of rules that are retired by now. Returns how many. Must run in the claim's write transaction."""
    values = {"state": WebhookState.CANCELLED, "code": "rule_retired", "ended_at": now, "lease": None}
    due = and_(webhook.c.rule_id.in_(rules), _is_due(now))
    return int(connection.execute(update(webhook).where(due).values(**values, lease_until=None)).rowcount)


def withhold_all(connection: Connection, now: datetime) -> int:
    """Trial mode: what is due goes nowhere, for good. Returns how many."""
    values = {"state": WebhookState.WITHHELD, "code": "trial", "ended_at": now, "lease": None, "lease_until": None}
    return int(connection.execute(update(webhook).where(_is_due(now)).values(values)).rowcount)


def record(connection: Connection, results: Sequence[tuple[Called, Answer]], now: datetime) -> list[WebhookState]:
    """Write down what tries led to; gives the states. A claim that somebody else has by now is left alone."""
    states = []
    for called, answer in results:
        after = _after(called.row["tries"], answer, now)
        mine = and_(webhook.c.id == called.row["id"], webhook.c.lease == called.lease)
        values = {**after, "code": answer.code, "lease": None, "lease_until": None}
        connection.execute(update(webhook).where(mine).values(values))
        states.append(after["state"])
    return states


def _after(tries: int, answer: Answer, now: datetime) -> dict[str, Any]:
    if answer.taken:
        return {"state": WebhookState.DELIVERED, "ended_at": now}
    if answer.code == KILL_SWITCH:  # never called: its try and its place are as they were
        return {"state": WebhookState.PLANNED, "tries": tries - 1}
    if answer.code == GONE:
        return {"state": WebhookState.GONE, "ended_at": now}
    if tries > len(WAITS):
        return {"state": WebhookState.GAVE_UP, "ended_at": now}
    asked = min(timedelta(seconds=answer.retry_after or 0), LONGEST_RETRY_AFTER)
    return {"state": WebhookState.PLANNED, "due_at": now + max(WAITS[tries - 1], asked)}


def rest(connection: Connection, endpoint: str, until: datetime) -> None:
    """Let an endpoint rest that has asked for it by Retry-After."""
    row = {"duty": f"{PAUSE}webhook:{endpoint}", "holder": "retry_after", "until": until}
    resting = dialect_insert(connection, lease).values(row)
    later = func.max if connection.dialect.name == "sqlite" else func.greatest
    until_then = {"until": later(lease.c.until, resting.excluded.until)}
    connection.execute(resting.on_conflict_do_update(index_elements=["duty"], set_=until_then))


def fail_unknown(
    connection: Connection, known: Collection[str], now: datetime, *, limit: int, halted: Collection[str] = ()
) -> list[WebhookState]:
    """Count a try for what is due at endpoints that the settings do not name (any more). Returns the states."""
    names = [name for name in waiting_endpoints(connection, now) if name not in known]
    states = []
    for name in names:
        claimed = claim(connection, name, now, limit=limit, lease_seconds=60, halted=halted)
        states += record(connection, [(called, Answer("no_such_endpoint")) for called in claimed], now)
    return states
