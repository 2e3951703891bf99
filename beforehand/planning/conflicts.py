"""Which other live rules speak to the same customers: in the same pass, or within the time of the cap."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, func, select

from beforehand.passes.house import policy_of
from beforehand.planning.reach import NEW, reach
from beforehand.planning.report import Conflict
from beforehand.wiring import App
from messaging.candidates import UNTOLD, message
from rules.loader import Rule


def conflicts_of(
    connection: Connection, app: App, rule: Rule, others: dict[str, Rule], now: datetime
) -> tuple[Conflict, ...]:
    """The live rules among ``others`` that speak to whom ``rule`` reaches, the most common first.

    ``plan_reach`` must hold the new side of ``rule`` and of all ``others``.
    """
    cap = policy_of(app).caps.get(rule.terms.purpose)
    mine = select(reach.c.customer_id).where(reach.c.side == NEW, reach.c.rule_id == rule.id, reach.c.going)
    both = _counts(connection, _now(mine, rule.id))
    lately = _counts(connection, _lately(mine, rule.id, cap.since(now), now)) if cap else {}
    found = [
        Conflict(
            rule_id=other.id,
            purpose=other.terms.purpose,
            priority=other.terms.priority,
            now=both.get(other.id, 0),
            lately=lately.get(other.id, 0),
            shares_cap=other.terms.purpose is rule.terms.purpose and cap is not None,
            goes_first=_goes_first(other, rule),
        )
        for other in others.values()
        if other.id != rule.id and (both.get(other.id) or lately.get(other.id))
    ]
    return tuple(sorted(found, key=lambda each: (-each.now, -each.lately, each.rule_id)))


def _goes_first(other: Rule, rule: Rule) -> bool | None:
    if other.terms.priority == rule.terms.priority:
        return None
    return other.terms.priority > rule.terms.priority


def _now(mine: Select[Any], rule_id: str) -> Select[Any]:
    same = select(reach.c.rule_id, func.count(reach.c.customer_id.distinct()))
    same = same.where(reach.c.side == NEW, reach.c.rule_id != rule_id, reach.c.going, reach.c.customer_id.in_(mine))
    return same.group_by(reach.c.rule_id)


def _lately(mine: Select[Any], rule_id: str, since: datetime, now: datetime) -> Select[Any]:
    heard = select(message.c.rule_id, func.count(message.c.customer_id.distinct()))
    heard = heard.where(message.c.created_at > since, message.c.created_at <= now, message.c.rule_id != rule_id)
    heard = heard.where(message.c.state.not_in(UNTOLD), message.c.customer_id.in_(mine))
    return heard.group_by(message.c.rule_id)


def _counts(connection: Connection, which: Select[Any]) -> dict[str, int]:
    return {row[0]: row[1] for row in connection.execute(which)}
