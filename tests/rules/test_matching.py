"""Rules as YAML and rows in, matches out: every word of the language, on both databases."""

import pytest
from sqlalchemy import Engine

from tests.rules.build import matched, rule_of

ORDER = "customer: {time_zone: Europe/Berlin}"

FACTS = [
    ("a plain value means is", "a: {tier: gold}", "customer: {tier: gold}", True),
    ("is says no", "a: {tier: gold}", "customer: {tier: silver}", False),
    ("is says no to what is missing", "a: {tier: gold}", "customer: {first_name: Ada}", False),
    ("a list means one of", "a: {tier: [gold, silver]}", "customer: {tier: silver}", True),
    ("a list says no", "a: {tier: [gold, silver]}", "customer: {tier: tin}", False),
    ("is_not", "a: {tier: {is_not: gold}}", "customer: {tier: tin}", True),
    ("is_not holds for what is missing", "a: {tier: {is_not: gold}}", "customer: {first_name: Ada}", True),
    ("not_in", "a: {tier: {not_in: [gold, tin]}}", "customer: {tier: tin}", False),
    ("not_in holds for what is missing", "a: {tier: {not_in: [gold]}}", "customer: {first_name: Ada}", True),
    ("contains", "a: {tier: {contains: ol}}", "customer: {tier: gold}", True),
    ("contains minds the case", "a: {tier: {contains: OL}}", "customer: {tier: gold}", False),
    ("contains takes % literally", "a: {tier: {contains: 'g%d'}}", "customer: {tier: gold}", False),
    ("starts_with", "a: {language: {starts_with: ar}}", "customer: {language: ar-EG}", True),
    ("starts_with says no", "a: {language: {starts_with: ar}}", "customer: {language: en}", False),
    ("unicode", "a: {tier: ذهب}", "customer: {tier: ذهب}", True),
    ("missing", "a: {email: missing}", "customer: {tier: gold}", True),
    ("present", "a: {email: present}", "customer: {tier: gold}", False),
    ("several conditions all hold", "a: {tier: gold}\nb: {country: DE}", "customer: {tier: gold, country: FR}", False),
    ("any_of", "a: {any_of: [{tier: gold}, {country: DE}]}", "customer: {tier: tin, country: DE}", True),
    ("all_of", "a: {all_of: [{tier: gold}, {country: DE}]}", "customer: {tier: tin, country: DE}", False),
    ("none_of", "a: {none_of: [{tier: gold}, {country: DE}]}", "customer: {tier: tin, country: FR}", True),
    ("none_of holds for what is missing", "a: {none_of: [{tier: gold}]}", "customer: {first_name: Ada}", True),
    ("nesting", "a: {any_of: [{none_of: [{tier: gold}]}, {country: DE}]}", "customer: {tier: gold}", False),
    ("a duration ago", "a: {created_at: {before: 7 days ago}}", "customer: {created_at: 8 days ago}", True),
    ("within", "a: {created_at: {within: 7 days}}", "customer: {created_at: 8 days ago}", False),
    (
        "within and before",
        "a: {created_at: {within: 9 days, before: 7 days ago}}",
        "customer: {created_at: 8 days ago}",
        True,
    ),
    ("a day of the calendar", "a: {birthday: 1980-02-29}", "customer: {birthday: 1980-02-29}", True),
    ("between days", "a: {birthday: {between: [1980-01-01, 1980-12-31]}}", "customer: {birthday: 1981-01-01}", False),
]

ORDERS = [
    ("before today", "a: {promised_on: {before: today}}", "promised_on: yesterday", True),
    ("today is not before today", "a: {promised_on: {before: today}}", "promised_on: today", False),
    (
        "a day against a moment",
        "a: {delivered_at: {after: promised_on}}",
        "promised_on: 3 days ago, delivered_at: 2 days ago",
        True,
    ),
    (
        "on the promised day is not after it",
        "a: {delivered_at: {after: promised_on}}",
        "promised_on: 3 days ago, delivered_at: 3 days ago",
        False,
    ),
    (
        "the day of a moment",
        "a: {delivered_on: {after: this.promised_on}}",
        "promised_on: 3 days ago, delivered_at: 2 days ago",
        True,
    ),
    (
        "a moment against a moment",
        "a: {delivered_at: {before: shipped_at}}",
        "shipped_at: 1 day ago, delivered_at: 2 days ago",
        True,
    ),
    ("yesterday", "a: {placed_at: yesterday}", "placed_at: yesterday", True),
    ("since yesterday", "a: {placed_at: {since: yesterday}}", "placed_at: 3 days ago", False),
    ("within_next days", "a: {promised_on: {within_next: 3 days}}", "promised_on: in 2 days", True),
    ("within_next leaves out later days", "a: {promised_on: {within_next: 3 days}}", "promised_on: in 5 days", False),
    ("weekday", "a: {promised_on: monday}", "promised_on: 2026-03-09", True),
    ("money at least", "a: {net_total: {at_least: 50 EUR}}", "net_total: 50 EUR", True),
    ("money less than", "a: {net_total: {less_than: 50 EUR}}", "net_total: 49.99 EUR", True),
    ("money between", "a: {net_total: {between: [10 EUR, 20 EUR]}}", "net_total: 20.01 EUR", False),
    ("what has not happened yet is missing", "a: {delivered_at: missing}", "delivered_at: in 1 day", True),
    ("what has not happened yet is not present", "a: {delivered_at: present}", "delivered_at: in 1 day", False),
    ("another one's fact", "a: {customer.country: DE}", "placed_at: 1 day ago", True),
]

RELATIONS = [
    ("any", "orders: {any: {net_total: {at_least: 10 EUR}}}", "orders: [{net_total: 9 EUR}, {net_total: 11 EUR}]", True),
    ("any says no", "orders: {any: {net_total: {at_least: 10 EUR}}}", "orders: [{net_total: 9 EUR}]", False),
    ("any of nothing", "orders: {any: {}}", "tier: gold", False),
    ("none", "orders: {none: {}}", "tier: gold", True),
    ("none says no", "orders: {none: {net_total: 9 EUR}}", "orders: [{net_total: 9 EUR}]", False),
    ("count", "orders: {count: {at_least: 3}}", 'orders: "3 x {net_total: 9 EUR}"', True),
    ("count exactly", "orders: {count: 2}", 'orders: "3 x {net_total: 9 EUR}"', False),
    ("count of none", "orders: {count: {at_most: 2}}", "tier: gold", True),
    ("count zero", "orders: {count: 0}", "tier: gold", True),
    ("count between", "orders: {count: {between: [2, 3]}}", 'orders: "4 x {net_total: 9 EUR}"', False),
    ("where", "orders: {count: {at_least: 2}, where: {cancelled_at: missing}}", "orders: [{cancelled_at: 1 day ago}, {net_total: 1 EUR}]", False),
    ("within", "orders: {count: {at_least: 2}, within: 10 days}", "orders: [{placed_at: 3 days ago}, {placed_at: 30 days ago}]", False),
    ("since", "orders: {count: {at_least: 1}, since: yesterday}", "orders: [{placed_at: 3 days ago}]", False),
    ("sum", "orders: {sum: {of: net_total, at_least: 30 EUR}}", 'orders: "3 x {net_total: 10 EUR}"', True),
    ("sum less", "orders: {sum: {of: net_total, less_than: 30 EUR}}", "tier: gold", True),
    ("average", "orders: {average: {of: net_total, more_than: 10 EUR}}", "orders: [{net_total: 5 EUR}, {net_total: 16 EUR}]", True),
    ("average of nothing", "orders: {average: {of: net_total, at_most: 10 EUR}}", "tier: gold", False),
    ("min", "surveys: {min: {of: score, at_most: 2}}", "surveys: [{score: 5}, {score: 2}]", True),
    ("max", "surveys: {max: {of: score, at_most: 2}}", "surveys: [{score: 5}, {score: 2}]", False),
    ("the latest time", "orders: {max: {of: placed_at, before: 30 days ago}}", "orders: [{placed_at: 40 days ago}, {placed_at: 20 days ago}]", False),
    ("the earliest time", "orders: {min: {of: placed_at, before: 30 days ago}}", "orders: [{placed_at: 40 days ago}, {placed_at: 20 days ago}]", True),
    ("latest", "surveys: {latest: {score: {at_most: 2}}}", "surveys: [{score: 1, answered_at: 9 days ago}, {score: 5, answered_at: 2 days ago}]", False),
    ("latest says yes", "surveys: {latest: {score: {at_most: 2}}}", "surveys: [{score: 5, answered_at: 9 days ago}, {score: 1, answered_at: 2 days ago}]", True),
    ("change falls", "orders: {change: {of: count, less_than: -40%}, within: 30 days}", "orders: [{placed_at: 5 days ago}, {placed_at: 40 days ago}, {placed_at: 41 days ago}]", True),
    ("change does not fall enough", "orders: {change: {of: count, less_than: -60%}, within: 30 days}", "orders: [{placed_at: 5 days ago}, {placed_at: 40 days ago}, {placed_at: 41 days ago}]", False),
    ("change of nothing before", "orders: {change: {of: count, more_than: 0%}, within: 30 days}", "orders: [{placed_at: 5 days ago}]", False),
    ("change of money", "orders: {change: {of: net_total, at_least: 100%}, within: 30 days}", "orders: [{placed_at: 5 days ago, net_total: 20 EUR}, {placed_at: 40 days ago, net_total: 10 EUR}]", True),
    ("a relation of a relation", "orders: {any: {lines: {any: {product.category: toys}}}}", "orders: [{lines: [{product: {category: toys}}]}]", True),
    ("a path through many", "orders.lines: {sum: {of: quantity, at_least: 5}}", "orders: [{lines: [{quantity: 2}]}, {lines: [{quantity: 3}]}]", True),
    ("a path through many to one", "orders.lines.product: {any: {category: toys}}", "orders: [{lines: [{product: {category: toys}}]}]", True),
    ("a path through many says no", "orders.lines.product: {any: {category: toys}}", "orders: [{lines: [{product: {category: food}}]}]", False),
    ("calendar words in a relation", "orders: {any: {promised_on: {before: today}}}", "orders: [{promised_on: yesterday}]", True),
    ("rows of the future are not there", "orders: {any: {}}", "orders: [{placed_at: in 1 day}]", False),
    ("an answer that was not known yet", "surveys: {any: {score: 5}}", "surveys: [{score: 5, asked_at: 2 days ago, answered_at: in 1 hour}]", False),
]  # fmt: skip


def _case(values: tuple[str, str, str, bool]) -> object:
    return pytest.param(*values[1:], id=values[0])


@pytest.mark.parametrize(("conditions", "given", "holds"), [_case(c) for c in FACTS])
def test_facts_of_a_customer(database: Engine, conditions: str, given: str, holds: bool) -> None:
    assert bool(matched(database, rule_of(conditions), given)) is holds


@pytest.mark.parametrize(("conditions", "given", "holds"), [_case(c) for c in ORDERS])
def test_facts_of_an_order(database: Engine, conditions: str, given: str, holds: bool) -> None:
    rows = f"customer: {{country: DE, time_zone: Europe/Berlin}}\norder: {{{given}}}"
    assert bool(matched(database, rule_of(conditions, subject="order"), rows)) is holds


@pytest.mark.parametrize(("test", "given", "holds"), [_case(c) for c in RELATIONS])
def test_relations_of_a_customer(database: Engine, test: str, given: str, holds: bool) -> None:
    assert bool(matched(database, rule_of("a:\n  " + test), f"customer:\n  {given}")) is holds


@pytest.mark.parametrize(("test", "given", "holds"), [_case(c) for c in RELATIONS])
def test_an_exception_is_the_opposite(database: Engine, test: str, given: str, holds: bool) -> None:
    rule = rule_of("known: {first_name: Ada}", more=f"unless:\n  a:\n    {test}")
    assert bool(matched(database, rule, f"customer:\n  {given}")) is not holds
