"""The nearest miss: what is wanting where a rule does not match, and when that comes by itself.

What is wanting is worked out from the values found and the bounds asked; when it comes is first guessed from them, and
then asked of the compiler at that very moment and just before it. What cannot be said for certain is not said.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

from dateutil.relativedelta import relativedelta

from models.terms import Money
from rules.conditions import Compare, Group, Related
from rules.facts import Kind
from rules.saying import Voice, money_text, number_text, participle_of, some
from rules.values import Moment
from rules.verdicts import Told, Verdict

Look = Callable[[datetime], Told | None]
"""Tells of the same subject at another moment; None where it was not there, or where there was enough looking."""

INSTANT = timedelta(microseconds=1)
HORIZON = timedelta(days=3 * 366)
"""What comes later than this is no news to anybody."""
CHANGES = 8
"""So many moments at which something changes are looked at for one condition."""
DAYS = 8
"""Days of the week come round: so many days ahead are looked at."""


@dataclass(frozen=True)
class Miss:
    """One condition that stands in the way: what would have to be, and from when it is so by itself.

    ``wanting`` is a phrase (``2 more orders``), or empty where nothing certain can be said. ``until``: what counts now
    counts until then. ``alone``: nothing else stands in the way, and no other condition looks at the same rows.
    ``comes``: the condition no longer stands in the way from then on; ``matches``: and the whole rule matches then, if
    nothing else changes.
    """

    verdict: Verdict
    wanting: str = ""
    until: datetime | None = None
    alone: bool = False
    comes: datetime | None = None
    matches: bool = False


def misses(told: Told, voice: Voice, look: Look) -> list[Miss]:
    """What stands in the way of a subject, one entry a condition; empty where the rule matches."""
    found = [_Seeker(v, told, voice, look, wanted=True).miss for v in told.conditions if not v.holds]
    return found + [_Seeker(v, told, voice, look, wanted=False).miss for v in told.exceptions if v.holds]


def miss_text(miss: Miss, voice: Voice) -> str:
    """A miss as a sentence; empty where there is nothing to say."""
    said = []
    if miss.wanting:
        limit = ""
        if miss.until is not None:
            limit = f" {_ahead(miss.until - voice.now)} (before {voice.at(miss.until)})"
        said.append(f"{miss.wanting}{limit} would {'match' if miss.alone else 'do'}")
    if miss.comes is not None:
        what = "the rule matches" if miss.matches else "this no longer stands in the way"
        comes = miss.comes if miss.comes.second == miss.comes.microsecond == 0 else miss.comes + timedelta(minutes=1)
        said.append(f"from {voice.at(comes)} {voice.zone} {what}, if nothing else changes")
    return "; ".join(said)


def _ahead(span: timedelta) -> str:
    """How far ahead, roughly, always rounded down: ``in the next 31 days``."""
    for unit, size in (("day", timedelta(days=1)), ("hour", timedelta(hours=1)), ("minute", timedelta(minutes=1))):
        if span >= 2 * size:
            return f"in the next {some(span // size, unit)}"
    return "very soon"


class _Seeker:
    """Looks for what one named condition wants to be ``wanted``."""

    def __init__(self, verdict: Verdict, told: Told, voice: Voice, look: Look, *, wanted: bool) -> None:
        self.verdict = verdict
        self.told = told
        self.voice = voice
        self.look = look
        self.wanted = wanted

    @cached_property
    def miss(self) -> Miss:
        """All that can be said for certain."""
        comes = self._comes()
        there = self.look(comes) if comes is not None else None
        return Miss(
            self.verdict,
            _wanting(self.verdict, self.wanted),
            self._until(),
            self._alone(),
            comes,
            there is not None and there.holds,
        )

    def _alone(self) -> bool:
        """Whether meeting this condition makes the rule match, and cannot break another one."""
        others = [v for v in (*self.told.conditions, *self.told.exceptions) if v is not self.verdict]
        touched = {table for v in others for table in _tables(v)}
        return self.told.there and len(self.told.failing) == 1 and touched.isdisjoint(_tables(self.verdict))

    def _same(self, told: Told | None) -> Verdict | None:
        """The same condition at another moment."""
        named = (*told.conditions, *told.exceptions) if told is not None else ()
        return next((v for v in named if v.part.number == self.verdict.part.number), None)

    def _comes(self) -> datetime | None:
        """The first moment at which the condition is as wanted by itself."""
        here, now = self.verdict, self.voice.now
        for _ in range(CHANGES):
            moment = next(iter(sorted(m for m in set(_changes(here, self.voice)) if m > now)), None)
            if moment is None or moment > self.voice.now + HORIZON:
                return None
            there = self._same(self.look(moment))
            if there is None:
                return None
            if there.holds is self.wanted:
                before = self._same(self.look(moment - INSTANT))
                # where it was so already, another change brought it, at a moment that we did not guess
                return moment if before is not None and before.holds is not self.wanted else None
            here, now = there, moment
        return None

    def _until(self) -> datetime | None:
        """Until when what counts now goes on counting, for a count or a sum that wants more."""
        leaf = _short_count(self.verdict, self.wanted)
        if leaf is None or leaf.oldest is None or not isinstance(leaf.part.test, Related):
            return None
        lasts = leaf.part.test.within
        if lasts is None or not leaf.rows:
            return None
        moment = leaf.oldest + lasts
        after, before = (_find(self._same(self.look(m)), leaf) for m in (moment, moment - INSTANT))
        if after is None or before is None or before.found != leaf.found or after.found == leaf.found:
            return None
        return moment


def _tables(verdict: Verdict) -> set[str]:
    """What a condition looks at: the tables of its facts and of its related rows."""
    test = verdict.part.test
    own = set() if isinstance(test, Group) else {test.path.subject.table}
    return own.union(*(_tables(member) for member in verdict.members))


def _find(verdict: Verdict | None, leaf: Verdict) -> Verdict | None:
    if verdict is None or verdict.part.number == leaf.part.number:
        return verdict
    return next((found for member in verdict.members if (found := _find(member, leaf))), None)


def _open(verdict: Verdict, wanted: bool) -> tuple[str, list[tuple[Verdict, bool]]]:
    """The members of a group that are not as wanted, and whether ``each`` or ``either`` of them has to change."""
    how = verdict.part.test.how if isinstance(verdict.part.test, Group) else "all"
    inside = wanted if how != "none" else not wanted
    each = (how == "all") is inside if how != "none" else not inside
    return ("each" if each else "either"), [(m, inside) for m in verdict.members if m.holds is not inside]


def _short_count(verdict: Verdict, wanted: bool) -> Verdict | None:
    """The count or sum that is too small, where that alone is wanting."""
    if isinstance(verdict.part.test, Group):
        _, members = _open(verdict, wanted)
        return _short_count(*members[0]) if len(members) == 1 else None
    test = verdict.part.test
    if not isinstance(test, Related) or not wanted or test.aggregate not in ("count", "sum"):
        return None
    short = _short(test, verdict.found or 0)
    return verdict if short is not None and short[0] > 0 else None


def _wanting(verdict: Verdict, wanted: bool) -> str:
    test = verdict.part.test
    if isinstance(test, Group):
        how, members = _open(verdict, wanted)
        said = [_wanting(member, inside) for member, inside in members]
        if how == "each":  # part of what is wanting would mislead
            return " and ".join(said) if all(said) else ""
        return ", or ".join(filter(None, said))
    if isinstance(test, Related):
        return _wanting_rows(test, verdict, wanted)
    return _wanting_value(test, verdict, wanted)


# -- relations ---------------------------------------------------------------------------------------------


def _wanting_rows(test: Related, verdict: Verdict, wanted: bool) -> str:
    row = test.path.subject.name
    if test.aggregate in ("any", "none"):
        more = (test.aggregate == "any") is wanted
        if more is bool(verdict.found):
            return ""
        return f"one such {row}" if more else f"without any such {row} it"
    if test.aggregate in ("min", "max"):
        return _wanting_one(test, wanted, row)
    if test.aggregate not in ("count", "sum"):
        return ""
    short = _short(test, verdict.found or 0) if wanted else _surplus(test, verdict.found or 0)
    if short is None or not (short[0] or short[1]):
        return ""
    size, word = abs(short[0]), "more" if _upwards(test, short, wanted) else "fewer"
    if test.aggregate == "count":
        return some(int(size), f"{word} such {row}") if size == int(size) else ""
    assert test.of is not None
    amount = f"{'over ' if short[1] else ''}{_amount_text(size, test)} {'more' if word == 'more' else 'less'}"
    return f"{amount} in the {test.of.name} of such {some(2, row).split(' ', 1)[1]}"


def _upwards(test: Related, short: tuple[Any, bool], wanted: bool) -> bool:
    """Whether the number must grow; a bound that is just met and must be passed says so itself."""
    if short[0]:
        return bool(short[0] > 0)
    up = any(operator == "more_than" for operator, _ in test.bounds)
    return up if wanted else not up and any(operator == "at_most" for operator, _ in test.bounds)


def _wanting_one(test: Related, wanted: bool, row: str) -> str:
    """One row is enough where the highest must reach a bound, or the lowest fall to one."""
    if not wanted or len(test.bounds) != 1 or test.of is None:
        return ""
    operator, value = test.bounds[0]
    reaches = {"max": ("at_least", "more_than"), "min": ("at_most", "less_than")}[test.aggregate]
    if operator not in reaches or isinstance(value, Moment | list | relativedelta):
        return ""
    shown = money_text(value.minor, value.currency) if isinstance(value, Money) else number_text(value)
    return f"one such {row} with {test.of.name} {operator.replace('_', ' ')} {shown}"


def _amount_text(size: Any, test: Related) -> str:
    value = test.bounds[0][1]
    money = value[0] if isinstance(value, list) else value
    return money_text(size, money.currency) if isinstance(money, Money) else number_text(size)


def _number(value: Any) -> Any:
    return value.minor if isinstance(value, Money) else value


def _short(test: Related, found: Any) -> tuple[Any, bool] | None:
    """How much more (or, negative, less) would meet all bounds, and whether it must be strictly over that."""
    whole = test.aggregate == "count"
    wants: list[tuple[Any, bool]] = []
    for operator, value in test.bounds:
        want = _step(operator, value, found, whole=whole)
        if want is None:
            return None
        if want[0] or want[1]:
            wants.append(want)
    if len({want[0] > 0 for want in wants}) > 1 or not wants:
        return None
    return max(wants, key=lambda want: (abs(want[0]), want[1]))


def _surplus(test: Related, found: Any) -> tuple[Any, bool] | None:
    """How much less (or, positive, more) would break the only bound, so that an exception no longer holds."""
    if len(test.bounds) != 1:
        return None
    operator, value = test.bounds[0]
    opposite = {"at_least": "less_than", "more_than": "at_most", "at_most": "more_than", "less_than": "at_least"}
    if operator not in opposite:
        return None
    return _step(opposite[operator], value, found, whole=test.aggregate == "count")


def _step(operator: str, value: Any, found: Any, *, whole: bool) -> tuple[Any, bool] | None:
    """The change of ``found`` that meets one bound: its size, and whether it must be strictly over that size."""
    if operator == "between":
        low, high = _number(value[0]), _number(value[1])
        return (low - found, False) if found < low else (high - found, False) if found > high else (0, False)
    if isinstance(value, list | Moment | relativedelta):
        return None
    bound = _number(value)
    match operator:
        case "at_least":
            return (max(bound - found, 0), False) if not whole else (max(_up(bound - found), 0), False)
        case "at_most":
            return (min(bound - found, 0), False) if not whole else (-max(_up(found - bound), 0), False)
        case "is":
            return (bound - found, False)
        case "more_than" if whole:
            return (max(_over(bound - found), 0), False)
        case "less_than" if whole:
            return (-max(_over(found - bound), 0), False)
        case "more_than":
            return (bound - found, True) if found <= bound else (0, False)
        case "less_than":
            return (bound - found, True) if found >= bound else (0, False)
    return None


def _up(number: Any) -> int:
    """The least whole number from ``number`` on."""
    return int(-(-number // 1))


def _over(number: Any) -> int:
    """The least whole number above ``number``."""
    return int(number // 1) + 1


# -- facts -------------------------------------------------------------------------------------------------


def _wanting_value(test: Compare, verdict: Verdict, wanted: bool) -> str:
    fact = test.path.fact
    if fact is None or not wanted:
        return ""
    name, found = test.path.text, verdict.found
    if test.operator == "present":
        return f"being {participle_of(fact.name)}" if participle_of(fact.name) else f"{name} being known"
    if fact.kind in (Kind.TEXT, Kind.FLAG) and test.operator == "is":
        shown = f"'{test.value}'" if fact.kind is Kind.TEXT else str(test.value).lower()
        return "" if not isinstance(test.value, str | bool) else f"{name} {shown}"
    if fact.kind not in (Kind.NUMBER, Kind.MONEY) or found is None or test.operator in ("in", "not_in", "is_not"):
        return ""
    money = test.value[0] if isinstance(test.value, list) else test.value
    if not isinstance(money, Money | int | float) or (isinstance(money, Money) and money.currency != verdict.currency):
        return ""
    step = _step(test.operator, test.value, found, whole=False)
    if step is None or not (step[0] or step[1]):
        return ""
    size = abs(step[0])
    shown = money_text(size, money.currency) if isinstance(money, Money) else number_text(size)
    word = "more" if step[0] > 0 or (not step[0] and test.operator == "more_than") else "less"
    return f"{'over ' if step[1] else ''}{shown} {word} in {name}"


# -- the clock ---------------------------------------------------------------------------------------------


def _changes(verdict: Verdict, voice: Voice) -> Iterator[datetime]:
    """Moments at which a condition may change by the clock alone; guesses, to be asked of the compiler."""
    test = verdict.part.test
    for member in verdict.members:
        yield from _changes(member, voice)
    if isinstance(test, Related):
        for at in (verdict.oldest, verdict.newest):
            if at is not None and test.within is not None:
                yield at + test.within
                if test.aggregate == "change":
                    yield at + test.within + test.within
            if at is not None and test.within_next is not None:
                yield at
            if at is not None and isinstance(test.since, Moment):
                yield from _passing(at, "since", test.since, voice)
        if test.of is not None and test.of.kind in (Kind.MOMENT, Kind.DAY) and verdict.found is not None:
            for operator, value in test.bounds:
                yield from _passing(verdict.found, operator, value, voice)
    elif isinstance(test, Compare) and isinstance(verdict.found, date):
        for value in test.value if isinstance(test.value, list) else [test.value]:
            yield from _passing(verdict.found, test.operator, value, voice)


def _passing(found: date, operator: str, value: Any, voice: Voice) -> Iterator[datetime]:
    """When the moving bound passes a moment or a day (at its beginning, or its end)."""
    zone = ZoneInfo(voice.zone)
    moments = [found] if isinstance(found, datetime) else [_start(found, 0, zone), _start(found, 1, zone)]
    day = found.astimezone(zone).date() if isinstance(found, datetime) else found
    if isinstance(value, relativedelta):
        yield from (at + value if operator == "within" else at - value for at in moments)
        yield from (at + (INSTANT if isinstance(found, datetime) else timedelta()) for at in moments)
    elif isinstance(value, Moment) and (value.ago is not None or value.ahead is not None):
        for at in moments:
            there = at + value.ago if value.ago is not None else at - (value.ahead or relativedelta())
            yield from (there, there + INSTANT)
    elif isinstance(value, Moment) and value.day is not None:
        yield from (_start(day, ahead - value.day, zone) for ahead in (0, 1))
    elif isinstance(value, Moment) and value.weekday is not None:
        today = voice.now.astimezone(zone).date()
        yield from (_start(today, ahead, zone) for ahead in range(1, DAYS))


def _start(day: date, ahead: int, zone: ZoneInfo) -> datetime:
    """The moment at which a day begins, so many days ahead."""
    try:
        return datetime.combine(day + timedelta(days=ahead), time(), zone).astimezone(UTC)
    except OverflowError:  # a date at the end of the calendar
        return datetime.max.replace(tzinfo=UTC)
