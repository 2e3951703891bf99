"""`beforehand up` with something wrong: one clear word, nothing started that stays."""

import os
import subprocess
import sys
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent.parent


def up(folder: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BEFOREHAND_")}
    settings = {"BEFOREHAND_VAR": str(folder / "var"), "BEFOREHAND_DATABASE_URL": f"sqlite:///{folder / 'ours.db'}"}
    return subprocess.run(
        [sys.executable, "-m", "beforehand", "up"],
        cwd=ROOT,
        env={**clean, **settings, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def servers_of(folder: Path) -> list[psutil.Process]:
    """Prefect servers whose home is in the folder."""
    found = []
    for one in psutil.process_iter(["cmdline"]):
        if "flows.server" in (one.info["cmdline"] or []):
            try:
                home = one.environ().get("PREFECT_HOME", "")
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
            if home.startswith(str(folder)):
                found.append(one)
    return found


def test_broken_rules_start_nothing(tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "odd.yaml").write_text("id: odd\nwhen: {evry: 1 hour}\n")
    ended = up(tmp_path, BEFOREHAND_RULES=str(rules))
    assert ended.returncode == 1
    assert "The rules were not loaded, so nothing was started." in ended.stderr
    assert "odd.yaml:1:1: 'title' is missing" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert servers_of(tmp_path) == []


def test_a_database_that_is_not_there_is_said(tmp_path: Path) -> None:
    ended = up(tmp_path, BEFOREHAND_DATABASE_URL="postgresql://nobody@127.0.0.1:9/none")
    assert ended.returncode == 2
    assert "The database does not answer" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert servers_of(tmp_path) == []
