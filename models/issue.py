"""Known issues and who is exposed to them."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, UniqueConstraint
from sqlmodel import Field

from models.base import Base, Fact, key, moment, required_moment
from models.types import BigKey, Json


class KnownIssue(Fact, table=True):
    """A fault that staff declared. ``affects`` is the declared scope (products, order times), for the record."""

    __tablename__ = "known_issue"

    id: int | None = key()
    title: str
    severity: str = Field(max_length=10)
    advice: str | None = None
    texts: dict[str, Any] | None = Field(default=None, sa_type=Json)
    affects: dict[str, Any] | None = Field(default=None, sa_type=Json)
    declared_at: datetime | None = moment()
    closed_at: datetime | None = moment()


class Exposure(Base, table=True):
    """A customer's order line touched by a known issue."""

    __tablename__ = "exposure"
    __table_args__ = (
        UniqueConstraint("issue_id", "order_line_id"),
        Index("ix_exposure_customer_found", "customer_id", "found_at"),
        Index("ix_exposure_order_line", "order_line_id"),
    )

    id: int | None = key()
    issue_id: int = Field(foreign_key="known_issue.id", sa_type=BigKey)
    customer_id: int | None = Field(default=None, foreign_key="customer.id", sa_type=BigKey)
    order_id: int = Field(foreign_key="orders.id", sa_type=BigKey)
    order_line_id: int = Field(foreign_key="order_line.id", sa_type=BigKey)
    product_id: int | None = Field(default=None, foreign_key="product.id", sa_type=BigKey)
    found_at: datetime = required_moment()
