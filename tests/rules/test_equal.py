"""Equal by proof: generated rules over generated rows; the compiled statement and the plain reading agree.

``latest`` orders by natural time even when that lies ahead of now only for rows already born, so ties and rows of the
future are part of what is generated: nulls, equal times, both sides of midnight and of the clock change.
"""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, insert

import models
from models.database import reading
from rules.evaluate import matching
from rules.loader import Rule
from tests.rules.build import rule_of
from tests.rules.reference import Reader, Row

NOW = datetime(2026, 3, 29, 9, 30, tzinfo=UTC)
"""The day on which clocks go forward in Europe."""
ZONES = [None, "Europe/Berlin", "America/New_York", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Kathmandu"]

moments = st.one_of(
    st.none(),
    st.sampled_from([NOW, NOW - timedelta(days=30), NOW - timedelta(days=1), NOW + timedelta(hours=3)]),
    st.integers(-60 * 24 * 60, 3 * 24 * 60).map(lambda minutes: NOW + timedelta(minutes=minutes)),
)
days = st.one_of(st.none(), st.integers(-40, 5).map(lambda n: date(2026, 3, 29) + timedelta(days=n)))
words = st.sampled_from([None, "gold", "Gold", "tin", "ذهب", "a%b_c", ""])
orders = st.fixed_dictionaries(
    {
        "placed_at": moments,
        "promised_on": days,
        "delivered_at": moments,
        "cancelled_at": moments,
        "net_total": st.one_of(st.none(), st.integers(0, 5000)),
    }
)
surveys = st.fixed_dictionaries(
    {"asked_at": moments, "answered_at": moments, "score": st.one_of(st.none(), st.integers(1, 5))}
)
customers = st.fixed_dictionaries(
    {
        "tier": words,
        "time_zone": st.sampled_from(ZONES),
        "created_at": moments,
        "orders": st.lists(orders, max_size=4),
        "surveys": st.lists(surveys, max_size=3),
    }
)

lasts = st.sampled_from(["1 day", "30 days", "6 hours", "1 month", "45 minutes"])
points = st.sampled_from(
    ["today", "yesterday", "tomorrow", "monday", "sunday", "3 days ago", "in 1 day", "2026-03-28", "2026-03-29T01:30Z"]
)
numbers = st.integers(0, 4)
amounts = st.sampled_from(["0 EUR", "10 EUR", "25.50 EUR", "1000 EUR"])
ordering = st.sampled_from(["at_least", "at_most", "more_than", "less_than"])


def one(form: str, **parts: st.SearchStrategy[Any]) -> st.SearchStrategy[str]:
    """A piece of YAML with generated parts."""
    return st.fixed_dictionaries(parts).map(lambda filled: form.format(**filled))


temporal = st.one_of(
    one("{{{op}: {point}}}", op=st.sampled_from(["before", "after", "since"]), point=points),
    one("{{within: {d}}}", d=lasts),
    one("{{within_next: {d}}}", d=lasts),
    one("{{between: [3 days ago, {point}]}}", point=points),
    st.sampled_from(["missing", "present", "today", "yesterday"]),
)
text_tests = st.sampled_from(
    [
        *("gold", "missing", "present", "{is_not: gold}", "[gold, tin]", "{not_in: [gold]}"),
        *("{contains: ol}", "{starts_with: G}", "{contains: '%'}", "ذهب"),
    ]
)
order_facts = st.one_of(
    one("{fact}: {t}", fact=st.sampled_from(["placed_at", "delivered_at", "cancelled_at", "placed_on"]), t=temporal),
    one("promised_on: {t}", t=temporal),
    st.sampled_from(["delivered_at: {after: promised_on}", "delivered_on: {after: promised_on}"]),
    st.sampled_from(["promised_on: {before: delivered_at}", "cancelled_at: {before: this.created_at}"]),
    one("net_total: {{{op}: {a}}}", op=ordering, a=amounts),
    one("customer.tier: {t}", t=text_tests),
)
survey_facts = st.one_of(
    one("score: {{{op}: {n}}}", op=ordering, n=numbers),
    one("answered_at: {t}", t=temporal),
    st.sampled_from(["score: missing", "score: [1, 2]", "score: {is_not: 3}"]),
)
narrowed = st.one_of(
    st.just(""),
    one(", where: {{{c}}}", c=order_facts),
    one(", within: {d}", d=lasts),
    one(", since: {p}", p=points),
    one(", where: {{{c}}}, within: {d}", c=order_facts, d=lasts),
)
of_orders = st.one_of(
    one("orders: {{{how}: {{{c}}}{n}}}", how=st.sampled_from(["any", "none"]), c=order_facts, n=narrowed),
    one("orders: {{count: {{{op}: {k}}}{n}}}", op=ordering, k=numbers, n=narrowed),
    one("orders: {{count: {k}{n}}}", k=numbers, n=narrowed),
    one("orders: {{{how}: {{of: net_total, {op}: {a}}}{n}}}",
        how=st.sampled_from(["sum", "average", "min", "max"]), op=ordering, a=amounts, n=narrowed),
    one("orders: {{change: {{of: {of}, {op}: {p}%}}, within: {d}}}",
        of=st.sampled_from(["count", "net_total"]), op=ordering, p=st.sampled_from([-50, 0, 100]), d=lasts),
    one("orders: {{latest: {{{c}}}{n}}}", c=order_facts, n=narrowed),
)  # fmt: skip
of_surveys = st.one_of(
    one("surveys: {{{how}: {{{c}}}}}", how=st.sampled_from(["any", "none", "latest"]), c=survey_facts),
    one("surveys: {{min: {{of: score, {op}: {n}}}}}", op=ordering, n=numbers),
    one("surveys: {{any: {{}}, since: this.created_at}}"),
)
leaves = st.one_of(one("tier: {t}", t=text_tests), one("created_at: {t}", t=temporal), of_orders, of_surveys)
trees = st.recursive(
    leaves.map(lambda leaf: "{" + leaf + "}"),
    lambda inner: one("{{{how}: [{a}, {b}]}}", how=st.sampled_from(["any_of", "all_of", "none_of"]), a=inner, b=inner),
    max_leaves=4,
)
populations = st.lists(customers, min_size=3, max_size=6)
perhaps = st.one_of(st.none(), st.none(), trees)


def fill(connection: Any, population: list[dict[str, Any]]) -> list[Row]:
    """Insert the population; gives the customers as rows with what is around them."""
    rows: list[Row] = []
    ids = {"order": 0, "survey": 0}
    for number, customer in enumerate(population, start=1):
        values = {k: v for k, v in customer.items() if k not in ("orders", "surveys")} | {"id": number}
        owner = Row("customer", values)
        basic = {"external_id": f"c{number}", "changed_at": NOW, "bucket": 0}
        connection.execute(insert(models.Customer).values(**values, **basic))
        for kind, table in (("order", models.Order), ("survey", models.Survey)):
            members = []
            for member in customer[f"{kind}s"]:
                ids[kind] += 1
                row = {**member, "id": ids[kind], **({"currency": "EUR"} if kind == "order" else {})}
                foreign = {"customer_id": number, "external_id": f"{kind}{ids[kind]}", "changed_at": NOW}
                connection.execute(insert(table).values(**row, **foreign))
                members.append(Row(kind, row, {"customer": [owner]}))
            owner.around[f"{kind}s"] = members
        rows.append(owner)
    return rows


def agree(engine: Engine, rule: Rule, population: list[dict[str, Any]]) -> None:
    """The statement and the reading name the same customers."""
    with reading(engine) as connection:
        rows = fill(connection, population)
        found = sorted(row.subject_id for row in connection.execute(matching(rule, now=NOW, zone="UTC")))
    wanted = []
    for row in rows:
        reader = Reader(NOW, "UTC", row)
        holds = all(reader.holds(condition, row) for condition in rule.conditions.values())
        spared = not any(reader.holds(condition, row) for condition in rule.exceptions.values())
        if holds and spared and (reader.born(row) or _unasked(rule)):
            wanted.append(row.values["id"])
    assert found == wanted, rule.text


def _unasked(rule: Rule) -> bool:
    """Whether the customer's own row plays no part, so that nobody asks when it came to be."""
    return "FROM customer" not in str(matching(rule, now=NOW, zone="UTC")).split("WHERE")[0].split("(SELECT")[0]


def run(database: Engine, first: str, second: str | None, population: list[dict[str, Any]], *, spare: bool) -> None:
    more = f"unless:\n  b: {second}" if spare and second else ""
    also = f"\nb: {second}" if second and not spare else ""
    rule = rule_of(f"a: {first}{also}", more=more)
    agree(database, rule, population)


common = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], derandomize=True
)


@settings(common, max_examples=250)
@given(first=trees, second=perhaps, population=populations, spare=st.booleans())
def test_the_statement_says_what_the_rule_says(
    database: Engine, first: str, second: str | None, population: list[dict[str, Any]], spare: bool
) -> None:
    run(database, first, second, population, spare=spare)


@pytest.mark.prove
@settings(common, max_examples=10_000)
@given(first=trees, second=perhaps, population=populations, spare=st.booleans())
def test_ten_thousand_statements_say_what_their_rules_say(
    database: Engine, first: str, second: str | None, population: list[dict[str, Any]], spare: bool
) -> None:
    run(database, first, second, population, spare=spare)
