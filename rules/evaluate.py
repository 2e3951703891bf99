"""Asks the whole population: who matches a rule, whom its stop condition holds for, when an awaited moment came.

Preview, run, explain and backtest all use these same statements.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Select, literal, select, true

import models
from models.terms import Wait
from rules.comparisons import money_currency
from rules.compiler import Compiler, Facts, narrows, negate, record
from rules.conditions import Compare, Condition, Group, Related
from rules.errors import Problem, RuleErrors
from rules.facts import Kind
from rules.loader import Rule
from rules.reader import Complaints, Node
from rules.scope import Clock, Scope

FAR = datetime(9999, 1, 1, tzinfo=UTC)


def matching(rule: Rule, *, now: datetime, zone: str, only: Select[Any] | None = None) -> Select[Any]:
    """The subjects for which a rule holds at ``now``.

    Columns: ``subject_id``, ``customer_id`` (null where nobody is known), ``facts`` (JSON by condition).
    ``zone`` is for customers whose own is not known; ``only`` (one column of ids) narrows the subjects, and
    with them all that is looked at on their behalf: one customer among a million is asked about in milliseconds.
    """
    plain = tuple(condition for condition in rule.conditions.values() if narrows(condition))
    scope = Scope(rule.subject, rule.parser.subjects, Clock(now, zone), narrowing=plain, only=only)
    facts: dict[str, Facts] = {}
    parts = []
    for name, condition in rule.conditions.items():
        compiler = Compiler(scope)
        parts.append(compiler.condition(condition, required=True, facts=True))
        facts[name] = compiler.facts
    parts += [negate(Compiler(scope).condition(condition)) for condition in rule.exceptions.values()]
    dropped = scope.droppable()
    own_id = scope.id if dropped is None else dropped.c.key
    customer = own_id if rule.subject.name == "customer" else scope.table.c.customer_id
    statement = select(own_id.label("subject_id"), customer.label("customer_id"), record(facts).label("facts"))
    statement = statement.select_from(scope.source(dropped=dropped)).where(true(), *parts)
    born = scope.born()
    if born is not None and dropped is None:
        statement = statement.where(born)
    return statement if only is None else statement.where(own_id.in_(only))


def stopping(rule: Rule, step: int, *, now: datetime, zone: str, ids: Select[Any]) -> Select[Any]:
    """Of the subjects ``ids``, those for which the ``stop_if`` of the wait at place ``step`` holds now.

    One column: ``subject_id``. No rows where that step has no ``stop_if``.
    """
    wait = rule.terms.steps[step]
    scope = Scope(rule.subject, rule.parser.subjects, Clock(now, zone), only=ids)
    if not isinstance(wait, Wait) or wait.stop_if is None:
        return select(scope.id.label("subject_id")).where(literal(1) == 0)
    condition = rule.parser.condition(_as_node(wait.stop_if), rule.subject)
    holds = Compiler(scope).condition(condition, required=True)
    return select(scope.id.label("subject_id")).select_from(scope.source()).where(holds, scope.id.in_(ids))


def known(rule: Rule, path: str, *, ids: Select[Any], now: datetime | None = None, zone: str = "UTC") -> Select[Any]:
    """When an awaited moment (``issue.closed_at``) came, for the subjects ``ids``: columns ``subject_id``, ``at``.

    Subjects for which it has not come (by ``now``, if given) are left out.
    """
    scope = Scope(rule.subject, rule.parser.subjects, Clock(now or FAR, zone))
    found = rule.parser.path(Node(path, 1, 1), path, rule.subject)
    if found is None or found.fact is None or found.fact.kind is not Kind.MOMENT:
        raise RuleErrors([Problem(rule.path, 1, 1, f"'{path}' is not a time that comes")])
    column = scope.fact(found, found.fact)
    statement = select(scope.id.label("subject_id"), column.label("at")).select_from(scope.source())
    statement = statement.where(column.is_not(None), scope.id.in_(ids))
    happened = scope.happened(found, found.fact) if now is not None else None
    return statement if happened is None else statement.where(happened)


def _as_node(value: Any) -> Node:
    if isinstance(value, dict):
        places = {key: Node(key, 1, 1) for key in value}
        return Node({key: _as_node(member) for key, member in value.items()}, 1, 1, keys=places)
    if isinstance(value, list):
        return Node([_as_node(member) for member in value], 1, 1)
    return Node(value, 1, 1)


def refuse_mixed_currencies(connection: Connection, rule: Rule) -> None:
    """Raise RuleErrors where a rule compares money with one currency and the rows also hold another.

    A silent comparison across currencies would be wrong, and leaving rows out silently too.
    """
    said = Complaints(rule.path)
    for table_name, currency in sorted(set(_money_tables([*rule.conditions.values(), *rule.exceptions.values()]))):
        table = models.Base.metadata.tables[table_name]
        found = select(table.c.currency).where(table.c.currency != currency).distinct().limit(5)
        others = sorted(connection.execute(found).scalars())
        if currency and others:
            compares, place = f"compares {currency}, but the {table_name} rows are also in", _place_of(rule, currency)
        elif len(others) > 1:
            compares, place = f"adds up money, but the {table_name} rows are in", _place_of(rule, "change:")
        else:
            continue
        expected = "one currency in the data, or a rule for each currency"
        said.add(place, f"the rule {compares} {', '.join(others)}", expected=expected)
    if said.problems:
        raise RuleErrors(said.problems)


def _place_of(rule: Rule, part: str) -> Node:
    for number, line in enumerate(rule.text.splitlines(), start=1):
        if part in line:
            return Node(None, number, line.index(part) + 1)
    return Node(None, 1, 1)


def _money_tables(conditions: list[Group] | tuple[Condition, ...]) -> list[tuple[str, str]]:
    """Tables whose money is compared, each with the currency named; with none where it is only added up (change)."""
    found: list[tuple[str, str]] = []
    for test in conditions:
        if isinstance(test, Group):
            found += _money_tables(test.members)
        elif isinstance(test, Related):
            found += _money_tables(tuple(part for part in (test.where, test.holds) if part is not None))
            found += [(test.path.subject.table, c) for _, value in test.bounds if (c := money_currency(value))]
            if test.aggregate == "change" and test.of is not None and test.of.kind is Kind.MONEY:
                found.append((test.path.subject.table, ""))
        elif isinstance(test, Compare) and (currency := money_currency(test.value)):
            found.append((test.path.subject.table, currency))
    return found
