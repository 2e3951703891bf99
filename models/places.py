"""YAML that remembers where everything stands: the one reader behind rule files, mapping files and declared issues.

Refused: duplicate keys, anchors and aliases unless asked for (YAML bombs), tags, several documents, files over 256 kB,
other encodings.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

MAX_BYTES = 256 * 1024
MAX_NODES = 100_000
CORE_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong: where, what, what was expected, and what was perhaps meant. Lines and columns from 1."""

    path: str
    line: int
    column: int
    said: str
    expected: str = ""
    meant: str = ""
    warning: bool = False

    def __str__(self) -> str:
        """``file:line:column: sentence; expected ...; did you mean ...?``."""
        parts = [f"{self.path}:{self.line}:{self.column}: {'warning: ' if self.warning else ''}{self.said}"]
        if self.expected:
            parts.append(f"expected {self.expected}")
        if self.meant:
            parts.append(f"did you mean {self.meant}?")
        return "; ".join(parts)


class Refused(Exception):
    """Files were refused. ``problems`` holds everything that is wrong, in the order of the files."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: Sequence[Problem] = tuple(sorted(set(problems)))
        super().__init__("\n".join(map(str, self.problems)))


@dataclass(frozen=True, eq=False)
class Node:
    """A value and its place. ``value`` is a dict of Nodes, a list of Nodes, or a scalar; ``plain``: not in quotes."""

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
        """The entries of a mapping; none for anything else."""
        yield from self.value.items() if self.is_map else ()

    def get(self, key: str) -> "Node | None":
        """One entry of a mapping, or None."""
        return self.value.get(key) if self.is_map else None

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

    def unknown(self, at: Node, kind: str, word: str, known: Iterable[str]) -> None:
        """Note an unknown word, with what is known and what was perhaps meant."""
        words = list(known)
        self.add(at, f"unknown {kind} '{word}'", expected=listing(words), meant=closest(word, words))

    @property
    def errors(self) -> list[Problem]:
        """The problems that are not mere warnings."""
        return [problem for problem in self.problems if not problem.warning]


def closest(word: str, known: Iterable[str]) -> str:
    """The known word most like ``word``, or an empty string."""
    return next(iter(get_close_matches(word, list(known), n=1, cutoff=0.6)), "")


def listing(words: Iterable[str], limit: int = 12) -> str:
    """Words for an ``expected`` clause: ``a, b or c``; a long list is cut."""
    known = list(words)
    if len(known) > limit:
        return ", ".join(known[:limit]) + " ..."
    return " or ".join([", ".join(known[:-1]), known[-1]]) if len(known) > 1 else "".join(known)


Scalar = Callable[[str, bool], Any]


def empty_or_text(text: str, plain: bool) -> Any:
    """A scalar as text; a plain empty one, ``~`` or ``null`` is None."""
    return None if plain and text.lower() in ("", "~", "null") else text


def read_text(text: str, path: str, scalar: Scalar = empty_or_text, *, aliases: bool = False) -> Node:
    """Read one YAML document. ``scalar`` turns a scalar's text, and whether it is plain, into a value.

    ``aliases``: anchors may be used, within MAX_NODES. Raises Refused.
    """
    complaints = Complaints(path)
    if len(text.encode()) > MAX_BYTES:
        complaints.add(Node(None, 1, 1), f"the file is over {MAX_BYTES // 1024} kB; a file of ours is a page or two")
        raise Refused(complaints.problems)
    try:
        composed = _compose(text)
    except MarkedYAMLError as wrong:
        mark = wrong.problem_mark or wrong.context_mark
        place = Node(None, mark.line + 1, mark.column + 1) if mark else Node(None, 1, 1)
        complaints.add(place, f"this is not YAML: {wrong.problem or wrong.context}")
        raise Refused(complaints.problems) from wrong
    except YAMLError as wrong:
        complaints.add(Node(None, 1, 1), f"this is not YAML: {str(wrong).splitlines()[0]}")
        raise Refused(complaints.problems) from wrong
    if composed is None:
        complaints.add(Node(None, 1, 1), "the file is empty")
        raise Refused(complaints.problems)
    root = _Tree(complaints, scalar, aliases).node(composed)
    if complaints.problems:
        raise Refused(complaints.problems)
    return root


def read_file(path: Path, scalar: Scalar = empty_or_text, *, aliases: bool = False) -> tuple[str, Node]:
    """Read a file; gives its text and tree. Raises Refused, also where it cannot be read as UTF-8."""
    shown = str(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            said = f"the file is over {MAX_BYTES // 1024} kB; a file of ours is a page or two"
            raise Refused([Problem(shown, 1, 1, said)])
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as wrong:
        said = f"byte {wrong.start} is not UTF-8"
        raise Refused([Problem(shown, 1, 1, said, "a file saved as UTF-8")]) from wrong
    except OSError as wrong:
        raise Refused([Problem(shown, 1, 1, f"the file cannot be read: {wrong.strerror}")]) from wrong
    return text, read_text(text, shown, scalar, aliases=aliases)


def _compose(text: str) -> Any:
    # The C parser is 10 times faster but stumbles over "[09:00]" and says less; the pure one has the last word.
    try:
        return YAML(typ="safe", pure=False).compose(text)
    except YAMLError:
        return YAML(typ="safe", pure=True).compose(text)


class _Tree:
    def __init__(self, complaints: Complaints, scalar: Scalar, aliases: bool) -> None:
        self.complaints = complaints
        self.scalar = scalar
        self.aliases = aliases
        self.count = 0
        self.seen: set[int] = set()

    def node(self, node: Any) -> Node:
        line, column = node.start_mark.line + 1, node.start_mark.column + 1
        self.count += 1
        aliased = bool(node.anchor) or id(node) in self.seen  # an alias is composed as the very same node
        if self.count > MAX_NODES or (aliased and not self.aliases):
            said = "anchors and aliases are not allowed" if not self.aliases else "this unfolds into too much"
            if self.count <= MAX_NODES + 1:
                self.complaints.add(Node(None, line, column), said)
            return Node(None, line, column)
        self.seen.add(id(node))
        tag = str(node.tag)
        if not tag.startswith(CORE_TAG) or tag.startswith(CORE_TAG + "python"):
            self.complaints.add(Node(None, line, column), f"tags are not allowed: {tag}")
        if isinstance(node, ScalarNode):
            plain = not node.style
            return Node(self.scalar(node.value, plain), line, column, plain)
        if isinstance(node, SequenceNode):
            return Node([self.node(child) for child in node.value], line, column)
        return self._mapping(node, line, column)

    def _mapping(self, node: MappingNode, line: int, column: int) -> Node:
        values: dict[str, Node] = {}
        keys: dict[str, Node] = {}
        for key_node, value_node in node.value:
            name = str(getattr(key_node, "value", "?"))
            key = Node(name, key_node.start_mark.line + 1, key_node.start_mark.column + 1, plain=True)
            if name in values:
                self.complaints.add(key, f"the key '{name}' stands twice (first in line {keys[name].line})")
                continue
            keys[name] = key
            values[name] = self.node(value_node)
        return Node(values, line, column, keys=keys)
