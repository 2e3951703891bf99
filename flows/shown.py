"""What staff read in Prefect: run names, tags, descriptions and tables. Figures and rule ids only, never a person."""

from datetime import timedelta
from typing import Any

from beforehand.passes.outcome import Outcome
from flows.hands import Hands, PassFigures, SendFigures
from models.terms import Terms
from models.vocabulary import REASON_TEXT, Reason, RuleStatus

Row = dict[str, str | int]


def rule_tags(terms: Terms) -> list[str]:
    """The tags of a rule's deployment and runs: ``purpose:service``, ``rule:late-order``."""
    return [f"purpose:{terms.purpose.value}", f"rule:{terms.rule_id}"]


def run_name(rule_id: str, figures: PassFigures) -> str:
    """``late-order · 42 matched``, or that the slot was done before."""
    return f"{rule_id} · done before" if figures.skipped else f"{rule_id} · {figures.matched:,} matched"


def late_name(rule_id: str, late: timedelta) -> str:
    """``late-order · skipped, 2 h late``."""
    minutes = int(late.total_seconds() // 60)
    said = f"{minutes // 60} h" if minutes >= 60 else f"{minutes} min"
    return f"{rule_id} · skipped, {said} late"


def rule_description(terms: Terms, hands: Hands) -> str:
    """A rule in markdown: title, why, owner, when, and where its file and its messages are."""
    when = ", ".join(f"`{cron}`" for cron in terms.cron) + (f" ({hands.time_zone})" if terms.cron else "")
    events = ", ".join(f"`{event}`" for event in terms.events)
    shadow = terms.status is RuleStatus.SHADOW
    lines = [
        f"**{terms.title}**",
        terms.why,
        "- **Shadow: its matches and decisions are kept, and nothing is sent.**" if shadow else "",
        f"- Owner: {terms.owner}" if terms.owner else "",
        f"- On schedule: {when}" if when else "",
        f"- On events: {events}, looked at every second by the heartbeat" if events else "",
        f"- Rule file: `{hands.rules_folder / terms.rule_id}.yaml`, version `{terms.version[:12]}`",
        f"- Messages: [{hands.post_room}]({hands.post_room})" if hands.post_room else "",
    ]
    return "\n\n".join(lines[:2]) + "\n\n" + "\n".join(line for line in lines[2:] if line)


def pass_rows(figures: PassFigures, became: Outcome) -> list[Row]:
    """The table of one pass: matched, withheld by reason, planned, and what became of the planned so far."""
    rows: list[Row] = [_row("matched", figures.matched, f"by the rule's conditions; {figures.customers:,} customers")]
    rows += reason_rows("withheld", figures.withheld)
    rows.append(_row("planned", figures.planned, "messages that no gate kept back"))
    if figures.tasks:
        rows.append(_row("tasks", figures.tasks, "for a person to do"))
    rows += way_rows(became)
    if became.waiting:
        rows.append(_row("waiting", became.waiting, "for the end of quiet hours, or their turn"))
    return rows + reason_rows("held back at the last look", became.withheld)


def way_rows(figures: SendFigures) -> list[Row]:
    """The lines of a table that tell what left the house."""
    rows = [_row("sent", figures.sent, "accepted by the provider"), _row("failed", figures.failed, "refused for good")]
    if figures.unknown:
        rows.append(_row("unknown", figures.unknown, "no clear answer; evidence is awaited"))
    return rows


def reason_rows(what: str, counts: Any) -> list[Row]:
    """One line for each reason, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))
    return [_row(what, count, REASON_TEXT[Reason(reason)]) for reason, count in ordered]


def _row(what: str, count: int, note: str) -> Row:
    return {"what": what, "how many": count, "note": note}


class Sent:
    """The sum of several dispatches."""

    def __init__(self) -> None:
        self.sent = self.failed = self.unknown = 0
        self.withheld: dict[Reason, int] = {}

    def add(self, figures: SendFigures) -> int:
        """Add one dispatch; gives how many messages it moved, 0 when nothing was due."""
        self.sent += figures.sent
        self.failed += figures.failed
        self.unknown += figures.unknown
        for reason, count in figures.withheld.items():
            self.withheld[reason] = self.withheld.get(reason, 0) + count
        return figures.sent + figures.failed + figures.unknown

    def rows(self) -> list[Row]:
        """The table of a dispatch."""
        return way_rows(self) + reason_rows("held back at the last look", self.withheld)
