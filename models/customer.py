"""Customers, their consent, and the addresses we must not use."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import Index, UniqueConstraint, text
from sqlmodel import Field

from models.base import Base, Fact, key, moment, required_moment
from models.types import BigKey, Json

BUCKETS = 10_000
IN_NO_HOLDOUT = -1
"""A bucket that no draw is made for: in no holdout, and in every rollout."""
IN_EVERY_HOLDOUT = -2
"""A bucket that is in every holdout, and in every rollout."""


class Customer(Fact, table=True):
    """A person we may reach.

    ``phone`` is E.164, ``language`` BCP 47, ``time_zone`` an IANA name, ``country`` ISO 3166 alpha-2.
    ``household_id`` is the id of the first of those who share a phone number or an e-mail address with this one, empty
    for whoever shares none. ``bucket`` (0 to 9999) is a keyed hash of ``external_id``: sticky holdouts without storing
    a list. The two below 0 are for a rule's own tests, whose people are not drawn.
    """

    __tablename__ = "customer"
    __table_args__ = (
        Index("ix_customer_phone", "phone", postgresql_where=text("phone IS NOT NULL")),
        Index("ix_customer_email", "email", postgresql_where=text("email IS NOT NULL")),
        Index(
            "ix_customer_household",
            "household_id",
            sqlite_where=text("household_id IS NOT NULL"),
            postgresql_where=text("household_id IS NOT NULL"),
        ),
    )

    id: int | None = key()
    first_name: str | None = None
    last_name: str | None = None
    email: str | None = Field(default=None, max_length=320)
    phone: str | None = Field(default=None, max_length=20)
    language: str | None = Field(default=None, max_length=35)
    time_zone: str | None = Field(default=None, max_length=64)
    country: str | None = Field(default=None, max_length=2)
    tier: str | None = Field(default=None, max_length=40)
    preferred_channel: str | None = Field(default=None, max_length=10)
    birthday: date | None = None
    created_at: datetime | None = moment()
    attributes: dict[str, Any] | None = Field(default=None, sa_type=Json)
    bucket: int = 0
    household_id: int | None = Field(default=None, sa_type=BigKey)


class Preference(Base, table=True):
    """What a customer chose for themselves; it comes before what a source says, and a new load does not undo it.

    ``language`` is BCP 47, ``channel`` the preferred one; ``quiet_from`` and ``quiet_until`` are wall-clock times
    (``21:30``) in the customer's own zone, both or neither.
    """

    __tablename__ = "preference"

    customer_id: int = Field(primary_key=True, foreign_key="customer.id", sa_type=BigKey)
    language: str | None = Field(default=None, max_length=35)
    channel: str | None = Field(default=None, max_length=10)
    quiet_from: str | None = Field(default=None, max_length=5)
    quiet_until: str | None = Field(default=None, max_length=5)
    updated_at: datetime = required_moment()


class Consent(Base, table=True):
    """One entry of the append-only consent ledger; the newest per customer, channel and purpose counts."""

    __tablename__ = "consent"
    __table_args__ = (
        UniqueConstraint("customer_id", "channel", "purpose", "given_at", "verdict"),
        Index("ix_consent_latest", "customer_id", "channel", "purpose", "given_at"),
    )

    id: int | None = key()
    customer_id: int = Field(foreign_key="customer.id", sa_type=BigKey)
    channel: str = Field(max_length=10)
    purpose: str = Field(max_length=10)
    verdict: str = Field(max_length=10)
    given_at: datetime = required_moment()
    source: str = Field(max_length=200)
    text_version: str | None = Field(default=None, max_length=100)
    recorded_at: datetime = required_moment()


class Suppression(Base, table=True):
    """An address we must not use, and why. ``address_hash`` is keyed, so that it survives erasure of the address.

    Each cause is kept on its own: START takes back what a STOP made and leaves a bounce or a complaint.
    """

    __tablename__ = "suppression"
    __table_args__ = (UniqueConstraint("address_hash", "channel", "scope", "cause"),)

    id: int | None = key()
    address_hash: str = Field(max_length=64)
    channel: str = Field(max_length=10)
    scope: str = Field(default="all", max_length=10)
    cause: str = Field(max_length=40)
    since: datetime = required_moment()
    source: str | None = Field(default=None, max_length=200)
