"""The house: entry point, guard against shadowing, lock files, Makefile."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("prefect", "polars", "twilio", "sqlalchemy", "sqlmodel", "fastapi", "apscheduler")


def python(*arguments: str, cwd: Path = ROOT, path: tuple[Path, ...] = (ROOT,)) -> subprocess.CompletedProcess[str]:
    """Run this Python with these folders first on its path."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path)), "PYTHONSAFEPATH": "1"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def test_help_shows_the_commands_and_loads_nothing_heavy() -> None:
    code = (
        "import sys, json, runpy\n"
        "sys.argv = ['beforehand', '--help']\n"
        "try:\n    runpy.run_module('beforehand', run_name='__main__')\n"
        f"except SystemExit as left:\n    loaded = [n for n in {HEAVY!r} if n in sys.modules]\n"
        "    json.dump([left.code, loaded], sys.stderr)"
    )
    done = python("-c", code)
    assert json.loads(done.stderr) == [0, []]
    assert "issues" in done.stdout


@pytest.mark.parametrize("package", ["flows", "rules", "models", "messaging"])
def test_a_package_that_shadows_ours_is_refused_in_one_sentence(tmp_path: Path, package: str) -> None:
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text("")
    done = python("-c", "import beforehand", path=(tmp_path, ROOT), cwd=tmp_path)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"ImportError: the package '{package}' found is {tmp_path.resolve()}")
    assert "shadows it; uninstall that one or run from a clean virtual environment" in last


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_file_has_hashes_and_names_no_index_host(name: str) -> None:
    text = (ROOT / name).read_text()
    assert re.findall(r"https?:|--(?:extra-)?index-url|--find-links|--trusted-host| @ ", text) == []
    pins = re.findall(r"^[a-z0-9][\w.-]*(?:\[[\w,-]+\])?==", text, re.M)
    assert len(pins) > 30
    assert len(re.findall(r"^\S.*\\\n {4}--hash=sha256:[0-9a-f]{64}", text, re.M)) == len(pins)


def test_each_direct_dependency_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = set(
        re.findall(r"^([a-z0-9][\w.-]*)(?:\[[\w,-]+\])?==", (ROOT / "requirements-dev.lock").read_text(), re.M)
    )
    extras = project["optional-dependencies"]
    asked = [re.split(r"[\[<>=;~! ]", line)[0] for line in project["dependencies"] + extras["dev"] + extras["build"]]
    assert {name.replace(".", "-") for name in asked} - locked == set()


def test_make_has_every_target_and_help_lists_each() -> None:
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = {line.split()[0] for line in done.stdout.splitlines() if line.strip()}
    assert {"help", "demo", "test", "lint", "fix", "bench", "prove", "lock", "migration", "clean"} <= listed
    assert "make lint test" in (ROOT / ".ci/run").read_text()


def test_the_project_is_never_uploaded_by_mistake() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "Private :: Do Not Upload" in project["classifiers"]
    assert project["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()
