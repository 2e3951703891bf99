"""What is suspicious in a rule that loads: conditions that can never hold, or that always do. Warnings, not errors."""

from collections.abc import Iterator
from typing import Any

from models.terms import Money, Send, Step, VoucherStep
from rules.conditions import Compare, Condition, Group, Related
from rules.errors import Problem
from rules.facts import Kind
from rules.loader import Rule

LOW, HIGH = ("at_least", "more_than"), ("at_most", "less_than")


def suspicions(rule: Rule) -> list[Problem]:
    """Warnings about conditions of a rule that are impossible or always true, at the condition's line."""
    found: list[Problem] = []
    for name, condition in [*rule.conditions.items(), *rule.exceptions.items()]:
        line, column = place(rule.text, f"{name}:")
        for said in _of(condition):
            found.append(Problem(rule.path, line, column, f"{name}: {said}", warning=True))
    return found


def place(text: str, part: str) -> tuple[int, int]:
    """Line and column (from 1) at which ``part`` first stands in ``text``; 1, 1 where it does not."""
    for number, line in enumerate(text.splitlines(), start=1):
        if part in line:
            return number, line.index(part) + 1
    return 1, 1


def sends(steps: tuple[Step, ...]) -> Iterator[tuple[Send, bool]]:
    """All sending steps, those of ``else`` included, each with whether a voucher step comes before it."""
    voucher = False
    for step in steps:
        voucher = voucher or isinstance(step, VoucherStep)
        while isinstance(step, Send):
            yield step, voucher
            if step.otherwise is None:
                break
            step = step.otherwise


def _of(condition: Condition, *, inside_all: bool = False) -> Iterator[str]:
    if isinstance(condition, Group):
        for member in condition.members:
            yield from _of(member, inside_all=condition.how == "all")
        if condition.how == "all" and not inside_all:
            yield from _clash(_together(condition))
    elif isinstance(condition, Related):
        for part in (condition.where, condition.holds):
            if part is not None:
                yield from _of(part)
        yield from _bounds(dict(condition.bounds), condition.path.text)
        if condition.aggregate == "count":
            yield from _count(condition)


def _together(group: Group) -> list[Compare]:
    """All comparisons that must hold at once."""
    found: list[Compare] = []
    for member in group.members:
        if isinstance(member, Compare):
            found.append(member)
        elif isinstance(member, Group) and member.how == "all":
            found += _together(member)
    return found


def _count(test: Related) -> Iterator[str]:
    for op, value in test.bounds:
        if (op, value) == ("at_least", 0):
            yield f"'{test.path.text}' always has a count of at least 0"
        if op == "less_than" and not isinstance(value, list) and value <= 0:
            yield f"'{test.path.text}' can never have a count of less than {value}"


def _clash(tests: list[Compare]) -> Iterator[str]:
    by_path: dict[str, dict[str, Any]] = {}
    for test in tests:
        seen = by_path.setdefault(test.path.text, {})
        if test.operator == "is" and "is" in seen and seen["is"] != test.value:
            yield f"'{test.path.text}' cannot be two things at once"
        seen[test.operator] = test.value
        sized = test.path.fact is not None and test.path.fact.kind in (Kind.NUMBER, Kind.MONEY)
        if sized and test.operator == "between" and _size(test.value[0]) > _size(test.value[1]):
            yield f"'{test.path.text}' can never lie between {test.value[0]} and {test.value[1]}"
    for path, seen in by_path.items():
        if "missing" in seen and len(seen) > 1:
            yield f"'{path}' cannot be missing and be compared"
        yield from _bounds(seen, path)


def _bounds(seen: dict[str, Any], path: str) -> Iterator[str]:
    for low in LOW:
        for high in HIGH:
            if low in seen and high in seen and not isinstance(seen[low], list):
                bottom, top = _size(seen[low]), _size(seen[high])
                if bottom > top or (bottom == top and (low, high) != ("at_least", "at_most")):
                    yield f"'{path}' can never be {_words(low)} {seen[low]} and {_words(high)} {seen[high]}"


def _size(value: Any) -> float:
    if isinstance(value, Money):
        return value.minor
    return float(value) if isinstance(value, int | float) else 0.0


def _words(op: str) -> str:
    return op.replace("_", " ")
