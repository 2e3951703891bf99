"""A ``--now`` that the calendar cannot reckon with is told, and is no fault."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from beforehand.cli import app
from models.database import connect, migrate


@pytest.mark.parametrize("now", ["0001-01-01", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-12:00"])
def test_a_now_out_of_all_time(now: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'now.db'}"
    migrate(connect(url))
    monkeypatch.setenv("BEFOREHAND_DATABASE_URL", url)
    done = CliRunner().invoke(app, ["preview", "late-order", "--now", now])
    assert done.exit_code == 2
    assert "too far from today" in done.output
