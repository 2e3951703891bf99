"""What an explanation tells: plain values with a JSON form. It holds personal data, so it goes to the asker only."""

from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from models.vocabulary import REASON_TEXT, Reason
from rules.conditions import Group
from rules.misses import Miss, miss_text
from rules.saying import Voice, sentence
from rules.verdicts import Told, Verdict


def plain(value: Any) -> Any:
    """A value as JSON knows it."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value


@dataclass(frozen=True)
class GateVerdict:
    """One gate: passed, or withheld for a reason."""

    name: str
    reason: Reason | None = None

    def as_json(self) -> dict[str, Any]:
        """The gate as JSON values."""
        why = REASON_TEXT[self.reason] if self.reason else None
        return {"gate": self.name, "passed": self.reason is None, "reason": plain(self.reason), "why": why}


@dataclass(frozen=True)
class Choice:
    """One way to say it, and what struck it out."""

    channel: str
    template: str
    step: str
    reason: Reason | None = None


@dataclass(frozen=True)
class Decision:
    """What the gates decide on one match. ``due_at`` is when its first message may go; ``held``: what it waits for."""

    gates: tuple[GateVerdict, ...]
    reason: Reason | None
    occasion: str | None
    channel: str | None
    template: str | None
    due_at: datetime | None
    expires_at: datetime | None
    choices: tuple[Choice, ...] = ()
    held: str = ""

    def as_json(self) -> dict[str, Any]:
        """The decision as JSON values."""
        return {
            "goes": self.reason is None,
            "reason": plain(self.reason),
            "occasion": self.occasion,
            "channel": self.channel,
            "template": self.template,
            "due_at": plain(self.due_at),
            "held": self.held or None,
            "gates": [gate.as_json() for gate in self.gates],
            "channels": [{"channel": c.channel, "step": c.step, "reason": plain(c.reason)} for c in self.choices],
        }


@dataclass(frozen=True)
class SubjectReport:
    """One subject of the customer under one rule: its verdicts, its nearest misses, what the gates decide.

    ``unsure`` are facts that are told as they are now, because no history is kept of them.
    """

    kind: str
    key: str
    told: Told
    voice: Voice
    misses: tuple[Miss, ...] = ()
    decision: Decision | None = None
    unsure: tuple[str, ...] = ()
    steps: tuple["StepReport", ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The subject as JSON values."""
        return {
            "subject": f"{self.kind}/{self.key}",
            "matches": self.told.holds,
            "there": self.told.there,
            "if": [self._condition(verdict, stops=False) for verdict in self.told.conditions],
            "unless": [self._condition(verdict, stops=True) for verdict in self.told.exceptions],
            "nearest_miss": [self._miss(miss) for miss in self.misses],
            "as_it_is_now": list(self.unsure),
            "decision": self.decision.as_json() if self.decision else None,
            "steps": [step.as_json() for step in self.steps],
        }

    def _condition(self, verdict: Verdict, *, stops: bool) -> dict[str, Any]:
        return {"name": verdict.part.name, **self._part(verdict, stops=stops)}

    def _part(self, verdict: Verdict, *, stops: bool) -> dict[str, Any]:
        if isinstance(verdict.part.test, Group):
            members = [self._part(member, stops=stops) for member in verdict.members]
            return {"holds": verdict.holds, "how": verdict.part.test.how, "members": members}
        found = {"found": plain(verdict.found), "currency": verdict.currency, "rows": verdict.rows}
        known = {name: value for name, value in found.items() if value is not None}
        return {"holds": verdict.holds, "says": sentence(verdict, self.voice, stops=stops), **known}

    def _miss(self, miss: Miss) -> dict[str, Any]:
        return {
            "condition": miss.verdict.part.name,
            "says": miss_text(miss, self.voice) or None,
            "until": plain(miss.until),
            "comes": plain(miss.comes),
            "rule_matches_then": miss.matches,
        }


@dataclass(frozen=True)
class StepReport:
    """One step of a rule for one customer: what it does, when, and the message as its channel shows it."""

    place: str
    says: str
    at: datetime | None = None
    after: str = ""
    reason: Reason | None = None
    channel: str | None = None
    language: str | None = None
    headline: str = ""
    text: str = ""
    problem: str = ""

    def as_json(self) -> dict[str, Any]:
        """The step as JSON values."""
        return {
            "step": self.place,
            "says": self.says,
            "at": plain(self.at),
            "after": self.after or None,
            "reason": plain(self.reason),
            "channel": self.channel,
            "language": self.language,
            "headline": self.headline or None,
            "text": self.text or None,
            "problem": self.problem or None,
        }


@dataclass(frozen=True)
class RuleReport:
    """One rule over one customer. ``looked_at`` counts the customer's subjects of that kind; some of them are shown."""

    rule_id: str
    title: str
    status: str
    version: str
    kind: str
    looked_at: int = 0
    matching: int = 0
    subjects: tuple[SubjectReport, ...] = ()
    notes: tuple[str, ...] = ()
    problem: str = ""

    def as_json(self) -> dict[str, Any]:
        """The rule as JSON values."""
        return {
            "rule": self.rule_id,
            "title": self.title,
            "status": self.status,
            "version": self.version,
            "for_each": self.kind,
            "looked_at": self.looked_at,
            "matching": self.matching,
            "subjects": [subject.as_json() for subject in self.subjects],
            "notes": list(self.notes),
            "problem": self.problem or None,
        }


@dataclass(frozen=True)
class Event:
    """Something that happened to a match: ``kind`` is found, message, attempt, evidence, receipt, task ..."""

    at: datetime
    kind: str
    says: str

    def as_json(self) -> dict[str, Any]:
        """The event as JSON values."""
        return {"at": plain(self.at), "kind": self.kind, "says": self.says}


@dataclass(frozen=True)
class PastMatch:
    """A stored match with all that came of it, in order of time. ``because`` are its stored facts in the stored words.

    ``state`` and ``reason`` are as they are now. ``kept`` is False where the text of its version is not kept or cannot
    be read; ``other_text``: the rule reads differently by now, or is gone.
    """

    rule_id: str
    version: str
    occasion: str
    subject: str
    state: str
    reason: Reason | None
    matched_at: datetime
    because: tuple[str, ...] = ()
    kept: bool = True
    other_text: str = ""
    events: tuple[Event, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The match as JSON values."""
        return {
            "rule": self.rule_id,
            "version": self.version,
            "occasion": self.occasion,
            "subject": self.subject,
            "state": self.state,
            "reason": plain(self.reason),
            "why": REASON_TEXT[self.reason] if self.reason else None,
            "matched_at": plain(self.matched_at),
            "because": list(self.because),
            "from_stored_facts": True,
            "text_kept": self.kept,
            "note": self.other_text or None,
            "events": [event.as_json() for event in self.events],
        }


@dataclass(frozen=True)
class Explanation:
    """All that is told of one customer. ``as_of`` is True where another moment than now was asked about."""

    customer: str
    name: str
    zone: str
    now: datetime
    as_of: bool = False
    rules: tuple[RuleReport, ...] = ()
    past: tuple[PastMatch, ...] = ()
    more_past: int = 0
    notes: tuple[str, ...] = field(default=())

    def as_json(self) -> dict[str, Any]:
        """The explanation as JSON values; moments are UTC, ``zone`` is the customer's."""
        return {
            "customer": self.customer,
            "name": self.name,
            "zone": self.zone,
            "now": plain(self.now),
            "as_of_another_moment": self.as_of,
            "notes": list(self.notes),
            "rules": [rule.as_json() for rule in self.rules],
            "past": [match.as_json() for match in self.past],
            "more_past": self.more_past,
        }
