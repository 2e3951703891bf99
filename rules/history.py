"""Which facts of a condition can be asked as of a past moment, and which are only known as they are now.

A moment that happened is its own history. A text, a number, a planned moment or a stored day may have been another one
then: nobody keeps what it was.
"""

from collections.abc import Iterator

from rules.conditions import Compare, Condition, Group, Path, Related
from rules.facts import Fact, Kind
from rules.scope import KNOWN_FROM

ALWAYS_THE_SAME = ("external_id", "id", "happened_at")


def keeps_history(fact: Fact) -> bool:
    """Whether a fact's value as of a past moment can be told from what is stored."""
    if fact.column in ALWAYS_THE_SAME or (fact.name in KNOWN_FROM and not fact.attribute):
        return True
    dated = fact.kind is Kind.MOMENT or bool(fact.day_of)
    return dated and not fact.planned


def without_history(test: Condition) -> list[str]:
    """The facts of a condition, as it names them, of which no history is kept; each once, in order."""
    return list(dict.fromkeys(_names(test)))


def _names(test: Condition) -> Iterator[str]:
    if isinstance(test, Group):
        for member in test.members:
            yield from _names(member)
    elif isinstance(test, Compare):
        for path in (test.path, *(test.value if isinstance(test.value, list) else [test.value])):
            if isinstance(path, Path) and path.fact is not None and not keeps_history(path.fact):
                yield path.text
    elif isinstance(test, Related):
        if test.of is not None and not keeps_history(test.of):
            yield f"{test.path.text}.{test.of.name}"
        for inner in (test.where, test.holds):
            if inner is not None:
                yield from (f"{test.path.text}: {name}" for name in _names(inner))
