"""Reads the YAML of a mapping file into a tree that remembers places, and gathers what is wrong with it."""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong in a mapping file, with its place (lines and columns from 1)."""

    path: str
    line: int
    column: int
    said: str

    def __str__(self) -> str:
        """``file:line:column: sentence``."""
        return f"{self.path}:{self.line}:{self.column}: {self.said}"


class MappingErrors(Exception):
    """A mapping file was refused. ``problems`` holds everything that is wrong with it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(map(str, self.problems)))


@dataclass(frozen=True, eq=False)
class Node:
    """A YAML value and its place. ``value``: a dict of Nodes, a list of Nodes, or the scalar's text (None: empty)."""

    value: Any
    line: int
    column: int
    keys: dict[str, "Node"] = field(default_factory=dict)

    @property
    def is_map(self) -> bool:
        """Whether this is a mapping."""
        return isinstance(self.value, dict)

    @property
    def is_list(self) -> bool:
        """Whether this is a list."""
        return isinstance(self.value, list)

    def items(self) -> Iterator[tuple[str, "Node"]]:
        """The entries of a mapping; none for anything else."""
        yield from self.value.items() if self.is_map else ()

    def get(self, key: str) -> "Node | None":
        """One entry of a mapping, or None."""
        return self.value.get(key) if self.is_map else None


class Complaints:
    """Gathers what is wrong with one mapping file."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.problems: list[Problem] = []

    def add(self, at: Node, said: str) -> None:
        """Note a problem at a node's place."""
        self.problems.append(Problem(self.path, at.line, at.column, said))

    def unknown(self, at: Node, kind: str, word: str, known: Iterable[str]) -> None:
        """Note an unknown word, with what is known and what was perhaps meant."""
        words = list(known)
        self.add(at, f"unknown {kind} '{word}'; expected {listing(words)}{meant(word, words)}")

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
    close = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""


def listing(words: Iterable[str], limit: int = 24) -> str:
    """Words for an ``expected`` clause; a long list is cut."""
    known = list(words)
    return ", ".join(known[:limit]) + (" ..." if len(known) > limit else "")


def read(path: Path) -> tuple[Node, Complaints]:
    """Read a mapping file. Raises MappingErrors where it is not there or is not YAML."""
    complaints = Complaints(str(path))
    start = Node(None, 1, 1)
    try:
        composed = YAML(typ="safe", pure=True).compose(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError:
        complaints.add(start, "the mapping file is not UTF-8; save it as UTF-8")
    except OSError as wrong:
        complaints.add(start, f"the mapping file cannot be read: {wrong.strerror}")
    except MarkedYAMLError as wrong:
        mark = wrong.problem_mark or wrong.context_mark
        place = Node(None, mark.line + 1, mark.column + 1) if mark else start
        complaints.add(place, f"this is not YAML: {wrong.problem or wrong.context}")
    except YAMLError as wrong:
        complaints.add(start, f"this is not YAML: {str(wrong).splitlines()[0]}")
    else:
        if composed is not None:
            return _convert(composed, complaints), complaints
        complaints.add(start, "the mapping file is empty; expected 'sources' and 'load'")
    raise MappingErrors(complaints.problems)


def _convert(node: Any, complaints: Complaints) -> Node:
    line, column = node.start_mark.line + 1, node.start_mark.column + 1
    if isinstance(node, ScalarNode):
        empty = node.style is None and node.value.lower() in ("", "~", "null")
        return Node(None if empty else node.value, line, column)
    if isinstance(node, SequenceNode):
        return Node([_convert(child, complaints) for child in node.value], line, column)
    assert isinstance(node, MappingNode)
    values: dict[str, Node] = {}
    keys: dict[str, Node] = {}
    for key_node, value_node in node.value:
        key = Node(None, key_node.start_mark.line + 1, key_node.start_mark.column + 1)
        name = str(getattr(key_node, "value", "?"))
        if name in values:
            complaints.add(key, f"the key '{name}' stands twice (first in line {keys[name].line})")
        keys[name] = key
        values[name] = _convert(value_node, complaints)
    return Node(values, line, column, keys)
