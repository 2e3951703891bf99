"""Every word of the rule language has an example on the page, and each example does what the page says."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from sqlalchemy import Engine

import models
from beforehand.backtest.slots import slots_of
from beforehand.passes import run_rule
from beforehand.proving import Prover
from models.vocabulary import RuleStatus
from rules.facts import subjects
from rules.given import frame
from rules.loader import Rule, load_text
from rules.reader import Complaints, Node
from rules.schema import LIMIT_KEYS, RULE_KEYS, STEP_KEYS, VOUCHER_TERMS, WHEN_KEYS
from rules.values import DAY_WORDS, UNITS, WEEKDAYS
from tests.deciding import House
from tests.docs.test_rule_reference import BLOCKS, EXAMPLES, TEXT
from tests.rules.test_catalog import settings_of


def table(name: str) -> list[list[str]]:
    """The rows of the table behind a mark on the page, without the backticks around a cell."""
    rows = TEXT.split(f"<!-- {name} -->\n")[1].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").replace(" | | ", " |  | ").split(" | ")] for row in rows]


def plain(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


def bare(cell: str) -> str:
    return cell.strip("` ")


SCHEDULES, STEPS, LIMITS = table("schedules"), table("steps"), table("limits")


def cases(rows: list[list[str]]) -> list[Any]:
    return [pytest.param(*map(bare, row[1:]), id=bare(row[0])) for row in rows]


SKELETON = """id: case
title: A case
purpose: marketing
for_each: order
when: {when}
if: {{gold: {{customer.tier: gold}}}}
then: {then}
tests:
  - name: a gold customer
    {story}
  - name: another one
    now: 2026-03-10 10:00 Europe/Berlin
    given: {{customer: {{tier: tin, phone: "+4915112345678"}}, order: {{placed_at: 3 days ago}}}}
    expect: nothing
"""
WHEN = "{every: 1 hour}"


# -- when --------------------------------------------------------------------------------------------------


def fires(rule: Rule, moment: str) -> bool:
    at = frame(Node(f"{moment} Europe/Berlin", 1, 1), Complaints("when")).now
    return at in slots_of(rule.terms.cron, "Europe/Berlin", at, at + timedelta(minutes=1))


@pytest.mark.parametrize(("when", "yes", "no"), cases(SCHEDULES))
def test_a_schedule_looks_when_the_page_says_so(when: str, yes: str, no: str) -> None:
    rule = load_text(
        SKELETON.format(when=when, then="[{wait: 1 day}]", story="now: 2026-03-10\n    expect: nothing"),
        "case",
        tests=False,
    )
    assert not fires(rule, no)
    assert fires(rule, yes) if yes else not rule.terms.cron and rule.terms.events


# -- then --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def prover() -> Iterator[Prover]:
    made = Prover(settings_of())
    yield made
    made.close()


def story(said: str) -> str:
    """The keys of a test, in a line: the page's own, and the customer and order that all examples share."""
    own = plain(f"{{{said}}}")
    customer = {
        "tier": "gold",
        "phone": "+4915112345678",
        "email": "ada@example.com",
        "preferred_channel": "email",
        "consents": [{"channel": "all", "purpose": "marketing"}],
    }
    given = {"customer": customer, "order": {"placed_at": "3 days ago", **own.pop("order", {})}}
    keys = {"now": "2026-03-10 10:00 Europe/Berlin", "given": given} | own
    return "\n    ".join(f"{key}: {flow(value)}" for key, value in keys.items())


def flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    return f'"{value}"' if str(value).startswith("+") else str(value)


@pytest.mark.parametrize(("then", "said"), cases(STEPS))
def test_a_step_does_what_the_page_says(prover: Prover, then: str, said: str) -> None:
    rule = load_text(SKELETON.format(when=WHEN, then=then, story=story(said)), "case")
    assert len(rule.tests) == 2
    for test in rule.tests:
        outcome = prover.prove(rule, test)
        assert outcome.passed, outcome.differences


# -- limits ------------------------------------------------------------------------------------------------

AT = frame(Node("2026-03-10 23:00 Europe/Berlin", 1, 1), Complaints("limits")).now


@pytest.mark.parametrize(("limits", "first", "later"), cases(LIMITS))
def test_a_limit_holds_as_the_page_says(engine: Engine, tmp_path: Path, limits: str, first: str, later: str) -> None:
    house = House(engine, tmp_path, {"caps": {}})
    house.template()
    house.rule(subject="order", condition="delivered_at: missing", limits=limits)
    ada, bo = house.customer(), house.customer()
    for who in (ada, ada, bo):
        house.add(models.Order, customer_id=who, placed_at=AT - timedelta(days=3))
    run_rule(house.app, "hello", AT)
    assert len(house.rows(models.Message)) == int(first)
    run_rule(house.app, "hello", AT + timedelta(days=32))
    assert len(house.rows(models.Message)) == int(later)


# -- every word --------------------------------------------------------------------------------------------


def test_every_schedule_form_has_an_example() -> None:
    shown = {key for row in SCHEDULES for key in plain(bare(row[1]))}
    assert shown == set(WHEN_KEYS)
    forms = " ".join(row[0] for row in SCHEDULES)
    assert [word for word in ("daily", "every day", "weekdays", "weekends") if f"`{word}`" not in forms] == []


def test_every_step_and_every_key_of_it_has_an_example() -> None:
    shown: dict[str, set[str]] = {}
    for row in STEPS:
        for step in plain(bare(row[1])):
            kind = next(key for key in step if key in STEP_KEYS)
            shown.setdefault(kind, set()).update(step)
    assert {kind: set(keys) for kind, keys in STEP_KEYS.items()} == shown
    terms = {term for row in STEPS for step in plain(bare(row[1])) for term in step.get("voucher", {})}
    assert terms == set(VOUCHER_TERMS)


def test_every_limit_has_an_example() -> None:
    shown = {key for row in LIMITS for key in plain(bare(row[1]))}
    assert shown == set(LIMIT_KEYS)
    words = " ".join(row[1] for row in LIMITS)
    assert [unit for unit in ("hour", "day", "week", "month") if f"per {unit}}}" not in words] == []


def test_every_key_of_a_rule_stands_in_a_rule_that_is_run() -> None:
    shown = {key for each in BLOCKS for key in plain(str(each.values[1]))}
    assert set(RULE_KEYS) - shown == set()


def test_every_status_and_subject_is_tried() -> None:
    known = {name for name, subject in subjects().items() if subject.for_each}
    for name in known:
        rule = load_text(
            SKELETON.replace("for_each: order", f"for_each: {name}")
            .replace("customer.tier", _tier(name))
            .format(when=WHEN, then="[{wait: 1 day}]", story="now: 2026-03-10\n    expect: nothing"),
            "case",
            tests=False,
        )
        assert rule.subject.name == name
    assert [word for word in (*known, *map(str, RuleStatus)) if f"`{word}`" not in TEXT] == []


def _tier(subject: str) -> str:
    return "tier" if subject == "customer" else "customer.tier"


def words_of(cells: Iterator[str]) -> set[str]:
    return {word for cell in cells for word in re.findall(r"[a-z_]+", cell)}


def test_every_word_for_a_moment_and_every_unit_has_an_example() -> None:
    shown = words_of(str(each.values[2]) for each in EXAMPLES)
    assert [word for word in (*DAY_WORDS, *WEEKDAYS, "now", "ago", "in") if word not in shown] == []
    assert [unit for unit in UNITS if not {unit, f"{unit}s"} & shown] == []
