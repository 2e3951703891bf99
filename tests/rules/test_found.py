"""Bugs found while the reference was written: each stays here as a test."""

import pytest
from sqlalchemy import Engine

from models.database import reading
from rules.currencies import refuse_mixed_currencies
from rules.errors import RuleErrors
from rules.given import Given, frame
from rules.reader import Complaints, read
from tests.rules.build import NOW, matched, rule_of

TIMES = [
    ("max of a moment before a day", "orders: {max: {of: placed_at, before: today}}", "orders: [{placed_at: yesterday}]", True),
    ("max of a moment before a day says no", "orders: {max: {of: placed_at, before: yesterday}}", "orders: [{placed_at: yesterday}]", False),
    ("max of a moment between", "orders: {max: {of: placed_at, between: [9 days ago, 2 days ago]}}", "orders: [{placed_at: 3 days ago}]", True),
    ("max of a moment is a day", "orders: {max: {of: placed_at, is: yesterday}}", "orders: [{placed_at: yesterday}]", True),
    ("max of a day", "orders: {max: {of: promised_on, before: today}}", "orders: [{promised_on: yesterday}]", True),
    ("max of a day says no", "orders: {max: {of: promised_on, before: today}}", "orders: [{promised_on: today}]", False),
    ("min of a day since", "orders: {min: {of: promised_on, since: 2026-03-01}}", "orders: [{promised_on: 2026-03-01}]", True),
    ("max of a day within_next", "orders: {max: {of: promised_on, within_next: 3 days}}", "orders: [{promised_on: in 2 days}]", True),
    ("max of a day after a duration", "orders: {max: {of: promised_on, after: 3 days ago}}", "orders: [{promised_on: yesterday}]", True),
    ("max of the day of a moment", "orders: {max: {of: delivered_on, is: yesterday}}", "orders: [{delivered_at: yesterday}]", True),
    ("max of a day between", "orders: {max: {of: promised_on, between: [2026-03-01, 2026-03-09]}}", "orders: [{promised_on: 2026-03-09}]", True),
    ("max of a day is_not", "orders: {max: {of: promised_on, is_not: today}}", "orders: [{promised_on: yesterday}]", True),
    ("max of a moment not yet come", "orders: {max: {of: delivered_at, after: 3 days ago}}", "orders: [{delivered_at: in 1 day}]", False),
    ("min of nothing is not any number", "surveys: {min: {of: score, is_not: 2}}", "tier: gold", False),
    ("nor behind an or", "any_of: [{surveys: {min: {of: score, is_not: 2}}}, {tier: tin}]", "tier: gold", False),
    ("sum between", "orders: {sum: {of: net_total, between: [10 EUR, 20 EUR]}}", "orders: [{net_total: 15 EUR}]", True),
    ("sum is_not", "orders: {sum: {of: net_total, is_not: 10 EUR}}", "orders: [{net_total: 15 EUR}]", True),
    ("change between", "orders: {change: {of: count, between: [-60%, -40%]}, within: 30 days}", "orders: [{placed_at: 5 days ago}, {placed_at: 40 days ago}, {placed_at: 41 days ago}]", True),
    ("count is_not", "orders: {count: {is_not: 2}}", "tier: gold", True),
]  # fmt: skip


@pytest.mark.parametrize(("test", "given", "holds"), [pytest.param(*c[1:], id=c[0]) for c in TIMES])
def test_bounds_of_aggregates(database: Engine, test: str, given: str, holds: bool) -> None:
    assert (
        bool(matched(database, rule_of("a:\n  " + test), f"customer:\n  time_zone: Europe/Berlin\n  {given}")) is holds
    )


@pytest.mark.parametrize(
    "test",
    [
        "created_at: {before: 3000 years ago}",
        "created_at: {within: 101 years}",
        "created_at: {before: in 999999999 days}",
        "created_at: {within: 99999999999999999999 days}",
        "orders: {any: {lines: {latest: {quantity: 2}}}}",
        "orders.lines: {latest: {quantity: 2}}",
        "orders: {count: {in: [1, 2]}}",
        "orders: {sum: {of: net_total}}",
        "orders: {count: {}}",
        "orders: {count: -1.5%}",
        "orders: {any: {net_total: {in: lists/totals.csv}}}",
        "birthday: {in: lists/days.csv}",
        "first_name: {contains: this.last_name}",
        "last_name: {starts_with: this.first_name}",
        "orders: {any: {gross_total: {between: [net_total, shipping_total]}}}",
        "tickets: {any: {satisfaction: {between: [reopen_count, 5]}}}",
    ],
)
def test_what_cannot_be_asked_is_refused(test: str) -> None:
    with pytest.raises(RuleErrors):
        rule_of("a:\n  " + test)


NESTED = [
    ("of the customer's orders", "order", "customer.orders: {max: {of: delivered_at, before: today}}", "order: {delivered_at: yesterday}", True),
    ("of the customer's orders, no", "order", "customer.orders: {max: {of: delivered_at, before: yesterday}}", "order: {delivered_at: yesterday}", False),
    ("in a relation", "customer", "tickets: {any: {surveys: {max: {of: answered_at, before: today}}}}", "customer: {tickets: [{surveys: [{answered_at: yesterday}]}]}", True),
    ("in a relation, no", "customer", "tickets: {any: {surveys: {max: {of: answered_at, before: yesterday}}}}", "customer: {tickets: [{surveys: [{answered_at: yesterday}]}]}", False),
    ("in an exception", "customer", "none_of: [{orders: {min: {of: promised_on, is: today}}}]", "customer: {tier: gold}", True),
    ("where nothing else of the customer is asked", "customer", "orders: {max: {of: placed_at, within: 3 days}}", "customer: {orders: [{placed_at: 1 day ago}]}", True),
    ("a planned one that lies ahead", "customer", "subscriptions: {min: {of: renews_at, within_next: 3 days}}", "customer: {subscriptions: [{renews_at: in 2 days}]}", True),
    ("texts compared", "customer", "last_name: {is: this.first_name}", "customer: {first_name: Ada, last_name: Ada}", True),
    ("texts compared, no", "customer", "last_name: {is: this.first_name}", "customer: {first_name: Ada, last_name: Bee}", False),
    ("numbers compared", "ticket", "satisfaction: {less_than: reopen_count}", "ticket: {satisfaction: 1, reopen_count: 2}", True),
    ("in a list of times of others", "order", "delivered_at: {between: [shipped_at, promised_on]}", "order: {shipped_at: 3 days ago, delivered_at: yesterday, promised_on: yesterday}", True),
    ("compared with what has not come yet", "order", "promised_on: {before: delivered_at}", "order: {promised_on: today, delivered_at: in 2 days}", False),
    ("compared with the day of what has not come yet", "order", "promised_on: {before: delivered_on}", "order: {promised_on: today, delivered_at: in 2 days}", False),
    ("is not what is missing", "order", "promised_on: {is_not: delivered_on}", "order: {promised_on: today}", True),
    ("is not what has not come yet", "order", "promised_on: {is_not: delivered_on}", "order: {promised_on: today, delivered_at: in 2 minutes}", True),
    ("is not the same day", "order", "promised_on: {is_not: delivered_on}", "order: {promised_on: today, delivered_at: 2 minutes ago}", False),
    ("is not a missing text", "customer", "first_name: {is_not: this.last_name}", "customer: {first_name: Ada}", True),
    ("is not a missing amount", "order", "net_total: {is_not: gross_total}", "order: {net_total: 1 EUR}", True),
    ("is not another amount", "order", "net_total: {is_not: gross_total}", "order: {net_total: 1 EUR, gross_total: 1 EUR}", False),
    ("compared with what is known ahead", "subscription", "started_at: {before: renews_at}", "subscription: {started_at: yesterday, renews_at: in 2 days}", True),
    ("a ticket of an order of a customer", "customer", "orders.tickets: {any: {topic: delivery}}", "customer: {orders: [{tickets: [{topic: delivery}]}]}", True),
    ("latest of a path", "customer", "orders.tickets: {latest: {topic: delivery}}", "customer: {orders: [{tickets: [{topic: delivery, opened_at: 2 days ago}, {topic: invoice, opened_at: 3 days ago}]}]}", True),
    ("change of a path", "customer", "orders.tickets: {change: {of: count, at_least: 0%}, within: 30 days}", "customer: {orders: [{placed_at: 50 days ago, tickets: [{opened_at: 2 days ago}, {opened_at: 40 days ago}]}]}", True),
    ("paths to one in a test", "customer", "orders: {any: {customer.tier: gold}}", "customer: {tier: gold, orders: [{net_total: 1 EUR}]}", True),
    ("a customer of an event", "event", "customer.orders: {count: 0}\n  name: login", "event: {name: login}", True),
    ("sum in where", "customer", "orders: {count: 1, where: {lines: {sum: {of: net_total, more_than: 10 EUR}}}}", "customer: {orders: [{lines: [{net_total: 6 EUR}, {net_total: 5 EUR}]}, {lines: [{net_total: 9 EUR}]}]}", True),
]  # fmt: skip


@pytest.mark.parametrize(("subject", "test", "given", "holds"), [pytest.param(*c[1:], id=c[0]) for c in NESTED])
def test_words_put_together(database: Engine, subject: str, test: str, given: str, holds: bool) -> None:
    rows = given if given.startswith("customer") else f"customer: {{time_zone: Europe/Berlin}}\n{given}"
    assert bool(matched(database, rule_of("a:\n  " + test, subject=subject), rows)) is holds


AHEAD = [
    ("lines of an order to come", "orders.lines: {sum: {of: quantity, at_least: 5}}", "orders: [{placed_at: in 3 days, lines: [{quantity: 5}]}]", False),
    ("lines of an order there is", "orders.lines: {sum: {of: quantity, at_least: 5}}", "orders: [{placed_at: 3 days ago, lines: [{quantity: 5}]}]", True),
    ("product of an order to come", "orders.lines.product: {any: {category: toys}}", "orders: [{placed_at: in 3 days, lines: [{product: {category: toys}}]}]", False),
    ("none in an order to come", "orders.lines: {none: {quantity: 5}}", "orders: [{placed_at: in 3 days, lines: [{quantity: 5}]}]", True),
]  # fmt: skip


@pytest.mark.parametrize(("test", "given", "holds"), [pytest.param(*c[1:], id=c[0]) for c in AHEAD])
def test_a_path_through_a_row_that_is_not_there_yet(database: Engine, test: str, given: str, holds: bool) -> None:
    assert bool(matched(database, rule_of("a:\n  " + test), f"customer:\n  {given}")) is holds


TWO = "customer: {orders: [{net_total: 9 EUR}, {net_total: 9 GBP}]}"
MIXED = [
    ("orders: {change: {of: net_total, less_than: -50%}, within: 9 days}", "the rule adds up money, but the orders rows are in EUR, GBP"),
    ("orders: {sum: {of: net_total, at_least: 5 EUR}}", "the rule compares EUR, but the orders rows are also in GBP"),
]  # fmt: skip


@pytest.mark.parametrize(("test", "words"), MIXED)
def test_mixed_currencies_are_refused_at_their_place(database: Engine, test: str, words: str) -> None:
    rule = rule_of("a:\n  " + test)
    said = Complaints("given")
    with reading(database) as connection:
        refuse_mixed_currencies(connection, rule)
        Given(connection, rule, frame(read(NOW, "now"), said), said).build(read(TWO, "given"))
        with pytest.raises(RuleErrors, match=words) as refused:
            refuse_mixed_currencies(connection, rule)
    assert refused.value.problems[0].line == 7
