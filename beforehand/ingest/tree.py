"""Reads the YAML of a mapping file into a tree that remembers places, and gathers what is wrong with it."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from models.places import Complaints as Gathered
from models.places import Node, Problem, Refused, closest, listing
from models.yaml_files import read_file

__all__ = ["Complaints", "MappingErrors", "Node", "Problem", "listing", "meant", "read"]

VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


class MappingErrors(Refused):
    """A mapping file was refused. ``problems`` holds everything that is wrong with it."""


class Complaints(Gathered):
    """Gathers what is wrong with one mapping file, and reads its small parts."""

    def only(self, node: Node, kind: str, known: Iterable[str]) -> bool:
        """Check that ``node`` is a mapping with known keys only; says each that is not."""
        if not node.is_map:
            self.add(node, f"{kind} must be a mapping of names to values")
            return False
        words = list(known)
        for key in node.value:
            if key not in words:
                self.unknown(node.keys[key], f"word in {kind}", key, words)
        return True

    def text(self, node: Node | None, kind: str, default: str = "") -> str:
        """The text of a scalar; complains of anything else."""
        if node is None:
            return default
        if isinstance(node.value, str):
            return node.value
        self.add(node, f"{kind} must be text")
        return default

    def texts(self, node: Node | None, kind: str) -> tuple[str, ...] | None:
        """One text or a list of texts; None where nothing is given. An empty entry is the empty text."""
        if node is None:
            return None
        entries = node.value if node.is_list else [node]
        return tuple("" if entry.value is None else self.text(entry, kind) for entry in entries)

    def choice(self, node: Node | None, kind: str, known: Iterable[str], default: str) -> str:
        """A text out of a list of words."""
        words, found = list(known), self.text(node, kind, default)
        if node is not None and found not in words:
            self.unknown(node, kind, found, words)
            return default
        return found

    def expand(self, node: Node, text: str) -> str:
        """Put environment variables in: ``${NAME}`` or ``${NAME:-default}``; an unset one is a problem."""

        def fill(found: re.Match[str]) -> str:
            value = os.environ.get(found[1]) or found[2]
            if value is None:
                self.add(node, f"the environment variable {found[1]} is not set; set it, or write ${{{found[1]}:-...}}")
            return value or ""

        return VARIABLE.sub(fill, text)


def meant(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?``, or nothing."""
    close = closest(word, known)
    return f"; did you mean '{close}'?" if close else ""


def read(path: Path) -> tuple[Node, Complaints]:
    """Read a mapping file. Raises MappingErrors where it is not there or is not YAML."""
    try:
        return read_file(path, aliases=True)[1], Complaints(str(path))
    except Refused as refused:
        raise MappingErrors(refused.problems) from refused
