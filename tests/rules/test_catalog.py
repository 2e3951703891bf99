"""The tests in the shipped rules' own files, through the real loader, compiler, gates and planner."""

from pathlib import Path
from typing import Any

import pytest
from dateutil.relativedelta import relativedelta
from sqlalchemy import Engine, select

import models
from beforehand import ROOT
from beforehand.checking import check
from beforehand.passes import advance, run_rule
from beforehand.settings import Settings
from beforehand.wiring import App
from messaging.rendering import Templates
from models.database import writing
from rules.given import Given, frame
from rules.loader import Rule, load_folder
from rules.reader import Complaints, Node
from rules.values import duration, money

FOLDERS = [ROOT / "rules" / "catalog", *sorted((ROOT / "examples").glob("*/rules"))]
SHIPPED = [rule for folder in FOLDERS for rule in load_folder(folder).rules.values()]
CASES = [
    pytest.param(rule, test, id=f"{rule.id}: {test.value['name'].value}") for rule in SHIPPED for test in rule.tests
]


def house(engine: Engine, folder: Path) -> App:
    """The application over a rules folder, with every rule in it live."""
    settings = Settings(_env_file=None, rules=folder, templates=ROOT / "messaging" / "templates", time_zone="UTC")
    return App(settings=settings, engine=engine, clock=lambda: pytest.fail("a decision looked at the clock"))


def happened(engine: Engine) -> list[dict[str, Any]]:
    """What was decided: sends, vouchers, tasks, in the words of ``expect``."""
    found: list[dict[str, Any]] = []
    with engine.connect() as connection:
        for row in connection.execute(select(models.Voucher.currency, models.Voucher.worth)):
            found.append({"voucher": f"{row.worth / 100:g} {row.currency}"})
        for row in connection.execute(select(models.Message.template, models.Message.channel)):
            found.append({"template": row.template, "by": row.channel})
        for row in connection.execute(select(models.Task.what)):
            found.append({"task": row.what})
    return found


def said(expect: Node) -> list[dict[str, Any]]:
    """The ``expect`` of a test, in the same words."""
    wanted: list[dict[str, Any]] = []
    for step in expect.plainly() if expect.is_list else []:
        if "voucher" in step:
            worth = money(step["voucher"])
            assert worth is not None
            wanted.append({"voucher": f"{worth.minor / 100:g} {worth.currency}"})
        elif "task" in step:
            wanted.append(step)
        elif "call" in step:
            wanted.append({"template": step["call"], "by": "voice"})
        else:
            wanted.append({"template": step.get("send") or step["survey"], "by": step["by"]})
    return wanted


@pytest.mark.parametrize(("rule", "case"), CASES)
def test_a_shipped_rule_does_as_its_file_says(engine: Engine, tmp_path: Path, rule: Rule, case: Node) -> None:
    (tmp_path / f"{rule.id}.yaml").write_text(rule.text.replace("status: shadow", "status: live"), encoding="utf-8")
    app = house(engine, tmp_path)
    at = frame(case.value["now"], Complaints(rule.path))
    with writing(engine) as connection:
        Given(connection, rule, at, Complaints(rule.path)).build(case.value["given"])
    run_rule(app, rule.id, at.now)
    later = case.value.get("after")
    if later is not None:
        advance(app, at.now + (duration(later.value) or relativedelta()))
    assert happened(engine) == said(case.value["expect"])


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_the_shipped_rules_and_their_templates_pass_the_check(folder: Path) -> None:
    count, problems = check(folder, Templates(ROOT / "messaging" / "templates"))
    assert count >= 1
    assert [str(problem) for problem in problems if not problem.warning] == []


def test_every_rule_of_the_catalog_is_live_and_proven_both_ways() -> None:
    catalog = load_folder(FOLDERS[0])
    assert len(catalog.rules) == 8
    assert {str(rule.terms.status) for rule in catalog.rules.values()} == {"live"}
    assert catalog.warnings == ()
