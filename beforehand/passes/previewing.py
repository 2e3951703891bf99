"""The preview of a rule: a pass that stops before it writes, its cost, and the first messages as customers get them."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, select

from beforehand.passes.costing import cost_of
from beforehand.passes.deciding import count_candidates, decide_on
from beforehand.passes.house import brand_of, rule_alone, templates_of
from beforehand.passes.reports import Preview, Sample
from beforehand.passes.samples import sample_of
from beforehand.wiring import App
from messaging import guards
from messaging.candidates import candidate, customer, open_for_decision, outside_key, table_of
from messaging.context import Item, contexts_for
from messaging.costs import Cost
from messaging.guards.times import count_waiting
from messaging.steps import leading_waits
from models.database import reading
from models.terms import Money, Send, after
from models.vocabulary import Reason
from rules.errors import Problem
from rules.loader import Rule


def preview_rule(app: App, rule_id: str, now: datetime, *, limit: int = 20) -> Preview:
    """Who the rule would reach at ``now`` and what they would get, with ``limit`` messages rendered; writes nothing.

    Works for rules that are not live, too, and where another file of the set is broken: ``Preview.set_problems`` tells.
    Raises UnknownRule, and RuleErrors where the rule's own file is refused.
    """
    rule, problems = rule_alone(app, rule_id)
    with reading(app.engine) as connection:
        return preview_on(connection, app, rule, now, limit=limit, set_problems=problems)


def preview_on(
    connection: Connection,
    app: App,
    rule: Rule,
    now: datetime,
    *,
    limit: int = 20,
    set_problems: Iterable[Problem] = (),
    found: Select[Any] | None = None,
    live_from: datetime | None = None,
) -> Preview:
    """The preview of ``rule``, which need not be of the running set; leaves its candidates in the transaction.

    ``found`` and ``live_from`` are those of :func:`beforehand.passes.deciding.pass_on`.
    """
    case = decide_on(connection, app, rule, now, preview=True, found=found, live_from=live_from)
    matched, customers = count_candidates(connection)
    going, _people = count_candidates(connection, open_for_decision())
    withheld = guards.withheld(connection)
    return Preview(
        rule_id=rule.id,
        version=rule.terms.version,
        title=rule.terms.title,
        status=rule.terms.status.value,
        now=now,
        matched=matched,
        customers=customers,
        messages=going if case.run.send is not None else 0,
        withheld=withheld,
        backlog=guards.backlog.count(connection, case),
        brake=guards.brake.over(connection, case),
        waiting=count_waiting(connection, case),
        tasks=going * len(case.run.tasks),
        webhooks=going * len(case.run.webhooks),
        vouchers=going if case.run.voucher is not None else 0,
        samples=tuple(_samples(connection, app, rule, case, limit)),
        cost=cost_of_candidates(connection, app, case, going),
        later_steps=any(isinstance(step, Send) for step in rule.terms.steps[case.run.end :]),
        template_problems=_template_problems(app, case) if Reason.TEMPLATE_FAILED in withheld else (),
        set_problems=tuple(map(str, set_problems)),
    )


def cost_of_candidates(connection: Connection, app: App, case: guards.Case, going: int) -> Cost:
    """What the first steps of the ``going`` open candidates cost."""
    voucher = case.run.voucher
    vouchers = [Money(going * voucher.worth.minor, voucher.worth.currency)] if voucher else []
    return cost_of(app, connection, _planned(), case.terms, vouchers=vouchers, now=case.now)


def _planned() -> Select[Any]:
    names = ("customer_id", "subject_id", "channel", "template", "language", "facts", "address")
    return select(*(candidate.c[name] for name in names)).where(open_for_decision(), candidate.c.channel.is_not(None))


def _template_problems(app: App, case: guards.Case) -> tuple[str, ...]:
    send = case.run.send
    if send is None:
        return ()
    found = templates_of(app).problems(send.template, send.by, subject=case.terms.subject)
    return tuple(map(str, found))


def _samples(connection: Connection, app: App, rule: Rule, case: guards.Case, limit: int) -> list[Sample]:
    subject = table_of(case.terms.subject).alias("subject")
    rows = connection.execute(
        select(candidate, customer.c.external_id.label("customer"), outside_key(subject).label("external_id"))
        .join(customer, customer.c.id == candidate.c.customer_id)
        .join(subject, subject.c.id == candidate.c.subject_id)
        .where(open_for_decision(), candidate.c.channel.is_not(None))
        .order_by(candidate.c.id)
        .limit(limit)
    ).all()
    items = [item_of(case, row) for row in rows]
    contexts = contexts_for(connection, items, brand=brand_of(app.settings)) if items else []
    return [
        sample_of(app, rule, row, context, due_at=_after_waits(case, row.due_at), decided_at=case.now)
        for row, context in zip(rows, contexts, strict=True)
    ]


def _after_waits(case: guards.Case, due: datetime) -> datetime:
    for wait in leading_waits(case.terms.steps):
        due = after(due, wait.lasts) if wait.lasts else due
    return due


def item_of(case: guards.Case, row: Row[Any]) -> Item:
    """A candidate's row as its first message would be filled."""
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
