"""What a plan says, as plain values with a JSON form. Ids of customers and subjects are its only personal data."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from messaging.guards.brake import Over
from models.terms import Money
from models.vocabulary import Purpose, Reason, RuleStatus


class Kind(StrEnum):
    """What became of a rule."""

    NEW = "new"
    CHANGED = "changed"
    GONE = "gone"
    REFUSED = "refused"


@dataclass(frozen=True)
class Edit:
    """One word of a rule file that differs: its dotted path, and what stands there (None: nothing)."""

    key: str
    old: str | None
    new: str | None

    def as_json(self) -> dict[str, Any]:
        """The edit as JSON values."""
        return {"key": self.key, "old": self.old, "new": self.new}


@dataclass(frozen=True)
class Reach:
    """Whom one text finds now, and how many would go after the gates, as if it were live and had no backlog."""

    found: int = 0
    customers: int = 0
    going: int = 0
    withheld: dict[Reason, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The reach as JSON values."""
        return {
            "found": self.found,
            "customers": self.customers,
            "going": self.going,
            "withheld": {reason.value: count for reason, count in self.withheld.items()},
        }


@dataclass(frozen=True)
class Moved:
    """Who is added and who drops out: counts, and the first few by their ids outside."""

    added: int = 0
    dropped: int = 0
    first_added: tuple[str, ...] = ()
    first_dropped: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The difference as JSON values."""
        return {
            "added": self.added,
            "dropped": self.dropped,
            "first_added": [*self.first_added],
            "first_dropped": [*self.first_dropped],
        }


@dataclass(frozen=True)
class FirstPass:
    """How many would go at the first live pass: as the file is written, with ``from: now``, and from ``moment`` on.

    ``moment`` None is the beginning: nothing is backlog.
    """

    as_written: int
    from_now: int
    from_moment: int
    moment: datetime | None = None

    def as_json(self) -> dict[str, Any]:
        """The numbers as JSON values."""
        return {
            "as_written": self.as_written,
            "from_now": self.from_now,
            "from_moment": self.from_moment,
            "moment": None if self.moment is None else self.moment.isoformat(),
        }


@dataclass(frozen=True)
class Weekly:
    """What a text would have done a week, by the mean of a replay; ``withheld`` is over the whole of it.

    ``amount`` is what sending costs (None: no price is set; ``unpriced``: not for all), ``worth`` the vouchers' worth.
    """

    messages: Decimal = Decimal(0)
    tasks: Decimal = Decimal(0)
    vouchers: Decimal = Decimal(0)
    amount: Decimal | None = Decimal(0)
    currency: str = ""
    worth: tuple[Money, ...] = ()
    estimate: bool = False
    unpriced: bool = False
    withheld: dict[Reason, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    webhooks: Decimal = Decimal(0)

    def as_json(self) -> dict[str, Any]:
        """The week as JSON values; numbers are means, amounts text in units of the currency."""
        return {
            "messages": float(self.messages),
            "tasks": float(self.tasks),
            "webhooks": float(self.webhooks),
            "vouchers": float(self.vouchers),
            "amount": None if self.amount is None else format(round(self.amount, 6).normalize(), "f"),
            "currency": self.currency,
            "worth": [{"worth": money.minor, "currency": money.currency} for money in self.worth],
            "estimate": self.estimate,
            "unpriced": self.unpriced,
            "withheld": {reason.value: count for reason, count in self.withheld.items()},
            "notes": [*self.notes],
        }


@dataclass(frozen=True)
class Conflict:
    """Another live rule for the same customers: ``now`` both would reach, ``lately`` heard from it in the cap's window.

    ``shares_cap``: the same purpose, so that a message of one may take the place of one of the other; ``goes_first``
    says whether this other one does then (None: the same priority).
    """

    rule_id: str
    purpose: Purpose
    priority: int
    now: int
    lately: int
    shares_cap: bool
    goes_first: bool | None = None

    def as_json(self) -> dict[str, Any]:
        """The conflict as JSON values."""
        return {
            "rule": self.rule_id,
            "purpose": self.purpose.value,
            "priority": self.priority,
            "now": self.now,
            "lately": self.lately,
            "shares_cap": self.shares_cap,
            "goes_first": self.goes_first,
        }


@dataclass(frozen=True)
class Waiting:
    """Matches that have begun on another version and wait at a step (from 1), and when the next is due."""

    version: str
    step: int
    what: str
    count: int
    next_due: datetime | None

    def as_json(self) -> dict[str, Any]:
        """The waiting matches as JSON values."""
        return {
            "version": self.version,
            "step": self.step,
            "what": self.what,
            "count": self.count,
            "next_due": None if self.next_due is None else self.next_due.isoformat(),
        }


@dataclass(frozen=True)
class RuleChange:
    """One rule that differs, and what the difference would do. What was not asked or cannot be told is None.

    ``acts`` says whether anybody hears of it: one of the two texts is live. ``decides`` False: only words differ that
    decide nothing (a title, a test). ``brake`` is the limit over which a run of the new text would be held.
    """

    rule_id: str
    kind: Kind
    title: str = ""
    old_version: str | None = None
    new_version: str | None = None
    old_status: RuleStatus | None = None
    new_status: RuleStatus | None = None
    edits: tuple[Edit, ...] = ()
    decides: bool = True
    subject: str = ""
    old: Reach | None = None
    new: Reach | None = None
    found: Moved | None = None
    going: Moved | None = None
    first_pass: FirstPass | None = None
    old_week: Weekly | None = None
    new_week: Weekly | None = None
    brake: Over | None = None
    conflicts: tuple[Conflict, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def acts(self) -> bool:
        """Whether the rule is live on one of the sides."""
        return RuleStatus.LIVE in (self.old_status, self.new_status)

    def as_json(self) -> dict[str, Any]:
        """The change as JSON values."""
        parts = ("old", "new", "found", "going", "first_pass", "old_week", "new_week")
        shown = {name: getattr(self, name) for name in parts}
        return {
            "rule": self.rule_id,
            "change": self.kind.value,
            "title": self.title,
            "old_version": self.old_version,
            "new_version": self.new_version,
            "old_status": self.old_status,
            "new_status": self.new_status,
            "edits": [edit.as_json() for edit in self.edits],
            "decides": self.decides,
            "subject": self.subject,
            **{name: None if value is None else value.as_json() for name, value in shown.items()},
            "brake": None if self.brake is None else self.brake.as_json(),
            "conflicts": [conflict.as_json() for conflict in self.conflicts],
            "waiting": [waiting.as_json() for waiting in self.waiting],
            "problems": [*self.problems],
            "notes": [*self.notes],
        }


@dataclass(frozen=True)
class Plan:
    """What a change of the rules would do at ``now``. Nothing was written.

    ``weeks`` were replayed (0: none); ``notes`` hold for every replay.
    """

    now: datetime
    rules: str
    against: str
    weeks: int
    changes: tuple[RuleChange, ...] = ()
    unchanged: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def refused(self) -> tuple[str, ...]:
        """The rules that cannot be taken as they are."""
        return tuple(change.rule_id for change in self.changes if change.problems)

    def as_json(self) -> dict[str, Any]:
        """The plan as JSON values."""
        return {
            "now": self.now.isoformat(),
            "rules": self.rules,
            "against": self.against,
            "weeks": self.weeks,
            "changes": [change.as_json() for change in self.changes],
            "unchanged": [*self.unchanged],
            "refused": [*self.refused],
            "notes": [*self.notes],
        }
