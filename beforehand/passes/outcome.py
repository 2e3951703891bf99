"""What became of the messages of a pass, so far: read from the outbox, whoever sent them."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, func, select

from models.database import reading
from models.delivery import Message
from models.vocabulary import MessageState, Reason

message: Any = Message.__table__  # type: ignore[attr-defined]

GONE = (MessageState.ACCEPTED, MessageState.SENT, MessageState.DELIVERED)
AHEAD = (
    MessageState.PLANNED,
    MessageState.HELD,
    MessageState.QUEUED,
    MessageState.CLAIMED,
    MessageState.IN_FLIGHT,
)
FAILED = (MessageState.FAILED, MessageState.UNDELIVERED)
STOPPED = (MessageState.SUPPRESSED, MessageState.EXPIRED, MessageState.CANCELLED)


@dataclass
class Outcome:
    """Messages by what became of them: ``waiting`` have not left yet, ``withheld`` were stopped after planning."""

    sent: int = 0
    waiting: int = 0
    failed: int = 0
    unknown: int = 0
    withheld: dict[Reason, int] = field(default_factory=dict)


def what_became(engine: Engine, rule_id: str, since: datetime) -> Outcome:
    """Count the messages that ``rule_id`` planned at ``since`` or later."""
    counted = (
        select(message.c.state, message.c.reason, func.count())
        .where(message.c.rule_id == rule_id, message.c.created_at >= since)
        .group_by(message.c.state, message.c.reason)
    )
    outcome = Outcome()
    with reading(engine) as connection:
        for state, reason, count in connection.execute(counted):
            _add(outcome, state, reason, count)
    return outcome


def _add(outcome: Outcome, state: str, reason: str | None, count: int) -> None:
    if state in GONE:
        outcome.sent += count
    elif state in AHEAD:
        outcome.waiting += count
    elif state in FAILED:
        outcome.failed += count
    elif state in STOPPED and reason:
        outcome.withheld[Reason(reason)] = outcome.withheld.get(Reason(reason), 0) + count
    elif state == MessageState.UNKNOWN:
        outcome.unknown += count
