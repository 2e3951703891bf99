"""Conditions in plain English, with the values found: ``orders in the last 12 months: 8, needed at least 10``.

Only words are made here; whether something holds is what :mod:`rules.verdicts` was told by the compiler.
"""

import re
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from babel.numbers import get_currency_precision
from dateutil.relativedelta import relativedelta

from models.terms import Money
from rules.comparisons import money_currency
from rules.conditions import Compare, Condition, Group, ListFile, Path, Related
from rules.facts import Kind
from rules.values import WEEKDAYS, Moment
from rules.verdicts import Verdict

DAY_NAMES = {0: "today", -1: "yesterday", 1: "tomorrow"}
AGGREGATE_WORDS = {"average": "the average", "min": "the lowest", "max": "the highest", "sum": "the sum of"}
BOUND_WORDS = {
    "is": "",
    "is_not": "anything but ",
    "in": "one of ",
    "not_in": "none of ",
    "at_least": "at least ",
    "at_most": "at most ",
    "more_than": "more than ",
    "less_than": "less than ",
    "contains": "containing ",
    "starts_with": "beginning with ",
    "before": "before ",
    "after": "after ",
    "since": "on or after ",
    "between": "between ",
}
LONG_LIST = 5
"""So many members of a list are named; of more only how many there are."""


@dataclass(frozen=True)
class Voice:
    """From where it is told: the moment of the question, and the customer's zone."""

    now: datetime
    zone: str

    def at(self, moment: datetime) -> str:
        """A moment on the customer's own clock, to the minute: ``Tue 10 Mar 2026 10:00``."""
        local = moment.astimezone(ZoneInfo(self.zone))
        return f"{day_text(local.date())} {local:%H:%M}"


def day_text(day: date) -> str:
    """``Tue 10 Mar 2026``."""
    return f"{day:%a} {day.day} {day:%b} {day.year}"


def lasts_text(lasts: relativedelta) -> str:
    """A duration as it was meant: ``12 months``, ``1 day 6 hours``."""
    months = 12 * lasts.years + lasts.months
    years = months // 12 if months % 12 == 0 and months > 12 else 0
    units = ("days", "hours", "minutes", "seconds")
    told = [(years, "years"), (months - 12 * years, "months"), *((getattr(lasts, unit), unit) for unit in units)]
    told = [(number, unit) for number, unit in told if number]
    return " ".join(some(int(number), unit[:-1]) for number, unit in told) or "no time"


def some(number: int, one: str) -> str:
    """``1 order``, ``2 orders``, ``3 boxes``: a number with its word."""
    if number == 1:
        return f"1 {one}"
    if re.search(r"[^aeiou]y$", one):
        return f"{number:,} {one[:-1]}ies"
    return f"{number:,} {one}{'es' if one.endswith(('s', 'x', 'ch')) else 's'}"


def money_text(minor: int | Decimal | float, currency: str) -> str:
    """``1000.00 EUR`` from minor units. An average may have fractions of them; they are rounded."""
    places = get_currency_precision(currency)
    return f"{Decimal(minor).scaleb(-places):,.{places}f} {currency}"


def number_text(number: Any) -> str:
    """A number without useless noughts, with at most two places."""
    if isinstance(number, int):
        return f"{number:,}"
    return f"{float(number):,.2f}".rstrip("0").rstrip(".")


def value_text(value: Any, kind: Kind, voice: Voice, currency: str | None = None) -> str:
    """A fact's value; what is not known is ``missing``."""
    if value is None:
        return "missing"
    if kind is Kind.MONEY:
        return money_text(value, currency) if currency else number_text(value)
    if isinstance(value, datetime):
        return voice.at(value)
    if isinstance(value, date):
        return day_text(value)
    if isinstance(value, bool) or kind is Kind.FLAG:
        return "true" if value else "false"
    return number_text(value) if isinstance(value, int | float | Decimal) else f"'{value}'"


def sentence(verdict: Verdict, voice: Voice, *, stops: bool = False) -> str:
    """One leaf with what was found and what is asked. ``stops``: it belongs to an exception."""
    wanted = "stops if" if stops else "needed"
    test = verdict.part.test
    if isinstance(test, Related):
        return f"{about(test, voice)}: {found_text(verdict, voice)}, {wanted} {bounds_text(test, voice)}"
    if isinstance(test, Compare):
        return f"{test.path.text}: {found_text(verdict, voice)}, {wanted} {asked_text(test, voice, verdict)}"
    words = {"all": "all of these", "any": "any of these", "none": "none of these"}
    return f"{wanted} {words[test.how]}"


def found_text(verdict: Verdict, voice: Voice) -> str:
    """What was found, in the words of its kind."""
    test, found = verdict.part.test, verdict.found
    if isinstance(test, Compare) and test.path.fact is not None:
        if test.path.fact.column == "id":  # one related row, asked whether it is there
            return "missing" if found is None else "present"
        return value_text(found, test.path.fact.kind, voice, verdict.currency)
    if not isinstance(test, Related):
        return ""
    if test.aggregate in ("any", "none", "count"):
        return number_text(found or 0)
    if test.aggregate == "latest":
        return "none" if verdict.newest is None else f"the one of {voice.at(verdict.newest)}"
    if test.aggregate == "change":
        return _change_text(verdict)
    if found is None:
        return "0" if test.aggregate == "sum" else "none"
    kind = Kind.NUMBER if test.of is None else test.of.kind
    return value_text(found, kind, voice, _currency(test))


def _change_text(verdict: Verdict) -> str:
    windows = ""
    if verdict.recent is not None and verdict.before is not None:
        windows = f" ({number_text(verdict.recent)} after {number_text(verdict.before)})"
    return f"no change to speak of{windows}" if verdict.found is None else f"{float(verdict.found):+.0f}%{windows}"


def _currency(test: Related) -> str | None:
    return next((found for _, value in test.bounds if (found := money_currency(value))), None)


def asked_text(test: Compare, voice: Voice, verdict: Verdict | None = None) -> str:
    """What a comparison asks: ``before today (Tue 10 Mar 2026)``, ``at least 100 EUR``, ``missing``."""
    if test.operator in ("missing", "present"):
        return test.operator
    if test.operator == "within":
        return f"in the last {lasts_text(test.value)}"
    if test.operator == "within_next":
        return f"in the next {lasts_text(test.value)}"
    if isinstance(test.value, ListFile):
        word = "in" if test.operator == "in" else "not in"
        return f"{word} {test.value.name} ({some(len(test.value.values), 'value')})"
    values = test.value if isinstance(test.value, list) else [test.value]
    told = [_value(value, place, test, voice, verdict) for place, value in enumerate(values[: LONG_LIST + 1])]
    return _bounded(test.operator, told, len(values))


def _bounded(operator: str, told: list[str], count: int) -> str:
    words = BOUND_WORDS.get(operator, f"{operator} ")
    if operator == "between":
        return f"{words}{' and '.join(told)}"
    if count > LONG_LIST:
        return f"{words}{', '.join(told[:LONG_LIST])} and {count - LONG_LIST} more"
    return f"{words}{', '.join(told)}"


def _value(value: Any, place: int, test: Compare, voice: Voice, verdict: Verdict | None) -> str:
    if isinstance(value, Path):
        if verdict is None or value.fact is None or not verdict.others:
            return value.text
        return f"{value.text} ({value_text(verdict.others[place], value.fact.kind, voice, verdict.currency)})"
    if isinstance(value, Moment):
        return _moment(value, voice, verdict.days[place] if verdict and verdict.days else None)
    return _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, Money):
        return money_text(value.minor, value.currency)
    if isinstance(value, bool):
        return "true" if value else "false"
    return number_text(value) if isinstance(value, int | float) else f"'{value}'"


def _moment(value: Moment, voice: Voice, day: date | None) -> str:
    """A point in time as the rule names it, and what that is now."""
    if value.on is not None:
        return day_text(value.on)
    if value.at is not None:
        return voice.at(value.at)
    if value.day is not None or value.weekday is not None:
        name = WEEKDAYS[value.weekday].capitalize() if value.weekday is not None else DAY_NAMES[value.day or 0]
        return name if day is None else f"{name} ({day_text(day)})"
    lasts = value.ago if value.ago is not None else value.ahead
    assert lasts is not None
    if lasts == relativedelta():
        return "now"
    there = voice.now - lasts if value.ago is not None else voice.now + lasts
    shown = voice.at(there) if day is None else day_text(day)
    return f"{lasts_text(lasts)} ago ({shown})" if value.ago is not None else f"in {lasts_text(lasts)} ({shown})"


def bounds_text(test: Related, voice: Voice) -> str:
    """What a relation test asks of the number found."""
    if test.aggregate in ("any", "none"):
        return "at least one" if test.aggregate == "any" else "none"
    if test.aggregate == "latest":
        return clause(test.holds, voice) if test.holds is not None else "one"
    told = []
    for operator, value in test.bounds:
        if operator in ("within", "within_next"):
            told.append(f"in the {'last' if operator == 'within' else 'next'} {lasts_text(value)}")
            continue
        values = value if isinstance(value, list) else [value]
        unit = "%" if test.aggregate == "change" else ""
        shown = [_moment(v, voice, None) if isinstance(v, Moment) else _plain(v) + unit for v in values]
        told.append(_bounded(operator, shown, len(values)))
    return " and ".join(told)


def about(test: Related, voice: Voice) -> str:
    """What a relation test looks at: ``orders in the last 12 months, not cancelled``."""
    rows = rows_text(test, voice)
    if test.aggregate == "change":
        measured = "the number of" if test.of is None else f"{test.of.name} of"
        return f"the change of {measured} {rows}, against the time before"
    if test.aggregate == "latest":
        return f"the latest of {rows}"
    if test.of is None:
        return rows
    return f"{AGGREGATE_WORDS[test.aggregate]} {test.of.name} of {rows}"


def rows_text(test: Related, voice: Voice) -> str:
    """The related rows that count: which, in which time, with which conditions."""
    names = [relation.name for relation in test.path.relations]
    said = names[-1]
    if len(names) > 1 or test.path.from_this:
        owners = [*(["this " + test.path.start.name] if test.path.from_this else []), *names[:-1]]
        said = "the " + " ".join(f"{n}'" if n.endswith("s") else f"{n}'s" for n in owners) + f" {said}"
        said = said.replace("the this ", "this ")
    if test.within is not None:
        said += f" in the last {lasts_text(test.within)}"
    if test.within_next is not None:
        said += f" in the next {lasts_text(test.within_next)}"
    if test.since is not None:
        said += f" since {test.since.text if isinstance(test.since, Path) else _moment(test.since, voice, None)}"
    conditions = [test.where, test.holds if test.aggregate in ("any", "none") else None]
    told = [clause(condition, voice) for condition in conditions if condition is not None]
    return ", ".join([said, *(part for part in told if part)])


def clause(test: Condition, voice: Voice) -> str:
    """A condition as part of a sentence: ``not cancelled``, ``score at most 2``, ``topic 'delivery'``."""
    if isinstance(test, Group):
        told = [said for member in test.members if (said := clause(member, voice))]
        if test.how == "all":
            return ", ".join(told)
        joined = " or ".join(told)
        return f"neither ({joined})" if test.how == "none" else (f"({joined})" if len(told) > 1 else joined)
    if isinstance(test, Related):
        return f"{about(test, voice)}: {bounds_text(test, voice)}"
    participle = participle_of(test.path.text)
    if test.operator in ("missing", "present") and participle:
        return participle if test.operator == "present" else f"not {participle}"
    return f"{test.path.text} {asked_text(test, voice)}"


def participle_of(word: str) -> str:
    """``cancelled`` from ``cancelled_at``; empty where the word is not of that kind (``due_at``)."""
    stem = word.removesuffix("_at")
    return stem.replace("_", " ") if stem != word and stem.endswith(("ed", "paid")) and "." not in stem else ""
