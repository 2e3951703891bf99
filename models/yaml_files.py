"""Reads YAML files into :class:`models.places.Node` trees, straight from the parser's events.

Refused, before anything is built of it: files over 256 kB, files that are no text, nesting over 40 levels, over 20,000
values, anchors and aliases unless asked for (YAML bombs). Refused too: duplicate keys, tags, several documents.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from models.places import Complaints, Node, Problem, Refused, cut

MAX_BYTES = 256 * 1024
MAX_NODES = 20_000
MAX_DEPTH = 40
SLOWLY = 16 * 1024
"""Up to this many characters the slow parser, which says more, has the last word on a file that is no YAML."""

NOT_TEXT = re.compile("[\0\ud800-\udfff]")
"""What no database takes for a text: the NUL letter, and halves of letters; an escape in quotes can name them."""
CORE_TAG = "tag:yaml.org,2002:"
TOO_BIG = f"the file is over {MAX_BYTES // 1024} kB; a file of ours is a page or two"

IN_WORDS = (
    (r"found character '\\t'", "a tab stands here", "spaces"),
    (r"found character (.+) that cannot", r"a text cannot begin with \1", "quotes around it"),
    (
        r"expected <block end>|did not find expected (key|'-' indicator)",
        "the lines do not fit together here",
        "as many spaces before the word as its neighbours have, and a ':' behind each word",
    ),
    (r"could not find expected ':'", "a word without its ':'", "a ':' and a space behind it"),
    (
        r"mapping values are not allowed",
        "a ':' stands where none can",
        "quotes around a text that has one, or the ':' that is missing in the line above",
    ),
    (r"but got '<stream end>'", "a bracket is opened and never closed", ""),
)
"""What the parser says most often, for people who have not read its grammar."""

Scalar = Callable[[str, bool], Any]


def empty_or_text(text: str, plain: bool) -> Any:
    """A scalar as text; a plain empty one, ``~`` or ``null`` is None."""
    return None if plain and text.lower() in ("", "~", "null") else text


def read_text(text: str, path: str, scalar: Scalar = empty_or_text, *, aliases: bool = False) -> Node:
    """Read one YAML document. ``scalar`` turns a scalar's text, and whether it is plain, into a value.

    ``aliases``: anchors may be used, within MAX_NODES. Raises Refused.
    """
    if len(text.encode(errors="surrogatepass")) > MAX_BYTES:
        raise Refused([Problem(path, 1, 1, TOO_BIG)])
    if "\0" in text:
        raise Refused([Problem(path, 1, 1, "this is not a text file", "a file saved as UTF-8")])
    try:
        try:
            return _Tree(path, scalar, aliases).read(text, pure=False)
        except YAMLError:
            # The C parser is 10 times faster but stumbles over "[09:00]" and says less.
            if len(text) > SLOWLY:
                raise
            return _Tree(path, scalar, aliases).read(text, pure=True)
    except MarkedYAMLError as wrong:
        mark = wrong.problem_mark or wrong.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise Refused([Problem(path, line, column, *_in_words(str(wrong.problem or wrong.context)))]) from wrong
    except YAMLError as wrong:
        raise Refused([Problem(path, 1, 1, f"this is not YAML: {str(wrong).splitlines()[0]}")]) from wrong


def _in_words(said: str) -> tuple[str, str]:
    """What is wrong and what was expected, where the parser's own words say little."""
    for pattern, words, expected in IN_WORDS:
        if found := re.search(pattern, said):
            return f"this is not YAML: {found.expand(words)}", expected
    return f"this is not YAML: {said}", ""


def read_file(path: Path, scalar: Scalar = empty_or_text, *, aliases: bool = False) -> tuple[str, Node]:
    """Read a file; gives its text and tree. Raises Refused, also where it cannot be read as UTF-8."""
    shown = str(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise Refused([Problem(shown, 1, 1, TOO_BIG)])
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as wrong:
        said = f"byte {wrong.start} is not UTF-8"
        raise Refused([Problem(shown, 1, 1, said, "a file saved as UTF-8")]) from wrong
    except OSError as wrong:
        raise Refused([Problem(shown, 1, 1, f"the file cannot be read: {wrong.strerror}")]) from wrong
    return text, read_text(text, shown, scalar, aliases=aliases)


class _Tree:
    """Builds the tree of one document while it is read, and leaves off as soon as it is too much."""

    def __init__(self, path: str, scalar: Scalar, aliases: bool) -> None:
        self.complaints = Complaints(path)
        self.scalar = scalar
        self.aliases = aliases
        self.count = 0
        self.anchors: dict[str, tuple[Node, int]] = {}
        self.events: Iterator[Any] = iter(())

    def read(self, text: str, *, pure: bool) -> Node:
        """The tree of the one document in ``text``. Raises Refused, or YAMLError where it is no YAML."""
        self.events = YAML(typ="safe", pure=pure).parse(text)
        root: Node | None = None
        for event in self.events:
            if isinstance(event, NodeEvent):
                if root is not None:
                    self._refuse(event, "this is not YAML: expected a single document in the stream")
                root = self._node(event, 1)
            elif isinstance(event, StreamEndEvent):
                break
        if root is None:
            self._refuse(None, "the file is empty")
        assert root is not None
        if self.complaints.problems:
            raise Refused(self.complaints.problems)
        return root

    def _refuse(self, event: Any, said: str) -> None:
        line, column = (event.start_mark.line + 1, event.start_mark.column + 1) if event else (1, 1)
        raise Refused([*self.complaints.problems, Problem(self.complaints.path, line, column, said)])

    def _node(self, event: Any, depth: int) -> Node:
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        self.count += 1
        if self.count > MAX_NODES:
            self._refuse(event, f"the file unfolds into over {MAX_NODES:,} values; a file of ours is a page or two")
        if depth > MAX_DEPTH:
            self._refuse(event, f"this is nested over {MAX_DEPTH} levels deep")
        if event.anchor and not self.aliases:
            self.complaints.add(Node(None, line, column), "anchors and aliases are not allowed")
        if isinstance(event, AliasEvent):
            return self._alias(event)
        if event.tag and (not str(event.tag).startswith(CORE_TAG) or str(event.tag).startswith(CORE_TAG + "python")):
            self.complaints.add(Node(None, line, column), f"tags are not allowed: {cut(str(event.tag))}")
        before = self.count
        made = self._value(event, line, column, depth)
        if event.anchor:
            self.anchors[event.anchor] = (made, self.count - before + 1)
        return made

    def _value(self, event: Any, line: int, column: int, depth: int) -> Node:
        if isinstance(event, ScalarEvent):
            plain = not event.style
            return Node(self.scalar(self._text(event), plain), line, column, plain)
        if isinstance(event, SequenceStartEvent):
            return Node([self._node(member, depth + 1) for member in self._members()], line, column)
        assert isinstance(event, MappingStartEvent)
        return self._mapping(line, column, depth)

    def _text(self, event: ScalarEvent) -> str:
        text = str(event.value)
        if not NOT_TEXT.search(text):
            return text
        at = Node(None, event.start_mark.line + 1, event.start_mark.column + 1)
        self.complaints.add(at, "this holds a character that no text can hold (\\0 or \\ud800 to \\udfff)")
        return "?"

    def _members(self) -> Iterator[Any]:
        for event in self.events:
            if isinstance(event, CollectionEndEvent):
                return
            yield event

    def _alias(self, event: Any) -> Node:
        """What an alias stands for; it counts as often as it is used."""
        if event.anchor not in self.anchors:
            if self.aliases:
                self._refuse(event, f"there is no anchor '{cut(event.anchor)}' before this")
            return Node(None, event.start_mark.line + 1, event.start_mark.column + 1)
        node, size = self.anchors[event.anchor]
        self.count += size - 1
        if self.count > MAX_NODES:
            self._refuse(event, f"the file unfolds into over {MAX_NODES:,} values; a file of ours is a page or two")
        return node

    def _mapping(self, line: int, column: int, depth: int) -> Node:
        values: dict[str, Node] = {}
        keys: dict[str, Node] = {}
        for event in self._members():
            key = self._key(event, depth)
            value = self._node(next(self.events), depth + 1)
            name = str(key.value)
            if name in values:
                said = f"the key '{cut(name)}' stands twice (first in line {keys[name].line})"
                self.complaints.add(key, said)
                continue
            keys[name] = key
            values[name] = value
        return Node(values, line, column, keys=keys)

    def _key(self, event: Any, depth: int) -> Node:
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        if isinstance(event, ScalarEvent):
            return Node(self._text(event), line, column, plain=True)
        self._node(event, depth + 1)  # read past it
        self.complaints.add(Node(None, line, column), "a key is one word, not a list or a mapping")
        return Node("?", line, column, plain=True)
