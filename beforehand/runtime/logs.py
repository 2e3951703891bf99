"""Logging of a long-lived process: our own words to a file and, above a level, to the terminal."""

import contextlib
import json
import logging
import sys
import time
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Literal

LARGEST = 20 * 1024 * 1024
"""Bytes of a log file before it is put aside."""
KEPT = 5
"""So many files that were put aside are kept."""
OURS = ("beforehand", "messaging", "rules", "flows")


class Json(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, process, message, error; and ``ids`` where a line has some."""

    def __init__(self, boot: str = "") -> None:
        super().__init__()
        self._boot = boot

    def format(self, record: logging.LogRecord) -> str:
        """The line. An exception is told by its kind alone: its text may hold data."""
        told: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": self._boot or str(record.process),
            "message": record.getMessage(),
        }
        if ids := getattr(record, "ids", None):
            told["ids"] = ids
        if record.exc_info and record.exc_info[0]:
            told["error"] = record.exc_info[0].__name__
        return json.dumps(told, ensure_ascii=False, default=str)


class HouseFile(WatchedFileHandler):
    """A log file that several processes may write, and that is put aside when it has grown large.

    Whoever moves it away (this one, another process, logrotate): all go on in a new file.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line."""
        with contextlib.suppress(OSError):
            put_aside(Path(self.baseFilename))
        super().emit(record)


def put_aside(file: Path, largest: int | None = None) -> None:
    """Move a log file of ``largest`` bytes or more to ``NAME.1``, the one before to ``NAME.2``, up to KEPT."""
    try:
        if file.stat().st_size < (LARGEST if largest is None else largest):
            return
    except FileNotFoundError:
        return
    for number in range(KEPT - 1, 0, -1):
        with contextlib.suppress(FileNotFoundError):
            Path(f"{file}.{number}").replace(f"{file}.{number + 1}")
    with contextlib.suppress(FileNotFoundError):  # another process was quicker
        file.replace(f"{file}.1")


def set_up(
    file: Path, *, terminal: int = logging.WARNING, style: Literal["people", "json"] = "people", boot: str = ""
) -> None:
    """Log our own words at INFO to ``file``, and from ``terminal`` on to stderr, for ``people`` or as ``json``.

    Times are UTC. With ``json`` warnings of libraries are lines of ours too.
    """
    logging.raiseExceptions = False  # a log line that cannot be delivered is no reason to write over the terminal
    file.parent.mkdir(parents=True, exist_ok=True)
    to_file = HouseFile(file, encoding="utf-8")
    to_terminal = logging.StreamHandler(sys.stderr)
    to_terminal.setLevel(terminal)
    dated = logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s")
    dated.converter = _utc
    to_file.setFormatter(Json(boot) if style == "json" else dated)
    to_terminal.setFormatter(Json(boot) if style == "json" else logging.Formatter("%(message)s"))
    for name in OURS:
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        logger.propagate = False
        logger.handlers = [to_file, to_terminal]


def _utc(seconds: float | None) -> time.struct_time:
    return time.gmtime(seconds)
