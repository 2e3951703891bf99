"""Logging of a long-lived process: our own words to a file and, above a level, to the terminal."""

import logging
import sys
from pathlib import Path


def set_up(file: Path, *, terminal: int = logging.WARNING) -> None:
    """Log ``beforehand`` at INFO to ``file``, and from ``terminal`` on to stderr. Times are UTC in the file."""
    logging.raiseExceptions = False  # a log line that cannot be delivered is no reason to write over the terminal
    file.parent.mkdir(parents=True, exist_ok=True)
    to_file = logging.FileHandler(file, encoding="utf-8")
    to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    to_terminal = logging.StreamHandler(sys.stderr)
    to_terminal.setLevel(terminal)
    to_terminal.setFormatter(logging.Formatter("%(message)s"))
    for name in ("beforehand", "messaging", "rules"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        logger.propagate = False
        logger.handlers = [to_file, to_terminal]
