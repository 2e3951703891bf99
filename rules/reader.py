"""Reads YAML into a tree that remembers the line and column of everything, and refuses what bites.

Refused: duplicate keys, anchors and aliases (YAML bombs), tags, several documents, files over 256 kB.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from rules.errors import Problem, RuleErrors, closest, listing

MAX_BYTES = 256 * 1024
CORE_TAG = "tag:yaml.org,2002:"
YAML11_BOOLEANS = {"yes", "no", "on", "off", "y", "n"}


@dataclass(frozen=True)
class Node:
    """A value and its place. ``value`` is a dict of Nodes by key, a list of Nodes, or a plain scalar."""

    value: Any
    line: int
    column: int
    plain: bool = False
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
        """The entries of a mapping, none for anything else."""
        yield from self.value.items() if self.is_map else ()

    def plainly(self) -> Any:
        """The same without places: dicts, lists and scalars."""
        if self.is_map:
            return {key: node.plainly() for key, node in self.value.items()}
        if self.is_list:
            return [node.plainly() for node in self.value]
        return self.value


class Complaints:
    """Gathers what is wrong with one file."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.problems: list[Problem] = []

    def add(self, at: Node, said: str, *, expected: str = "", meant: str = "", warning: bool = False) -> None:
        """Note a problem at a node's place."""
        self.problems.append(Problem(self.path, at.line, at.column, said, expected, meant, warning))

    def unknown(self, at: Node, kind: str, word: str, known: list[str]) -> None:
        """Note an unknown word, with what is known and what was perhaps meant."""
        self.add(at, f"unknown {kind} '{word}'", expected=listing(known), meant=closest(word, known))

    @property
    def errors(self) -> list[Problem]:
        """The problems that are not mere warnings."""
        return [problem for problem in self.problems if not problem.warning]


def read(text: str, path: str) -> Node:
    """Read one YAML document. Raises RuleErrors with the place of what is wrong."""
    complaints = Complaints(path)
    if len(text.encode()) > MAX_BYTES:
        complaints.add(Node(None, 1, 1), f"the file is over {MAX_BYTES // 1024} kB; a rule file is a page or two")
        raise RuleErrors(complaints.problems)
    try:
        composed = _compose(text)
    except MarkedYAMLError as wrong:
        mark = wrong.problem_mark or wrong.context_mark
        place = Node(None, mark.line + 1, mark.column + 1) if mark else Node(None, 1, 1)
        complaints.add(place, f"this is not YAML: {wrong.problem or wrong.context}")
        raise RuleErrors(complaints.problems) from wrong
    except YAMLError as wrong:
        complaints.add(Node(None, 1, 1), f"this is not YAML: {str(wrong).splitlines()[0]}")
        raise RuleErrors(complaints.problems) from wrong
    if composed is None:
        complaints.add(Node(None, 1, 1), "the file is empty", expected="a rule")
        raise RuleErrors(complaints.problems)
    root = _convert(composed, complaints, set())
    if complaints.problems:
        raise RuleErrors(complaints.problems)
    return root


def read_file(path: Path, shown: str) -> tuple[str, Node]:
    """Read a file; gives its text and tree. Raises RuleErrors, also where it cannot be read as UTF-8."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise RuleErrors([Problem(shown, 1, 1, f"the file is over {MAX_BYTES // 1024} kB; a rule file is a page")])
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as wrong:
        raise RuleErrors([Problem(shown, 1, 1, f"byte {wrong.start} is not UTF-8", "a file saved as UTF-8")]) from wrong
    except OSError as wrong:
        raise RuleErrors([Problem(shown, 1, 1, f"the file cannot be read: {wrong.strerror}")]) from wrong
    return text, read(text, shown)


def _compose(text: str) -> Any:
    # The C parser is 10 times faster but stumbles over "[09:00]" and says less; the pure one has the last word.
    try:
        return YAML(typ="safe", pure=False).compose(text)
    except YAMLError:
        return YAML(typ="safe", pure=True).compose(text)


def _convert(node: Any, complaints: Complaints, seen: set[int]) -> Node:
    line, column = node.start_mark.line + 1, node.start_mark.column + 1
    if node.anchor or id(node) in seen:  # an alias is composed as the very same node
        complaints.add(Node(None, line, column), "anchors and aliases are not allowed in rules")
        return Node(None, line, column)
    seen.add(id(node))
    if not str(node.tag).startswith(CORE_TAG) or str(node.tag).startswith(CORE_TAG + "python"):
        complaints.add(Node(None, line, column), f"tags are not allowed in rules: {node.tag}")
    if isinstance(node, ScalarNode):
        return Node(_scalar(node), line, column, plain=not node.style)
    if isinstance(node, SequenceNode):
        return Node([_convert(child, complaints, seen) for child in node.value], line, column)
    assert isinstance(node, MappingNode)
    values: dict[str, Node] = {}
    keys: dict[str, Node] = {}
    for key_node, value_node in node.value:
        key = _convert(key_node, complaints, seen)
        if not isinstance(key.value, str):
            key = Node(str(getattr(key_node, "value", "?")), key.line, key.column)
        if key.value in values:
            complaints.add(key, f"the key '{key.value}' stands twice (first in line {keys[key.value].line})")
            continue
        keys[key.value] = key
        values[key.value] = _convert(value_node, complaints, seen)
    return Node(values, line, column, keys=keys)


def _scalar(node: ScalarNode) -> Any:
    raw: str = node.value
    if node.style:
        return raw
    lowered = raw.lower()
    if lowered in ("", "~", "null"):
        return None
    if lowered in ("true", "false"):
        return lowered == "true"
    for reading in (int, float):
        try:
            return reading(raw) if raw[0] in "+-.0123456789" and "_" not in raw else raw
        except ValueError:
            continue
    return raw
