"""One fact against one value, as SQL. Two-valued for a reader: what is unknown does not hold."""

import operator
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

from dateutil.relativedelta import relativedelta
from sqlalchemy import JSON, BigInteger, Boolean, ColumnElement, Date, and_, bindparam, case, literal, not_, or_

from models.terms import Money
from models.types import UTCDateTime, day_start, local_day
from rules.conditions import Compare, ListFile, Path
from rules.exchange import converted
from rules.facts import Fact, Kind
from rules.scope import Scope, both
from rules.sql import among, among_numbers, day_plus, starts_with, text_position, weekday_before
from rules.values import Moment

Expr = ColumnElement[Any]
SLACK = timedelta(hours=30)
"""No customer's day begins or ends further than this from the same UTC day: a coarse bound that an index can serve."""

ORDERED: dict[str, Callable[[Any, Any], Any]] = {
    "at_least": operator.ge,
    "at_most": operator.le,
    "more_than": operator.gt,
    "less_than": operator.lt,
}


def compare(test: Compare, scope: Scope) -> ColumnElement[bool]:
    """A :class:`Compare` as SQL in ``scope``; one that begins with ``this.`` stands in the rule's own subject."""
    assert test.path.fact is not None
    if test.path.from_this and scope.this is not None:
        scope = scope.this
    fact, path = test.path.fact, test.path
    column = scope.fact(path, fact)
    happened = scope.happened(path, fact)
    if test.operator == "missing":
        return column.is_(None) if happened is None else or_(column.is_(None), not_(happened))
    if test.operator == "present":
        return both(column.is_not(None), happened)
    if fact.kind is Kind.MOMENT:
        return both(_moment(column, test.operator, test.value, scope), happened)
    if fact.kind is Kind.DAY:
        holds = _day(column, test.operator, test.value, scope, indexed=not fact.day_of)
        if happened is not None and test.operator in ("is_not", "not_in"):
            return or_(holds, column.is_(None), not_(happened))
        return both(holds, happened)
    if fact.kind is Kind.MONEY:
        return _money(column, scope.reach(path.relations).c.currency, test.operator, test.value, scope)
    return plain(column, test.operator, test.value, scope)


def of_time(column: Expr, kind: Kind, op: str, value: Any, scope: Scope) -> ColumnElement[bool]:
    """A computed moment or day (the latest one, say) against a value, in the calendar of the scope's customer."""
    if kind is Kind.MOMENT:
        return _moment(column, op, value, scope)
    return _day(column, op, value, scope, indexed=False)


def other(path: Path, scope: Scope) -> tuple[Expr, Fact]:
    """Another fact as a value: its column and what it is. ``this.`` looks from the rule's own subject.

    A moment that has not come by the clock's now is missing here too.
    """
    assert path.fact is not None
    seen = scope.this if path.from_this and scope.this is not None else scope
    column, happened = seen.fact(path, path.fact), seen.happened(path, path.fact)
    return column if happened is None else case((happened, column)), path.fact


def plain(column: Expr, op: str, value: Any, scope: Scope | None = None) -> ColumnElement[bool]:
    """Texts, numbers and flags."""
    if isinstance(value, Path):
        assert scope is not None
        value = other(value, scope)[0]
        if op == "is_not":
            return or_(column != value, column.is_(None), value.is_(None))
    value = fixed(value)
    equal: ColumnElement[bool] = column == value
    match op:
        case "is":
            return equal
        case "is_not":
            return or_(not_(equal), column.is_(None))
        case "in":
            return _among(column, value)
        case "not_in":
            return or_(not_(_among(column, value)), column.is_(None))
        case "contains":
            found: ColumnElement[bool] = text_position(column, literal(value)) > 0
            return found
        case "starts_with":
            return starts_with(column, str(value))
        case "between":
            return and_(column >= fixed(value[0]), column <= fixed(value[1]))
    return ordered(column, op, value)


def fixed(value: Any) -> Any:
    """A value as a bound one of a type that does not hang on the column: 3,000,000,000 does not fit each column's."""
    if isinstance(value, bool):
        return bindparam(None, value, type_=Boolean())  # a bare true or false would become part of the text
    return literal(value, BigInteger()) if isinstance(value, int) else value


def ordered(column: Expr, name: str, value: Any) -> ColumnElement[bool]:
    """The four orderings of numbers."""
    test: ColumnElement[bool] = ORDERED[name](column, fixed(value))
    return test


def _among(column: Expr, value: Any) -> ColumnElement[bool]:
    if isinstance(value, ListFile):
        return among(column, value.values)
    if all(isinstance(member, str) for member in value):
        return among(column, value)
    return among_numbers(column, bindparam(None, value, type_=JSON()))


def _money(column: Expr, currency: Expr, op: str, value: Any, scope: Scope) -> ColumnElement[bool]:
    if isinstance(value, Path):
        return _money_of_rows(column, currency, op, value, scope)
    amounts = value if isinstance(value, list) else [value]
    minor = [amount.minor for amount in amounts]
    if scope.clock.rates is not None:
        same = converted(column, currency, scope.clock.rates, amounts[0].currency)
        return plain(same, op, minor if isinstance(value, list) else minor[0])
    test = and_(currency == amounts[0].currency, plain(column, op, minor if isinstance(value, list) else minor[0]))
    return or_(test, column.is_(None)) if op in ("is_not", "not_in") else test


def _money_of_rows(column: Expr, currency: Expr, op: str, value: Path, scope: Scope) -> ColumnElement[bool]:
    """Money against another fact: as it stands where the currencies are the same, else both in the rates' base."""
    rates = scope.clock.rates
    there, _ = other(value, scope)
    if rates is None:
        return plain(column, op, value, scope)
    seen = scope.this if value.from_this and scope.this is not None else scope
    theirs = seen.reach(value.relations).c.currency
    here = case((currency == theirs, column), else_=converted(column, currency, rates, rates.base))
    there = case((currency == theirs, there), else_=converted(there, theirs, rates, rates.base))
    if op == "is_not":
        return or_(here != there, here.is_(None), there.is_(None))
    return here == there if op == "is" else ordered(here, op, there)


def money_currency(value: Any) -> str | None:
    """The currency that a money bound names."""
    first = value[0] if isinstance(value, list) else value
    return first.currency if isinstance(first, Money) else None


def instant(moment: Moment, scope: Scope) -> Expr | None:
    """The moment itself, bound, where it is an instant; None where it is a calendar day."""
    at, ago, ahead = moment.at, moment.ago, moment.ahead
    if at is not None:
        return literal(at, UTCDateTime())
    if ago is not None:
        return scope.clock.at(lambda now: now - ago)
    return scope.clock.at(lambda now: now + ahead) if ahead is not None else None


def day_of(value: Any, scope: Scope) -> Expr:
    """Any value as a calendar day of the customer."""
    if isinstance(value, Path):
        column, fact = other(value, scope)
        return column if fact.kind is Kind.DAY else local_day(column, scope.zone())
    if value.on is not None:
        return literal(value.on, Date())
    if value.day is not None:
        return scope.today() if value.day == 0 else day_plus(scope.today(), value.day)
    if value.weekday is not None:
        return weekday_before(scope.today(), value.weekday + 1)
    found = instant(value, scope)
    assert found is not None
    return local_day(found, scope.zone())


def _is_day(value: Any) -> bool:
    return (value.fact is not None and value.fact.kind is Kind.DAY) if isinstance(value, Path) else value.is_day


def window(
    column: Expr, scope: Scope, within: relativedelta | None, ahead: relativedelta | None
) -> ColumnElement[bool]:
    """``within`` d: later than d before now, and not after now. ``within_next`` d: after now, at most d ahead."""
    clock = scope.clock
    if within is not None:
        return and_(column > clock.at(lambda now: now - within), column <= clock.moment)
    assert ahead is not None
    return and_(column > clock.moment, column <= clock.at(lambda now: now + ahead))


def _moment(column: Expr, op: str, value: Any, scope: Scope) -> ColumnElement[bool]:
    if op == "within":
        return window(column, scope, value, None)
    if op == "within_next":
        return window(column, scope, None, value)
    if op == "between":
        return and_(_moment(column, "since", value[0], scope), _not_after(column, value[1], scope))
    if op == "in":
        return or_(*(_moment(column, "is", member, scope) for member in value))
    if _is_day(value):
        if isinstance(value, Path):
            return _days(local_day(column, scope.zone()), op, day_of(value, scope))
        return and_(_whole_day(column, op, value, scope), *_coarse(column, op, value, scope))
    at = instant(value, scope) if isinstance(value, Moment) else None
    there = at if at is not None else other(value, scope)[0]
    match op:
        case "before":
            return column < there
        case "after":
            return column > there
        case "since":
            return column >= there
    return column == there


def _not_after(column: Expr, value: Any, scope: Scope) -> ColumnElement[bool]:
    if _is_day(value):
        return column < _ends(day_of(value, scope), value, scope)
    at = instant(value, scope) if isinstance(value, Moment) else None
    return column <= (at if at is not None else other(value, scope)[0])


def _ends(day: Expr, value: Any, scope: Scope) -> Expr:
    """The first moment after a day; the last day of the calendar has none on SQLite."""
    if isinstance(value, Moment) and value.on == date.max:
        return literal(datetime.max.replace(tzinfo=UTC), UTCDateTime())
    return day_start(day_plus(day, 1), scope.zone())


def _whole_day(column: Expr, op: str, value: Moment, scope: Scope) -> ColumnElement[bool]:
    day = day_of(value, scope)
    begins, ends = day_start(day, scope.zone()), _ends(day, value, scope)
    match op:
        case "before":
            return column < begins
        case "after":
            return column >= ends
        case "since":
            return column >= begins
    return and_(column >= begins, column < ends)


def _coarse(column: Expr, op: str, value: Moment, scope: Scope) -> list[ColumnElement[bool]]:
    if value.on is not None:
        return _coarse_on(column, op, value.on)
    if value.day is None:
        return []
    away = timedelta(days=value.day)
    bounds = []
    if op in ("before", "is"):
        bounds.append(column < scope.clock.at(lambda now: now + away + SLACK))
    if op in ("after", "since", "is"):
        bounds.append(column > scope.clock.at(lambda now: now + away - SLACK))
    return bounds


def _coarse_on(column: Expr, op: str, on: date) -> list[ColumnElement[bool]]:
    begins = datetime(on.year, on.month, on.day, tzinfo=UTC)
    earliest = begins - min(SLACK, begins - datetime.min.replace(tzinfo=UTC))
    latest = begins + min(timedelta(days=1) + SLACK, datetime.max.replace(tzinfo=UTC) - begins)
    bounds = []
    if op in ("before", "is"):
        bounds.append(column <= literal(latest, UTCDateTime()))
    if op in ("after", "since", "is"):
        bounds.append(column >= literal(earliest, UTCDateTime()))
    return bounds


def _day(column: Expr, op: str, value: Any, scope: Scope, *, indexed: bool) -> ColumnElement[bool]:
    clock = scope.clock
    if op == "within":
        return and_(column >= local_day(clock.at(lambda now: now - value), scope.zone()), column <= scope.today())
    if op == "within_next":
        return and_(column >= scope.today(), column <= local_day(clock.at(lambda now: now + value), scope.zone()))
    if op == "between":
        return and_(column >= day_of(value[0], scope), column <= day_of(value[1], scope))
    if op in ("in", "not_in"):
        among = or_(*(column == day_of(member, scope) for member in value))
        return among if op == "in" else or_(not_(among), column.is_(None))
    exact = _days(column, op, day_of(value, scope))
    if op == "is_not" and isinstance(value, Path):
        return or_(exact, day_of(value, scope).is_(None))
    return and_(exact, *_coarse_day(column, op, value, scope)) if indexed else exact


def _days(column: Expr, op: str, day: Expr) -> ColumnElement[bool]:
    match op:
        case "before":
            return column < day
        case "after":
            return column > day
        case "since":
            return column >= day
        case "is_not":
            return or_(column != day, column.is_(None))
    return column == day


def _coarse_day(column: Expr, op: str, value: Any, scope: Scope) -> list[ColumnElement[bool]]:
    if not isinstance(value, Moment) or value.day is None:
        return []
    away, one = timedelta(days=value.day), timedelta(days=1)
    bounds = []
    if op in ("before", "is"):
        bounds.append(column <= scope.clock.day(lambda now: now.date() + away + one))
    if op in ("after", "since", "is"):
        bounds.append(column >= scope.clock.day(lambda now: now.date() + away - one))
    return bounds
