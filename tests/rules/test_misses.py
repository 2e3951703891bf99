"""The nearest miss, for each kind of bound: what is wanting, in words, and when it comes by itself."""

import textwrap
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, select

from models.database import reading
from rules.given import Given, frame
from rules.loader import Rule
from rules.misses import Look, miss_text, misses
from rules.reader import Complaints, Node, read
from rules.saying import Voice
from rules.verdicts import Told, told
from tests.rules.build import NOW, rule_of
from tests.rules.dice import Dice, made
from tests.rules.population import NOWS, fill, population, table_of
from tests.rules.test_equal import SUBJECTS, ZONE, common


def look_at(connection: Connection, rule: Rule, seen: Told) -> Look:
    """Asks about one subject at another moment."""
    table = table_of(rule.subject)
    only = select(table.c.id).where(table.c.id == seen.subject_id)

    def look(moment: datetime) -> Told | None:
        found = told(connection, rule, now=moment, zone=ZONE, only=only)
        return found[0] if found else None

    return look


def nearest(engine: Engine, rule: Rule, given: str) -> list[str]:
    """What stands in the way of the first subject, in words."""
    said = Complaints("given")
    at = frame(Node(NOW, 1, 1), said)
    now = at.now
    with reading(engine) as connection:
        Given(connection, rule, at, said).build(read(textwrap.dedent(given), "given"))
        table = table_of(rule.subject)
        seen = told(connection, rule, now=now, zone=ZONE, only=select(table.c.id))[0]
        voice = Voice(now, seen.zone)
        return [miss_text(miss, voice) for miss in misses(seen, voice, look_at(connection, rule, seen))]


ORDERS = "customer: {time_zone: Europe/Berlin, created_at: 90 days ago, orders: %s}"

BOUNDS = [
    (
        "orders: {count: {at_least: 10}, where: {cancelled_at: missing}, within: 12 months}",
        ORDERS % '"8 x {placed_at: 334 days ago}"',
        "2 more such orders in the next 31 days (before Fri 10 Apr 2026 11:00) would match",
    ),
    ("orders: {count: {more_than: 2}}", ORDERS % '"2 x {placed_at: 3 days ago}"', "1 more such order would match"),
    ("orders: {count: {between: [4, 6]}}", ORDERS % '"2 x {placed_at: 3 days ago}"', "2 more such orders would match"),
    ("orders: {count: 3}", ORDERS % '"5 x {placed_at: 3 days ago}"', "2 fewer such orders would match"),
    (
        "orders: {count: {at_most: 1}, within: 30 days}",
        ORDERS % "[{placed_at: 20 days ago}, {placed_at: 5 days ago}]",
        "1 fewer such order would match;"
        " from Fri 20 Mar 2026 10:00 Europe/Berlin the rule matches, if nothing else changes",
    ),
    (
        "orders: {count: {less_than: 1}, within: 30 days}",
        ORDERS % "[{placed_at: 20 days ago}, {placed_at: 5 days ago}]",
        "2 fewer such orders would match;"
        " from Sat 4 Apr 2026 11:00 Europe/Berlin the rule matches, if nothing else changes",
    ),
    (
        "orders: {sum: {of: net_total, at_least: 1000 EUR}, within: 12 months}",
        ORDERS % '"2 x {placed_at: 300 days ago, net_total: 410 EUR}"',
        "180.00 EUR more in the net_total of such orders in the next 65 days"
        " (before Thu 14 May 2026 11:00) would match",
    ),
    (
        "orders: {sum: {of: net_total, more_than: 820 EUR}}",
        ORDERS % '"2 x {placed_at: 300 days ago, net_total: 410 EUR}"',
        "over 0.00 EUR more in the net_total of such orders would match",
    ),
    (
        "orders: {max: {of: net_total, at_least: 100 EUR}}",
        ORDERS % '"2 x {net_total: 41 EUR}"',
        "one such order with net_total at least 100.00 EUR would match",
    ),
    ("orders: {average: {of: net_total, at_least: 100 EUR}}", ORDERS % '"2 x {net_total: 41 EUR}"', ""),
    ("orders: {any: {delivered_at: present}}", ORDERS % '"2 x {placed_at: 3 days ago}"', "one such order would match"),
    (
        "orders: {none: {}, within: 120 days}",
        ORDERS % "[{placed_at: 20 days ago}]",
        "without any such order it would match;"
        " from Thu 18 Jun 2026 11:00 Europe/Berlin the rule matches, if nothing else changes",
    ),
    ("orders: {latest: {net_total: {at_least: 5 EUR}}}", ORDERS % "[{net_total: 1 EUR}]", ""),
    (
        "orders: {change: {of: count, less_than: -50%}, within: 30 days}",
        ORDERS % "[{placed_at: 3 days ago}]",
        "from Mon 6 Apr 2026 11:00 Europe/Berlin the rule matches, if nothing else changes",
    ),
    (
        "created_at: {before: 100 days ago}",
        ORDERS % "[]",
        "from Fri 20 Mar 2026 10:01 Europe/Berlin the rule matches, if nothing else changes",
    ),
    ("created_at: {within: 28 days}", ORDERS % "[]", ""),
    ("tier: gold", "customer: {tier: tin}", "tier 'gold' would match"),
    ("tier: present", "customer: {}", "tier being known would match"),
    ("tier: {contains: o}", "customer: {tier: tin}", ""),
    (
        "all_of: [{tier: gold}, {orders: {count: {at_least: 1}}}]",
        "customer: {tier: tin}",
        "tier 'gold' and 1 more such order would match",
    ),
    (
        "any_of: [{tier: gold}, {orders: {count: {at_least: 2}}}]",
        "customer: {tier: tin}",
        "tier 'gold', or 2 more such orders would match",
    ),
]


@pytest.mark.parametrize(("condition", "given", "said"), BOUNDS)
def test_what_is_wanting(rules_sqlite: Engine, condition: str, given: str, said: str) -> None:
    assert nearest(rules_sqlite, rule_of(f"short: {{{condition}}}"), given) == [said]


def test_postgresql_says_the_same(rules_postgres: Engine) -> None:
    for condition, rows, said in BOUNDS:
        assert nearest(rules_postgres, rule_of(f"short: {{{condition}}}"), rows) == [said]


DAYS = [
    ("promised_on: {before: today}", "{promised_on: today}", "Wed 11 Mar 2026 00:00"),
    ("promised_on: {before: yesterday}", "{promised_on: today}", "Thu 12 Mar 2026 00:00"),
    ("promised_on: {within_next: 2 days}", "{promised_on: 2026-03-20}", "Wed 18 Mar 2026 00:00"),
    ("promised_on: tomorrow", "{promised_on: 2026-03-20}", "Thu 19 Mar 2026 00:00"),
    ("placed_on: yesterday", "{placed_at: 1 hour ago}", "Wed 11 Mar 2026 00:00"),
    ("placed_at: {before: today}", "{placed_at: 1 hour ago}", "Wed 11 Mar 2026 00:00"),
    ("placed_at: {before: 3 hours ago}", "{placed_at: 1 hour ago}", "Tue 10 Mar 2026 12:01"),
    ("placed_at: {before: sunday}", "{placed_at: 1 hour ago}", "Sun 15 Mar 2026 00:00"),
]


@pytest.mark.parametrize(("condition", "row", "when"), DAYS)
def test_a_time_that_comes_by_itself(rules_sqlite: Engine, condition: str, row: str, when: str) -> None:
    rule = rule_of(f"late: {{{condition}}}", subject="order")
    said = nearest(rules_sqlite, rule, f"customer: {{time_zone: Europe/Berlin}}\norder: {row}")
    assert said == [f"from {when} Europe/Berlin the rule matches, if nothing else changes"]


def test_numbers_and_money_of_a_row(rules_sqlite: Engine) -> None:
    dear = rule_of("dear: {net_total: {at_least: 100 EUR}}", subject="order")
    assert nearest(rules_sqlite, dear, "order: {net_total: 75.50 EUR}") == ["24.50 EUR more in net_total would match"]
    over = rule_of("reopened: {reopen_count: {more_than: 2}}", subject="ticket")
    assert nearest(rules_sqlite, over, "ticket: {reopen_count: 1}") == ["over 1 more in reopen_count would match"]
    foreign = rule_of("dear: {net_total: {at_least: 100 EUR}}", subject="order")
    assert nearest(rules_sqlite, foreign, "order: {net_total: 75 USD}") == [""]


def test_an_exception_that_holds(rules_sqlite: Engine) -> None:
    more = "unless: {open: {tickets: {any: {closed_at: missing}}}}"
    said = nearest(rules_sqlite, rule_of("all: {tier: tin}", more=more), "customer: {tier: tin, tickets: [{topic: a}]}")
    assert said == ["without any such ticket it would match"]
    more = "unless: {much: {tickets: {count: {at_least: 2}, within: 10 days}}}"
    given = (
        "customer: {tier: tin, time_zone: Europe/Berlin, tickets: [{opened_at: 8 days ago}, {opened_at: 1 day ago}]}"
    )
    (said_much,) = nearest(rules_sqlite, rule_of("all: {tier: tin}", more=more), given)
    assert said_much.startswith("1 fewer such ticket would match; from Thu 12 Mar 2026 10:00 Europe/Berlin the rule")


def test_two_in_the_way_promise_nothing_of_the_whole(rules_sqlite: Engine) -> None:
    rule = rule_of("short: {orders: {count: {at_least: 2}}}\nnice: {tier: gold}")
    said = nearest(rules_sqlite, rule, "customer: {tier: tin, orders: [{}]}")
    assert said == ["1 more such order would do", "tier 'gold' would do"]


def test_another_condition_on_the_same_rows_promises_nothing_of_the_whole(rules_sqlite: Engine) -> None:
    rule = rule_of("short: {orders: {count: {at_least: 2}}}\nquiet: {orders: {none: {}, within: 9 days}}")
    said = nearest(rules_sqlite, rule, "customer: {orders: [{placed_at: 20 days ago}]}")
    assert said == ["1 more such order would do"]


CLOCKED = [
    *("created_at: {before: 7 days ago}", "created_at: {before: today}", "created_at: {within: 1 month}"),
    *("created_on: {within: 30 days}", "created_on: yesterday", "birthday: {before: yesterday}"),
    *("orders: {none: {}, within: 30 days}", "orders: {count: {at_most: 1}, within: 1 month}"),
    *("none_of: [{orders: {any: {}, within: 7 days}}, {tickets: {any: {}, within: 1 day}}]", "created_at: sunday"),
    *("orders: {max: {of: placed_at, before: 3 days ago}}", "orders: {none: {placed_at: {since: yesterday}}}"),
]


def test_what_is_promised_comes_and_not_before(rules_sqlite: Engine, rules_postgres: Engine) -> None:
    said = [0]

    @settings(common, max_examples=6)
    @given(made(lambda dice: (dice.pick(NOWS), dice)), st.sampled_from(CLOCKED), st.sampled_from(CLOCKED))
    def promised(drawn: tuple[datetime, Dice], one: str, other: str) -> None:
        now, world = drawn[0], population(drawn[1], drawn[0], SUBJECTS)
        rule = rule_of(f"a: {{{one}}}\nb: {{{other}}}")
        for engine in (rules_sqlite, rules_postgres):
            with reading(engine) as connection:
                fill(connection, world, SUBJECTS, now)
                said[0] += _promises(connection, rule, now)

    promised()
    assert said[0] > 5, said


def _promises(connection: Connection, rule: Rule, now: datetime) -> int:
    """What is said to come by itself comes at that moment, and not before. Gives how often something was said."""
    table, said = table_of(rule.subject), 0
    for each in told(connection, rule, now=now, zone=ZONE, only=select(table.c.id)):
        look, voice = look_at(connection, rule, each), Voice(now, each.zone)
        for miss in misses(each, voice, look) if each.there else []:
            assert "None" not in miss_text(miss, voice)
            if miss.comes is None:
                continue
            said += 1
            after, before = look(miss.comes), look(miss.comes - timedelta(microseconds=1))
            assert after is not None
            assert before is not None
            assert miss.comes > now
            assert [_same(there, miss.verdict.part.number) for there in (before, after)] == [False, True], rule.text
            assert miss.matches is after.holds
    return said


def _same(there: Told, number: int) -> bool:
    return next(verdict.holds for verdict in there.conditions if verdict.part.number == number)
