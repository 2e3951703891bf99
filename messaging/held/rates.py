"""What comes back of a run that goes: failures, STOPs and complaints, as shares of what has left."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, and_, func, or_, select, union

from messaging.candidates import TABLES, message
from messaging.claims import attempt
from messaging.held.going import messages_of
from messaging.mail_events.happen import COMPLAINT
from models.vocabulary import ConsentVerdict, MessageState, Reason

reply = TABLES["reply"]
consent = TABLES["consent"]
suppression = TABLES["suppression"]

WARN, STOP = 0.001, 0.003
"""Shares of STOPs and of complaints. Source: https://support.google.com/a/answer/81126 (Email sender guidelines): keep
the rate of spam reports below 0.1%, and never let it reach 0.3%."""

FAILURES_WARN, FAILURES_STOP = 0.02, 0.05
"""Shares of what failed: lists that are in order bounce at below 2%, and providers look into 5%."""

FEW_FAILURES = 2
"""One that failed says nothing of a run, however small that is."""

FAILED = (MessageState.FAILED, MessageState.UNDELIVERED)
STOPS = ("stop", "never")
"""What a customer says who does not want to hear from us (:class:`messaging.replies.understanding.Said`)."""


@dataclass(frozen=True)
class Figures:
    """What has come back of a run since a person let it go; ``left`` counts all of its messages that were tried."""

    left: int = 0
    failures: int = 0
    stops: int = 0
    complaints: int = 0

    def stopped_by(self) -> str:
        """What stops the run, in words; empty: nothing."""
        said = [
            _said(self.failures, self.left, "message", "failed", FAILURES_STOP, FEW_FAILURES),
            _said(self.stops, self.left, "customer", "said STOP", STOP),
            _said(self.complaints, self.left, "customer", "complained", STOP),
        ]
        return "; ".join(filter(None, said))

    def warned_by(self) -> str:
        """What staff should look at, in words; empty: nothing."""
        said = [
            _said(self.failures, self.left, "message", "failed", FAILURES_WARN),
            _said(self.stops, self.left, "customer", "said STOP", WARN),
            _said(self.complaints, self.left, "customer", "complained", WARN),
        ]
        return "; ".join(filter(None, said))

    def as_json(self) -> dict[str, int]:
        """The figures as JSON values."""
        return {"left": self.left, "failures": self.failures, "stops": self.stops, "complaints": self.complaints}


def _said(count: int, left: int, who: str, what: str, share: float, least: int = 1) -> str:
    if count < least or count < share * left:
        return ""
    percent = f" ({count / left:.1%})" if left else ""
    return f"{count:,} of {left:,} {who}s {what}{percent}"


def figures_of(connection: Connection, run_id: int, since: datetime) -> Figures:
    """The figures of a run, from what has been told at ``since`` or later: a person has seen what was before."""
    mine = messages_of(run_id)
    failed = or_(message.c.state.in_(FAILED), message.c.reason == Reason.BAD_ADDRESS)
    failures = and_(mine, failed, or_(message.c.ended_at.is_(None), message.c.ended_at >= since))
    left = or_(message.c.tries > 0, message.c.state == MessageState.FAILED)
    return Figures(
        left=_count(connection, select(message.c.id).where(mine, left)),
        failures=_count(connection, select(message.c.id).where(failures)),
        stops=_count(connection, _stops(run_id, since)),
        complaints=_count(connection, _complaints(run_id, since)),
    )


def _count(connection: Connection, rows: Any) -> int:
    return int(connection.execute(select(func.count()).select_from(rows.subquery())).scalar_one())


def _spoken(run_id: int) -> Select[Any]:
    """The customers whom a message of the run has reached, and when first."""
    first = func.min(message.c.accepted_at).label("at")
    spoken = select(message.c.customer_id, first).where(messages_of(run_id), message.c.accepted_at.is_not(None))
    return spoken.group_by(message.c.customer_id)


def _stops(run_id: int, since: datetime) -> Any:
    """Customers who said after our message that they do not want to hear from us, by whatever way."""
    spoken = _spoken(run_id).subquery()
    said = select(spoken.c.customer_id).join(reply, reply.c.customer_id == spoken.c.customer_id)
    said = said.where(reply.c.said.in_(STOPS), reply.c.received_at >= since, reply.c.received_at >= spoken.c.at)
    withdrew = select(spoken.c.customer_id).join(consent, consent.c.customer_id == spoken.c.customer_id)
    no = consent.c.verdict == ConsentVerdict.WITHDRAWN
    withdrew = withdrew.where(no, consent.c.given_at >= since, consent.c.given_at >= spoken.c.at)
    return union(said, withdrew)


def _complaints(run_id: int, since: datetime) -> Select[Any]:
    """Customers who called an e-mail of the run spam. Tickets do not count: they come in for other reasons, too."""
    return (
        select(message.c.customer_id)
        .join(attempt, attempt.c.message_id == message.c.id)
        .join(suppression, suppression.c.address_hash == attempt.c.address_hash)
        .where(messages_of(run_id), suppression.c.cause == COMPLAINT, suppression.c.since >= since)
        .distinct()
    )
