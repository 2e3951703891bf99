"""Webhooks in the commands that look at a rule: check knows the endpoints, a rule's own tests may expect a call."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from beforehand import ROOT

RULE = """id: tell-crm
title: Tell the CRM of a gold customer
purpose: service
owner: crm@example.com
why: The account manager rings gold customers.
status: draft
for_each: customer
if:
  gold: {tier: gold}
then:
  - webhook: crm
    with: {tier: tier}
tests:
  - name: a gold customer is told of
    now: 2026-03-10 10:00 Europe/Berlin
    given: {customer: {tier: gold, phone: "+4915112345678"}}
    expect: [{webhook: crm}]
  - name: a tin one is not
    now: 2026-03-10 10:00 Europe/Berlin
    given: {customer: {tier: tin, phone: "+4915112345678"}}
    expect: nothing
"""


def beforehand(folder: Path, *words: str, webhooks: str = "{}") -> subprocess.CompletedProcess[str]:
    said = {"BEFOREHAND_RULES": str(folder / "rules"), "BEFOREHAND_WEBHOOKS": webhooks}
    said |= {"BEFOREHAND_DATABASE_URL": f"sqlite:///{folder / 'shop.db'}"}
    command = [sys.executable, "-m", "beforehand", *words]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | said, cwd=ROOT, timeout=60)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "tell-crm.yaml").write_text(RULE)
    return tmp_path


def test_check_knows_the_endpoints(folder: Path) -> None:
    done = beforehand(folder, "check", "--format", "json")
    said = json.loads(done.stdout)
    assert done.returncode == 1
    assert "BEFOREHAND_WEBHOOKS names no endpoint 'crm'" in json.dumps(said)
    assert beforehand(folder, "check", webhooks='{"crm": "https://crm.example"}').returncode == 0


def test_a_rules_own_tests_may_expect_a_call(folder: Path) -> None:
    done = beforehand(folder, "test", webhooks='{"crm": "https://crm.example"}')
    assert done.returncode == 0, done.stdout + done.stderr
    wrong = RULE.replace("expect: nothing", "expect: [{webhook: crm}]")
    (folder / "rules" / "tell-crm.yaml").write_text(wrong)
    done = beforehand(folder, "test", webhooks='{"crm": "https://crm.example"}')
    assert done.returncode == 1
    assert "webhook" in done.stdout
