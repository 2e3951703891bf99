"""Every relation of every subject, with every test and modifier that fits: both databases run each statement."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine

from models.database import reading
from rules.evaluate import matching
from rules.facts import Fact, Kind, Subject, subjects
from tests.rules.build import rule_of

NOW = datetime(2026, 3, 10, 9, tzinfo=UTC)
KNOWN = subjects()
DEEPEST = 3
VALUES = {
    Kind.TEXT: "[one, two]",
    Kind.NUMBER: "{between: [1, 2]}",
    Kind.MONEY: "{at_least: 5 EUR, less_than: 9 EUR}",
    Kind.MOMENT: "{within: 3 days, before: today}",
    Kind.DAY: "{since: monday, before: tomorrow}",
    Kind.FLAG: "true",
}


def paths(here: Subject, depth: int = DEEPEST, many: bool = False) -> Iterator[tuple[str, Subject]]:
    """Every path from a subject along its relations that passes a ``many``, with what it leads to."""
    for relation in here.relations.values():
        there = KNOWN[relation.target]
        if many or relation.many:
            yield relation.name, there
        if depth > 1:
            for rest, end in paths(there, depth - 1, many or relation.many):
                yield f"{relation.name}.{rest}", end


def condition(fact: Fact) -> str:
    return f"{fact.name}: {fact.values[0] if fact.values else VALUES[fact.kind]}"


def each_test_of(there: Subject) -> Iterator[str]:
    """Every test of a relation to ``there`` with every modifier."""
    facts = [fact for fact in there.facts.values() if not fact.day_of]
    first = condition(facts[-1])
    where = f", where: {{any_of: [{{{condition(facts[0])}}}, {{none_of: [{{{first}}}]}}]}}"
    dated = [", within_next: 2 days", ", within: 1 month, since: monday"]
    for more in ["", where, *([each + where for each in dated] if there.natural else [])]:
        yield f"any: {{{first}}}{more}"
        yield f"none: {{}}{more}"
        yield f"count: {{more_than: 1, is_not: 7}}{more}"
        if there.natural:
            yield f"latest: {{{first}}}{more}"
    for fact in there.facts.values():
        yield f"any: {{{condition(fact)}}}"
        if fact.kind in (Kind.NUMBER, Kind.MONEY):
            bound = "between: [1 EUR, 2 EUR]" if fact.kind is Kind.MONEY else "between: [1, 2]"
            for how in ("sum", "average", "min", "max"):
                yield f"{how}: {{of: {fact.name}, {bound}}}"
            if there.natural:
                yield f"change: {{of: {fact.name}, less_than: -20%}}, within: 30 days"
        elif fact.kind in (Kind.MOMENT, Kind.DAY):
            for how in ("min", "max"):
                yield f"{how}: {{of: {fact.name}, before: yesterday}}"
                yield f"{how}: {{of: {fact.name}, within: 3 days}}"


DEEP = (
    "order: customer.orders",
    "ticket: order.lines",
    "call: customer.tickets.order",
    "customer: orders.lines.product",
)
WANTED = (*DEEP, "exposure: order.lines.product", "exposure: customer.orders.lines", "event: customer.messages")
EVERY = [(name, *found) for name, subject in KNOWN.items() if subject.for_each for found in paths(subject)]
CASES = [
    pytest.param(name, path, there, id=f"{name}: {path}")
    for name, path, there in EVERY
    if "." not in path or f"{name}: {path}" in WANTED
]


@pytest.mark.parametrize(("name", "path", "there"), CASES)
def test_every_test_of_a_relation_runs(database: Engine, name: str, path: str, there: Subject) -> None:
    several = list(each_test_of(there))
    for start in range(0, len(several), 12):  # SQLite joins 64 tables at most
        some = "\n".join(f"c{n}: {{{path}: {{{test}}}}}" for n, test in enumerate(several[start : start + 12]))
        spared = some.replace("c0:", "d0:").splitlines()[0]
        rule = rule_of(some, subject=name, more=f"unless:\n  {spared}")
        with reading(database) as connection:
            assert connection.execute(matching(rule, now=NOW, zone="UTC")).all() == []


THIS = [
    ("order", "customer.tickets: {{any: {{}}, since: this.{0}}}", "placed_at"),
    ("call", "customer.calls: {{none: {{ended_at: {{after: this.{0}}}}}}}", "ended_at"),
    ("ticket", "order.lines: {{any: {{returned_at: {{after: this.{0}}}}}}}", "opened_at"),
    (
        "subscription",
        "customer.payments: {{count: {{at_least: 1}}, where: {{paid_at: {{since: this.{0}}}}}}}",
        "started_at",
    ),
    ("exposure", "order.lines.product: {{any: {{name: this.product.{0}}}}}", "name"),
    (
        "exposure",
        "customer.orders.lines: {{sum: {{of: quantity, at_least: 1}}, where: {{product.name: this.product.{0}}}}}",
        "name",
    ),
    ("event", "customer.events: {{latest: {{name: this.{0}}}, since: this.happened_at}}", "name"),
    ("customer", "orders: {{any: {{placed_at: {{before: this.{0}}}}}}}", "created_at"),
]


@pytest.mark.parametrize(("subject", "form", "fact"), THIS)
def test_this_leads_back_from_every_subject(database: Engine, subject: str, form: str, fact: str) -> None:
    rule = rule_of(f"a:\n  {form.format(fact)}", subject=subject)
    with reading(database) as connection:
        assert connection.execute(matching(rule, now=NOW, zone="UTC")).all() == []
