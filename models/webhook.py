"""Calls to the operator's own systems: a rule's ``webhook`` steps, planned once and delivered at least once."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, UniqueConstraint, text
from sqlmodel import Field

from models.base import Base, key, moment, required_moment
from models.types import BigKey, Json

OPEN_CALL = "state IN ('planned', 'calling')"


class Webhook(Base, table=True):
    """One call of one endpoint for one match: unique per (match, step), planned in the plan transaction.

    ``endpoint`` is a name from the settings, never a URL. ``said`` are the plain values of the step's ``with``,
    ``facts`` the asked facts as they were when it was planned, so that every try has the same body; ``subject_key`` and
    ``customer_key`` are the external ids. ``code`` says what the last try led to; ``tries`` counts the tries begun.
    """

    __tablename__ = "webhook"
    __table_args__ = (
        UniqueConstraint("match_id", "step"),
        Index(
            "ix_webhook_due",
            "endpoint",
            "due_at",
            sqlite_where=text(OPEN_CALL),
            postgresql_where=text(OPEN_CALL),
        ),
    )

    id: int | None = key()
    match_id: int = Field(foreign_key="match.id", sa_type=BigKey)
    rule_id: str = Field(max_length=100)
    version: str = Field(max_length=64)
    occasion: str = Field(max_length=250)
    step: str = Field(max_length=20)
    endpoint: str = Field(max_length=40)
    subject: str = Field(max_length=20)
    subject_id: int = Field(sa_type=BigKey)
    subject_key: str | None = Field(default=None, max_length=200)
    customer_id: int | None = Field(default=None, foreign_key="customer.id", sa_type=BigKey)
    customer_key: str | None = Field(default=None, max_length=200)
    said: dict[str, Any] | None = Field(default=None, sa_type=Json)
    facts: dict[str, Any] | None = Field(default=None, sa_type=Json)
    state: str = Field(max_length=10)
    code: str | None = Field(default=None, max_length=40)
    created_at: datetime = required_moment()
    due_at: datetime = required_moment()
    lease: str | None = Field(default=None, max_length=32)
    lease_until: datetime | None = moment()
    tried_at: datetime | None = moment()
    ended_at: datetime | None = moment()
    tries: int = 0
