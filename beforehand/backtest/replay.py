"""Replay a rule over the past, with the data as it was known then. Nothing is written that stays."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from dateutil.relativedelta import relativedelta
from sqlalchemy import Connection

from beforehand.backtest import standins
from beforehand.backtest.events import event_minutes
from beforehand.backtest.moments import Ground
from beforehand.backtest.notes import notes_of
from beforehand.backtest.report import Backtest
from beforehand.backtest.slots import slots_of, ticks
from beforehand.backtest.summary import summary
from beforehand.backtest.walk import Progress, Walk
from beforehand.backtest.watches import Everybody, Standing
from beforehand.passes.backlog import live_from_of
from beforehand.wiring import App
from models.vocabulary import RuleStatus
from rules.loader import Rule

IN_FULL = "everybody is asked at every slot, which takes longer: "


@dataclass
class Replayed:
    """A replay that is over, its stand-ins still there to be read until its transaction ends."""

    connection: Connection
    rule: Rule
    walk: Walk
    highest: dict[str, int]
    notes: list[str]


def backtest(
    app: App,
    rule: Rule,
    start: datetime,
    end: datetime,
    *,
    every: relativedelta | None = None,
    progress: Progress | None = None,
    thorough: bool = False,
) -> Backtest:
    """What ``rule`` would have done from ``start`` (inclusive) to ``end`` (exclusive), as if it had gone live then.

    The rule need not be in the folder, and its status does not count. ``every`` takes the place of its own schedule.
    ``thorough`` asks everybody at every slot; the outcome is the same. Raises ValueError for a period or schedule
    that is none, RuleErrors where the rule cannot be asked.
    """
    with standins.replaying(app.engine) as connection:
        done = replay(connection, app, rule, start, end, every=every, progress=progress, thorough=thorough)
        return summary(app, done)


def replay(
    connection: Connection,
    app: App,
    rule: Rule,
    start: datetime,
    end: datetime,
    *,
    every: relativedelta | None = None,
    progress: Progress | None = None,
    thorough: bool = False,
) -> Replayed:
    """Walk through the period on a connection of :func:`standins.replaying`; the stand-ins tell what came of it."""
    if start >= end:
        raise ValueError(f"the period ends ({end.isoformat()}) before it begins ({start.isoformat()})")
    live = replace(rule, terms=replace(rule.terms, status=RuleStatus.LIVE))
    zone = app.settings.time_zone
    highest = standins.prepare(connection, live, start)
    slots = _slots(connection, live, zone, start, end, every)
    notes = notes_of(live, every=every is not None)
    watch: Everybody | Standing = Everybody(live, zone)
    if not thorough:
        try:
            watch = Standing(connection, live, Ground(connection, live.subject, live.parser.subjects, slots, zone))
            watch.begin()
        except NotImplementedError as why:
            watch = Everybody(live, zone)
            notes.insert(0, f"{IN_FULL}{why}")
    walk = Walk(connection, app, live, start, end, slots, watch, highest["message"], _live_from(app, live, start))
    walk.run(progress)
    return Replayed(connection, live, walk, highest, notes + sorted(walk.problems))


def _live_from(app: App, rule: Rule, start: datetime) -> datetime | None:
    """The start, where the rule or the house says a later moment from which it may act: that has not been said yet."""
    said = live_from_of(app, rule)
    return start if said is not None and said > start else None


def _slots(
    connection: Connection, rule: Rule, zone: str, start: datetime, end: datetime, every: relativedelta | None
) -> Sequence[datetime]:
    if every is not None:
        return ticks(every, start, end)
    terms = rule.terms
    if not terms.cron and not terms.events:
        raise ValueError(
            f"the rule '{rule.id}' does not say when it is looked at; say how often, such as --every '1 hour'"
        )
    happened = event_minutes(connection, terms.events, rule.parser.subjects, start, end)
    return sorted({*slots_of(terms.cron, zone, start, end), *happened})
