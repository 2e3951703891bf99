"""Checks a rule set as a whole: the files, what is suspicious in them, their templates, and what the data say."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import combinations
from pathlib import Path

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from beforehand.checking.hours import same_hour
from beforehand.checking.texts import Texts
from models.terms import VoucherStep
from models.vocabulary import Purpose, RuleStatus
from rules.checks import error, suspicions, warning
from rules.conditions import NOWHERE
from rules.endpoints import unknown_endpoints
from rules.errors import Problem, RuleErrors
from rules.loader import UNPROVEN, Rule, read_folder
from rules.pairs import Findings, disjoint, implies
from rules.rates import Rates, load_rates
from rules.reader import Place

MANY = 3
"""Other rules that a warning names; of more only how many there are."""


@dataclass(frozen=True)
class Data:
    """The data to ask: a database, the moment of the question, and the zone of customers whose own is not known."""

    engine: Engine
    now: datetime
    zone: str = "UTC"


@dataclass(frozen=True)
class Checked:
    """How many rules were right in themselves, all that is wrong, and what could not be looked at.

    ``refused``: the set does not even load.
    """

    rules: int
    problems: tuple[Problem, ...]
    unchecked: tuple[str, ...] = ()
    refused: bool = False

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that are not mere warnings."""
        return tuple(problem for problem in self.problems if not problem.warning)


@dataclass(frozen=True)
class House:
    """What rules lean on that is set elsewhere: the endpoints of webhook steps (None: not asked), the rates.

    ``address`` is the postal address that stands under advertising e-mails; None: not asked.
    """

    endpoints: Collection[str] | None = None
    rates: Path | None = None
    currency: str = "EUR"
    address: str | None = None


def check(
    rules: Path,
    texts: Texts,
    facts: Path | None = None,
    *,
    data: Data | None = None,
    why_not: str = "",
    house: House | None = None,
) -> Checked:
    """Look at the rules of a folder (or one file) and say all that is wrong, in all of them at once.

    Without ``data`` that part is left out, and ``unchecked`` says so with ``why_not``. Nothing is raised for what is
    wrong in a file.
    """
    try:
        loaded, found = read_folder(rules, facts)
    except RuleErrors as refused:
        return Checked(0, tuple(refused.problems), refused=True)
    table, wrong = _rates(house or House())
    found += [*wrong, *_endpoints(loaded.values(), house or House())]
    broken = any(not problem.warning for problem in found)
    found = [replace(problem, warning=False) if problem.said == UNPROVEN else problem for problem in found]
    for rule in loaded.values():
        found += [*suspicions(rule), *_offered(rule), *texts.problems(rule)]
        if house is not None and house.address == "":
            found += texts.unaddressed(rule)
    asked, unchecked = _with_data([replace(rule, rates=table) for rule in loaded.values()], texts, data, why_not)
    return Checked(len(loaded), tuple(sorted({*found, *asked})), unchecked, broken)


def _rates(house: House) -> tuple[Rates | None, Sequence[Problem]]:
    """The table of rates, and what is wrong with it."""
    try:
        return (load_rates(house.rates, house.currency) if house.rates else None), ()
    except RuleErrors as wrong:
        return None, wrong.problems


def _endpoints(rules: Iterable[Rule], house: House) -> list[Problem]:
    if house.endpoints is None:
        return []
    return [problem for rule in rules for problem in unknown_endpoints(rule, house.endpoints)]


def _with_data(
    rules: list[Rule], texts: Texts, data: Data | None, why_not: str
) -> tuple[list[Problem], tuple[str, ...]]:
    """What the data say, or what is certain without them; and what could not be looked at."""
    if data is not None:
        try:
            with _reading(data) as connection:
                return _asked(connection, data, rules, texts), ()
        except (SQLAlchemyError, RuleErrors) as wrong:
            why_not = str(getattr(wrong, "orig", None) or wrong).splitlines()[0]
    left = "the languages of the customers, and how many of them two rules would reach at once"
    return _asked(None, None, rules, texts), (f"not looked at: {left}; {why_not or 'no database was asked'}",)


def _offered(rule: Rule) -> Iterator[Problem]:
    """A voucher among the steps of what is called service."""
    if rule.terms.purpose is not Purpose.SERVICE:
        return
    for number, step in enumerate(rule.terms.steps):
        if isinstance(step, VoucherStep):
            said = "a voucher is an offer, and a rule with 'purpose: service' makes none"
            yield error(rule, place_of_step(rule, number, "voucher"), said, "purpose: marketing")


def place_of_step(rule: Rule, number: int, word: str) -> Place:
    """Where the word stands that begins a step."""
    then = rule.root.get("then")
    node = then.value[number] if then is not None and then.is_list else None
    return node.keys[word].place if node is not None and word in node.keys else (1, 1)


def _reading(data: Data) -> AbstractContextManager[Connection]:
    from models.database import reading  # heavy, and not needed without a database

    return reading(data.engine)


def _asked(connection: Connection | None, data: Data | None, rules: list[Rule], texts: Texts) -> list[Problem]:
    """What depends on the data, or can be said for certain without."""
    found: list[Problem] = []
    if connection is None or data is None:
        certain = [(one, other, "") for one, other, surely in _meeting(rules) if surely]
        return _same(certain)
    from beforehand.checking.data import found_by_both, languages  # heavy, and not needed without a database

    spoken = languages(connection)
    for rule in rules:
        found += texts.unspoken(rule, spoken)
    pairs = {(one.id, other.id): (one, other) for one, other, _ in _meeting(rules)}
    chosen = list({rule.id: rule for pair in pairs.values() for rule in pair}.values())
    counts = found_by_both(connection, chosen, pairs, now=data.now, zone=data.zone) if pairs else {}
    return found + _same([(*pairs[pair], f" ({count:,} now)") for pair, count in counts.items()])


def _meeting(rules: list[Rule]) -> Iterator[tuple[Rule, Rule, bool]]:
    """Live rules that look at the same subjects for the same purpose in the same hour, and may find the same ones.

    Each pair with whether one of them surely finds whatever the other finds.
    """
    findings = Findings()
    live = [(rule, findings.of(rule)) for rule in rules if rule.terms.status is RuleStatus.LIVE]
    for (one, first), (other, second) in combinations(live, 2):
        alike = one.terms.subject == other.terms.subject and one.terms.purpose is other.terms.purpose
        if alike and same_hour(one, other) and not disjoint(first, second):
            yield one, other, implies(first, second) or implies(second, first)


def _same(pairs: list[tuple[Rule, Rule, str]]) -> list[Problem]:
    """One warning for each rule that shares its hour and its people with rules before it."""
    shared: dict[str, list[str]] = {}
    rules: dict[str, Rule] = {}
    for one, other, count in pairs:
        rules[other.id] = other
        shared.setdefault(other.id, []).append(f"'{one.id}'{count}")
    found: list[Problem] = []
    for rule_id, others in shared.items():
        when = rules[rule_id].root.get("when")
        more = f" and {len(others) - MANY} more" if len(others) > MANY else ""
        said = f"this rule reaches in the same hour the same customers as {', '.join(others[:MANY])}{more}"
        found.append(warning(rules[rule_id], when.place if when is not None else NOWHERE, said))
    return found
