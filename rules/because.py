"""Why a stored match matched: the facts kept with it, in the words of the rule text kept with it."""

from collections.abc import Iterator
from datetime import date, datetime
from typing import Any

from rules.comparisons import money_currency
from rules.conditions import Compare, Condition, Group, Related
from rules.facts import Kind
from rules.loader import Rule
from rules.saying import Voice, sentence
from rules.verdicts import Part, Verdict, parts_of

MISSING = object()


def because(rule: Rule, facts: dict[str, Any], at: datetime, zone: str) -> Iterator[str]:
    """One sentence for each fact that was kept, under the name of its condition; nothing is asked anew."""
    voice = Voice(at, zone)
    for part in parts_of(rule)[0]:
        known = facts.get(part.name)
        said = list(_leaves(part, known if isinstance(known, dict) else {}, voice))
        yield f"{part.name}: {'; '.join(said)}" if said else f"{part.name}: held"


def _leaves(part: Part, known: dict[str, Any], voice: Voice) -> Iterator[str]:
    if isinstance(part.test, Group):
        if part.test.how != "none":
            for member in part.members:
                yield from _leaves(member, known, voice)
        return
    found = known.get(label_of(part.test), MISSING)
    if found is not MISSING:
        yield sentence(_as_found(part, found), voice)


def label_of(test: Condition) -> str:
    """Under which word the compiler keeps a leaf's fact."""
    if isinstance(test, Compare):
        return test.path.text
    assert isinstance(test, Related)
    return f"{test.path.text} {'count' if test.aggregate == 'any' else test.aggregate}"


def _as_found(part: Part, found: Any) -> Verdict:
    """The stored value as it was found: JSON keeps moments and days as text, and money without its currency."""
    test = part.test
    fact = test.path.fact if isinstance(test, Compare) else test.of if isinstance(test, Related) else None
    kind = fact.kind if fact is not None else Kind.NUMBER
    if isinstance(found, str) and kind is Kind.MOMENT:
        found = datetime.fromisoformat(found)
    elif isinstance(found, str) and kind is Kind.DAY:
        found = date.fromisoformat(found)
    currency = money_currency(test.value) if isinstance(test, Compare) and kind is Kind.MONEY else None
    return Verdict(part, True, found, currency)
