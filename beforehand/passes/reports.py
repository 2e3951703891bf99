"""What a pass, a preview and an advance report: plain values with a JSON form; only samples hold personal data."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from messaging.costs import Cost
from messaging.guards.brake import REACHED, Over
from models.vocabulary import Reason


def _reasons(withheld: dict[Reason, int]) -> dict[str, int]:
    return {reason.value: count for reason, count in withheld.items()}


@dataclass(frozen=True)
class PassReport:
    """One pass of one rule. ``matched`` counts subjects, ``customers`` the people behind them.

    ``planned`` are new messages; ``waiting`` of them go when the customer's quiet hours end. ``begun`` are matches
    whose first step is a wait. ``displaced`` are lesser messages that gave way. ``skipped``: that slot was done before.
    ``status`` is the rule's: nothing is planned for one that is not live. ``brake``: the run went over this limit, so
    that all of it is held (withheld as BRAKE). ``reached`` counts whom the pass went on with.
    """

    rule_id: str
    version: str
    now: datetime
    matched: int = 0
    customers: int = 0
    planned: int = 0
    withheld: dict[Reason, int] = field(default_factory=dict)
    waiting: int = 0
    begun: int = 0
    tasks: int = 0
    vouchers: int = 0
    webhooks: int = 0
    displaced: int = 0
    skipped: bool = False
    status: str = "live"
    brake: Over | None = None
    reached: int = 0

    def as_json(self) -> dict[str, Any]:
        """The report as JSON values; ``messages`` is another word for ``planned``, as in a preview."""
        return {
            "rule": self.rule_id,
            "version": self.version,
            "now": self.now.isoformat(),
            "matched": self.matched,
            "customers": self.customers,
            "messages": self.planned,
            "withheld": _reasons(self.withheld),
            "waiting_for_morning": self.waiting,
            "begun": self.begun,
            "tasks": self.tasks,
            "vouchers": self.vouchers,
            "webhooks": self.webhooks,
            "displaced": self.displaced,
            "skipped": self.skipped,
            "status": self.status,
            "brake": self.brake and self.brake.as_json(),
            REACHED: self.reached,
        }


@dataclass(frozen=True)
class Sample:
    """One message as it would go: to whom, when, and the words. ``problem`` says why it could not be filled.

    ``segments`` counts SMS segments and ``encoding`` is theirs; None for other channels. ``facts`` made it match,
    ``because`` says the same in words.
    """

    subject: str
    subject_id: int
    external_id: str | None
    customer: str | None
    channel: str
    language: str | None
    template: str
    due_at: datetime
    facts: dict[str, Any] | None = None
    because: tuple[str, ...] = ()
    headline: str = ""
    text: str = ""
    segments: int | None = None
    encoding: str | None = None
    problem: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The sample as JSON values."""
        return {
            "subject": self.subject,
            "subject_id": self.subject_id,
            "external_id": self.external_id,
            "customer": self.customer,
            "channel": self.channel,
            "language": self.language,
            "template": self.template,
            "due_at": self.due_at.isoformat(),
            "headline": self.headline,
            "text": self.text,
            "segments": self.segments,
            "encoding": self.encoding,
            "problem": self.problem,
            "facts": self.facts,
            "because": list(self.because),
        }


@dataclass(frozen=True)
class Preview:
    """Who a rule would reach at a moment, and what they would get. Nothing was written.

    ``messages`` would go; ``waiting`` of them when quiet hours end. ``status`` is the rule's; what is not live is
    decided here as if it were. ``backlog`` of those that would go are left alone at the rule's first live pass, because
    it was so before. ``brake`` is the limit over which a run would be held. ``cost`` is that of these
    messages, without ``later_steps`` (there are some that speak). ``template_problems`` say why no template could be
    used, ``set_problems`` what is wrong with other rule files.
    """

    rule_id: str
    version: str
    title: str
    status: str
    now: datetime
    matched: int
    customers: int
    messages: int
    withheld: dict[Reason, int]
    backlog: int = 0
    brake: Over | None = None
    waiting: int = 0
    tasks: int = 0
    vouchers: int = 0
    webhooks: int = 0
    samples: tuple[Sample, ...] = ()
    cost: Cost | None = None
    later_steps: bool = False
    template_problems: tuple[str, ...] = ()
    set_problems: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The preview as JSON values."""
        return {
            "rule": self.rule_id,
            "version": self.version,
            "title": self.title,
            "status": self.status,
            "now": self.now.isoformat(),
            "matched": self.matched,
            "customers": self.customers,
            "messages": self.messages,
            "withheld": _reasons(self.withheld),
            "backlog": self.backlog,
            "brake": self.brake and self.brake.as_json(),
            "waiting_for_morning": self.waiting,
            "tasks": self.tasks,
            "vouchers": self.vouchers,
            "webhooks": self.webhooks,
            "cost": self.cost and self.cost.as_json(),
            "later_steps": self.later_steps,
            "template_problems": [*self.template_problems],
            "set_problems": [*self.set_problems],
            "samples": [sample.as_json() for sample in self.samples],
        }


@dataclass
class AdvanceReport:
    """What became of the steps that were due: new messages, tasks, vouchers, ended matches, withheld by reason."""

    now: datetime
    steps: int = 0
    planned: int = 0
    tasks: int = 0
    vouchers: int = 0
    webhooks: int = 0
    stopped: int = 0
    withheld: dict[Reason, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            "now": self.now.isoformat(),
            "steps": self.steps,
            "messages": self.planned,
            "tasks": self.tasks,
            "vouchers": self.vouchers,
            "webhooks": self.webhooks,
            "stopped": self.stopped,
            "withheld": _reasons(self.withheld),
            "problems": self.problems,
        }
