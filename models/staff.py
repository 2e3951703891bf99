"""Rows for whoever is on duty: runs that the brake holds, the audit log, events for Prefect, processes, memos."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, text
from sqlmodel import Field

from models.base import Base, key, moment, required_moment
from models.types import BigKey, Json


class HeldRun(Base, table=True):
    """A run that the brake has stopped, with all that was decided of it. Its list is fixed: the matches that name it.

    ``why`` is the limit that it went over (a :class:`~models.vocabulary.BrakeLimit`), ``most`` that limit and ``count``
    what was compared with it: what the run would have reached, in ``customers`` or in subjects, whichever is more, and
    what the rule had begun in the hour before. ``author`` wrote the rule's text and cannot approve it, nor can any of
    ``text_authors``, who wrote its templates (None: nobody has asked git yet). ``texts`` is a digest of the templates
    that were shown to whoever approved.
    ``asked_in`` is the flow run that asks in Prefect's UI; it may be lost, this row may not. ``said`` is why it stopped
    again.
    """

    __tablename__ = "held_run"
    __table_args__ = (
        Index(
            "ix_held_run_open",
            "rule_id",
            sqlite_where=text("ended_at IS NULL"),
            postgresql_where=text("ended_at IS NULL"),
        ),
    )

    id: int | None = key()
    rule_id: str = Field(max_length=100)
    version: str = Field(max_length=64)
    why: str = Field(max_length=20)
    most: int
    count: int
    subjects: int
    customers: int
    author: str | None = Field(default=None, max_length=200)
    texts: str | None = Field(default=None, max_length=64)
    text_authors: list[str] | None = Field(default=None, sa_type=Json)
    state: str = Field(max_length=12)
    held_at: datetime = required_moment()
    expires_at: datetime = required_moment()
    decided_at: datetime | None = moment()
    decided_by: str | None = Field(default=None, max_length=200)
    canary: int = 0
    canary_at: datetime | None = moment()
    rest_at: datetime | None = moment()
    ended_at: datetime | None = moment()
    said: str | None = None
    asked_in: str | None = Field(default=None, max_length=36)


class Audit(Base, table=True):
    """One entry of the audit log: who did what to what. Append-only (a trigger holds it), and each entry carries the
    digest of the one before, so that one that was changed or taken out shows.
    """

    __tablename__ = "audit"

    id: int | None = key()
    at: datetime = required_moment()
    by: str = Field(max_length=200)
    action: str = Field(max_length=40)
    about: str = Field(max_length=200)
    details: dict[str, Any] | None = Field(default=None, sa_type=Json)
    before: str = Field(default="", max_length=64)
    digest: str = Field(max_length=64, unique=True)


class EventOut(Base, table=True):
    """Something that happened and that Prefect's automations may act on, such as ``beforehand.brake.pulled``.

    Written in the transaction in which it happened; ``told_at`` is when Prefect took it. ``about`` is the rule, the
    account or the like; ``content`` holds ids and counts, never a person.
    """

    __tablename__ = "event_out"
    __table_args__ = (
        Index(
            "ix_event_out_untold", "id", sqlite_where=text("told_at IS NULL"), postgresql_where=text("told_at IS NULL")
        ),
    )

    id: int | None = key()
    event: str = Field(max_length=60)
    about: str = Field(max_length=120)
    content: dict[str, Any] | None = Field(default=None, sa_type=Json)
    happened_at: datetime = required_moment()
    told_at: datetime | None = moment()


class Process(Base, table=True):
    """A process of the house, on whatever machine: which parts it runs, in which version, and when it was last seen.

    ``ahead_ms`` is by how much its clock is ahead of the database's, where that has one of its own. ``rules`` is the
    digest of the rules that it has loaded.
    """

    __tablename__ = "process"

    boot: str = Field(primary_key=True, max_length=100)
    host: str = Field(max_length=255)
    parts: dict[str, Any] | None = Field(default=None, sa_type=Json)
    version: str = Field(max_length=40)
    rules: str | None = Field(default=None, max_length=16)
    started_at: datetime = required_moment()
    seen_at: datetime = required_moment()
    ahead_ms: int | None = Field(default=None, sa_type=BigKey)


class Memo(Base, table=True):
    """What the house notes for itself from one time to the next: when it last wrote the morning brief, which
    automations it has made in which Prefect server.
    """

    __tablename__ = "memo"

    topic: str = Field(primary_key=True, max_length=100)
    said: str = Field(default="", max_length=200)
    at: datetime = required_moment()
