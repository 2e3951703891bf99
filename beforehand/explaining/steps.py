"""A rule's steps for one customer, before anything is sent: each message as its channel shows it, and when it would go.

Later steps are decided by the real gates at the moment they would fall due, over what is stored now.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, select

from beforehand.explaining.report import Choice, Decision, StepReport
from beforehand.passes.house import brand_of, policy_of, templates_of
from beforehand.wiring import App
from messaging import guards
from messaging.candidates import TABLES, candidate, choice, fill_from_subjects
from messaging.context import Item, contexts_for
from messaging.rendering import RenderingError
from messaging.steps import Run, run_at
from models.terms import Money, Send, TaskStep, VoucherStep, Wait, after
from models.vocabulary import Channel, Reason
from rules.evaluate import known, matching, stop_condition
from rules.loader import Rule
from rules.saying import Voice, clause, lasts_text, money_text


def steps_of(
    connection: Connection, app: App, rule: Rule, now: datetime, only: Select[Any], decided: Mapping[int, Decision]
) -> dict[int, tuple[StepReport, ...]]:
    """The steps for each decided subject, by its id. Fills the candidates anew for the steps behind a wait."""
    rows = connection.execute(select(candidate.c.subject_id, candidate.c.customer_id, candidate.c.facts)).all()
    told = {}
    for row in rows[:SHOWN]:
        walk = _Walk(connection, app, rule, now, only, decided[row.subject_id], row)
        told[row.subject_id] = tuple(walk.steps())
    return told


SHOWN = 10
"""For so many matches of one customer the steps are told."""


@dataclass
class _Walk:
    """The steps of one subject, one after the other; ``at`` is None once nobody can know when the next one comes."""

    connection: Connection
    app: App
    rule: Rule
    now: datetime
    only: Select[Any]
    first: Decision
    row: Any
    at: datetime | None = None
    waits_for: str = ""

    def steps(self) -> Iterator[StepReport]:
        self.at = self.now
        place, steps = 0, self.rule.terms.steps
        while place < len(steps):
            step = steps[place]
            if isinstance(step, Wait):
                waits = self._wait(place, step)
                yield waits
                if waits.reason is not None:
                    return
                place += 1
                continue
            run = run_at(steps, place)
            yield from self._run(run, self.first if place == 0 else self._decided(run))
            if place == 0 and self.first.reason is not None:
                return  # a first step that is withheld begins nothing
            place = run.end

    # -- waits ---------------------------------------------------------------------------------------------

    def _wait(self, place: int, step: Wait) -> StepReport:
        said = f"wait {lasts_text(step.lasts)}" if step.lasts else f"wait until {step.until}"
        if step.at_most is not None:
            said += f", at most {lasts_text(step.at_most)}"
        condition = stop_condition(self.rule, place)
        if condition is not None:
            said += f"; ends here if by then: {clause(condition, Voice(self.now, 'UTC'))}"
        if place == 0 and self.first.reason is not None:
            return StepReport(str(place), said, reason=self.first.reason)
        if step.lasts is not None:
            self.at = after(self.at, step.lasts) if self.at is not None else None
        elif step.until is not None:
            gives_up = after(self.at, step.at_most) if self.at is not None and step.at_most is not None else None
            self._until(step.until)
            if gives_up is not None and self.at is not None and self.at > gives_up:
                return StepReport(str(place), said, gives_up, reason=Reason.TOO_LATE)
        return StepReport(str(place), said, self.at, self.waits_for)

    def _until(self, path: str) -> None:
        table = TABLES[self.rule.subject.table]
        mine = select(table.c.id).where(table.c.id == self.row.subject_id)
        found = self.connection.execute(known(self.rule, path, ids=mine)).first()
        if found is None or self.at is None:
            self.at, self.waits_for = None, f"once {path} is known"
        else:
            self.at = max(self.at, found.at)

    # -- messages ------------------------------------------------------------------------------------------

    def _decided(self, run: Run) -> Decision:
        """What the gates say of a later run at the moment it would fall due; now, where nobody knows that moment."""
        policy, at = policy_of(self.app), self.at or self.now
        table = TABLES[self.rule.subject.table]
        mine = select(table.c.id).where(table.c.id == self.row.subject_id)
        found = matching(self.rule, now=self.now, zone=policy.zone, only=mine)
        fill_from_subjects(self.connection, found, now=at, zone=policy.zone)
        case = guards.Case(self.rule.terms, run, policy, at, first=False, pretend_live=True)
        guards.decide(self.connection, case)
        row = self.connection.execute(select(candidate)).one()
        ways = [
            Choice(way.channel, way.template, way.step, Reason(way.reason) if way.reason else None)
            for way in self.connection.execute(select(choice).order_by(choice.c.place))
        ]
        reason = Reason(row.reason) if row.reason else None
        return Decision((), reason, None, row.channel, row.template, row.due_at, row.expires_at, tuple(ways))

    def _run(self, run: Run, decision: Decision) -> Iterator[StepReport]:
        for place in range(run.start, run.end):
            step = self.rule.terms.steps[place]
            if isinstance(step, Send):
                yield from self._send(place, step, run, decision)
            elif isinstance(step, VoucherStep):
                said = f"a voucher of {money_text(step.worth.minor, step.worth.currency)}"
                said += f", valid for {lasts_text(step.valid_for)}"
                yield StepReport(str(place), said, self.at, self.waits_for, decision.reason)
            elif isinstance(step, TaskStep):
                yield StepReport(str(place), f"a task for {step.desk}: {step.what}", self.at, self.waits_for)
            else:
                yield StepReport(str(place), f"tell {getattr(step, 'endpoint', step)}", self.at, self.waits_for)

    def _send(self, place: int, step: Send, run: Run, decision: Decision) -> Iterator[StepReport]:
        report = StepReport(str(place), send_text(step), self.at, self.waits_for, decision.reason)
        if decision.reason is not None or decision.channel is None or decision.template is None:
            yield report
            return
        if self.at is not None and decision.due_at is not None:
            self.at = max(self.at, decision.due_at)
            report = replace(report, at=self.at)
        voucher = run.voucher
        yield self._rendered(report, decision.template, decision.channel, step, voucher)
        if step.otherwise is not None and decision.template == step.template:
            yield self._otherwise(place, step.otherwise, decision)

    def _otherwise(self, place: int, other: Send, decision: Decision) -> StepReport:
        """What follows where no try got through."""
        report = StepReport(f"{place}.else", send_text(other), None, "if nobody was reached")
        ways = [way for way in decision.choices if way.step.endswith(".else")]
        way = next((way for way in ways if way.reason is None), None)
        if way is None:
            return replace(report, reason=ways[0].reason if ways else Reason.TEMPLATE_FAILED)
        return self._rendered(report, way.template, way.channel, other, None)

    def _rendered(
        self, report: StepReport, template: str, channel: str, step: Send, voucher: VoucherStep | None
    ) -> StepReport:
        worth: Money | None = voucher.worth if voucher else None
        item = Item(
            customer_id=self.row.customer_id,
            subject=self.rule.terms.subject,
            subject_id=self.row.subject_id,
            facts=self.row.facts or {},
            purpose=self.rule.terms.purpose.value,
            worth=worth,
            valid_until=after(self.at or self.now, voucher.valid_for) if voucher else None,
            survey=step.survey,
        )
        context = contexts_for(self.connection, [item], brand=brand_of(self.app.settings))[0]
        language = context["customer"].get("language")
        try:
            made = templates_of(self.app).render(template, Channel(channel), language, context)
        except RenderingError as wrong:
            return replace(report, channel=channel, problem=str(wrong))
        return replace(report, channel=channel, language=made.language, headline=made.subject, text=made.text)


def send_text(step: Send) -> str:
    """A send, call or survey step in words."""
    verb = "survey" if step.survey else "call" if step.by == (Channel.VOICE,) else "send"
    said = f"{verb} {step.template}"
    if verb != "call":
        said += f" by {', '.join(step.by) if step.by else 'the preferred channel'}"
    if step.tries > 1:
        said += f", up to {step.tries} tries" + (f", {lasts_text(step.every)} apart" if step.every else "")
    return said
