"""What a replay cannot know of the past, named with the condition that asks for it."""

from collections.abc import Iterator

from models.terms import Send, Terms, VoucherStep, Wait
from rules.conditions import Compare, Condition, Group, Path, Related
from rules.facts import Fact, Kind, Subject
from rules.loader import Rule
from rules.scope import KNOWN_FROM, born_at

FIXED = {"external_id", "number", "name", "direction", "kind", "rule_id", "channel", "purpose", "template", "currency"}
"""Texts that a row is born with; what they say today they said then."""

FIXED_MONEY = {"worth"}


def notes_of(rule: Rule, *, every: bool) -> list[str]:
    """Each fact without a history, with the condition that reads it; then what the replay takes for granted."""
    found: dict[str, list[str]] = {}
    for name, condition in [*rule.conditions.items(), *rule.exceptions.items()]:
        for said in _mutable(condition):
            found.setdefault(said, []).append(name)
    told = [
        f"{fact} is taken as it is today; no history of it is kept ({', '.join(dict.fromkeys(names))})"
        for fact, names in found.items()
    ]
    return told + list(_unborn(rule)) + list(_assumed(rule.terms, every=every))


def _mutable(test: Condition) -> Iterator[str]:
    if isinstance(test, Group):
        for member in test.members:
            yield from _mutable(member)
    elif isinstance(test, Compare):
        yield from _fact(test.path)
        for value in test.value if isinstance(test.value, list) else [test.value]:
            if isinstance(value, Path):
                yield from _fact(value)
    else:
        yield from _related(test)


def _related(test: Related) -> Iterator[str]:
    if test.of is not None and not _kept(test.of, test.path.subject):
        yield f"{test.path.text}.{test.of.name}"
    for inner in (test.where, test.holds):
        for said in _mutable(inner) if inner is not None else ():
            yield said if "." in said else f"{test.path.text}.{said}"


def _fact(path: Path) -> Iterator[str]:
    if path.fact is not None and not _kept(path.fact, path.subject):
        yield path.text


def _kept(fact: Fact, subject: Subject) -> bool:
    """Whether what a fact says of a past moment can be told from the row as it is now."""
    if fact.attribute:
        return False
    if fact.kind is Kind.MOMENT or fact.day_of:
        return not fact.planned and fact.name != "reopened_at"
    if fact.name in KNOWN_FROM or fact.column == "id":
        return True
    return (fact.name in FIXED and subject.name != "customer") or fact.name in FIXED_MONEY


def _unborn(rule: Rule) -> Iterator[str]:
    if not born_at(rule.subject):
        yield f"a {rule.subject.name} has no moment at which it came to be, so all of them are taken as there"


def _assumed(terms: Terms, *, every: bool) -> Iterator[str]:
    sends = [step for step in terms.steps if isinstance(step, Send)]
    if sends:
        yield "every message is taken as accepted and delivered at the moment it is due"
    if any(send.tries > 1 or send.otherwise is not None for send in sends):
        yield "every call is taken as answered at the first try"
    if terms.events and not every:
        yield f"{', '.join(terms.events)}: an event is taken as known by the end of the minute in which it happened"
    if any(isinstance(step, Wait) and step.stop_if is not None and step.until is not None for step in terms.steps):
        yield "a wait with both 'until' and 'stop_if' is asked every minute, which takes long"
    if any(isinstance(step, VoucherStep) for step in terms.steps):
        yield "vouchers are taken as not redeemed"
    yield "addresses, languages and zones of customers are taken as they are today, and no kill switch as set"
