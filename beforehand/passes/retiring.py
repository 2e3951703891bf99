"""What becomes of a retired rule's messages that are planned and have not left: they are cancelled at the claim."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, update

from beforehand.passes.house import rules_of
from beforehand.wiring import App
from messaging.candidates import match, message
from messaging.plan import moment
from messaging.taken_back import take_back
from models.vocabulary import MatchState, MessageState, Reason, RuleStatus
from rules.errors import RuleErrors

WAITING = (MessageState.PLANNED, MessageState.HELD, MessageState.QUEUED)


def retired_of(app: App) -> set[str]:
    """The rules of the running set that are retired."""
    try:
        return {rule.id for rule in rules_of(app).rules.values() if rule.terms.status is RuleStatus.RETIRED}
    except RuleErrors:  # a broken folder ends nothing: what has begun goes on as it began
        return set()


def cancel_retired(app: App, connection: Connection, now: datetime, message_ids: Sequence[int]) -> int:
    """Cancel those of ``message_ids`` whose rule is retired by now, and stop their matches. Returns how many.

    Must run in the claim's write transaction.
    """
    retired = retired_of(app)
    if not retired:
        return 0
    due = [message.c.id.in_(message_ids), message.c.rule_id.in_(retired), message.c.state.in_(WAITING)]
    values = {"state": MessageState.CANCELLED, "reason": Reason.RULE_NOT_LIVE, "ended_at": now}
    cancelled = update(message).where(*due).values(values).returning(message.c.match_id)
    match_ids = connection.execute(cancelled).scalars().all()
    if match_ids:
        ended: dict[str, Any] = {"state": MatchState.STOPPED, "reason": Reason.RULE_NOT_LIVE, "due_at": None}
        ended["ended_at"] = func.coalesce(match.c.ended_at, moment(now))
        connection.execute(update(match).where(match.c.id.in_(match_ids)).values(ended))
        take_back(connection, match_ids, now)
    return len(match_ids)
