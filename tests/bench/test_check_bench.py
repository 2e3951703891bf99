"""How long ``beforehand check`` takes over 200 rules; `make bench` prints the figures for docs/figures.md."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from beforehand import ROOT
from beforehand.checking import check
from beforehand.checking.texts import Texts
from messaging.rendering import Templates

pytestmark = pytest.mark.bench
MANY = 200
PROMISE = 2.0
"""Seconds for so many rules. Source: issue 3, section 2."""


def made(folder: Path) -> Path:
    """Rules as people write them: the eight shipped ones over and over, each with its own name and numbers."""
    shipped = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "rules" / "catalog").glob("*.yaml"))]
    folder.mkdir()
    for number in range(MANY):
        text = shipped[number % len(shipped)]
        name = f"rule-{number}"
        text = re.sub(r"^id: .*$", f"id: {name}", text, flags=re.M)
        text = re.sub(r"at_least: (\d+)\b(?! EUR)", lambda m, more=number % 7: f"at_least: {int(m[1]) + more}", text)
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder


def test_two_hundred_rules(tmp_path: Path) -> None:
    folder = made(tmp_path / "rules")
    took = []
    for _ in range(3):
        texts = Texts(Templates(ROOT / "messaging" / "templates"))
        began = time.perf_counter()
        checked = check(folder, texts)
        took.append(time.perf_counter() - began)
        assert checked.rules == MANY
        assert checked.errors == ()
    print(f"\ncheck of {MANY} rules: {min(took):.2f} s in a running process (first {took[0]:.2f} s)")
    command = [sys.executable, "-m", "beforehand", "check", str(folder), "--no-database"]
    began = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    whole = time.perf_counter() - began
    assert done.returncode == 0, done.stdout[-500:]
    print(f"check of {MANY} rules: {whole:.2f} s with the start of the command")
    assert took[0] < PROMISE
