"""What is suspicious in a rule that loads: conditions that can never hold, or that always do. Warnings, not errors."""

from collections.abc import Iterator

from models.terms import Send, Step, VoucherStep
from rules.conditions import NOWHERE, Compare, Condition, Group, Related
from rules.constraints import Clash, Memo, impossible, product, ways
from rules.errors import Problem
from rules.loader import Rule
from rules.reader import Node, Place


def suspicions(rule: Rule) -> list[Problem]:
    """Warnings about conditions of a rule that are impossible or always true, each at its place in the file."""
    found: list[Problem] = []
    memo: Memo = {}
    for name, condition in {**rule.conditions, **rule.exceptions}.items():
        found += [warning(rule, at, f"{name}: {said}") for at, said in _odd(condition, name, memo)]
    return found or list(_together(rule, memo))


def warning(rule: Rule, at: Place, said: str) -> Problem:
    """A warning at a place of a rule's file."""
    return Problem(rule.path, *at, said, warning=True)


def error(rule: Rule, at: Place, said: str, expected: str = "") -> Problem:
    """An error at a place of a rule's file."""
    return Problem(rule.path, *at, said, expected)


def _odd(test: Condition, name: str, memo: Memo) -> Iterator[tuple[Place, str]]:
    """What is odd in a condition: all of it, else its parts."""
    clash = impossible(ways(test, name, memo=memo))
    if clash is not None:
        yield clash.at, f"this can never hold: {clash.said}"
        return
    if impossible(ways(test, name, holds=False, memo=memo)) is not None:
        yield _place(test), "this always holds, whatever the data say"
        return
    if isinstance(test, Compare):
        yield from _spent(test)
    for part in _parts(test):
        yield from _odd(part, name, memo)


def _parts(test: Condition) -> Iterator[Condition]:
    """What a condition is made of; an empty group says nothing, on purpose."""
    parts: list[Condition | None] = []
    if isinstance(test, Group):
        parts = [*test.members]
    elif isinstance(test, Related):
        parts = [test.where, test.holds]
    yield from (part for part in parts if part is not None and not (isinstance(part, Group) and not part.members))


def _spent(test: Compare) -> Iterator[tuple[Place, str]]:
    """A word that is none of all that it can be."""
    fact = test.path.fact
    if fact is not None and fact.values and test.operator == "not_in" and set(fact.values) <= set(test.value):
        yield test.at, f"'{test.path.text}' is nothing else, so this holds only where it is missing"


def _place(test: Condition) -> Place:
    if isinstance(test, Group):
        return next((_place(member) for member in test.members), NOWHERE)
    return test.at


def _together(rule: Rule, memo: Memo) -> Iterator[Problem]:
    """Named conditions that exclude one another: all must hold, and no exception."""
    wanted = [ways(condition, name, memo=memo) for name, condition in rule.conditions.items()]
    clash = impossible(product(wanted))
    if clash is not None:
        yield warning(rule, clash.at, f"{_named(clash)} can never hold together: {clash.said}")
        return
    for name, exception in rule.exceptions.items():
        clash = impossible(product([*wanted, ways(exception, name, holds=False, memo=memo)]))
        if clash is not None:
            at = rule.root.get("unless")
            place = at.keys[name].place if at is not None and name in at.keys else clash.at
            yield warning(rule, place, f"{name}: this holds for all that the rule finds, so it never sends")


def _named(clash: Clash) -> str:
    return " and ".join(clash.names) or "the conditions"


def sends(steps: tuple[Step, ...], then: Node | None = None) -> Iterator[tuple[Send, bool, Place]]:
    """All sending steps, those of ``else`` included: each with whether a voucher step comes before it, and its place.

    ``then`` is the node of the steps.
    """
    voucher = False
    nodes = then.value if then is not None and then.is_list else []
    for number, step in enumerate(steps):
        voucher = voucher or isinstance(step, VoucherStep)
        node = nodes[number] if number < len(nodes) else None
        while isinstance(step, Send):
            yield step, voucher, _named_at(node)
            if step.otherwise is None:
                break
            step, node = step.otherwise, node.get("else") if node else None


def _named_at(node: Node | None) -> Place:
    """Where a step names its template."""
    for verb in ("send", "call", "survey"):
        if node is not None and (named := node.get(verb)) is not None:
            return named.place
    return node.place if node is not None else NOWHERE
