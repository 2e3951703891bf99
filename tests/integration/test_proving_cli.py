"""``beforehand test`` as people and machines use it."""

import json
import re
import subprocess
import sys
import threading
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import IO

import pytest
from typer.testing import CliRunner, Result

from beforehand import ROOT
from beforehand.cli import app

CATALOG = ROOT / "rules" / "catalog"


@pytest.fixture(autouse=True)
def house(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BEFOREHAND_DATABASE_URL", f"sqlite:///{tmp_path / 'never.db'}")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """A folder with two rules that pass and one that fails."""
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in ("late-order", "win-back"):
        (folder / f"{name}.yaml").write_text((CATALOG / f"{name}.yaml").read_text(encoding="utf-8"))
    text = (CATALOG / "known-issue.yaml").read_text(encoding="utf-8")
    (folder / "known-issue.yaml").write_text(text.replace("by: email}]", "by: sms}]"))
    return folder


def asked(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["test", *map(str, words)])


def test_the_shipped_rules_pass_at_a_glance_and_touch_no_database(tmp_path: Path) -> None:
    result = asked()
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert any(re.fullmatch(r"late-order +✓✓  2 tests", line.rstrip()) for line in lines)
    assert lines[-1].endswith("all pass.")
    assert list(tmp_path.rglob("*.db")) == []


def test_a_failure_has_its_place_and_both_sides(rules: Path) -> None:
    result = asked("--rules", rules)
    assert result.exit_code == 1
    line = next(
        n for n, text in enumerate((rules / "known-issue.yaml").read_text().splitlines(), 1) if "by: sms" in text
    )
    assert f"known-issue.yaml:{line}" in result.stdout
    assert re.search(r"expected +send known-issue by sms\n +got +send known-issue by email\n", result.stdout)
    assert "1 failed" in result.stdout


def test_one_rule_by_its_id_or_by_its_file(rules: Path) -> None:
    for name in ("late-order", str(rules / "late-order.yaml")):
        result = asked("--rules", rules, name)
        assert result.exit_code == 0, result.output
        assert "known-issue" not in result.stdout


def test_an_unknown_rule_is_wrong_use(rules: Path) -> None:
    result = asked("--rules", rules, "late-ordr")
    assert result.exit_code == 2
    assert "did you mean late-order?" in result.stderr
    assert asked("--rules", rules / "nowhere").exit_code == 2


def test_json_for_machines(rules: Path) -> None:
    result = asked("--rules", rules, "--json")
    said = json.loads(result.stdout)
    assert result.exit_code == 1
    assert (said["rules"], said["tests"], said["failed"]) == (3, 6, 1)
    (failed,) = [each for each in said["results"] if not each["passed"]]
    assert (failed["rule"], failed["got"]) == ("known-issue", "send known-issue by email")
    assert failed["differences"] == ["send known-issue goes by email, not by sms"]


def test_junit_for_continuous_integration(rules: Path, tmp_path: Path) -> None:
    result = asked("--rules", rules, "--junit", tmp_path / "reports" / "rules.xml")
    assert result.exit_code == 1
    root = ET.parse(tmp_path / "reports" / "rules.xml").getroot()
    assert (root.attrib["tests"], root.attrib["failures"]) == ("6", "1")


@pytest.mark.parametrize("named", ["\\e[31m \\a", "\\uFFFE", "]]> & <b>"])
def test_junit_is_xml_and_the_screen_a_screen_whatever_a_test_is_called(
    rules: Path, tmp_path: Path, named: str
) -> None:
    path = rules / "known-issue.yaml"
    lines = path.read_text(encoding="utf-8").splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("  - name: "))
    lines[first] = f'  - name: "odd {named}"'
    path.write_text("\n".join(lines), encoding="utf-8")
    result = asked("--rules", rules, "-v", "--junit", tmp_path / "rules.xml", "known-issue")
    assert "odd " in result.stdout
    assert not set(result.stdout) & {"\x1b", "\a"}
    cases = ET.parse(tmp_path / "rules.xml").getroot().iter("testcase")
    assert any(case.attrib["name"].startswith("odd ") for case in cases)


def test_every_test_by_name(rules: Path) -> None:
    result = asked("--rules", rules, "-v", "late-order")
    assert "✓ a late order of a good customer gets one text: send late-order by sms" in result.stdout


def test_a_broken_file_is_a_finding_and_the_others_are_tested(rules: Path) -> None:
    (rules / "broken.yaml").write_text("id: broken\n")
    result = asked("--rules", rules, "late-order", "broken")
    assert result.exit_code == 1
    assert "broken  does not load" in result.stdout
    assert "broken.yaml:1:1: 'title' is missing" in result.stdout
    assert re.search(r"late-order +✓✓", result.stdout)


def test_a_test_that_asserts_nothing_is_refused(rules: Path) -> None:
    path = rules / "late-order.yaml"
    path.write_text(path.read_text().replace("expect: nothing", "expect: []"))
    result = asked("--rules", rules, "late-order")
    assert result.exit_code == 1
    assert "asserts nothing" in result.stdout


def test_a_facts_file_that_is_wrong_is_said_once(rules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "facts.yaml").write_text("customer: {club: txt}\n")
    monkeypatch.setenv("BEFOREHAND_FACTS", str(tmp_path / "facts.yaml"))
    result = asked("--rules", rules)
    assert result.exit_code == 1
    assert result.stderr.count("unknown type of fact 'txt'") == 1


def test_a_setting_that_is_wrong_is_said(rules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEFOREHAND_CAPS", '{"service": "many"}')
    result = asked("--rules", rules)
    assert result.exit_code == 2
    assert "A setting is not right" in result.stderr


def until(stream: IO[str] | None, word: str) -> str:
    assert stream is not None
    return next(line for line in stream if word in line)


def test_watching_runs_again_what_was_saved(rules: Path) -> None:
    command = [sys.executable, "-u", "-m", "beforehand", "test", "--watch", "--rules", str(rules), "late-order"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as running:
        late = threading.Timer(60, running.kill)
        late.start()
        try:
            until(running.stdout, "Watching")
            path = rules / "late-order.yaml"
            whole = path.read_text()
            path.write_text(whole.replace("promised_on:", "promisd_on:", 1))
            assert "late-order" in until(running.stdout, "does not load")
            path.write_text(whole)
            assert "2 tests" in until(running.stdout, "✓✓")
        finally:
            late.cancel()
            running.terminate()
