"""Quiet hours: when may we speak again? By instants, so that daylight saving is right.

What may be said when is a list of :class:`Limit` (the house's own hours, a country's law, the customer's wish); a
moment is free where none of them is quiet, in every zone in which the customer may be.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache, reduce
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

if TYPE_CHECKING:
    from holidays import HolidayBase

BETWEEN = "|"
"""Stands between zones where a customer may live in any of them: ``America/Adak|America/New_York``."""

SPAN = re.compile(r"(\d{1,2}:\d{2})\s*-\s*(\d{1,2}:\d{2})")

Window = tuple[int, int]
"""From and until (not included), in microseconds: of a day's wall clock, or since 1970 in UTC."""

SECOND = 1_000_000
DAY = 86_400 * SECOND
ALL_DAY: tuple[Window, ...] = ((0, DAY),)
FIRST_DAY = date(1970, 1, 1).toordinal()
FIRST_MOMENT = datetime(1970, 1, 1, tzinfo=UTC)

STRETCH = 8 * DAY
"""How much of a zone's calendar is worked out at a time, and remembered."""

PATIENCE = 3
"""So many stretches are looked through. Longer than every row of holidays; who is free in none is never free."""

PROBE = 6 * 3600 * SECOND
"""No zone changes its clocks twice within this time."""


@dataclass(frozen=True)
class QuietHours:
    """A daily span of wall-clock time; it may run over midnight. ``start == end``: no quiet hours."""

    start: time
    end: time

    def windows(self) -> tuple[Window, ...]:
        """When it is not quiet."""
        start, end = _of_day(self.start), _of_day(self.end)
        if start == end:
            return ALL_DAY
        free = ((0, start), (end, DAY)) if start < end else ((end, start),)
        return tuple(window for window in free if window[0] < window[1])


NEVER_QUIET = QuietHours(time(0), time(0))


def read_quiet_hours(said: str) -> QuietHours:
    """Read ``22:00-07:00``; ``none`` and nothing are no quiet hours. Raises ValueError, saying what is expected."""
    if said.strip().lower() in ("", "none", "never"):
        return NEVER_QUIET
    found = SPAN.fullmatch(said.strip())
    try:
        if not found:
            raise ValueError
        start, end = (time.fromisoformat(part.zfill(5)) for part in found.groups())
    except ValueError:
        raise ValueError(f"{said!r} are no quiet hours; expected for example 22:00-07:00, or none") from None
    return QuietHours(start, end)


@dataclass(frozen=True)
class Limit:
    """Who says so (``name``), and when it may be spoken: the windows of Monday to Sunday.

    ``holiday``: the windows of a public holiday of ``country`` (and ``region``, where that is known), which then hold
    as well as those of its day of the week. None: a holiday is a day like others.
    """

    name: str
    days: tuple[tuple[Window, ...], ...]
    holiday: tuple[Window, ...] | None = None
    country: str = ""
    region: str = ""

    def free(self, ordinal: int) -> tuple[Window, ...]:
        """The windows of a day (proleptic ordinal)."""
        windows = self.days[(ordinal - 1) % 7]
        if self.holiday is None or not windows or not is_holiday(self.country, self.region, ordinal):
            return windows
        return _common(windows, self.holiday)


def daily(name: str, quiet: QuietHours) -> Limit:
    """The same quiet hours on every day."""
    return Limit(name, (quiet.windows(),) * 7)


@dataclass(frozen=True, eq=False)
class Hours:
    """All that limits when a message may go. Made once for each set of limits (:func:`hours_of`), known by identity."""

    limits: tuple[Limit, ...]


@lru_cache(maxsize=65_536)
def hours_of(limits: tuple[Limit, ...]) -> Hours:
    """The hours with these limits; those that never are quiet are left out."""
    return Hours(tuple(each for each in limits if each.holiday is not None or any(day != ALL_DAY for day in each.days)))


def free_at(moment: datetime, zones: str, hours: Hours) -> datetime | None:
    """The first moment, from ``moment`` on, that is quiet in none of the ``zones`` (``A|B``).

    None: there is none. The zones leave no common hour, or one of them is unknown.
    """
    if not hours.limits:
        return moment
    at = _micros(moment)
    for stretch in range(at // STRETCH, at // STRETCH + PATIENCE):
        spans = _spans(zones, hours, stretch)
        place = bisect_right(spans, (at, STRETCH * (stretch + 2)))
        if place and at < spans[place - 1][1]:
            return moment
        if place < len(spans):
            return FIRST_MOMENT + timedelta(microseconds=spans[place][0])
    return None


def why_quiet(moment: datetime, zones: str, hours: Hours) -> str:
    """What holds a message at ``moment``, and until when: ``quiet until 08:00 in America/New_York (US law)``.

    Empty where nothing does.
    """
    until = free_at(moment, zones, hours)
    if until == moment:
        return ""
    each = [(name, limit) for name in zones.split(BETWEEN) for limit in hours.limits]
    held = [(name, limit.name) for name, limit in each if _holds(moment, name, limit)]
    names = " and ".join(dict.fromkeys(who for _, who in held))
    if until is None:
        return f"no hour is free in {_in_words(zones)} ({' and '.join(limit.name for limit in hours.limits)})"
    name = held[0][0] if held else zones.split(BETWEEN)[0]
    local, today = until.astimezone(ZoneInfo(name)), moment.astimezone(ZoneInfo(name)).date()
    day = "" if local.date() - today <= timedelta(days=1) else local.strftime("%A ")
    return f"quiet until {day}{local:%H:%M} in {name} ({names})"


def _in_words(zones: str) -> str:
    known = zones.split(BETWEEN)
    if all(_constant(name, 0) == () for name in known):
        return "all the zones of the earth, and nobody knows where the customer is"
    return f"all of {', '.join(known)}" if len(known) <= 3 else f"all of its {len(known)} zones"


def _holds(moment: datetime, name: str, limit: Limit) -> bool:
    try:
        local = moment.astimezone(ZoneInfo(name))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    clock = _of_day(local.time())
    return not any(start <= clock < end for start, end in limit.free(local.toordinal()))


def zones_in(key: str, default: str) -> list[ZoneInfo]:
    """The zones of a candidate's key (``A|B``); names that tzdata does not know give way to the default."""
    found = []
    for name in key.split(BETWEEN):
        try:
            found.append(ZoneInfo(name))
        except (ZoneInfoNotFoundError, ValueError, OSError):
            found.append(ZoneInfo(default))
    return found


@lru_cache(maxsize=16_384)
def _spans(zones: str, hours: Hours, stretch: int) -> tuple[Window, ...]:
    """The free spans of a stretch of time, in order, in microseconds since 1970: free in all zones."""
    return reduce(_common, (_spans_in(name, hours, stretch) for name in zones.split(BETWEEN)))


@lru_cache(maxsize=16_384)
def _spans_in(name: str, hours: Hours, stretch: int) -> tuple[Window, ...]:
    spans: list[Window] = []
    for start, end, offset in _constant(name, stretch):
        for ordinal in range((start + offset) // DAY, (end + offset - 1) // DAY + 1):
            midnight = ordinal * DAY - offset
            free = (limit.free(ordinal + FIRST_DAY) for limit in hours.limits)
            for opens, closes in reduce(_common, free):
                _add(spans, max(midnight + opens, start), min(midnight + closes, end))
    return tuple(spans)


def _add(spans: list[Window], opens: int, closes: int) -> None:
    """Add a span behind the others; one that touches the last makes it longer."""
    if opens >= closes:
        return
    if spans and spans[-1][1] == opens:
        spans[-1] = (spans[-1][0], closes)
    else:
        spans.append((opens, closes))


def _common(one: Sequence[Window], other: Sequence[Window]) -> tuple[Window, ...]:
    """What lies in both lists of windows."""
    found = []
    first, second = 0, 0
    while first < len(one) and second < len(other):
        opens, closes = max(one[first][0], other[second][0]), min(one[first][1], other[second][1])
        if opens < closes:
            found.append((opens, closes))
        if one[first][1] < other[second][1]:
            first += 1
        else:
            second += 1
    return tuple(found)


@lru_cache(maxsize=16_384)
def _constant(name: str, stretch: int) -> tuple[tuple[int, int, int], ...]:
    """The parts of a stretch in which a zone's clock runs evenly: start, end, and its offset from UTC."""
    try:
        zone = ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ()
    return tuple(_even_parts(zone, stretch * STRETCH, (stretch + 1) * STRETCH))


def _even_parts(zone: ZoneInfo, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    since, offset = start, _offset(zone, start)
    for at in range(start + PROBE, end + 1, PROBE):
        if _offset(zone, at) == offset:
            continue
        before, after = at - PROBE, at
        while after - before > SECOND:
            middle = (before + after) // 2 // SECOND * SECOND
            before, after = (middle, after) if _offset(zone, middle) == offset else (before, middle)
        if after < end:
            yield since, after, offset
            since, offset = after, _offset(zone, after)
    yield since, end, offset


def _offset(zone: ZoneInfo, at: int) -> int:
    shift = (FIRST_MOMENT + timedelta(microseconds=at)).astimezone(zone).utcoffset() or timedelta()
    return (shift.days * 86_400 + shift.seconds) * SECOND


def is_holiday(country: str, region: str, ordinal: int) -> bool:
    """Whether a day is a public holiday. Where the library knows no such country or region, no day is.

    Source: the ``holidays`` package, with the days that take a holiday's place.
    """
    return date.fromordinal(ordinal) in _calendar(country, region)


@lru_cache(maxsize=512)
def _calendar(country: str, region: str) -> "HolidayBase | frozenset[date]":
    import holidays  # slow to import, and needed where a limit minds holidays only

    try:
        return holidays.country_holidays(country, subdiv=region or None)
    except NotImplementedError:
        return _calendar(country, "") if region else frozenset()


def _of_day(clock: time) -> int:
    return (clock.hour * 3600 + clock.minute * 60 + clock.second) * SECOND + clock.microsecond


def _micros(moment: datetime) -> int:
    since = moment - FIRST_MOMENT
    return (since.days * 86_400 + since.seconds) * SECOND + since.microseconds
