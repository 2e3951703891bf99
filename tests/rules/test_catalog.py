"""The tests in the shipped rules' own files, through the real loader, compiler, gates and planner."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from beforehand import ROOT
from beforehand.checking import check
from beforehand.checking.texts import Texts
from beforehand.proving import Prover
from beforehand.settings import Settings
from messaging.rendering import Templates
from rules.loader import Rule, load_folder
from rules.rule_tests import RuleTest

FOLDERS = [ROOT / "rules" / "catalog", *sorted((ROOT / "examples").glob("*/rules"))]
SHIPPED = [rule for folder in FOLDERS for rule in load_folder(folder).rules.values()]
CASES = [pytest.param(rule, test, id=f"{rule.id}: {test.name}") for rule in SHIPPED for test in rule.tests]


def settings_of(**said: Any) -> Settings:
    """The settings as shipped, whatever the environment says."""
    return Settings(_env_file=None, templates=ROOT / "messaging" / "templates", time_zone="UTC", **said)


@pytest.mark.parametrize(("rule", "case"), CASES)
def test_a_shipped_rule_does_as_its_file_says(engine: Engine, rule: Rule, case: RuleTest) -> None:
    outcome = Prover(settings_of(), engine).prove(rule, case)
    assert (outcome.differences, outcome.because) == ((), ())


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_the_shipped_rules_and_their_templates_pass_the_check(folder: Path) -> None:
    checked = check(folder, Texts(Templates(ROOT / "messaging" / "templates")))
    assert checked.rules >= 1
    assert [str(problem) for problem in checked.problems] == []


def test_every_rule_of_the_catalog_is_live_and_proven_both_ways() -> None:
    catalog = load_folder(FOLDERS[0])
    assert len(catalog.rules) == 8
    assert {str(rule.terms.status) for rule in catalog.rules.values()} == {"live"}
    assert catalog.warnings == ()
