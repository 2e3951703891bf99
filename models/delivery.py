"""From match to receipt: what was found, what was meant to be said, each try, and what came back (DESIGN section 6)."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, UniqueConstraint, text
from sqlmodel import Field

from models.base import Base, key, moment, required_moment
from models.types import BigKey, Json

OPEN_ATTEMPT = "state IN ('claimed', 'in_flight')"


class RuleVersion(Base, table=True):
    """The text of a rule as it ran; ``version`` is the hash of its content, ``author`` who wrote it, where known.

    ``cancelled_at``: staff cancelled what had not left of it by then; nothing of matches begun before goes any more.
    """

    __tablename__ = "rule_version"
    __table_args__ = (UniqueConstraint("rule_id", "version"),)

    id: int | None = key()
    rule_id: str = Field(max_length=100)
    version: str = Field(max_length=64)
    text: str
    first_used_at: datetime = required_moment()
    author: str | None = Field(default=None, max_length=200)
    cancelled_at: datetime | None = moment()


class RulePass(Base, table=True):
    """One pass of one rule: unique per (rule, slot), so that a doubled run changes nothing.

    ``status`` is the rule's at that time (``live``, ``shadow`` ...); ``counts`` is its summary.
    """

    __tablename__ = "rule_pass"
    __table_args__ = (UniqueConstraint("rule_id", "slot"),)

    id: int | None = key()
    rule_id: str = Field(max_length=100)
    version: str = Field(max_length=64)
    status: str = Field(default="live", max_length=10, sa_column_kwargs={"server_default": "live"})
    slot: datetime = required_moment()
    started_at: datetime = required_moment()
    finished_at: datetime | None = moment()
    counts: dict[str, Any] | None = Field(default=None, sa_type=Json)


class Match(Base, table=True):
    """A rule found a subject: unique per (rule, occasion). Keeps the facts that made it match, and its next step.

    ``next_step`` counts from 0 into the rule's ``then``; ``due_at`` is when that step may be taken; ``gives_up_at`` is
    when a ``wait: until ..., at most ...`` has waited long enough.
    A waiting match finishes on the ``version`` it started with. ``held_run_id`` is the run of the brake that it is or
    was a part of.
    """

    __tablename__ = "match"
    __table_args__ = (
        UniqueConstraint("rule_id", "occasion"),
        Index("ix_match_rule_customer_started", "rule_id", "customer_id", "started_at"),
        Index(
            "ix_match_due",
            "due_at",
            sqlite_where=text("state = 'open'"),
            postgresql_where=text("state = 'open'"),
        ),
        Index(
            "ix_match_held_run",
            "held_run_id",
            sqlite_where=text("held_run_id IS NOT NULL"),
            postgresql_where=text("held_run_id IS NOT NULL"),
        ),
    )

    id: int | None = key()
    rule_id: str = Field(max_length=100)
    version: str = Field(max_length=64)
    occasion: str = Field(max_length=250)
    subject: str = Field(max_length=20)
    subject_id: int = Field(sa_type=BigKey)
    customer_id: int | None = Field(default=None, foreign_key="customer.id", sa_type=BigKey)
    facts: dict[str, Any] | None = Field(default=None, sa_type=Json)
    matched_at: datetime = required_moment()
    seen_at: datetime = required_moment()
    started_at: datetime | None = moment()
    state: str = Field(max_length=10)
    reason: str | None = Field(default=None, max_length=30)
    next_step: int = 0
    due_at: datetime | None = moment()
    gives_up_at: datetime | None = moment()
    ended_at: datetime | None = moment()
    held_run_id: int | None = Field(default=None, sa_type=BigKey)


class Message(Base, table=True):
    """One intent to reach one customer on one channel; a row in the outbox.

    Unique per (rule, occasion, step, customer): planned once, whatever plans it. ``step`` is the step's place in
    ``then`` (``0``, ``1``) with ``.else`` for the other branch. ``reference`` is the short word by which the provider's
    listing shows it. ``due_at`` is the first moment it may go, ``expires_at`` the last. ``tries`` counts the attempts
    that were armed; ``asked_at`` is when its provider was last asked what became of it; ``resends`` is how often it was
    sent again after the provider had taken it and then could not deliver it.
    """

    __tablename__ = "message"
    __table_args__ = (
        UniqueConstraint("rule_id", "occasion", "step", "customer_id"),
        Index(
            "ix_message_due",
            "due_at",
            sqlite_where=text("state IN ('planned', 'queued')"),
            postgresql_where=text("state IN ('planned', 'queued')"),
        ),
        Index(
            "ix_message_awaiting",
            "accepted_at",
            sqlite_where=text("state IN ('accepted', 'sent')"),
            postgresql_where=text("state IN ('accepted', 'sent')"),
        ),
        Index(
            "ix_message_unsettled",
            "id",
            sqlite_where=text("state = 'unknown' AND ended_at IS NULL"),
            postgresql_where=text("state = 'unknown' AND ended_at IS NULL"),
        ),
        Index(
            "ix_message_held",
            "id",
            sqlite_where=text("state = 'held'"),
            postgresql_where=text("state = 'held'"),
        ),
        Index(
            "ix_message_expires",
            "expires_at",
            sqlite_where=text("state IN ('planned', 'held', 'queued')"),
            postgresql_where=text("state IN ('planned', 'held', 'queued')"),
        ),
        Index(
            "ix_message_bad_address",
            "ended_at",
            sqlite_where=text("reason = 'bad_address'"),
            postgresql_where=text("reason = 'bad_address'"),
        ),
        Index("ix_message_customer_created", "customer_id", "created_at"),
        Index("ix_message_match", "match_id"),
    )

    id: int | None = key()
    match_id: int = Field(foreign_key="match.id", sa_type=BigKey)
    rule_id: str = Field(max_length=100)
    version: str = Field(max_length=64)
    occasion: str = Field(max_length=250)
    step: str = Field(max_length=20)
    customer_id: int = Field(foreign_key="customer.id", sa_type=BigKey)
    purpose: str = Field(max_length=10)
    priority: int = 0
    channel: str = Field(max_length=10)
    address: str = Field(max_length=320)
    template: str = Field(max_length=100)
    language: str | None = Field(default=None, max_length=35)
    details: dict[str, Any] | None = Field(default=None, sa_type=Json)
    consent_id: int | None = Field(default=None, foreign_key="consent.id", sa_type=BigKey)
    state: str = Field(max_length=12)
    reason: str | None = Field(default=None, max_length=30)
    created_at: datetime = required_moment()
    due_at: datetime = required_moment()
    expires_at: datetime | None = moment()
    accepted_at: datetime | None = moment()
    asked_at: datetime | None = moment()
    ended_at: datetime | None = moment()
    tries: int = 0
    resends: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    reference: str = Field(max_length=16, unique=True)


class Attempt(Base, table=True):
    """One try on the wire; at most one open per message (a partial unique index holds it).

    ``fingerprint`` is a hash of what went out, written before the first byte: the provider's listing is matched by it.
    ``address_hash`` is the keyed hash of where it went: a code that comes later may say that this address is bad.
    """

    __tablename__ = "attempt"
    __table_args__ = (
        Index(
            "uq_attempt_open",
            "message_id",
            unique=True,
            sqlite_where=text(OPEN_ATTEMPT),
            postgresql_where=text(OPEN_ATTEMPT),
        ),
        Index("ix_attempt_message", "message_id"),
        Index(
            "ix_attempt_lease",
            "lease_until",
            sqlite_where=text(OPEN_ATTEMPT),
            postgresql_where=text(OPEN_ATTEMPT),
        ),
    )

    id: int | None = key()
    message_id: int = Field(foreign_key="message.id", sa_type=BigKey)
    number: int = 1
    state: str = Field(max_length=12)
    lease: str = Field(max_length=32)
    lease_until: datetime = required_moment()
    claimed_at: datetime = required_moment()
    armed_at: datetime | None = moment()
    ended_at: datetime | None = moment()
    outcome: str | None = Field(default=None, max_length=12)
    code: str | None = Field(default=None, max_length=40)
    fingerprint: str | None = Field(default=None, max_length=32)
    address_hash: str | None = Field(default=None, max_length=64)
    provider: str | None = Field(default=None, max_length=20)
    provider_id: str | None = Field(default=None, max_length=200, unique=True)


class Evidence(Base, table=True):
    """An append-only fact about an attempt: reply of the provider, callback, listing, bounce."""

    __tablename__ = "evidence"
    __table_args__ = (Index("ix_evidence_attempt", "attempt_id"),)

    id: int | None = key()
    attempt_id: int | None = Field(default=None, foreign_key="attempt.id", sa_type=BigKey)
    kind: str = Field(max_length=20)
    seen_at: datetime = required_moment()
    content: dict[str, Any] | None = Field(default=None, sa_type=Json)


class Receipt(Base, table=True):
    """The provider's later word on a message, in our vocabulary; ``attempt_id`` is the try that it speaks of."""

    __tablename__ = "receipt"
    __table_args__ = (
        UniqueConstraint("message_id", "attempt_id", "state", "code"),
        Index("ix_receipt_message", "message_id"),
    )

    id: int | None = key()
    message_id: int = Field(foreign_key="message.id", sa_type=BigKey)
    attempt_id: int | None = Field(default=None, foreign_key="attempt.id", sa_type=BigKey)
    state: str = Field(max_length=12)
    code: str = Field(default="", max_length=40)
    happened_at: datetime | None = moment()
    seen_at: datetime = required_moment()


class Callback(Base, table=True):
    """What a provider told us by itself. Kept also where nobody knows its id yet: it may come before our own answer.

    ``digest`` is a hash over what the provider signed, so that saying a thing again has no effect. ``provider_id`` is
    the provider's id, ``attempt_id`` what our own signed address in it said. ``matched_at``: it has been applied.
    ``content`` holds no addresses and no texts.
    """

    __tablename__ = "callback"
    __table_args__ = (
        Index("ix_callback_provider_id", "provider_id"),
        Index(
            "ix_callback_unmatched",
            "id",
            sqlite_where=text("matched_at IS NULL"),
            postgresql_where=text("matched_at IS NULL"),
        ),
    )

    id: int | None = key()
    provider: str = Field(max_length=20)
    kind: str = Field(max_length=20)
    provider_id: str | None = Field(default=None, max_length=200)
    attempt_id: int | None = Field(default=None, sa_type=BigKey)
    state: str | None = Field(default=None, max_length=12)
    code: str = Field(default="", max_length=40)
    digest: str = Field(max_length=64, unique=True)
    content: dict[str, Any] | None = Field(default=None, sa_type=Json)
    happened_at: datetime | None = moment()
    received_at: datetime = required_moment()
    matched_at: datetime | None = moment()


class Reply(Base, table=True):
    """What a customer said to us: an SMS, a key pressed in a call, an e-mail.

    ``said`` is what it asks for (``stop``, ``maybe_stop``, ``start``, ``help``, ``connect``, ``later``, ``never``,
    ``other``); ``maybe_stop`` holds what waits for this address until somebody has read it (``handled_at``).
    ``provider_id`` is unique, so that a message told twice is one reply. ``message_id`` is what it answers.
    """

    __tablename__ = "reply"
    __table_args__ = (
        Index("ix_reply_customer", "customer_id"),
        Index(
            "ix_reply_open",
            "address_hash",
            sqlite_where=text("handled_at IS NULL AND said = 'maybe_stop'"),
            postgresql_where=text("handled_at IS NULL AND said = 'maybe_stop'"),
        ),
    )

    id: int | None = key()
    channel: str = Field(max_length=10)
    provider_id: str | None = Field(default=None, max_length=200, unique=True)
    address_hash: str = Field(max_length=64)
    customer_id: int | None = Field(default=None, foreign_key="customer.id", sa_type=BigKey)
    message_id: int | None = Field(default=None, foreign_key="message.id", sa_type=BigKey)
    text: str | None = None
    said: str = Field(max_length=12)
    received_at: datetime = required_moment()
    handled_at: datetime | None = moment()
    handled_by: str | None = Field(default=None, max_length=100)


class Mark(Base, table=True):
    """How far a journal of armed attempts has come by this database: behind the file means that rows were lost.

    The row ``database`` holds the database's own id, so that a journal is known to be its own.
    """

    __tablename__ = "mark"

    journal: str = Field(primary_key=True, max_length=36)
    number: int = Field(sa_type=BigKey)
    written_at: datetime = required_moment()


class PastSend(Base, table=True):
    """A send that the journal knows and a restored database had forgotten.

    ``key`` is a keyed hash of rule, occasion, step and customer as the sources name them, so that the message is known
    again should it be planned anew. ``content`` is what its attempt row is made from then: ids, codes and hashes.
    """

    __tablename__ = "past_send"

    key: str = Field(primary_key=True, max_length=64)
    channel: str = Field(max_length=10)
    state: str = Field(max_length=12)
    provider_id: str | None = Field(default=None, max_length=200)
    content: dict[str, Any] | None = Field(default=None, sa_type=Json)
    sent_at: datetime = required_moment()
    found_at: datetime = required_moment()


class Task(Base, table=True):
    """Work for a person: a rule's ``task`` step."""

    __tablename__ = "task"
    __table_args__ = (UniqueConstraint("match_id", "step"),)

    id: int | None = key()
    match_id: int = Field(foreign_key="match.id", sa_type=BigKey)
    step: str = Field(max_length=20)
    customer_id: int | None = Field(default=None, foreign_key="customer.id", sa_type=BigKey)
    desk: str = Field(max_length=100)
    what: str
    created_at: datetime = required_moment()
    done_at: datetime | None = moment()
