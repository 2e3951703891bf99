"""Counts what a replay left in the stand-ins, and fills ten examples."""

from collections import Counter
from datetime import date
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, func, literal, or_, select

from beforehand.backtest.report import Backtest, Day
from beforehand.passes.costing import cost_of
from beforehand.passes.house import brand_of
from beforehand.passes.reports import Sample
from beforehand.passes.samples import sample_of
from beforehand.wiring import App
from messaging.candidates import NOT_TOLD, TABLES, customer, match, message, outside_key, table_of
from messaging.context import Item, contexts_for
from messaging.costs import Cost
from models.terms import Money, Terms, VoucherStep, after
from models.types import UTCDateTime, local_day
from models.vocabulary import MatchState, Reason
from rules.loader import Rule

if TYPE_CHECKING:
    from beforehand.backtest.replay import Replayed

voucher, task, webhook = TABLES["voucher"], TABLES["task"], TABLES["webhook"]
EXAMPLES = 10


def summary(app: App, done: "Replayed") -> Backtest:
    """All that a replay is asked for."""
    connection, walk, terms = done.connection, done.walk, done.rule.terms
    going = _went(done)
    return Backtest(
        rule_id=terms.rule_id,
        version=terms.version,
        title=terms.title,
        start=walk.start,
        end=walk.end,
        matches=_count(connection, match, _new_match(done)),
        messages=_count(connection, message, *going),
        vouchers=_count(connection, voucher, voucher.c.id > done.highest["voucher"]),
        tasks=_count(connection, task, literal(1) == 1),
        webhooks=_count(connection, webhook, literal(1) == 1),
        withheld=_withheld(done),
        days=_days(done, app.settings.time_zone),
        cost=_cost(app, done),
        examples=tuple(_examples(connection, app, done.rule, going)),
        notes=tuple(done.notes),
        slots=len(walk.slots),
        looks=walk.looks,
    )


def _new_match(done: "Replayed") -> ColumnElement[bool]:
    """Occasions that the replay found, or that were withheld before and found in it anew."""
    new = or_(match.c.id > done.highest["match"], match.c.started_at >= done.walk.start)
    return and_(match.c.rule_id == done.rule.id, new)


def _went(done: "Replayed") -> list[ColumnElement[bool]]:
    """Messages of the replay that went, or still wait at its end."""
    return [message.c.id > done.highest["message"], message.c.state.not_in(NOT_TOLD)]


def _count(connection: Connection, table: Any, *where: ColumnElement[bool]) -> int:
    return int(connection.execute(select(func.count()).select_from(table).where(*where)).scalar_one())


def _withheld(done: "Replayed") -> dict[Reason, int]:
    """Occasions withheld to the last, and messages stopped after they were planned, the most frequent reason first."""
    found: Counter[str] = Counter()
    occasions = (_new_match(done), match.c.state == MatchState.WITHHELD, match.c.reason.is_not(None))
    messages = (message.c.id > done.highest["message"], message.c.state.in_(NOT_TOLD), message.c.reason.is_not(None))
    for column, where in ((match.c.reason, occasions), (message.c.reason, messages)):
        rows = done.connection.execute(select(column, func.count()).where(*where).group_by(column))
        found.update(dict(rows.tuples().all()))
    return {Reason(reason): count for reason, count in sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))}


def _cost(app: App, done: "Replayed") -> Cost:
    """What the messages that went would have cost, and the vouchers given with them."""
    given = select(func.sum(voucher.c.worth), voucher.c.currency).where(voucher.c.id > done.highest["voucher"])
    worth = [
        Money(int(minor), currency) for minor, currency in done.connection.execute(given.group_by(voucher.c.currency))
    ]
    m = message.c
    planned = select(m.customer_id, m.channel, m.template, m.language, m.address, match.c.subject_id, match.c.facts)
    planned = planned.join(match, match.c.id == m.match_id).where(*_went(done))
    return cost_of(app, done.connection, planned, done.rule.terms, vouchers=worth, now=done.walk.end)


def _days(done: "Replayed", zone: str) -> tuple[Day, ...]:
    """Every day of the period that had anything, in the default zone."""
    when = func.coalesce(message.c.accepted_at, message.c.due_at, type_=UTCDateTime())
    matches = _by_day(done.connection, local_day(match.c.matched_at, literal(zone)), match, _new_match(done))
    messages = _by_day(done.connection, local_day(when, literal(zone)), message, *_went(done))
    tasks, webhooks = (_made(done.connection, table, zone) for table in (task, webhook))
    days = sorted({*matches, *messages, *tasks, *webhooks})
    return tuple(Day(day, matches[day], messages[day], tasks[day], webhooks[day]) for day in days)


def _made(connection: Connection, table: Any, zone: str) -> Counter[date]:
    return _by_day(connection, local_day(table.c.created_at, literal(zone)), table)


def _by_day(connection: Connection, day: ColumnElement[Any], table: Any, *where: ColumnElement[bool]) -> Counter[date]:
    rows = connection.execute(select(day, func.count()).select_from(table).where(*where).group_by(day))
    return Counter(dict(rows.tuples().all()))


def _examples(connection: Connection, app: App, rule: Rule, going: list[ColumnElement[bool]]) -> list[Sample]:
    terms = rule.terms
    rows = connection.execute(_example_rows(terms, going)).all()
    gift = next((step for step in terms.steps if isinstance(step, VoucherStep)), None)
    items = [_item(terms, row, gift) for row in rows]
    contexts = contexts_for(connection, items, brand=brand_of(app.settings)) if items else []
    return [
        sample_of(app, rule, row, context, due_at=row.accepted_at or row.due_at, decided_at=row.created_at)
        for row, context in zip(rows, contexts, strict=True)
    ]


def _example_rows(terms: Terms, going: list[ColumnElement[bool]]) -> Select[Any]:
    subject = table_of(terms.subject).alias("subject")
    return (
        select(message, match.c.subject_id, match.c.facts)
        .add_columns(customer.c.external_id.label("customer"), customer.c.time_zone.label("zone"))
        .add_columns(outside_key(subject).label("external_id"))
        .join(match, match.c.id == message.c.match_id)
        .join(customer, customer.c.id == message.c.customer_id)
        .join(subject, subject.c.id == match.c.subject_id)
        .where(*going)
        .order_by(message.c.created_at, match.c.subject_id, message.c.id)
        .limit(EXAMPLES)
    )


def _item(terms: Terms, row: Row[Any], gift: VoucherStep | None) -> Item:
    said = row.details or {}
    shown = gift if said.get("voucher") else None
    return Item(
        customer_id=row.customer_id,
        subject=terms.subject,
        subject_id=row.subject_id,
        facts=row.facts or {},
        purpose=row.purpose,
        worth=shown.worth if shown else None,
        valid_until=after(row.created_at, shown.valid_for) if shown else None,
        survey=said.get("survey"),
    )
