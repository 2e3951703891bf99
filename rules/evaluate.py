"""Asks the whole population: who matches a rule, whom its stop condition holds for, when an awaited moment came.

Preview, run, explain and backtest all use these same statements.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Select, literal, select, true

from models.terms import Wait
from rules.compiler import Compiler, Facts, narrows, negate, record
from rules.conditions import Group
from rules.errors import Problem, RuleErrors
from rules.facts import Kind
from rules.loader import Rule
from rules.reader import Node
from rules.scope import Clock, Now, Scope, both

FAR = datetime(9999, 1, 1, tzinfo=UTC)


def matching(rule: Rule, *, now: Now, zone: str, only: Select[Any] | None = None) -> Select[Any]:
    """The subjects for which a rule holds at ``now``.

    Columns: ``subject_id``, ``customer_id`` (null where nobody is known), ``facts`` (JSON by condition).
    ``zone`` is for customers whose own is not known; ``only`` (one column of ids) narrows the subjects, and
    with them all that is looked at on their behalf: one customer among a million is asked about in milliseconds.
    ``now`` may be a function that is asked whenever the statement runs.
    """
    plain = tuple(condition for condition in rule.conditions.values() if narrows(condition))
    scope = Scope(rule.subject, rule.parser.subjects, Clock(now, zone, rule.rates), narrowing=plain, only=only)
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
    """Of the subjects ``ids`` that are there, those for which the ``stop_if`` of the wait at place ``step`` holds now.

    One column: ``subject_id``. No rows where that step has no ``stop_if``.
    """
    condition = stop_condition(rule, step)
    scope = Scope(rule.subject, rule.parser.subjects, Clock(now, zone, rule.rates), only=ids)
    if condition is None:
        return select(scope.id.label("subject_id")).where(literal(1) == 0)
    holds = both(Compiler(scope).condition(condition, required=True), scope.born())
    return select(scope.id.label("subject_id")).select_from(scope.source()).where(holds, scope.id.in_(ids))


def stop_condition(rule: Rule, step: int) -> Group | None:
    """The ``stop_if`` of the wait at place ``step``, with every word looked up; None where there is none."""
    wait = rule.terms.steps[step]
    if not isinstance(wait, Wait) or wait.stop_if is None:
        return None
    return rule.parser.condition(as_node(wait.stop_if), rule.subject)


def known(rule: Rule, path: str, *, ids: Select[Any], now: datetime | None = None, zone: str = "UTC") -> Select[Any]:
    """When an awaited moment (``issue.closed_at``) came, for the subjects ``ids``: columns ``subject_id``, ``at``.

    Subjects for which it has not come (by ``now``, if given) are left out.
    """
    scope = Scope(rule.subject, rule.parser.subjects, Clock(now or FAR, zone, rule.rates))
    found = rule.parser.path(Node(path, 1, 1), path, rule.subject)
    if found is None or found.fact is None or found.fact.kind is not Kind.MOMENT:
        raise RuleErrors([Problem(rule.path, 1, 1, f"'{path}' is not a time that comes")])
    column = scope.fact(found, found.fact)
    statement = select(scope.id.label("subject_id"), column.label("at")).select_from(scope.source())
    statement = statement.where(column.is_not(None), scope.id.in_(ids))
    happened = scope.happened(found, found.fact) if now is not None else None
    return statement if happened is None else statement.where(happened)


def as_node(value: Any) -> Node:
    """A raw condition (of ``stop_if``) as the parser reads it; it was looked up when the rule was loaded."""
    if isinstance(value, dict):
        places = {key: Node(key, 1, 1) for key in value}
        return Node({key: as_node(member) for key, member in value.items()}, 1, 1, keys=places)
    if isinstance(value, list):
        return Node([as_node(member) for member in value], 1, 1)
    return Node(value, 1, 1)
