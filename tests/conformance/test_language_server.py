"""What an editor shows of a rule file: the schema in the hands of the real yaml-language-server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from beforehand import ROOT
from tests.conformance.language_server import Server, installed

SCHEMA = ROOT / "rules" / "catalog" / "rule.schema.json"
HEAD = """\
id: case
title: A case
purpose: service
for_each: order
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = {
        "validate": True,
        "hover": True,
        "completion": True,
        "schemaStore": {"enable": False, "url": ""},
        "schemas": {SCHEMA.as_uri(): "*.yaml"},
    }
    with Server(installed(), settings, tmp_path_factory.mktemp("rules")) as running:
        yield running


def offered(server: Server, name: str, text: str, mark: str) -> dict[str, Any]:
    """What completion offers behind a mark: each label with its documentation."""
    uri, _ = server.opened(name, text)
    found = server.at("completion", uri, text, mark)
    return {item["label"]: item for item in found["items"]}


def explained(item: dict[str, Any]) -> str:
    said = item.get("documentation", "")
    return str(said["value"] if isinstance(said, dict) else said)


def test_inside_if_the_facts_of_the_subject_are_offered_and_explained(server: Server) -> None:
    text = HEAD + "if:\n  late:\n    \nthen:\n  - send: late-order\n"
    found = offered(server, "facts.yaml", text, "late:\n    ")
    assert {"promised_on", "delivered_at", "net_total", "customer.tier", "customer.orders", "any_of"} <= found.keys()
    assert "severity" not in found
    assert "the day on which we promised to deliver" in explained(found["promised_on"])


def test_another_subject_offers_other_facts(server: Server) -> None:
    text = HEAD.replace("order", "exposure") + "if:\n  bad:\n    \nthen:\n  - send: late-order\n"
    found = offered(server, "exposure.yaml", text, "bad:\n    ")
    assert {"issue.severity", "order.delivered_at", "found_at"} <= found.keys()
    assert "promised_on" not in found


def test_inside_a_relation_its_tests_are_offered_and_then_the_facts_of_what_it_leads_to(server: Server) -> None:
    text = HEAD + "if:\n  good:\n    customer.orders:\n      \nthen:\n  - send: late-order\n"
    found = offered(server, "tests.yaml", text, "customer.orders:\n      ")
    assert {"count", "sum", "any", "none", "where", "within"} <= found.keys()
    assert "how many there are" in explained(found["count"])
    deeper = text.replace("customer.orders:\n      ", "customer.orders:\n      any:\n        ")
    assert "delivered_at" in offered(server, "deeper.yaml", deeper, "any:\n        ")


def test_words_that_a_fact_can_be_are_offered(server: Server) -> None:
    text = HEAD.replace("order", "call") + "if:\n  lost:\n    outcome: \nthen:\n  - send: late-order\n"
    assert {"completed", "dropped", "no_answer"} <= offered(server, "values.yaml", text, "outcome: ").keys()


def test_a_test_is_helped_with_too(server: Server) -> None:
    text = (ROOT / "rules/catalog/late-order.yaml").read_text(encoding="utf-8")
    text = text[: text.index("    expect:")] + "    expect:\n      withheld: \n"
    assert {"no_consent", "opted_out", "cap"} <= offered(server, "withheld.yaml", text, "withheld: ").keys()


@pytest.mark.parametrize(
    ("mark", "said"),
    [
        ("    promised", "the day on which we promised to deliver"),
        ("prio", "who goes first where a cap leaves room for one"),
        ("  - wait", "until issue.closed_at"),
        ("customer.ord", "all orders"),
        ("{count", "how many there are"),
        ("    stop_", "nothing follows where this holds by then"),
    ],
)
def test_hovering_explains_a_word(server: Server, mark: str, said: str) -> None:
    text = (ROOT / "rules/catalog/late-order.yaml").read_text(encoding="utf-8")
    uri, _ = server.opened("hover.yaml", text)
    found = server.at("hover", uri, text, mark)
    assert found is not None
    assert said in found["contents"]["value"]


WRONG = [
    ("a fact", "if:\n  late: {promisd_on: {before: today}}\n", "promisd_on"),
    ("a fact along a path", "if:\n  late: {customer.teir: gold}\n", "customer.teir"),
    ("a test of a fact", "if:\n  late: {promised_on: {befor: today}}\n", "befor"),
    ("a test of a relation", "if:\n  good: {customer.orders: {cuont: 2}}\n", "cuont"),
    ("a key of the rule", "if:\n  late: {promised_on: {before: today}}\nlimit: {once_per: order}\n", "limit"),
    ("a limit", "if:\n  late: {promised_on: {before: today}}\nlimits: {once_pr: order}\n", "once_pr"),
    ("a status", "if:\n  late: {promised_on: {before: today}}\nstatus: alive\n", "alive"),
]


@pytest.mark.parametrize(("more", "word"), [pytest.param(*each[1:], id=each[0]) for each in WRONG])
def test_a_wrong_word_is_underlined_at_its_place(server: Server, more: str, word: str) -> None:
    text = HEAD + more + "then:\n  - send: late-order\n"
    _, problems = server.opened(f"wrong-{word}.yaml", text)
    lines = text.splitlines()
    line = next(number for number, each in enumerate(lines) if word in each)
    places = [problem["range"] for problem in problems]
    column = lines[line].index(word)
    assert any(
        place["start"]["line"] == line and place["start"]["character"] <= column < place["end"]["character"]
        for place in places
    ), problems


def test_a_wrong_key_of_a_step_is_underlined(server: Server) -> None:
    text = HEAD + "if:\n  late: {promised_on: {before: today}}\nthen:\n  - send: late-order\n    bye: sms\n"
    _, problems = server.opened("step.yaml", text)
    assert any(problem["range"]["start"] == {"line": text.count("\n") - 1, "character": 4} for problem in problems), (
        problems
    )


@pytest.mark.parametrize("path", sorted((ROOT / "rules" / "catalog").glob("*.yaml")), ids=lambda path: path.stem)
def test_nothing_is_underlined_in_the_shipped_rules(server: Server, path: Path) -> None:
    _, problems = server.opened(path.name, path.read_text(encoding="utf-8"))
    assert problems == []


def test_the_first_line_of_a_rule_may_name_the_schema(tmp_path: Path) -> None:
    (tmp_path / "rule.schema.json").write_bytes(SCHEMA.read_bytes())
    settings = {"validate": True, "schemaStore": {"enable": False, "url": ""}}
    text = "# yaml-language-server: $schema=rule.schema.json\n" + HEAD + "if:\n  late: {promisd_on: yesterday}\n"
    with Server(installed(), settings, tmp_path) as running:
        _, problems = running.opened("mine.yaml", text)
    assert any("promisd_on" in problem["message"] for problem in problems)
