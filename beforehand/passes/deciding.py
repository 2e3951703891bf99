"""A pass of one rule: evaluate, decide, plan. A preview is the same evaluation and the same gates, and stops there."""

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from time import monotonic
from typing import Any

from sqlalchemy import Connection, Select, func, select, update

from beforehand.passes.backlog import backlog_of
from beforehand.passes.house import policy_of, rule_of, rules_of, secret_of
from beforehand.passes.in_force import authors_of_new, bring_one_into_force
from beforehand.passes.reports import PassReport
from beforehand.passes.telling import tell_webhooks
from beforehand.wiring import App
from messaging import guards
from messaging.candidates import TABLES, candidate, fill_from_subjects, open_for_decision
from messaging.events_out import RULE_MATCHED, happened
from messaging.guards.times import count_waiting
from messaging.onlookers import Passed, tell
from messaging.plan import insert_if_new, keep_version, one_decision_at_a_time, plan_new
from messaging.shares import note_share
from messaging.steps import first_speaking, leading_waits
from messaging.vouchers import RandomBytes
from models.database import reading, writing
from models.vocabulary import RUNNING, Reason, RuleStatus
from rules.currencies import refuse_mixed_currencies
from rules.evaluate import matching
from rules.loader import Rule

rule_pass = TABLES["rule_pass"]
change = TABLES["change"]


def decide_on(
    connection: Connection,
    app: App,
    rule: Rule,
    now: datetime,
    *,
    preview: bool,
    found: Select[Any] | None = None,
    live_from: datetime | None = None,
    brakes: bool = True,
    seen: Callable[[guards.Gate], None] | None = None,
) -> guards.Case:
    """Find the rule's subjects and decide on each, in the running transaction's temporary tables; plans nothing.

    ``preview``: as if the rule were live. ``found`` takes the place of asking who matches, ``live_from`` that of the
    rule's own ``from``. ``brakes`` False: as if no run were ever held. ``seen`` is called after each gate, for those
    who explain few: they do not look through all money for other currencies, as a pass does.
    """
    if seen is None:
        refuse_mixed_currencies(connection, rule)
    policy = policy_of(app) if brakes else replace(policy_of(app), brakes=None)
    subjects = matching(rule, now=now, zone=policy.zone) if found is None else found
    fill_from_subjects(connection, subjects, now=now, zone=policy.zone)
    before = select(func.max(rule_pass.c.started_at)).where(
        rule_pass.c.rule_id == rule.id, rule_pass.c.finished_at.is_not(None)
    )
    last_pass = connection.execute(before).scalar_one()
    run = first_speaking(rule.terms.steps)
    acts = preview or rule.terms.status is RuleStatus.LIVE
    backlog = backlog_of(connection, app, rule, now, live_from=live_from) if acts else None
    case = guards.Case(rule.terms, run, policy, now, pretend_live=preview, last_pass=last_pass, backlog=backlog)
    guards.decide(connection, case, seen=seen)
    return case


def count_candidates(connection: Connection, *where: Any) -> tuple[int, int]:
    """How many candidates there are (that ``where`` selects), and how many customers behind them."""
    counted = select(func.count(), func.count(candidate.c.customer_id.distinct())).select_from(candidate).where(*where)
    subjects, people = connection.execute(counted).one()
    return subjects, people


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
    author = authors_of_new(app.engine, [rule]).get(rule_id)
    with _timed(rule_id) as took, writing(app.engine) as connection:
        one_decision_at_a_time(connection)
        bring_one_into_force(connection, rule, now, author)
        note_share(connection, app.settings.holdout, now)
        report = pass_on(connection, app, rule, now, slot=slot, random=random)
        _tell_matched(connection, report)
    if not report.skipped:
        tell(Passed(rule_id, took(), report.matched, report.planned, report.withheld))
    return report


@contextmanager
def _timed(rule_id: str) -> Iterator[Callable[[], float]]:
    """Seconds since the beginning; a pass that is ended by an error is told as one that failed."""
    began = monotonic()
    try:
        yield lambda: monotonic() - began
    except Exception:
        tell(Passed(rule_id, monotonic() - began, failed=True))
        raise


def _tell_matched(connection: Connection, report: PassReport) -> None:
    """Write down that the pass found somebody; occasions that were spoken of before are no news at each pass."""
    known = report.withheld.get(Reason.KNOWN_OCCASION, 0)
    if report.matched <= known:
        return
    counts = {"matched": report.matched - known, "customers": report.customers, "planned": report.planned}
    counts["withheld"] = sum(report.withheld.values()) - known
    told = counts | {"status": report.status, "version": report.version[:12]}
    happened(connection, RULE_MATCHED, f"rule:{report.rule_id}", report.now, told)


def pass_on(
    connection: Connection,
    app: App,
    rule: Rule,
    now: datetime,
    *,
    slot: datetime | None = None,
    random: RandomBytes = secrets.token_bytes,
    found: Select[Any] | None = None,
    live_from: datetime | None = None,
    brakes: bool = True,
) -> PassReport:
    """One pass of ``rule``, which need not be of the running set, within an open transaction.

    ``found`` (columns ``subject_id, customer_id, facts``) takes the place of asking who matches at ``now``, and
    ``live_from`` that of the rule's own ``from`` (THE_BEGINNING: nothing is backlog). Without ``brakes`` no run is held
    (a replay).
    """
    begun = {
        "rule_id": rule.id,
        "version": rule.terms.version,
        "status": rule.terms.status,
        "slot": slot or now,
        "started_at": now,
    }
    if not insert_if_new(connection, rule_pass, begun):
        return PassReport(rule.id, rule.terms.version, now, skipped=True)
    keep_version(connection, rule.id, rule.terms.version, rule.text, now)
    seen = _changes(connection, rule.terms.events)
    case = decide_on(connection, app, rule, now, preview=False, found=found, live_from=live_from, brakes=brakes)
    report = _plan(connection, case, secret_of(app.settings), random)
    if report.webhooks:
        tell_webhooks(connection, rule, now, case.policy.zone)
    counts = report.as_json() | {"changes": seen}
    mine = (rule_pass.c.rule_id == rule.id) & (rule_pass.c.slot == (slot or now))
    connection.execute(update(rule_pass).where(mine).values(finished_at=now, counts=counts))
    return report


def _plan(connection: Connection, case: guards.Case, secret: bytes, random: RandomBytes) -> PassReport:
    matched, customers = count_candidates(connection)
    planned = plan_new(connection, case, secret, random)
    going, people = count_candidates(connection, open_for_decision())
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
        webhooks=planned.webhooks,
        displaced=planned.displaced,
        status=case.terms.status.value,
        brake=planned.held,
        reached=max(going, people),
    )


def _changes(connection: Connection, events: Sequence[str]) -> dict[str, str]:
    """When each of the events last happened, as text, so that a later look sees whether one happened since."""
    found = connection.execute(select(change.c.event, change.c.changed_at).where(change.c.event.in_(events)))
    return {event: changed_at.isoformat() for event, changed_at in found}


def event_rules_due(app: App, now: datetime) -> list[str]:
    """Live and shadow rules that listen to an event which happened since their last pass; the more urgent first.

    Compares with what the last pass saw, not with its time: an ingest that commits late is not missed.
    """
    listening = [rule for rule in rules_of(app).rules.values() if rule.terms.events and rule.terms.status in RUNNING]
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
