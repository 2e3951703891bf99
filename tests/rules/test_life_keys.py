"""The keys of a rule's life: from, percent, holdout for service."""

from datetime import UTC, datetime

import pytest

from models.terms import THE_BEGINNING
from models.vocabulary import WhenCapped
from rules.errors import RuleErrors
from rules.loader import Rule, load_text

RULE = """id: case
title: A case
purpose: {purpose}
for_each: customer
if: {{a: {{country: DE}}}}
then: [{{send: hello, by: sms}}]
{more}
"""


def loaded(more: str, purpose: str = "service") -> Rule:
    return load_text(RULE.format(purpose=purpose, more=more), "case")


def refused(more: str, purpose: str = "service") -> str:
    with pytest.raises(RuleErrors) as wrong:
        loaded(more, purpose)
    (problem,) = wrong.value.problems
    assert problem.line == 7, problem
    return str(problem)


@pytest.mark.parametrize(
    ("said", "moment", "now"),
    [
        ("", None, False),
        ("from: now", None, True),
        ("from: 2026-03-01", datetime(2026, 3, 1, tzinfo=UTC), False),
        ("from: 2026-03-01 09:00 Europe/Berlin", datetime(2026, 3, 1, 8, tzinfo=UTC), False),
        ("from: 2026-03-01T09:00-05:00", datetime(2026, 3, 1, 14, tzinfo=UTC), False),
        ("from: the beginning", THE_BEGINNING, False),
    ],
)
def test_from_is_a_moment_or_now(said: str, moment: datetime | None, now: bool) -> None:
    terms = loaded(said).terms
    assert (terms.live_from, terms.from_now) == (moment, now)


@pytest.mark.parametrize(
    "said", ["yesterday", "2026-02-30", "2026-03-01 09:00 Mars/Base", "3", "[now]", "2026-03-01 Europe"]
)
def test_another_from_is_refused(said: str) -> None:
    assert "expected now, a date such as" in refused(f"from: {said}")


@pytest.mark.parametrize(
    ("said", "share"), [("", None), ("percent: 10", 10), ("percent: 0.5", 0.5), ("percent: 10%", 10)]
)
def test_percent_is_a_share(said: str, share: float | None) -> None:
    assert loaded(said).terms.percent == share


@pytest.mark.parametrize("said", ["101", "-1", "true", "many", "10% of customers"])
def test_another_percent_is_refused(said: str) -> None:
    assert "expected a number from 0 to 100" in refused(f"percent: {said}")


def test_a_service_rule_holds_nobody_out_by_a_slip() -> None:
    assert loaded("limits: {holdout: 5%}", "marketing").terms.holdout_percent == 5
    assert loaded("limits: {holdout: 5% also for service}").terms.holdout_percent == 5
    assert loaded("limits: {holdout: 5% of customers also for service}").terms.holdout_percent == 5
    assert loaded("limits: {holdout: 0%}").terms.holdout_percent == 0
    said = refused("limits: {holdout: 5%}")
    assert "a service message is owed" in said
    assert "5% also for service" in said
    assert "such as" in refused("limits: {brake: 5% also for service}")


@pytest.mark.parametrize("budget", ["5000 USD per month", "10 EUR per day"])
def test_a_budget_must_pay_for_a_voucher(budget: str) -> None:
    voucher = f"{{voucher: {{worth: 50 EUR, valid_for: 9 days, budget: {budget}}}}}"
    text = RULE.format(purpose="marketing", more="").replace("then: [", f"then: [{voucher}, ")
    with pytest.raises(RuleErrors, match=r"case.yaml:6:.*expected an amount in EUR, the worth of one voucher or more"):
        load_text(text, "case")


@pytest.mark.parametrize(("said", "fate"), [("", "skip"), *(((f"when_capped: {each}"), each) for each in WhenCapped)])
def test_the_rule_says_what_becomes_of_a_message_that_finds_no_room(said: str, fate: str) -> None:
    assert loaded(f"limits: {{{said}}}" if said else "").terms.when_capped == fate


@pytest.mark.parametrize("said", ["later", "other_channel", "[skip]", "true"])
def test_another_fate_is_refused(said: str) -> None:
    assert "expected skip, defer or other channel" in refused(f"limits: {{when_capped: {said}}}")
