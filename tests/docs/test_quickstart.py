"""The quickstart's commands do what it says, in its order."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/quickstart.md").read_text()
NEEDS_MORE = ("beforehand dispatch", "beforehand ingest path/to/sources.yaml")
"""A post room, or data of one's own."""


def commands(text: str) -> list[str]:
    """The lines that a reader types, without those that need more than this checkout."""
    lines = re.findall(r"^    (beforehand .+)$", text, re.M)
    return [line for line in lines if line not in NEEDS_MORE]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like the checkout, so that nothing is written into the real one."""
    folder = tmp_path_factory.mktemp("reader")
    shutil.copytree(ROOT / "examples/shop", folder / "examples/shop")
    for name in ("rules", "messaging", "issues"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def test_every_command_works_as_it_stands(place: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BEFOREHAND_")}
    said = {}
    for line in commands(TEXT):
        # a safe path: the folder's link to rules must not be taken for another distribution's
        done = subprocess.run(
            [sys.executable, "-P", "-m", *line.split()],
            cwd=place,
            env={**clean, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == (1 if " ingest " in line else 0), (line, done.stdout[-800:], done.stderr[-800:])
        said[line] = done.stdout
    assert "120 order lines newly exposed" in said["beforehand issues"]
    assert len(said) == 6
