"""The page about checks before a merge: its YAML is YAML, its commands are ours, and the hook does what it says."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from ruamel.yaml import YAML

from beforehand import ROOT
from beforehand.cli import app

PAGE = ROOT / "docs" / "how-to" / "check-in-ci.md"
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
HOOKS = YAML(typ="safe").load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
COMMANDS: Any = typer.main.get_command(app)


def blocks() -> list[Any]:
    found = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    return [YAML(typ="safe").load(block) for block in found]


def known(command: str) -> None:
    """Fail unless a line is a make target of ours, or a command of ours with options that it has."""
    program, *words = shlex.split(command)
    if program == "make":
        targets = re.findall(r"^([\w$()/.-]+):", MAKEFILE.replace("$(VENV)", ".venv"), re.M)
        assert set(words) <= set(targets)
        return
    assert Path(program).name == "beforehand"
    assert "beforehand = " in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    options = {opt for p in COMMANDS.commands[words[0]].params for opt in [*p.opts, *p.secondary_opts]}
    assert {word for word in words[1:] if word.startswith("-")} <= options


def test_the_workflow_runs_commands_that_there_are() -> None:
    _, workflow = blocks()
    steps = workflow["jobs"]["check"]["steps"]
    lines = [step["run"] for step in steps if "run" in step]
    assert len(lines) == 3
    for line in lines:
        known(line)
    assert all(re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"]) for step in steps if "uses" in step)
    watched = workflow["on"]["pull_request"]["paths"]
    assert "rules/**" in watched
    assert "messaging/templates/**" in watched


def test_the_page_names_the_hook_that_there_is() -> None:
    config, _ = blocks()
    (repo,) = config["repos"]
    assert [hook["id"] for hook in repo["hooks"]] == [hook["id"] for hook in HOOKS]
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.M)
    assert version is not None
    assert repo["rev"] == f"v{version[1]}"
    known(HOOKS[0]["entry"])


def test_the_hook_looks_at_all_that_check_reads_and_at_nothing_else() -> None:
    pattern = re.compile(HOOKS[0]["files"])
    kept = [*ROOT.glob("rules/catalog/*.yaml"), *ROOT.glob("examples/*/rules/*"), *ROOT.glob("messaging/templates/*/*")]
    for path in kept:
        assert pattern.search(path.relative_to(ROOT).as_posix()) or path.is_dir(), path
    for name in ("rules/catalog/lists/vip.csv", "lists/vip.csv", "facts.yaml", "shop/facts.yaml"):
        assert pattern.search(name)
    for name in ("rules/loader.py", "README.md", "issues/kettle.yaml", "docs/templates.md", "beforehand/facts.yaml.py"):
        assert not pattern.search(name)


@pytest.mark.parametrize(("wrong", "code"), [(False, 0), (True, 1)])
def test_the_hook_does_as_it_says(tmp_path: Path, wrong: bool, code: int) -> None:
    folder = tmp_path / "rules" / "catalog"
    folder.mkdir(parents=True)
    text = (ROOT / "rules" / "catalog" / "late-order.yaml").read_text(encoding="utf-8")
    (folder / "late-order.yaml").write_text(text.replace("promised_on:", "promissed_on:", 1) if wrong else text)
    entry = shlex.split(HOOKS[0]["entry"])
    command = [sys.executable, "-m", *entry]
    # As pre-commit does it: from the top of the repository, without file names.
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert ("did you mean promised_on?" in done.stdout) is wrong
    assert list(tmp_path.rglob("*.db")) == []
