"""What a text would have done a week: the mean of a replay over the weeks behind us."""

from datetime import datetime, timedelta
from decimal import Decimal

from beforehand.backtest import Backtest, backtest
from beforehand.backtest.walk import Progress
from beforehand.planning.report import Weekly
from beforehand.wiring import App
from models.terms import Money
from rules.loader import Rule


def weekly(app: App, rule: Rule, now: datetime, weeks: int, progress: Progress | None = None) -> Weekly:
    """Replay the ``weeks`` up to ``now`` as if the rule were live. Raises ValueError where its clock is not known."""
    return a_week_of(backtest(app, rule, now - timedelta(weeks=weeks), now, progress=progress), weeks)


def a_week_of(replay: Backtest, weeks: int) -> Weekly:
    """The mean week of a replay over ``weeks``; money is rounded to the minor unit."""
    cost = replay.cost
    return Weekly(
        messages=Decimal(replay.messages) / weeks,
        tasks=Decimal(replay.tasks) / weeks,
        vouchers=Decimal(replay.vouchers) / weeks,
        amount=None if cost is None or cost.amount is None else cost.amount / weeks,
        currency="" if cost is None else cost.currency,
        worth=tuple(Money(round(money.minor / weeks), money.currency) for money in cost.vouchers) if cost else (),
        estimate=cost is not None and cost.is_estimate,
        unpriced=cost is not None and bool(cost.unpriced),
        withheld=dict(replay.withheld),
        notes=tuple(replay.notes),
        webhooks=Decimal(replay.webhooks) / weeks,
    )
