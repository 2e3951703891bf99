"""The JSON Schema of rule files: it takes what the loader takes, and refuses what it can know to be wrong."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator
from typer.testing import CliRunner

from beforehand import ROOT
from beforehand.cli import app
from rules.attributes import with_attributes
from rules.conditions import AGGREGATES, GROUPS, MODIFIERS, OPERATORS
from rules.errors import RuleErrors
from rules.facts import Kind, subjects
from rules.json_conditions import WORDS
from rules.json_schema import rule_schema, schema_text
from rules.loader import load_folder
from rules.reader import read, read_file
from tests.docs.pages import SCHEMA
from tests.rules.test_broken import BROKEN, HEAD, IF, THEN

SHIPPED = sorted([*(ROOT / "rules" / "catalog").glob("*.yaml"), *(ROOT / "examples").glob("*/rules/*.yaml")])
VALID = Draft7Validator(rule_schema(subjects()))


def problems(text: str) -> list[str]:
    return [error.message for error in VALID.iter_errors(read(text, "case").plainly())]


def test_the_schema_is_one() -> None:
    Draft7Validator.check_schema(rule_schema(subjects()))


def test_the_shipped_schema_is_that_of_the_code() -> None:
    assert SCHEMA.read_text(encoding="utf-8") == schema_text(subjects()), "run `make fix`"
    assert json.loads(schema_text(subjects())) == rule_schema(subjects())


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.parent.name}/{path.stem}")
def test_shipped_rules_are_taken(path: Path) -> None:
    _, root = read_file(path)
    assert [error.message for error in VALID.iter_errors(root.plainly())] == []


BEYOND = {
    "another id", "an id of ours", "live without when", "shadow without when", "a boolean of YAML 1.1",
    "on is a boolean of YAML 1.1", "a voucher worth more than a customer may get",
    "too many decimals", "not a time", "not a date", "a list that is not there", "a list outside",
    "an empty condition", "within what has no time", "a change without a window", "this, too deep",
    "a wait for no time", "a voucher of nothing", "an uneven beat", "no time of day", "no cron",
    "a percentage over all", "a text for a number", "money in a list file", "else that is a wait",
    "once for a bad while", "a start in words", "a bound that is missing", "a facts table with a bad type",
}  # fmt: skip
"""Broken rules that only the loader can know to be broken."""


def readable() -> list[Any]:
    """The broken rules that are YAML at all."""
    found = []
    for case in BROKEN:
        try:
            found.append(pytest.param(case[0], read(case[1], "case").plainly(), id=str(case[0])))
        except RuleErrors:
            continue
    return found


@pytest.mark.parametrize(("name", "rule"), readable())
def test_broken_rules_are_refused_where_that_can_be_known(name: str, rule: Any) -> None:
    assert VALID.is_valid(rule) is (name in BEYOND), list(VALID.iter_errors(rule))


def test_the_schema_knows_of_most_broken_rules() -> None:
    assert len(readable()) > 2.5 * len(BEYOND)


TAKEN = [
    "{customer.orders: {count: {at_least: 2}, where: {delivered_at: present}, within: 365 days}}",
    "{customer.orders: {count: 3}, customer: present, number: missing}",
    "{customer.orders.lines: {any: {product.category: kettle}}}",
    "{lines.product: {any: {name: {contains: kettle}}}}",
    "{any_of: [{net_total: {between: [1 EUR, 20 EUR]}}, {none_of: {number: [A, B]}}]}",
    "{promised_on: {before: today, after: 2026-01-01}, placed_at: {within: 1 week 2 days}}",
    "{delivered_on: {after: promised_on}, shipped_at: {before: this.delivered_at}}",
    "{customer.calls: {latest: {outcome: completed}, since: this.placed_at}}",
    "{customer.orders: {sum: {of: net_total, at_least: 1000 EUR}, within: 12 months}}",
    "{customer.orders: {change: {of: count, less_than: -50%}, within: 90 days}}",
    "{surveys: {max: {of: score, at_most: 2}}, order.number: '3', this.number: '3'}",
    "{customer.tier: {in: lists/vip.csv}, customer.country: {not_in: [DE, FR]}}",
]


@pytest.mark.parametrize("condition", TAKEN)
def test_what_the_loader_takes_is_taken(condition: str, tmp_path: Path) -> None:
    text = f"{HEAD}if:\n  a: {condition}\n{THEN}"
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "vip.csv").write_text("gold\n")
    (tmp_path / "case.yaml").write_text(text)
    load_folder(tmp_path)
    assert problems(text) == []


@pytest.mark.parametrize(
    "shown", ["docs/how-to/test-a-rule.md", "docs/reference/rules.md", "docs/how-to/write-a-rule.md"]
)
def test_what_the_pages_show_is_taken(shown: str) -> None:
    text = (ROOT / shown).read_text(encoding="utf-8")
    blocks = [part.split("```")[0] for part in text.split("```yaml\n")[1:]]
    rules = [block for block in blocks if not block.startswith("# facts.yaml")]
    assert rules
    for block in rules:
        given = read(block, "page").plainly()
        head = read(f"{HEAD}{IF}{THEN}", "head").plainly()
        subject = given.get("for_each", "order" if "order:" in block or "- send" in block else "customer")
        whole = {**head, "for_each": subject, **given}
        if "if" not in given:
            whole["if"] = {"a": {"customer.email" if subject == "order" else "email": "present"}}
        own = {error.message for error in VALID.iter_errors(whole)}
        assert all("member_since" in message or "page" in message or "points" in message for message in own), (
            block,
            own,
        )


def test_every_word_is_explained() -> None:
    operators = {word for words in OPERATORS.values() for word in words}
    assert {*GROUPS, *AGGREGATES, *MODIFIERS, *operators} <= WORDS.keys()
    rule = rule_schema(subjects())
    for name, definition in [("rule", rule), *rule["definitions"].items()]:
        silent = [word for word, schema in definition.get("properties", {}).items() if not schema.get("description")]
        assert silent == [], name


def test_facts_of_ones_own_are_in_it(tmp_path: Path) -> None:
    facts = tmp_path / "facts.yaml"
    facts.write_text("customer:\n  member_since: {type: day, help: when the customer joined the club}\n  vip: flag\n")
    mine = Draft7Validator(rule_schema(with_attributes(subjects(), facts)))
    rule = read(
        f"{HEAD}if:\n  a: {{customer.member_since: {{before: today}}, customer.vip: true}}\n{THEN}", "case"
    ).plainly()
    assert mine.is_valid(rule)
    assert not VALID.is_valid(rule)
    own = mine.schema["definitions"]["customer_condition"]["properties"]["member_since"]
    assert own["description"] == f"when the customer joined the club ({Kind.DAY})"


def test_the_command_prints_it_and_writes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = tmp_path / "facts.yaml"
    facts.write_text("customer:\n  vip: flag\n")
    monkeypatch.setenv("BEFOREHAND_FACTS", str(facts))
    printed = CliRunner().invoke(app, ["schema"])
    assert printed.exit_code == 0
    assert "vip" in json.loads(printed.stdout)["definitions"]["customer_condition"]["properties"]
    written = CliRunner().invoke(app, ["schema", "--output", str(tmp_path / "mine" / "rule.schema.json")])
    assert written.exit_code == 0
    assert (tmp_path / "mine" / "rule.schema.json").read_text() == printed.stdout
    assert "$schema=rule.schema.json" in written.stderr
    facts.write_text("customer:\n  vip: flog\n")
    assert CliRunner().invoke(app, ["schema"]).exit_code == 1
