"""In which hours rules run, read from their cron lines, and whether two may run in the same one."""

from functools import cache

from rules.loader import Rule

NAMES = {
    **{name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))},
    **{
        name: number
        for number, name in enumerate(
            ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), start=1
        )
    },
}
FIELDS = ((1, 0, 23), (2, 1, 31), (3, 1, 12), (4, 0, 7))
"""Which cron field it is, with its least and greatest value: hour, day of the month, month, day of the week."""


def same_hour(one: Rule, other: Rule) -> bool:
    """Whether two rules run on the same event, or in the same hour of some day."""
    if set(one.terms.events) & set(other.terms.events):
        return True
    return any(_meet(first, second) for first in one.terms.cron for second in other.terms.cron)


@cache
def _meet(first: str, second: str) -> bool:
    return all(
        _values(first.split()[place], low, high) & _values(second.split()[place], low, high)
        for place, low, high in FIELDS
    )


@cache
def _values(field: str, low: int, high: int) -> frozenset[int]:
    """What a cron field stands for; Sunday is 0 and 7."""
    found: set[int] = set()
    for part in field.lower().split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        begins = low if first == "*" else _number(first)
        ends = _number(last) if last else high if first == "*" or step else begins
        found.update(range(begins, ends + 1, int(step or 1)))
    return frozenset(0 if high == 7 and value == 7 else value for value in found)


def _number(word: str) -> int:
    return int(word) if word.isdigit() else NAMES[word[:3]]
