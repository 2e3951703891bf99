"""A pass of one rule, and its preview: the same evaluation and the same gates, over the same temporary tables."""

import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, func, select, update

from beforehand.passes.house import brand_of, policy_of, rule_of, rules_of, secret_of, templates_of
from beforehand.passes.reports import PassReport, Preview, Sample
from beforehand.wiring import App
from messaging import guards
from messaging.candidates import TABLES, candidate, customer, fill_from_subjects, open_for_decision
from messaging.context import Item, contexts_for
from messaging.guards.occasion import SUBJECT_TABLES
from messaging.guards.times import count_waiting
from messaging.plan import insert_if_new, keep_version, one_decision_at_a_time, plan_new
from messaging.rendering import RenderingError
from messaging.segments import count as count_segments
from messaging.steps import first_speaking, leading_waits
from messaging.vouchers import RandomBytes
from models.database import reading, writing
from models.terms import after
from models.vocabulary import Channel, RuleStatus
from rules.evaluate import matching, refuse_mixed_currencies
from rules.loader import Rule

rule_pass = TABLES["rule_pass"]
change = TABLES["change"]


def _decide(
    connection: Connection, app: App, rule: Rule, now: datetime, *, preview: bool, found: Select[Any] | None = None
) -> guards.Case:
    refuse_mixed_currencies(connection, rule)
    policy = policy_of(app)
    subjects = matching(rule, now=now, zone=policy.zone) if found is None else found
    fill_from_subjects(connection, subjects, now=now, zone=policy.zone)
    before = select(func.max(rule_pass.c.started_at)).where(
        rule_pass.c.rule_id == rule.id, rule_pass.c.finished_at.is_not(None)
    )
    last_pass = connection.execute(before).scalar_one()
    run = first_speaking(rule.terms.steps)
    case = guards.Case(rule.terms, run, policy, now, pretend_live=preview, last_pass=last_pass)
    guards.decide(connection, case)
    return case


def _count(connection: Connection, *where: Any) -> tuple[int, int]:
    """Candidates and the customers behind them."""
    counted = select(func.count(), func.count(candidate.c.customer_id.distinct())).select_from(candidate).where(*where)
    subjects, people = connection.execute(counted).one()
    return subjects, people


def preview_rule(app: App, rule_id: str, now: datetime, *, limit: int = 20) -> Preview:
    """Who the rule would reach at ``now`` and what they would get, with ``limit`` messages rendered; writes nothing.

    Works for rules that are not live, too. Raises UnknownRule and RuleErrors.
    """
    rule = rule_of(app, rule_id)
    with reading(app.engine) as connection:
        case = _decide(connection, app, rule, now, preview=True)
        matched, customers = _count(connection)
        going, _people = _count(connection, open_for_decision())
        return Preview(
            rule_id=rule.id,
            version=rule.terms.version,
            title=rule.terms.title,
            status=rule.terms.status.value,
            now=now,
            matched=matched,
            customers=customers,
            messages=going if case.run.send is not None else 0,
            withheld=guards.withheld(connection),
            waiting=count_waiting(connection, case),
            tasks=going * len(case.run.tasks),
            vouchers=going if case.run.voucher is not None else 0,
            samples=tuple(_samples(connection, app, case, limit)),
        )


def _samples(connection: Connection, app: App, case: guards.Case, limit: int) -> list[Sample]:
    subject = TABLES[SUBJECT_TABLES.get(case.terms.subject, case.terms.subject)].alias("subject")
    outside = subject.c.external_id if "external_id" in subject.c else subject.c.id
    rows = connection.execute(
        select(candidate, customer.c.external_id.label("customer"), outside.label("external_id"))
        .join(customer, customer.c.id == candidate.c.customer_id)
        .join(subject, subject.c.id == candidate.c.subject_id)
        .where(open_for_decision(), candidate.c.channel.is_not(None))
        .order_by(candidate.c.id)
        .limit(limit)
    ).all()
    items = [_item(case, row) for row in rows]
    contexts = contexts_for(connection, items, brand=brand_of(app.settings)) if items else []
    return [_sample(app, case, row, context) for row, context in zip(rows, contexts, strict=True)]


def _item(case: guards.Case, row: Row[Any]) -> Item:
    voucher, send = case.run.voucher, case.run.send
    return Item(
        customer_id=row.customer_id,
        subject=case.terms.subject,
        subject_id=row.subject_id,
        facts=row.facts or {},
        purpose=case.terms.purpose.value,
        worth=voucher.worth if voucher else None,
        valid_until=after(case.now, voucher.valid_for) if voucher else None,
        survey=send.survey if send else None,
    )


def _sample(app: App, case: guards.Case, row: Row[Any], context: dict[str, Any]) -> Sample:
    due = row.due_at
    for wait in leading_waits(case.terms.steps):
        due = after(due, wait.lasts) if wait.lasts else due
    said: dict[str, Any] = {"language": row.language}
    try:
        rendered = templates_of(app).render(row.template, Channel(row.channel), row.language, context)
        said = {"language": rendered.language, "headline": rendered.subject, "text": rendered.text}
        if row.channel == Channel.SMS:
            said["segments"] = count_segments(rendered.text).segments
    except RenderingError as wrong:
        said["problem"] = str(wrong)
    return Sample(
        subject=case.terms.subject,
        subject_id=row.subject_id,
        external_id=str(row.external_id),
        customer=row.customer,
        channel=row.channel,
        template=row.template,
        due_at=due,
        facts=row.facts,
        **said,
    )


def run_rule(
    app: App,
    rule_id: str,
    now: datetime,
    *,
    slot: datetime | None = None,
    random: RandomBytes = secrets.token_bytes,
) -> PassReport:
    """One pass: evaluate, decide and plan in one write transaction; idempotent by (rule, ``slot``; default ``now``).

    Raises UnknownRule and RuleErrors; nothing is written then.
    """
    rule = rule_of(app, rule_id)
    with writing(app.engine) as connection:
        one_decision_at_a_time(connection)
        return pass_on(connection, app, rule, now, slot=slot, random=random)


def pass_on(
    connection: Connection,
    app: App,
    rule: Rule,
    now: datetime,
    *,
    slot: datetime | None = None,
    random: RandomBytes = secrets.token_bytes,
    found: Select[Any] | None = None,
) -> PassReport:
    """One pass of ``rule``, which need not be of the running set, within an open transaction.

    ``found`` (columns ``subject_id, customer_id, facts``) takes the place of asking who matches at ``now``.
    """
    begun = {"rule_id": rule.id, "version": rule.terms.version, "slot": slot or now, "started_at": now}
    if not insert_if_new(connection, rule_pass, begun):
        return PassReport(rule.id, rule.terms.version, now, skipped=True)
    keep_version(connection, rule.id, rule.terms.version, rule.text, now)
    seen = _changes(connection, rule.terms.events)
    case = _decide(connection, app, rule, now, preview=False, found=found)
    report = _plan(connection, case, secret_of(app.settings), random)
    counts = report.as_json() | {"changes": seen}
    mine = (rule_pass.c.rule_id == rule.id) & (rule_pass.c.slot == (slot or now))
    connection.execute(update(rule_pass).where(mine).values(finished_at=now, counts=counts))
    return report


def _plan(connection: Connection, case: guards.Case, secret: bytes, random: RandomBytes) -> PassReport:
    matched, customers = _count(connection)
    planned = plan_new(connection, case, secret, random)
    going, _people = _count(connection, open_for_decision())
    begins = bool(leading_waits(case.terms.steps))
    return PassReport(
        rule_id=case.terms.rule_id,
        version=case.terms.version,
        now=case.now,
        matched=matched,
        customers=customers,
        planned=planned.messages,
        withheld=guards.withheld(connection),
        waiting=0 if begins else count_waiting(connection, case),
        begun=going if begins else 0,
        tasks=planned.tasks,
        vouchers=planned.vouchers,
        displaced=planned.displaced,
    )


def _changes(connection: Connection, events: Sequence[str]) -> dict[str, str]:
    """When each of the events last happened, as text, so that a later look sees whether one happened since."""
    found = connection.execute(select(change.c.event, change.c.changed_at).where(change.c.event.in_(events)))
    return {event: changed_at.isoformat() for event, changed_at in found}


def event_rules_due(app: App, now: datetime) -> list[str]:
    """Live rules that listen to an event which happened since their last pass; the more urgent first.

    Compares with what the last pass saw, not with its time: an ingest that commits late is not missed.
    """
    listening = [
        rule for rule in rules_of(app).rules.values() if rule.terms.events and rule.terms.status is RuleStatus.LIVE
    ]
    if not listening:
        return []
    with reading(app.engine) as connection:
        happened = _changes(connection, sorted({event for rule in listening for event in rule.terms.events}))
        seen = _seen(connection, [rule.id for rule in listening])
    due = [rule for rule in listening if _has_news(rule, happened, seen.get(rule.id, {}))]
    return [rule.id for rule in sorted(due, key=lambda rule: (-rule.terms.priority, rule.id))]


def _has_news(rule: Rule, happened: dict[str, str], seen: dict[str, str]) -> bool:
    return any(event in happened and happened[event] != seen.get(event) for event in rule.terms.events)


def _seen(connection: Connection, rule_ids: Sequence[str]) -> dict[str, dict[str, str]]:
    newest = (
        select(func.max(rule_pass.c.id))
        .where(rule_pass.c.rule_id.in_(rule_ids), rule_pass.c.finished_at.is_not(None))
        .group_by(rule_pass.c.rule_id)
    )
    rows = connection.execute(select(rule_pass.c.rule_id, rule_pass.c.counts).where(rule_pass.c.id.in_(newest)))
    return {rule_id: (counts or {}).get("changes", {}) for rule_id, counts in rows}
