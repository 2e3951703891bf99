"""What customers say and do: calls, tickets, surveys, events."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, text
from sqlmodel import Field

from models.base import Fact, key, moment
from models.types import BigKey, Json


class Call(Fact, table=True):
    """A phone call, either way. ``customer_id`` is empty where nobody is known behind the number."""

    __tablename__ = "call"
    __table_args__ = (
        Index("ix_call_customer_ended", "customer_id", "ended_at"),
        Index("ix_call_ended", "ended_at"),
    )

    id: int | None = key()
    customer_id: int | None = Field(default=None, foreign_key="customer.id", sa_type=BigKey)
    direction: str | None = Field(default=None, max_length=10)
    reason: str | None = Field(default=None, max_length=100)
    outcome: str | None = Field(default=None, max_length=20)
    started_at: datetime | None = moment()
    ended_at: datetime | None = moment()
    agent: str | None = Field(default=None, max_length=100)
    phone: str | None = Field(default=None, max_length=20)
    queue: str | None = Field(default=None, max_length=100)
    priority: str | None = Field(default=None, max_length=20)


class Ticket(Fact, table=True):
    """A support contact. Its states are times: opened, first answered, resolved, closed, reopened."""

    __tablename__ = "ticket"
    __table_args__ = (
        Index("ix_ticket_customer_opened", "customer_id", "opened_at"),
        Index("ix_ticket_closed", "closed_at"),
        Index(
            "ix_ticket_open",
            "customer_id",
            sqlite_where=text("closed_at IS NULL"),
            postgresql_where=text("closed_at IS NULL"),
        ),
    )

    id: int | None = key()
    customer_id: int | None = Field(default=None, foreign_key="customer.id", sa_type=BigKey)
    order_id: int | None = Field(default=None, foreign_key="orders.id", sa_type=BigKey)
    topic: str | None = Field(default=None, max_length=200)
    priority: str | None = Field(default=None, max_length=20)
    channel: str | None = Field(default=None, max_length=40)
    opened_at: datetime | None = moment()
    answered_at: datetime | None = moment()
    resolved_at: datetime | None = moment()
    closed_at: datetime | None = moment()
    reopened_at: datetime | None = moment()
    reopen_count: int | None = None
    satisfaction: int | None = None


class Survey(Fact, table=True):
    """A question put to a customer, and the answer. ``score`` is on the survey's own scale (stars: 1 to 5)."""

    __tablename__ = "survey"
    __table_args__ = (
        Index("ix_survey_customer_answered", "customer_id", "answered_at"),
        Index("ix_survey_order", "order_id"),
    )

    id: int | None = key()
    customer_id: int | None = Field(default=None, foreign_key="customer.id", sa_type=BigKey)
    order_id: int | None = Field(default=None, foreign_key="orders.id", sa_type=BigKey)
    ticket_id: int | None = Field(default=None, foreign_key="ticket.id", sa_type=BigKey)
    match_id: int | None = Field(default=None, sa_type=BigKey, index=True)
    kind: str | None = Field(default=None, max_length=100)
    asked_at: datetime | None = moment()
    answered_at: datetime | None = moment()
    score: int | None = None
    comment: str | None = None


class Event(Fact, table=True):
    """Anything else that happened, with a name and free properties."""

    __tablename__ = "event"
    __table_args__ = (
        Index("ix_event_name_happened", "name", "happened_at"),
        Index("ix_event_customer_happened", "customer_id", "happened_at"),
    )

    id: int | None = key()
    customer_id: int | None = Field(default=None, foreign_key="customer.id", sa_type=BigKey)
    name: str = Field(max_length=100)
    happened_at: datetime | None = moment()
    properties: dict[str, Any] | None = Field(default=None, sa_type=Json)
