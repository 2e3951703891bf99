"""Rows that the house keeps for itself: what changed, who holds a duty, which switches are set."""

from datetime import datetime

from sqlalchemy import UniqueConstraint
from sqlmodel import Field

from models.base import Base, key, moment, required_moment


class Change(Base, table=True):
    """When rows of a subject last changed: event rules look when this moved past what they have seen.

    ``event`` is a word of the rule language, such as ``call.ended`` or ``order.updated``.
    """

    __tablename__ = "change"

    event: str = Field(primary_key=True, max_length=60)
    changed_at: datetime = required_moment()


class RuleInForce(Base, table=True):
    """A rule as it is in force: what a running house has loaded, or the last pass ran.

    ``since`` is when this version came into force, ``live_since`` since when the rule has been live without a break.
    ``status`` is the rule's, or ``gone`` where its file was taken away.
    """

    __tablename__ = "rule_in_force"

    rule_id: str = Field(primary_key=True, max_length=100)
    version: str = Field(max_length=64)
    status: str = Field(max_length=10)
    since: datetime = required_moment()
    live_since: datetime | None = moment()


class Notice(Base, table=True):
    """Something that staff should know while it lasts, by topic: ``rules`` while an edit of them is refused."""

    __tablename__ = "notice"

    topic: str = Field(primary_key=True, max_length=60)
    said: str
    since: datetime = required_moment()


class Lease(Base, table=True):
    """A duty that one process holds for a while (the heartbeat, say)."""

    __tablename__ = "lease"

    duty: str = Field(primary_key=True, max_length=60)
    holder: str = Field(max_length=100)
    until: datetime = required_moment()


class Switch(Base, table=True):
    """A kill switch: ``scope`` is ``all``, ``rule:ID`` or ``channel:NAME``; set while ``stopped_at`` is.

    ``restore`` is set by the claim itself while the database knows less than the journal of what was sent.
    """

    __tablename__ = "switch"

    scope: str = Field(primary_key=True, max_length=120)
    stopped_at: datetime | None = moment()
    by: str | None = Field(default=None, max_length=100)


class Pace(Base, table=True):
    """When a sender may send its next message or segment, so that all processes together keep its rate."""

    __tablename__ = "pace"

    sender: str = Field(primary_key=True, max_length=60)
    free_at: datetime = required_moment()


class ShareHistory(Base, table=True):
    """Which share of the customers was kept out (``percent``) from a moment on; ``rule_id`` empty: of everything."""

    __tablename__ = "share_history"
    __table_args__ = (UniqueConstraint("rule_id", "what", "since"),)

    id: int | None = key()
    rule_id: str = Field(default="", max_length=100)
    what: str = Field(default="holdout", max_length=10)
    percent: float
    since: datetime = required_moment()


class Guesses(Base, table=True):
    """How many wrong voucher codes somebody has tried since a moment; too many, and they wait."""

    __tablename__ = "guesses"

    who: str = Field(primary_key=True, max_length=100)
    wrong: int = 0
    since: datetime = required_moment()
