"""How long it takes to run the tests of many rule files."""

import time
from pathlib import Path

import pytest
import typer

from beforehand import ROOT
from beforehand.proving import prove_all, rule_files
from beforehand.settings import Settings

pytestmark = pytest.mark.bench

RULES = 100
LIMIT = 10.0
"""Seconds for 200 tests (issue 3)."""


def test_two_hundred_tests(tmp_path: Path) -> None:
    shipped = sorted((ROOT / "rules" / "catalog").glob("*.yaml"))
    for number in range(RULES):
        file = shipped[number % len(shipped)]
        name = f"{file.stem}-{number}"
        text = file.read_text(encoding="utf-8").replace(f"id: {file.stem}\n", f"id: {name}\n")
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    begun = time.perf_counter()
    report = prove_all(Settings(_env_file=None), rule_files(tmp_path))
    took = time.perf_counter() - begun
    assert report.fine
    assert len(report.outcomes) == 200
    typer.echo(f"{len(report.outcomes)} tests of {RULES} rules: {took:.1f} s")
    assert took < LIMIT
