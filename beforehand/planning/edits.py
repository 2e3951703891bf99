"""What differs between two texts of a rule, word by word, and whether it decides anything."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy.dialects import sqlite

from beforehand.planning.report import Edit
from rules.evaluate import matching
from rules.loader import Rule
from rules.reader import read

WORDS_ONLY = ("title", "why", "owner", "tests", "id")
"""Keys that decide nothing: whom a rule finds and what it does with them is the same without them."""

LONG = 80
"""A value is shown up to so many characters."""


def edits_between(old: Rule, new: Rule) -> tuple[Edit, ...]:
    """The words that differ, by their dotted path, as in the file. Tests are not compared word by word."""
    return tuple(_edits("", _tree(old), _tree(new)))


def decides_the_same(edits: tuple[Edit, ...]) -> bool:
    """Whether only words differ that decide nothing."""
    return all(edit.key.partition(".")[0] in WORDS_ONLY for edit in edits)


def asks_the_same(old: Rule, new: Rule, now: datetime, zone: str) -> bool:
    """Whether two rules of the same text ask the database the same: a list or the facts behind them may differ."""
    return _question(old, now, zone) == _question(new, now, zone)


def _question(rule: Rule, now: datetime, zone: str) -> tuple[str, dict[str, Any]]:
    compiled = matching(rule, now=now, zone=zone).compile(dialect=sqlite.dialect())
    return str(compiled), dict(compiled.params)


def _tree(rule: Rule) -> Any:
    return read(rule.text, rule.path).plainly()


def _edits(path: str, old: Any, new: Any) -> Iterator[Edit]:
    if old == new:
        return
    if path != "tests" and isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            yield from _edits(f"{path}.{key}".lstrip("."), old.get(key), new.get(key))
    elif path != "tests" and isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for place, pair in enumerate(zip(old, new, strict=True), start=1):
            yield from _edits(f"{path}.{place}", *pair)
    elif path == "tests":
        yield Edit(path, _many(old), _many(new))
    else:
        yield Edit(path, _shown(old), _shown(new))


def _many(tests: Any) -> str | None:
    return f"{len(tests)} of them" if isinstance(tests, list) else None


def _shown(value: Any) -> str | None:
    if value is None:
        return None
    said = _flow(value)
    return said if len(said) <= LONG else said[: LONG - 3] + "..."


def _flow(value: Any) -> str:
    """A value on one line, as YAML's flow style has it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(member)}" for key, member in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return "yes" if value is True else "no" if value is False else "missing" if value is None else str(value)
