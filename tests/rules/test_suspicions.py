"""Conditions that can never hold, or that always do, are warned of at their place."""

import pytest

from rules.checks import suspicions
from tests.rules.build import rule_of


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("{orders: {count: {at_least: 5, less_than: 3}}}", "can never be at least 5 and less than 3"),
        ("{orders: {count: {more_than: 5, less_than: 5}}}", "can never be more than 5 and less than 5"),
        ("{orders: {count: {at_least: 0}}}", "always has a count of at least 0"),
        ("{orders: {count: {less_than: 0}}}", "can never have a count of less than 0"),
        ("{all_of: [{tier: gold}, {tier: tin}]}", "cannot be two things at once"),
        ("{all_of: [{tier: missing}, {tier: tin}]}", "cannot be missing and be compared"),
        ("{orders: {any: {net_total: {at_least: 9 EUR, at_most: 5 EUR}}}}", "can never be at least"),
        ("{orders: {any: {net_total: {between: [9 EUR, 5 EUR]}}}}", "can never lie between"),
    ],
)
def test_what_is_suspicious_is_said(condition: str, said: str) -> None:
    found = [str(problem) for problem in suspicions(rule_of(f"odd: {condition}"))]
    assert any("case.yaml:6:3: warning: odd:" in line and said in line for line in found), found


@pytest.mark.parametrize(
    "condition",
    [
        "{orders: {count: {at_least: 5, at_most: 5}}}",
        "{orders: {count: {at_least: 3, less_than: 5}}}",
        "{any_of: [{tier: gold}, {tier: tin}]}",
        "{orders: {any: {net_total: {between: [5 EUR, 9 EUR]}}}}",
    ],
)
def test_what_is_not_suspicious_is_left_alone(condition: str) -> None:
    assert suspicions(rule_of(f"fine: {condition}")) == []
