"""What a ``webhook`` step tells of a subject: the facts that it asks for, in one statement for all subjects."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, case, literal, select

from models.terms import WebhookStep
from models.types import Json
from rules.conditions import Path
from rules.facts import Kind
from rules.loader import Rule
from rules.reader import Node
from rules.scope import Clock, Scope
from rules.sql import json_record, moment_text


def telling(rule: Rule, step: WebhookStep, *, now: datetime, zone: str, ids: Select[Any]) -> Select[Any]:
    """The facts that ``step`` asks for, of the subjects ``ids``: columns ``subject_id`` and ``facts`` (JSON by name).

    Moments are ISO 8601 in UTC and missing before they come, days ISO dates. Money is ``{minor, currency}`` and a flag
    ``{flag}``, so that whoever writes them down knows what they are.
    """
    scope = Scope(rule.subject, rule.parser.subjects, Clock(now, zone, rule.rates), only=ids)
    parts: list[ColumnElement[Any]] = []
    for name, text in step.facts:
        path = rule.parser.path(Node(text, 1, 1), text, rule.subject)
        assert path is not None, "the loader has looked it up"
        parts += [literal(name), _told(scope, path)]
    facts = json_record(*parts) if parts else literal({}, Json)
    statement = select(scope.id.label("subject_id"), facts.label("facts"))
    return statement.select_from(scope.source()).where(scope.id.in_(ids))


def _told(scope: Scope, path: Path) -> ColumnElement[Any]:
    assert path.fact is not None
    column, happened = scope.fact(path, path.fact), scope.happened(path, path.fact)
    known = column if happened is None else case((happened, column))
    if path.fact.kind is Kind.MOMENT:
        return moment_text(known)
    if path.fact.kind is Kind.MONEY:
        currency = scope.reach(path.relations).c.currency
        return json_record(literal("minor"), known, literal("currency"), currency)
    return json_record(literal("flag"), known) if path.fact.kind is Kind.FLAG else known
