"""What a replay found: plain values with a JSON form; only examples hold personal data."""

from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from typing import Any

from beforehand.passes.reports import Sample
from messaging.costs import Cost
from models.vocabulary import Reason


@dataclass(frozen=True)
class Day:
    """One day in the default zone: occasions found, messages that went or were to go, tasks and webhooks."""

    day: date
    matches: int
    messages: int
    tasks: int = 0
    webhooks: int = 0

    def as_json(self) -> dict[str, Any]:
        """The day as JSON values."""
        return asdict(self) | {"day": self.day.isoformat()}


@dataclass(frozen=True)
class Backtest:
    """What a rule would have done from ``start`` (inclusive) to ``end`` (exclusive). Nothing was written.

    ``matches`` counts the occasions found, withheld ones too; ``messages`` those that went, or wait at the end;
    ``withheld`` the occasions and messages that did not go, by reason. ``looks`` of ``slots`` were decided anew: at the
    others nothing could have changed. ``cost`` is None where no prices are known. ``notes`` name what could not be
    replayed exactly.
    """

    rule_id: str
    version: str
    start: datetime
    end: datetime
    matches: int = 0
    messages: int = 0
    vouchers: int = 0
    tasks: int = 0
    withheld: dict[Reason, int] = field(default_factory=dict)
    days: tuple[Day, ...] = ()
    cost: Cost | None = None
    examples: tuple[Sample, ...] = ()
    notes: tuple[str, ...] = ()
    title: str = ""
    slots: int = 0
    looks: int = 0
    webhooks: int = 0

    def as_json(self) -> dict[str, Any]:
        """The replay as JSON values."""
        return {
            "rule": self.rule_id,
            "version": self.version,
            "from": self.start.isoformat(),
            "to": self.end.isoformat(),
            "matches": self.matches,
            "messages": self.messages,
            "vouchers": self.vouchers,
            "tasks": self.tasks,
            "webhooks": self.webhooks,
            "withheld": {reason.value: count for reason, count in self.withheld.items()},
            "days": [each.as_json() for each in self.days],
            "cost": None if self.cost is None else self.cost.as_json(),
            "examples": [sample.as_json() for sample in self.examples],
            "notes": list(self.notes),
            "slots": self.slots,
            "looks": self.looks,
        }
