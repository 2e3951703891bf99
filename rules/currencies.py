"""Refuses to compare money of different currencies where nobody has given a rate."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

import models
from models.terms import Wait
from rules.comparisons import money_currency
from rules.conditions import Compare, Condition, Group, Path, Related
from rules.errors import RuleErrors
from rules.evaluate import as_node
from rules.facts import Kind
from rules.loader import Rule
from rules.reader import Complaints, Node


@dataclass(frozen=True, order=True)
class _Asked:
    """Money that a rule compares: the tables that it lies in, and the currency that is named beside it, if one is."""

    tables: tuple[str, ...]
    currency: str = ""
    adds_up: bool = False


def refuse_mixed_currencies(connection: Connection, rule: Rule) -> None:
    """Raise RuleErrors where a rule compares money of several currencies, and there is no rate for one of them.

    A silent comparison across currencies would be wrong, and leaving rows out silently too.
    """
    said = Complaints(rule.path)
    conditions: list[Condition] = [*rule.conditions.values(), *rule.exceptions.values(), *_stops(rule)]
    for asked in sorted(set(_asked(conditions))):
        found = {currency for table in asked.tables for currency in _currencies(connection, table)}
        if rule.rates is not None:
            _without_rate(rule, asked, found, said)
        else:
            _mixed(rule, asked, found, said)
    if said.problems:
        raise RuleErrors(said.problems)


def _mixed(rule: Rule, asked: _Asked, found: set[str], said: Complaints) -> None:
    others = sorted(found - {asked.currency})
    where, listed = " and ".join(asked.tables), ", ".join(others)
    if asked.currency and others:
        what = f"compares {asked.currency}, but the {where} rows are also in {listed}"
        place = _place_of(rule, asked.currency)
    elif len(others) > 1 and asked.adds_up:
        what, place = f"adds up money, but the {where} rows are in {listed}", _place_of(rule, "change:")
    elif len(others) > 1:
        what, place = f"compares money of two rows, but the {where} rows are in {listed}", Node(None, 1, 1)
    else:
        return
    expected = "one currency in the data, a rule for each currency, or a table of rates (BEFOREHAND_RATES)"
    said.add(place, f"the rule {what}", expected=expected)


def _without_rate(rule: Rule, asked: _Asked, found: set[str], said: Complaints) -> None:
    assert rule.rates is not None
    needed = found | ({asked.currency} if asked.currency else set())
    missing = sorted(needed - rule.rates.known) if len(needed) > 1 else []
    if missing:
        where = " and ".join(asked.tables)
        what = f"the rule needs a rate for {', '.join(missing)}, in which the {where} rows are or are compared"
        place = _place_of(rule, asked.currency) if asked.currency else Node(None, 1, 1)
        said.add(place, what, expected=f"a line for it in {rule.rates.path or 'the table of rates'}")


def _currencies(connection: Connection, table_name: str) -> list[str]:
    table = models.Base.metadata.tables[table_name]
    found = select(table.c.currency).where(table.c.currency.is_not(None)).distinct().limit(200)
    return list(connection.execute(found).scalars())


def _place_of(rule: Rule, part: str) -> Node:
    for number, line in enumerate(rule.text.splitlines(), start=1):
        if part in line:
            return Node(None, number, line.index(part) + 1)
    return Node(None, 1, 1)


def _stops(rule: Rule) -> Iterator[Condition]:
    for step in rule.terms.steps:
        if isinstance(step, Wait) and step.stop_if is not None:
            yield rule.parser.condition(as_node(step.stop_if), rule.subject)


def _asked(conditions: list[Condition] | tuple[Condition, ...]) -> Iterator[_Asked]:
    for test in conditions:
        if isinstance(test, Group):
            yield from _asked(test.members)
        elif isinstance(test, Related):
            yield from _asked(tuple(part for part in (test.where, test.holds) if part is not None))
            table = test.path.subject.table
            yield from (_Asked((table,), found) for _, value in test.bounds if (found := money_currency(value)))
            if test.aggregate == "change" and test.of is not None and test.of.kind is Kind.MONEY:
                yield _Asked((table,), adds_up=True)
        elif test.path.fact is not None and test.path.fact.kind is Kind.MONEY:
            yield from _compared(test)


def _way(path: Path) -> tuple[Any, ...]:
    return path.relations, path.from_this


def _compared(test: Compare) -> Iterator[_Asked]:
    values: list[Any] = test.value if isinstance(test.value, list) else [test.value]
    for value in values:
        if (found := money_currency(value)) is not None:
            yield _Asked((test.path.subject.table,), found)
        elif isinstance(value, Path) and _way(value) != _way(test.path):
            yield _Asked(tuple(sorted({test.path.subject.table, value.subject.table})))
