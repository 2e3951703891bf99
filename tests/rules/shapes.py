"""The structure of a rule: all of it but its values. What may be said of SQL shapes is said of these."""

from collections.abc import Iterator
from datetime import date
from typing import Any

from models.terms import Money, Wait
from rules.conditions import Compare, Condition, Group, ListFile, Path
from rules.loader import Rule
from rules.reader import Node
from rules.values import Moment

Shape = Any


def shape(rule: Rule) -> Shape:
    """A rule's structure as nested tuples."""
    return (
        rule.subject.name,
        tuple(condition_shape(condition) for condition in rule.conditions.values()),
        tuple(condition_shape(condition) for condition in rule.exceptions.values()),
        tuple(condition_shape(stop_of(rule, step)) for step in rule.terms.steps if isinstance(step, Wait)),
    )


def condition_shape(test: Condition | None) -> Shape:
    """A condition's words; of its values only their kind."""
    if test is None:
        return None
    if isinstance(test, Group):
        return (test.how, *map(condition_shape, test.members))
    if isinstance(test, Compare):
        return (test.path.text, test.operator, value_shape(test.value, pair=test.operator == "between"))
    # whether rows are needed for a count or sum to hold decides how the tables are joined
    bounds = tuple(
        (op, value_shape(value), test.aggregate in ("count", "sum") and sign(value)) for op, value in test.bounds
    )
    holds, where = condition_shape(test.holds), condition_shape(test.where)
    windows = (test.within is None, test.within_next is None, value_shape(test.since))
    return (test.path.text, test.aggregate, holds, test.of and test.of.name, bounds, where, windows)


def sign(value: Any) -> str:
    """Below, at or above nothing."""
    amount = value.minor if isinstance(value, Money) else value
    return "pair" if isinstance(amount, list) else "0" if amount == 0 else "+" if amount > 0 else "-"


def value_shape(value: Any, *, pair: bool = False) -> Shape:
    """The kind of a value; the calendar words are words of the language, and so is how many times a list has."""
    if isinstance(value, Path):
        return ("fact", value.text)
    if isinstance(value, ListFile):
        return "several"
    if isinstance(value, list):
        whole = not pair and not any(isinstance(each, Moment | Path) for each in value)
        return "several" if whole else tuple(map(value_shape, value))
    if isinstance(value, Moment):
        return _moment_shape(value)
    return type(value).__name__


def _moment_shape(value: Moment) -> str:
    if value.day is not None:
        return "today" if value.day == 0 else "another day"
    if value.weekday is not None:
        return "weekday"
    if value.on is not None:
        return "last day" if value.on == date.max else "date"
    return "instant"


def places(tree: dict[str, Any], depth: int = 0) -> Iterator[tuple[dict[str, Any], str]]:
    """Every key in a rule's ``if`` and ``unless`` that is a word of the language, with the mapping it stands in.

    Above these stand ``if`` and ``unless`` themselves, and the names of conditions, which are anybody's.
    """
    for key, value in tree.items():
        if depth > 1:
            yield tree, key
        for member in value if isinstance(value, list) else [value]:
            if isinstance(member, dict):
                yield from places(member, depth + 1)


def stop_of(rule: Rule, wait: Wait) -> Condition:
    """The ``stop_if`` of a wait, read."""
    return rule.parser.condition(_node(wait.stop_if), rule.subject)


def _node(value: Any) -> Node:
    if isinstance(value, dict):
        keys = {key: Node(key, 1, 1) for key in value}
        return Node({key: _node(member) for key, member in value.items()}, 1, 1, keys=keys)
    return Node([_node(member) for member in value] if isinstance(value, list) else value, 1, 1)
