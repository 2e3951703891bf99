"""Reads rule files into a tree with places, where numbers and booleans are what they look like."""

from pathlib import Path
from typing import Any

from models.places import Complaints, Node, Place, Refused
from models.yaml_files import MAX_BYTES
from models.yaml_files import read_file as read_placed_file
from models.yaml_files import read_text as read_placed_text
from rules.errors import RuleErrors

__all__ = ["MAX_BYTES", "YAML11_BOOLEANS", "Complaints", "Node", "Place", "read", "read_file"]

YAML11_BOOLEANS = {"yes", "no", "on", "off", "y", "n"}


def read(text: str, path: str) -> Node:
    """Read one rule. Raises RuleErrors with the place of what is wrong."""
    try:
        return read_placed_text(text, path, typed)
    except Refused as refused:
        raise RuleErrors(refused.problems) from refused


def read_file(path: Path) -> tuple[str, Node]:
    """Read a file; gives its text and tree. Raises RuleErrors, also where it cannot be read as UTF-8."""
    try:
        return read_placed_file(path, typed)
    except Refused as refused:
        raise RuleErrors(refused.problems) from refused


def typed(raw: str, plain: bool) -> Any:
    """A scalar as what it looks like: null, true, false, a number; anything else, and all in quotes, is text.

    A number with a leading + or 0 (a phone number, a postcode) stays text.
    """
    lowered = raw.lower()
    if not plain:
        return raw
    if lowered in ("", "~", "null"):
        return None
    if lowered in ("true", "false"):
        return lowered == "true"
    if raw[0] not in "-.0123456789" or "_" in raw or (raw[0] == "0" and raw[1:2].isdigit()):
        return raw
    for reading in (int, float):
        try:
            return reading(raw)
        except ValueError:
            continue
    return raw
