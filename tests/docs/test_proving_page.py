"""The page on testing rules: its stories pass, its failure is what is said, its options are those of the command."""

import re
from collections.abc import Iterator

import pytest

from beforehand import ROOT
from beforehand.proving import Prover
from beforehand.settings import Settings
from rules.loader import load_text

PAGE = (ROOT / "docs" / "how-to" / "test-a-rule.md").read_text(encoding="utf-8")
RULE = (ROOT / "rules" / "catalog" / "late-order.yaml").read_text(encoding="utf-8").split("tests:")[0]
STORIES = re.findall(r"^```yaml\n(tests:.+?)^```$", PAGE, re.M | re.S)


@pytest.fixture(scope="module")
def prover() -> Iterator[Prover]:
    made = Prover(Settings(_env_file=None))
    yield made
    made.close()


def test_the_stories_of_the_page_pass(prover: Prover) -> None:
    assert len(STORIES) == 2
    for stories in STORIES:
        rule = load_text(RULE + stories, "late-order", ROOT / "rules" / "catalog")
        assert [prover.prove(rule, test).differences for test in rule.tests] == [(), ()]


def test_the_failure_on_the_page_is_what_is_said(prover: Prover) -> None:
    wrong = STORIES[0].replace("expect: nothing", "expect: [{send: late-order, by: sms}]")
    rule = load_text(RULE + wrong, "late-order", ROOT / "rules" / "catalog")
    outcome = prover.prove(rule, rule.tests[1])
    for words in (outcome.expected, outcome.got, *outcome.differences, *outcome.because):
        assert re.search(rf" {re.escape(words)}$", PAGE, re.M), words


def rows() -> list[str]:
    """What the table of given rows shows, as the words of a customer."""
    table = PAGE.split("## Say who is there")[1].split("\n\n")[1]
    return re.findall(r"`((?:orders|consents|suppressed|messages|holdout): [^`]+)`", table)


@pytest.mark.parametrize("words", rows())
def test_what_the_table_shows_can_be_given(prover: Prover, words: str) -> None:
    given = f'{{customer: {{phone: "+4915112345678", {words}}}, order: {{}}}}'
    story = f"tests: [{{name: a, now: 2026-03-10 10:00 UTC, given: {given}, expect: nothing}}]"
    rule = load_text(RULE + story, "late-order", ROOT / "rules" / "catalog")
    assert prover.prove(rule, rule.tests[0]).differences == ()


def test_the_table_is_read() -> None:
    assert len(rows()) >= 7
