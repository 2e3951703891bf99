"""Time goes on in a test: what falls due is taken when it falls due, and messages go and arrive."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from dateutil.relativedelta import relativedelta
from sqlalchemy import Connection, func, select, update

import models
from beforehand.passes import advance, policy_of, stops_of
from beforehand.wiring import App
from messaging.outbox import claim
from messaging.progress import LOOK_AGAIN
from models.database import reading, writing
from models.terms import after
from models.vocabulary import MatchState, MessageState
from rules.rule_tests import RuleTest

message: Any = models.Message.__table__  # type: ignore[attr-defined]
match: Any = models.Match.__table__  # type: ignore[attr-defined]

WAITING = (MessageState.PLANNED, MessageState.QUEUED)
CLOSEST = timedelta(minutes=1)
"""Nothing in a test is looked at more often; where nothing happens the looks grow apart."""

MOST_LOOKS = 2000
MOST_TURNS = 20


def go_on(app: App, test: RuleTest, start: datetime, lasts: relativedelta | None) -> datetime:
    """Let a duration pass from ``start`` (none: no time passes, and nothing goes yet); gives the moment it is then.

    Steps, waits and messages are taken at the very moments at which they fall due; moments that the test's rows name
    are looked at too. Every message arrives, but for those on the test's ``undelivered`` channels.
    """
    if lasts is None:
        return start
    end = after(start, lasts)
    named = sorted(moment for moment in test.story.moments() if start < moment < end)
    now, gap = start, CLOSEST
    for _ in range(MOST_LOOKS):
        moved = _take(app, test, now)
        if now >= end:
            break
        gap = CLOSEST if moved else gap
        now = min(_next(app, now, gap, end), next((moment for moment in named if moment > now), end))
        gap *= 2
    return end


def _take(app: App, test: RuleTest, now: datetime) -> bool:
    """What is due now, until nothing is: messages go, steps are taken. Says whether anything moved."""
    for turn in range(MOST_TURNS):
        delivered = _deliver(app, test, now)
        report = advance(app, now)
        if report.problems:
            raise RuntimeError("; ".join(report.problems))
        if not any((delivered, report.planned, report.tasks, report.vouchers, report.webhooks, report.stopped)):
            return turn > 0
    return True


def _deliver(app: App, test: RuleTest, now: datetime) -> bool:
    with writing(app.engine) as connection:
        due = connection.execute(select(func.count()).where(message.c.state.in_(WAITING), message.c.due_at <= now))
        if not due.scalar_one():
            return False
        claimed = claim(connection, now, limit=1000, lease_seconds=60, policy=policy_of(app), stops=stops_of(app))
        for each in claimed.claims:
            state = MessageState.UNDELIVERED if each.channel in test.undelivered else MessageState.DELIVERED
            values = {"state": state, "accepted_at": now, "ended_at": now, "tries": 1}
            connection.execute(update(message).where(message.c.id == each.message_id).values(values))
    return bool(claimed.looked)


def _next(app: App, now: datetime, gap: timedelta, end: datetime) -> datetime:
    """The next moment at which something falls due. What only asks to be looked at again soon is looked at by gaps."""
    with reading(app.engine) as connection:
        due = min((moment for moment in _due(connection) if moment > now), default=end)
    return min(due if due - now > CLOSEST else max(due, now + gap), end)


def _due(connection: Connection) -> Iterator[datetime]:
    yield from connection.execute(select(message.c.due_at).where(message.c.state.in_(WAITING))).scalars()
    open_ = select(match.c.due_at, match.c.reason, match.c.seen_at).where(match.c.state == MatchState.OPEN)
    for row in connection.execute(open_):
        if row.due_at is not None:
            yield max(row.due_at, row.seen_at + LOOK_AGAIN) if row.reason else row.due_at
