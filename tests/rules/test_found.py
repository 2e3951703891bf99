"""Bugs found while the reference was written: each stays here as a test."""

import pytest
from sqlalchemy import Engine

from rules.errors import RuleErrors
from tests.rules.build import matched, rule_of

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
