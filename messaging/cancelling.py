"""Cancel by rule version: what has not left of it never will, and what it has begun goes no further.

What is on the wire at that moment, or with a provider, is past cancelling; should such a message come back to the queue
(not accepted, or undeliverable for now), the claim ends it: :func:`cancel_cancelled`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, case, func, not_, or_, select, update

from messaging.candidates import TABLES, match
from messaging.claims import message, return_claims
from messaging.held.going import TO_CALL
from messaging.plan import moment, one_decision_at_a_time
from messaging.sent import maybe_told
from messaging.sweeper import WAITING
from messaging.taken_back import take_back
from models.vocabulary import MatchState, MessageState, Reason, WebhookState

webhook = TABLES["webhook"]
rule_version = TABLES["rule_version"]
voucher = TABLES["voucher"]

HERE = (*WAITING, MessageState.CLAIMED)
"""States of a message that has certainly not left."""

AWAY = (MessageState.IN_FLIGHT, MessageState.UNKNOWN)
"""States in which nobody knows yet whether it has."""

CODE = "cancelled"


@dataclass(frozen=True)
class Cancelled:
    """What was cancelled, or would be: ``messages`` by channel, ``matches`` that go no further, vouchers, webhooks.

    ``away`` are messages that are on the wire right now or may have gone: nothing takes those back.
    """

    messages: dict[str, int] = field(default_factory=dict)
    matches: int = 0
    vouchers: int = 0
    webhooks: int = 0
    away: int = 0

    @property
    def anything(self) -> bool:
        """Whether there is anything to cancel."""
        return bool(self.messages or self.matches or self.webhooks)


def would_cancel(connection: Connection, rule_id: str, version: str | None) -> Cancelled:
    """What :func:`cancel` would end. Writes nothing. Vouchers are counted where no message has told of them yet."""
    here = _of(message, rule_id, version)
    planned = select(message.c.match_id).where(here, message.c.state.in_(HERE))
    waiting = and_(_of(match, rule_id, version), match.c.state.in_([MatchState.OPEN, MatchState.HELD]))
    untold = planned.where(not_(maybe_told()))
    good = and_(voucher.c.voided_at.is_(None), voucher.c.redeemed_at.is_(None), voucher.c.confirmed_at.is_(None))
    return Cancelled(
        messages=_by_channel(connection, here),
        matches=_count(connection, match, or_(waiting, match.c.id.in_(planned))),
        vouchers=_count(connection, voucher, good, voucher.c.match_id.in_(untold)),
        webhooks=_count(connection, webhook, _of(webhook, rule_id, version), webhook.c.state.in_(TO_CALL)),
        away=_away(connection, here),
    )


def cancel(connection: Connection, rule_id: str, version: str | None, now: datetime) -> Cancelled:
    """End all that has not left of a rule, or of one ``version`` of it. Must run in a write transaction.

    A pass that is under way is waited for, so that nothing of it is planned behind our back.
    """
    one_decision_at_a_time(connection)
    v = rule_version.c
    named = [v.rule_id == rule_id, *([v.version == version] if version else [])]
    connection.execute(update(rule_version).where(*named).values(cancelled_at=now))
    here = _of(message, rule_id, version)
    messages = _by_channel(connection, here)
    return_claims(connection, here, now)
    values = {"state": MessageState.CANCELLED, "reason": Reason.CANCELLED_BY_STAFF, "ended_at": now}
    connection.execute(update(message).where(here, message.c.state.in_(HERE)).values(values))
    ended = [message.c.reason == Reason.CANCELLED_BY_STAFF, message.c.ended_at == now]
    matches = _stop_matches(connection, rule_id, version, select(message.c.match_id).where(here, *ended), now)
    stopped = and_(_of(match, rule_id, version), match.c.reason == Reason.CANCELLED_BY_STAFF)
    vouchers = take_back(connection, select(match.c.id).where(stopped), now)
    webhooks = _cancel_webhooks(connection, rule_id, version, now)
    return Cancelled(messages, matches, vouchers, webhooks, _away(connection, here))


def cancel_cancelled(connection: Connection, now: datetime, message_ids: Sequence[int]) -> int:
    """End those of ``message_ids`` whose match had begun when staff cancelled its version. Returns how many.

    They were on the wire then, or with a provider, and have come back to the queue. Must run in the claim's write
    transaction.
    """
    v, m = rule_version.c, message.c
    if connection.execute(select(v.id).where(v.cancelled_at.is_not(None)).limit(1)).first() is None:
        return 0
    begun_before = and_(match.c.id == m.match_id, match.c.started_at <= v.cancelled_at)
    by_staff = (
        select(v.id)
        .select_from(rule_version.join(match, begun_before))
        .where(v.rule_id == m.rule_id, v.version == m.version)
        .correlate(message)
    )
    values = {"state": MessageState.CANCELLED, "reason": Reason.CANCELLED_BY_STAFF, "ended_at": now}
    mine = [m.id.in_(message_ids), m.state.in_(WAITING), by_staff.exists()]
    ended = connection.execute(update(message).where(*mine).values(values).returning(m.match_id)).scalars().all()
    if ended:
        _end_matches(connection, match.c.id.in_(ended), now)
        take_back(connection, ended, now)
    return len(ended)


def _of(table: Any, rule_id: str, version: str | None) -> ColumnElement[bool]:
    """The rows of a table that are the rule's, or the version's."""
    mine = [table.c.rule_id == rule_id, *([table.c.version == version] if version else [])]
    return and_(*mine)


def _count(connection: Connection, table: Any, *where: ColumnElement[bool]) -> int:
    return int(connection.execute(select(func.count()).select_from(table).where(*where)).scalar_one())


def _by_channel(connection: Connection, here: ColumnElement[bool]) -> dict[str, int]:
    m = message.c
    rows = select(m.channel, func.count()).where(here, m.state.in_(HERE)).group_by(m.channel).order_by(m.channel)
    return dict(connection.execute(rows).tuples().all())


def _away(connection: Connection, here: ColumnElement[bool]) -> int:
    return _count(connection, message, here, message.c.state.in_(AWAY), message.c.ended_at.is_(None))


def _stop_matches(connection: Connection, rule_id: str, version: str | None, spoken: Any, now: datetime) -> int:
    waiting = match.c.state.in_([MatchState.OPEN, MatchState.HELD])
    return _end_matches(connection, and_(_of(match, rule_id, version), or_(waiting, match.c.id.in_(spoken))), now)


def _end_matches(connection: Connection, which: ColumnElement[bool], now: datetime) -> int:
    at = moment(now)  # bare, SQLite would keep a text there, which is later than any moment
    values: dict[str, Any] = {
        # what was held or let go had not begun: its occasion is used up, or the next period would bear its number
        "started_at": func.coalesce(match.c.started_at, at),
        "state": MatchState.STOPPED,
        "reason": Reason.CANCELLED_BY_STAFF,
        "due_at": None,
        "gives_up_at": None,
        "ended_at": func.coalesce(match.c.ended_at, at),
    }
    return int(connection.execute(update(match).where(which).values(values)).rowcount)


def _cancel_webhooks(connection: Connection, rule_id: str, version: str | None, now: datetime) -> int:
    """End webhooks that were not taken; a call that is under way is not tried again, and its code says so."""
    w = webhook.c
    under_way = case((w.state == WebhookState.CALLING, f"{CODE}_under_way"), else_=CODE)
    values = {"state": WebhookState.CANCELLED, "code": under_way, "ended_at": now, "lease": None, "lease_until": None}
    mine = update(webhook).where(_of(webhook, rule_id, version), w.state.in_(TO_CALL))
    return int(connection.execute(mine.values(values)).rowcount)
