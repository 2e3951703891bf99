"""What a rule may use up: messages in a rolling window (``at_most``) and money for vouchers (``budget``).

Both stand behind all gates that look at one candidate, so that nobody takes a place who would not go anyway. Those who
were found first go first; the rest is withheld, and decided anew at later passes.
"""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, func, select

from messaging.candidates import TABLES, UNTOLD, candidate, message, open_for_decision
from messaging.guards.case import Case, withhold
from models.vocabulary import Reason

voucher = TABLES["voucher"]


def at_most(connection: Connection, case_: Case) -> None:
    """Withhold what goes beyond the rule's own number of messages in the rolling window."""
    limit = case_.terms.at_most
    if limit is None or case_.run.send is None or case_.begins_with_wait:
        return
    most, window = limit
    mine = [message.c.rule_id == case_.terms.rule_id, message.c.created_at > case_.now - window]
    counted = select(func.count()).select_from(message).where(*mine, message.c.state.not_in(UNTOLD))
    _let_in(connection, most - int(connection.execute(counted).scalar_one()), Reason.AT_MOST)


def budget(connection: Connection, case_: Case) -> None:
    """Withhold where the voucher would go beyond the budget of the rule's day, week or month."""
    step = case_.run.voucher
    if step is None or step.budget is None or case_.begins_with_wait:
        return
    mine = [voucher.c.rule_id == case_.terms.rule_id, voucher.c.currency == step.budget.currency]
    since = period_start(case_.now, step.budget_per or "month", case_.policy.zone)
    spent = select(func.coalesce(func.sum(voucher.c.worth), 0))
    spent = spent.where(*mine, voucher.c.issued_at >= since, voucher.c.voided_at.is_(None))
    left = step.budget.minor - int(connection.execute(spent).scalar_one())
    _let_in(connection, left // step.worth.minor, Reason.BUDGET)


def _let_in(connection: Connection, room: int, reason: Reason) -> None:
    turn = func.row_number().over(order_by=(candidate.c.matched_at, candidate.c.id))
    ranked = select(candidate.c.id, turn.label("turn")).where(open_for_decision()).subquery()
    withhold(connection, reason, candidate.c.id.in_(select(ranked.c.id).where(ranked.c.turn > max(room, 0))))


def period_start(now: datetime, per: str, zone: str) -> datetime:
    """When the current ``day``, ``week`` (from Monday) or ``month`` began by the calendar of ``zone``."""
    local = now.astimezone(ZoneInfo(zone))
    day = local.date()
    if per == "week":
        day -= timedelta(days=day.weekday())
    elif per == "month":
        day = day.replace(day=1)
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone))
