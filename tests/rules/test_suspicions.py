# ruff: noqa: E501
"""Conditions that can never hold, or that always do, are warned of at their place; no others are."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from rules.checks import suspicions
from rules.conditions import Condition, Group
from rules.constraints import impossible, ways
from rules.facts import subjects
from rules.loader import Rule, load_text
from rules.pairs import Findings, disjoint, implies
from tests.rules.build import rule_of
from tests.rules.dice import Dice, rolled
from tests.rules.grammar import Grammar, rule_text
from tests.rules.population import NOWS, population
from tests.rules.reference import Reader

NEVER = "this can never hold: "
ALWAYS = "this always holds, whatever the data say"

ODD = [
    ("{orders: {count: {at_least: 5, less_than: 3}}}", "orders", NEVER + "the count of 'orders' can never be at least 5 and less than 3"),
    ("{orders: {count: {more_than: 5, less_than: 5}}}", "orders", NEVER + "the count of 'orders' can never be more than 5 and less than 5"),
    ("{orders: {count: {more_than: 5, less_than: 6}}}", "orders", NEVER + "the count of 'orders' can never be more than 5 and less than 6"),
    ("{orders: {count: 2.5}}", "orders", NEVER + "the count of 'orders' can never be 2.5"),
    ("{orders: {count: {at_least: 0}}}", "orders", ALWAYS),
    ("{orders: {count: {less_than: 0}}}", "orders", NEVER + "the count of 'orders' can never be less than 0: a count is never less than 0"),
    ("{orders: {sum: {of: net_total, between: [9 EUR, 5 EUR]}}}", "orders", NEVER + "the sum of net_total of 'orders' can never be between 9 EUR and 5 EUR"),
    ("{orders: {max: {of: placed_at, before: 5 days ago, after: yesterday}}}", "orders", NEVER + "the max of placed_at of 'orders' can never be after yesterday and before 5 days ago"),
    ("{orders: {change: {of: count, less_than: -100%}, within: 9 days}}", "orders", NEVER + "the change of 'orders' can never be less than -100: a number cannot shrink by more than 100%"),
    ("{all_of: [{tier: gold}, {tier: tin}]}", "tin", NEVER + "'tier' can never be 'gold' and 'tin'"),
    ("{all_of: [{tier: gold}, {all_of: [{tier: {not_in: [gold, tin]}}]}]}", "not_in: [gold", NEVER + "'tier' can never be 'gold' and none of 'gold', 'tin'"),
    ("{tier: {in: [gold, tin], starts_with: s}}", "starts_with: s", NEVER + "'tier' can never be one of 'gold', 'tin' and beginning with 's'"),
    ("{tier: {starts_with: a, contains: c}, all_of: [{tier: {starts_with: b}}]}", "starts_with: b", NEVER + "'tier' can never be beginning with 'a' and beginning with 'b'"),
    ("{all_of: [{tier: missing}, {tier: tin}]}", "tin", NEVER + "'tier' can never be 'tin' and missing"),
    ("{none_of: [{tier: present}], tier: {is: tin}}", "is: tin", NEVER + "'tier' can never be 'tin' and missing"),
    ("{any_of: [{tier: missing}, {tier: present}]}", "missing", ALWAYS),
    ("{any_of: [{tier: gold}, {tier: {is_not: gold}}]}", "gold", ALWAYS),
    ("{orders: {any: {net_total: {at_least: 9 EUR, at_most: 5 EUR}}}}", "at_most: 5 EUR", NEVER + "'net_total' can never be at least 9 EUR and at most 5 EUR"),
    ("{orders: {none: {net_total: {between: [9 EUR, 5 EUR]}}}}", "orders", ALWAYS),
    ("{orders: {any: {delivered_at: {within_next: 2 days}}}}", "within_next: 2 days", NEVER + "'delivered_at' can never be within the next 2 days: it is known only once it has happened"),
    ("{orders: {any: {delivered_on: {after: today}}}}", "after: today", NEVER + "'delivered_on' can never be after today: it is known only once it has happened"),
    ("{orders: {any: {delivered_at: {after: tomorrow}}}}", "after: tomorrow", NEVER + "'delivered_at' can never be after tomorrow: it is known only once it has happened"),
    ("{orders: {any: {delivered_at: {before: 3 days ago, after: 2 days ago}}}}", "after: 2 days ago", NEVER + "'delivered_at' can never be after 2 days ago and before 3 days ago"),
    ("{orders: {any: {delivered_at: {before: 12 months ago, within: 12 months}}}}", "within: 12 months", NEVER + "'delivered_at' can never be within 12 months and before 12 months ago"),
    ("{orders: {any: {delivered_at: {before: 13 months ago, within: 12 months}}}}", "within: 12 months", NEVER + "'delivered_at' can never be within 12 months and before 13 months ago"),
    ("{orders: {any: {promised_on: {before: today, after: yesterday}}}}", "after: yesterday", NEVER + "'promised_on' can never be after yesterday and before today"),
    ("{orders: {any: {placed_on: today, placed_at: {before: 3 days ago}}}}", "before: 3 days ago", NEVER + "'placed_on' can never be today and before 3 days ago"),
    ("{orders: {any: {placed_at: {after: 2026-03-01, before: 2026-02-01}}}}", "before: 2026-02-01", NEVER + "'placed_at' can never be after 2026-03-01 and before 2026-02-01"),
    ("{orders: {any: {promised_on: {before: delivered_at}, delivered_at: missing}}}", "missing", NEVER + "'delivered_at' can never be present and missing"),
    ("{orders: {any: {delivered_at: {before: promised_on, after: promised_on}}}}", "after: promised_on", NEVER + "'delivered_at' can never be after promised_on and before promised_on"),
    ("{surveys: {any: {answered_at: missing}, within: 30 days}}", "missing", NEVER + "'answered_at' can never be within 30 days and missing"),
    ("{orders: {count: {at_least: 2}, within: 30 days}, all_of: [{orders: {none: {}}}]}", "orders", NEVER + "the count of 'orders' can never be at least 2 and none"),
    ("{orders: {any: {net_total: {at_least: 9 EUR}}}, none_of: [{orders: {any: {}}}]}", "orders", NEVER + "'orders' can never be some and none"),
    ("{all_of: [{orders: {any: {}, within: 30 days}}, {orders: {none: {}, within: 60 days}}]}", "orders", NEVER + "'orders' can never be some and none"),
    ("{any_of: [{tier: tin}, {tier: {in: [a], not_in: [a]}}]}", "not_in: [a]", NEVER + "'tier' can never be one of 'a' and none of 'a'"),
]  # fmt: skip


@pytest.mark.parametrize(("condition", "there", "said"), ODD)
def test_what_is_suspicious_is_said_at_its_place(condition: str, there: str, said: str) -> None:
    rule = rule_of(f"odd: {condition}")
    (problem,) = suspicions(rule)
    assert str(problem) == f"case.yaml:6:{problem.column}: warning: odd: {said}"
    assert rule.text.splitlines()[5][problem.column - 1 :].startswith(there)


TOGETHER = [
    ("a: {tier: gold}\nb: {tier: tin}", "", "7:12: warning: a and b can never hold together: 'tier' can never be 'gold' and 'tin'"),
    ("a: {orders: {any: {net_total: {at_least: 5 EUR}}}}\nb: {orders: {none: {}}}", "", "7:7: warning: a and b can never hold together: 'orders' can never be some and none"),
    ("a: {tier: gold}", "unless:\n  b: {tier: gold}", "8:3: warning: b: this holds for all that the rule finds, so it never sends"),
    ("a: {orders: {count: {at_least: 2}}}", "unless:\n  b: {orders: {any: {}}}", "8:3: warning: b: this holds for all that the rule finds, so it never sends"),
    ("a: {orders: {latest: {net_total: {is_not: 2 EUR}}}}", "unless:\n  b: {orders: {latest: {net_total: {is_not: 2 EUR}}}}", "8:3: warning: b: this holds for all"),
    ("a: {first_name: ada, tier: present}", "unless:\n  b: {any_of: [{tier: gold}, {tier: {is_not: gold}}]}", "8:14: warning: b: this always holds"),
]  # fmt: skip


@pytest.mark.parametrize(("conditions", "more", "said"), TOGETHER)
def test_conditions_that_exclude_one_another_are_named(conditions: str, more: str, said: str) -> None:
    (problem,) = suspicions(rule_of(conditions, more=more))
    assert str(problem).startswith("case.yaml:" + said) or said.split(": ", 1)[1] in str(problem)


def test_a_word_that_is_none_of_all_that_it_can_be_is_told() -> None:
    every = ", ".join(subjects()["call"].facts["outcome"].values)
    (problem,) = suspicions(rule_of(f"odd: {{calls: {{any: {{outcome: {{not_in: [{every}]}}}}}}}}"))
    assert "'outcome' is nothing else, so this holds only where it is missing" in str(problem)


FINE = [
    "{orders: {count: {at_least: 5, at_most: 5}}}",
    "{orders: {count: {at_least: 3, less_than: 5}}}",
    "{any_of: [{tier: gold}, {tier: tin}]}",
    "{orders: {any: {net_total: {between: [5 EUR, 9 EUR]}}}}",
    "{orders: {count: {at_least: 4}, within: 18 months}, all_of: [{orders: {none: {}, within: 120 days}}]}",
    "{all_of: [{orders: {any: {delivered_at: missing}}}, {orders: {none: {delivered_at: present}}}]}",
    "{orders: {any: {delivered_at: {before: 12 months ago, since: 366 days ago}}}}",
    "{orders: {any: {placed_on: today, placed_at: {before: 20 hours ago}}}}",
    "{orders: {any: {placed_on: {after: monday, before: today}}}}",
    "{orders: {any: {net_total: {at_least: 9 EUR, less_than: 5 USD}}}}",
    "{subscriptions: {any: {renews_at: {within_next: 7 days}}}}",
    "{tier: {not_in: [gold]}, all_of: [{tier: missing}]}",
    "{all_of: [{orders: {any: {net_total: {at_least: 9 EUR}}}}, {orders: {any: {net_total: {less_than: 9 EUR}}}}]}",
    "{surveys: {any: {}, within: 30 days}, all_of: [{surveys: {none: {}}}]}",
]


@pytest.mark.parametrize("condition", FINE)
def test_what_is_not_suspicious_is_left_alone(condition: str) -> None:
    assert suspicions(rule_of(f"fine: {condition}")) == []


def test_rules_that_exclude_or_imply_one_another() -> None:
    findings = Findings()
    regular = findings.of(rule_of("a: {orders: {count: {at_least: 5}}}"))
    new = findings.of(rule_of("a: {orders: {count: {at_most: 1}}}"))
    loyal = findings.of(rule_of("a: {orders: {count: {at_least: 9}}, tier: gold}"))
    of_late = findings.of(rule_of("a: {orders: {count: {at_least: 5}, within: 30 days}}"))
    assert disjoint(regular, new)
    assert disjoint(of_late, new)
    assert not disjoint(regular, loyal)
    assert implies(loyal, regular)
    assert implies(of_late, regular)
    assert not implies(regular, loyal)
    tin, gold = (f"unless:\n  b: {{tier: {tier}, first_name: ada}}" for tier in ("tin", "gold"))
    assert implies(loyal, findings.of(rule_of("a: {orders: {any: {}}}", more=tin)))
    assert not implies(loyal, findings.of(rule_of("a: {orders: {any: {}}}", more=gold)))


# -- no false alarms: whatever a generated row does, nobody had called impossible -----------------------------------

LEAVES = [
    *("tier: gold", "tier: {is_not: gold}", "tier: [gold, tin]", "tier: {not_in: [gold, Gold]}", "tier: missing"),
    *("tier: present", "tier: {contains: o}", "tier: {starts_with: g}", "tier: ''", "created_at: {after: 3 days ago}"),
    *("created_at: {before: today}", "created_on: yesterday", "created_on: {since: monday}", "created_at: {before: 2 days ago}"),
    *("created_at: {within: 1 month}", "created_at: {before: 1 month ago}", "created_on: {within: 1 day}", "created_at: missing"),
    *("created_at: {between: [7 days ago, yesterday]}", "created_at: {after: 2026-03-28}", "created_on: 2026-03-29"),
    *("birthday: {after: created_on}", "birthday: {before: created_at}", "birthday: missing", "birthday: {is: yesterday}"),
    *("birthday: {within_next: 7 days}", "birthday: {before: 1 day ago}", "birthday: {is_not: today}"),
    *("orders: {any: {}}", "orders: {none: {}}", "orders: {count: 2}", "orders: {count: {less_than: 1}}"),
    *("orders: {count: {at_least: 1}, within: 30 days}", "orders: {none: {}, within: 1 month}", "orders: {count: {is_not: 0}}"),
    *("orders: {any: {delivered_at: missing}}", "orders: {none: {delivered_at: present}}", "orders: {any: {}, within_next: 7 days}"),
    *("orders: {count: {at_most: 1}, where: {net_total: {at_least: 10 EUR}}}", "orders: {any: {net_total: {at_least: 10 EUR}}}"),
    *("orders: {sum: {of: net_total, at_least: 10 EUR}}", "orders: {sum: {of: net_total, less_than: 10 EUR}}"),
    *("orders: {max: {of: net_total, less_than: 10 EUR}}", "orders: {min: {of: placed_at, after: 7 days ago}}"),
    *("orders: {latest: {delivered_at: present}}", "orders: {latest: {delivered_at: missing}}", "orders: {any: {}, since: 3 days ago}"),
    *("calls: {any: {}, within: 30 days}", "calls: {none: {}}", "surveys: {none: {}}", "surveys: {any: {}, within: 1 month}"),
    *("surveys: {any: {score: missing}, within: 1 month}", "surveys: {any: {score: {at_least: 2, less_than: 4}}}"),
    *("orders: {any: {placed_on: today, placed_at: {before: 6 hours ago}}}", "orders: {any: {placed_at: {before: this.created_at}}}"),
    *("orders: {any: {promised_on: {before: delivered_at}, delivered_at: {within: 7 days}}}",),
]  # fmt: skip


def tree(dice: Dice, depth: int = 2) -> str:
    """A condition of a few leaves, which often are about the same fact."""
    if depth == 0 or dice.chance(3):
        return "{" + dice.pick(LEAVES) + "}"
    how = dice.pick(["all_of", "any_of", "none_of"])
    return f"{{{how}: [{', '.join(tree(dice, depth - 1) for _ in dice.times(3, 1))}]}}"


def parts(test: Condition) -> Iterator[Condition]:
    """A condition and all that it is made of, down to the relations."""
    yield test
    for member in test.members if isinstance(test, Group) else ():
        yield from parts(member)


def contradicted(rule: Rule, seed: int, now: datetime) -> None:
    """Show generated rows to a rule, and hold what they do against what is said to be impossible."""
    named = {**rule.conditions, **rule.exceptions}
    said = [
        (part, impossible(ways(part)), impossible(ways(part, holds=False))) for c in named.values() for part in parts(c)
    ]
    whole = [problem for problem in suspicions(rule) if "together" in problem.said or "never sends" in problem.said]
    for more in range(4):
        world = population(rolled(seed * 10 + more), now, rule.parser.subjects)
        for row in world.rows[rule.subject.name]:
            reader = Reader(world, now, "Europe/Berlin", row)
            for part, never, always in said:
                verdict = reader.holds(part, row)
                assert not (verdict and never), f"{never and never.said}\n{rule.text}"
                assert verdict or not always, f"{always and always.said}\n{rule.text}"
            found = all(reader.holds(c, row) for c in rule.conditions.values())
            spared = not any(reader.holds(c, row) for c in rule.exceptions.values())
            assert not (found and spared and whole), f"{whole}\n{rule.text}"


@pytest.mark.parametrize("batch", range(4))
def test_nothing_that_a_row_does_was_called_impossible(batch: int) -> None:
    flagged = 0
    for seed in range(batch * 120, batch * 120 + 120):
        dice = rolled(seed)
        more = f"unless:\n  c: {tree(dice, 1)}" if dice.chance(2) else ""
        rule = rule_of(f"a: {tree(dice)}\nb: {tree(dice, 1)}", more=more)
        flagged += bool(suspicions(rule))
        contradicted(rule, seed, dice.pick(NOWS))
    assert 5 < flagged < 110, "a property of nothing proves nothing"


def test_no_row_is_found_by_rules_that_exclude_one_another_nor_missed_by_one_that_is_implied() -> None:
    findings, told = Findings(), 0
    for seed in range(250):
        dice = rolled(seed)
        one, other = (rule_of(f"a: {tree(dice, 1)}\nb: {tree(dice, 1)}") for _ in range(2))
        first, second = findings.of(one), findings.of(other)
        apart, inside = disjoint(first, second), implies(first, second)
        told += apart or inside
        now = dice.pick(NOWS)
        for more in range(4 if apart or inside else 0):
            world = population(rolled(seed * 10 + more), now, one.parser.subjects)
            for row in world.rows["customer"]:
                reader = Reader(world, now, "Europe/Berlin", row)
                found, too = (all(reader.holds(c, row) for c in rule.conditions.values()) for rule in (one, other))
                assert not (found and too and apart), one.text + other.text
                assert too or not (found and inside), one.text + other.text
    assert told > 30


def test_nothing_of_the_whole_grammar_was_called_impossible(tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    for name in ("several", "plain"):
        (tmp_path / "lists" / f"{name}.csv").write_text("tier\ngold\ntin\n")
    for seed in range(150):
        grammar = Grammar(rolled(seed), subjects())
        rule = load_text(rule_text(grammar.rule()), "case", tmp_path)
        contradicted(rule, seed, grammar.dice.pick(NOWS))
