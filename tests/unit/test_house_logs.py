"""Log lines for machines, and files that do not grow for ever."""

import json
import logging
from pathlib import Path

import pytest

from beforehand.runtime import logs


@pytest.fixture
def log(tmp_path: Path) -> Path:
    logs.set_up(tmp_path / "house.log", terminal=logging.CRITICAL, style="json", boot="host-1-abc")
    yield tmp_path / "house.log"
    for name in logs.OURS:
        logger = logging.getLogger(name)
        for handler in logger.handlers:
            handler.close()
        logger.handlers, logger.propagate = [], True


def test_a_line_is_one_json_object(log: Path) -> None:
    logger = logging.getLogger("beforehand.house")
    logger.warning("two\nlines about %s", "late-order", extra={"ids": {"rule": "late-order"}})
    try:
        raise ValueError("anna@example.com")
    except ValueError:
        logger.exception("it failed")
    first, second = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert first["time"].endswith("+00:00")
    assert (first["level"], first["logger"], first["process"]) == ("warning", "beforehand.house", "host-1-abc")
    assert (first["message"], first["ids"]) == ("two\nlines about late-order", {"rule": "late-order"})
    assert second["error"] == "ValueError"
    assert "anna@" not in log.read_text(encoding="utf-8"), "an error's text may hold data"


def test_a_large_file_is_put_aside_and_a_few_are_kept(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LARGEST", 300)
    for number in range(60):
        logging.getLogger("beforehand.house").info("line %s", number)
    files = sorted(log.parent.glob("house.log*"))
    assert [path.name for path in files] == ["house.log", *(f"house.log.{number}" for number in range(1, 6))]
    assert json.loads(log.read_text().splitlines()[-1])["message"] == "line 59"
    assert all(path.stat().st_size < 600 for path in files)


def test_two_processes_write_on_when_one_of_them_puts_the_file_aside(log: Path) -> None:
    other = logs.HouseFile(log, encoding="utf-8")
    logs.put_aside(log, largest=0)
    other.emit(logging.LogRecord("x", logging.INFO, "", 0, "from the other", (), None))
    assert log.read_text().strip() == "from the other"
    other.close()
