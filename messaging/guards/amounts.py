"""What a rule may use up: messages in a rolling window (``at_most``) and money for vouchers (``budget``).

Both stand behind all gates that look at one candidate, so that nobody takes a place who would not go anyway. Those who
were found first go first; the rest is withheld, and decided anew at later passes.
"""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, func, select

from messaging.candidates import TABLES, candidate, counts, message, open_for_decision
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
    counted = select(func.count()).select_from(message).where(*mine, counts())
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


def budget_of_customer(connection: Connection, case_: Case) -> None:
    """Withhold from whoever has been promised vouchers enough within the rolling window, by whatever rule."""
    step = case_.run.voucher
    if step is None or step.most is None or step.most_within is None or case_.begins_with_wait:
        return
    open_ones = select(candidate.c.customer_id).where(open_for_decision())
    had = (
        select(voucher.c.customer_id, func.sum(voucher.c.worth).label("worth"))
        .where(
            voucher.c.currency == step.most.currency,
            voucher.c.issued_at > case_.now - step.most_within,
            voucher.c.voided_at.is_(None),
            voucher.c.customer_id.in_(open_ones),
        )
        .group_by(voucher.c.customer_id)
        .subquery()
    )
    order = (candidate.c.matched_at, candidate.c.id)
    turn = func.row_number().over(partition_by=candidate.c.customer_id, order_by=order)
    ranked = select(candidate.c.id, candidate.c.customer_id, turn.label("turn")).where(open_for_decision()).subquery()
    over = (
        select(ranked.c.id)
        .outerjoin(had, had.c.customer_id == ranked.c.customer_id)
        .where(func.coalesce(had.c.worth, 0) + ranked.c.turn * step.worth.minor > step.most.minor)
    )
    withhold(connection, Reason.CUSTOMER_BUDGET, candidate.c.id.in_(over))


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
