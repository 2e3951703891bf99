"""What kill switches hold: how much would go at once without them, how much later, and what came too late meanwhile."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, func, not_, or_, select

from messaging.candidates import TABLES
from messaging.claims import CLAIMABLE, message
from messaging.switches import covered
from models.vocabulary import MessageState, Reason, WebhookState

webhook = TABLES["webhook"]

AHEAD = timedelta(hours=24)


@dataclass(frozen=True)
class Line:
    """What is held of one ``rule`` on one ``way`` (a channel, or an endpoint of our own systems), in messages.

    ``now`` would go at once (the gates of the claim are asked once more then), ``soon`` becomes due in the next 24
    hours, ``late`` came too late since the stop.
    """

    rule: str
    way: str
    now: int
    soon: int
    late: int = 0


@dataclass(frozen=True)
class Held:
    """All that is held, by rule and way."""

    messages: list[Line] = field(default_factory=list)
    webhooks: list[Line] = field(default_factory=list)

    @property
    def at_once(self) -> int:
        """How many messages and webhooks would go at once."""
        return sum(line.now for line in (*self.messages, *self.webhooks))


def held_by(
    connection: Connection, scopes: Collection[str], after: Collection[str], now: datetime, since: datetime | None
) -> Held:
    """What the stopped ``scopes`` hold and those that stay ``after`` would not. ``since``: when it was stopped."""
    return Held(_messages(connection, scopes, after, now, since or now), _webhooks(connection, scopes, after, now))


def _let_go(
    scopes: Collection[str], after: Collection[str], rule: ColumnElement[Any], kind: str, way: ColumnElement[Any]
) -> ColumnElement[bool]:
    return and_(covered(scopes, rule, kind, way), not_(covered(after, rule, kind, way)))


def _count(*where: ColumnElement[bool]) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((and_(*where), 1), else_=0)), 0)


def _messages(
    connection: Connection, scopes: Collection[str], after: Collection[str], now: datetime, since: datetime
) -> list[Line]:
    m = message.c
    waits, of_use = m.state.in_((*CLAIMABLE, MessageState.CLAIMED)), or_(m.expires_at.is_(None), m.expires_at > now)
    expired = and_(m.state == MessageState.EXPIRED, m.reason == Reason.TOO_LATE, m.ended_at >= since)
    counts = [
        _count(waits, m.due_at <= now, of_use),
        _count(waits, m.due_at > now, m.due_at <= now + AHEAD, or_(m.expires_at.is_(None), m.expires_at > m.due_at)),
        _count(or_(expired, and_(waits, not_(of_use)))),
    ]
    let_go = _let_go(scopes, after, m.rule_id, "channel", m.channel)
    rows = select(m.rule_id, m.channel, *counts).where(or_(waits, expired), let_go).group_by(m.rule_id, m.channel)
    found = [Line(*row) for row in connection.execute(rows.order_by(m.rule_id, m.channel))]
    return [line for line in found if line.now or line.soon or line.late]


def _webhooks(connection: Connection, scopes: Collection[str], after: Collection[str], now: datetime) -> list[Line]:
    w = webhook.c
    counts = [_count(w.due_at <= now), _count(w.due_at > now, w.due_at <= now + AHEAD)]
    let_go = _let_go(scopes, after, w.rule_id, "webhook", w.endpoint)
    rows = select(w.rule_id, w.endpoint, *counts).where(w.state == WebhookState.PLANNED, let_go)
    found = [
        Line(*row)
        for row in connection.execute(rows.group_by(w.rule_id, w.endpoint).order_by(*rows.selected_columns[:2]))
    ]
    return [line for line in found if line.now or line.soon]
