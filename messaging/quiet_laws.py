"""The hours in which a country lets us speak, by purpose and channel, as ``quiet_hours.csv`` (or the house's own file)
says. Each row names where it is from; it is our best knowledge and no legal advice.
"""

import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from messaging.quiet import DAY, SECOND, Limit, Window
from models.vocabulary import Channel, Purpose

OURS = Path(__file__).with_name("quiet_hours.csv")
COLUMNS = ["country", "region", "purpose", "channel", "days", "from", "until", "source"]
WEEK = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
HOLIDAY = "holiday"
DEFAULT = "our default"


@dataclass(frozen=True)
class Row:
    """One line of the file: on ``days`` it may be spoken in the ``window`` (None: not at all)."""

    line: int
    country: str
    region: str
    purposes: tuple[Purpose, ...]
    channels: tuple[Channel, ...]
    days: tuple[str, ...]
    window: Window | None
    source: str
    said: Mapping[str, str] = field(compare=False, hash=False)


@dataclass(frozen=True, eq=False)
class Laws:
    """What countries ask for: limits by country, region, purpose and channel."""

    limits: Mapping[tuple[str, str, Purpose, Channel], Limit]

    def of(self, country: str, region: str, purpose: Purpose, channel: Channel) -> tuple[Limit, ...]:
        """The limits where a customer is: the country's, and those of the region within it."""
        places = [(country, "")] if not region else [(country, ""), (country, region)]
        found = [self.limits.get((*place, purpose, channel)) for place in places]
        return tuple(limit for limit in found if limit is not None)


NO_LAWS = Laws({})


def laws_in(path: Path) -> Laws:
    """The laws of a file, read again when it has changed. Raises ValueError, naming file, line and what is expected."""
    stat = path.stat()
    return _laws_in(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=8)
def _laws_in(path: Path, _changed: int, _size: int) -> Laws:
    groups: dict[tuple[str, str, Purpose, Channel], list[Row]] = defaultdict(list)
    for row in rows_in(path):
        for purpose in row.purposes:
            for channel in row.channels:
                groups[row.country, row.region, purpose, channel].append(row)
    return Laws({key: _limit(path, key[0], key[1], rows) for key, rows in groups.items()})


def rows_in(path: Path) -> list[Row]:
    """The lines of a file. Raises ValueError."""
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames != COLUMNS:
            raise ValueError(f"{path}:1: expected the columns {', '.join(COLUMNS)}")
        return [_row(path, reader.line_num, said) for said in reader]


def _row(path: Path, line: int, said: dict[str, str]) -> Row:
    try:
        country, region = said["country"], said["region"]
        if len(country) != 2 or not country.isupper():
            raise ValueError(f"{country!r} is no country; expected ISO 3166, for example DE")
        if not said["source"].strip():
            raise ValueError(f"where is this from? A row without a source says '{DEFAULT}'")
        channels = tuple(Channel) if said["channel"] == "all" else tuple(map(Channel, said["channel"].split()))
        purposes = tuple(map(Purpose, said["purpose"].split()))
        return Row(line, country, region, purposes, channels, _days(said["days"]), _window(said), said["source"], said)
    except (ValueError, AttributeError, TypeError) as wrong:
        raise ValueError(f"{path}:{line}: {wrong}") from None


def _days(said: str) -> tuple[str, ...]:
    found: list[str] = []
    for word in said.split():
        first, _, last = word.partition("-")
        if word == "every":
            found += WEEK
        elif word == HOLIDAY:
            found.append(word)
        elif first in WEEK and (last or first) in WEEK:
            found += WEEK[WEEK.index(first) : WEEK.index(last or first) + 1]
        else:
            raise ValueError(f"{word!r} is no day; expected every, monday, monday-friday or {HOLIDAY}")
    return tuple(found)


def _window(said: dict[str, str]) -> Window | None:
    if not said["from"] and not said["until"]:
        return None
    window = _clock(said["from"]), _clock(said["until"])
    if window[0] >= window[1]:
        raise ValueError(f"{said['from']} to {said['until']} is no span of a day; name its parts in two rows")
    return window


def _clock(said: str) -> int:
    hours, _, minutes = said.partition(":")
    if len(minutes) != 2 or not (hours + minutes).isdigit() or int(hours) * 60 + int(minutes) > 1440 or minutes > "59":
        raise ValueError(f"{said!r} is no time of day; expected for example 08:00")
    return (int(hours) * 60 + int(minutes)) * 60 * SECOND


def _limit(path: Path, country: str, region: str, rows: list[Row]) -> Limit:
    """One limit out of its rows. Each day of the week must be named: a day left out would say nothing."""
    days: dict[str, list[Window]] = {}
    for row in rows:
        for day in row.days:
            days.setdefault(day, []).extend([row.window] if row.window else [])
    missing = [day for day in WEEK if day not in days]
    if missing:
        raise ValueError(f"{path}:{rows[0].line}: the rows of {country} {region} say nothing of {', '.join(missing)}")
    place = f"{country}-{region}" if region else country
    ours = all(row.source.startswith(DEFAULT) for row in rows)
    return Limit(
        name=f"{DEFAULT} for {place}" if ours else f"{place} law",
        days=tuple(_tidy(days[day]) for day in WEEK),
        holiday=_tidy(days[HOLIDAY]) if HOLIDAY in days else None,
        country=country,
        region=region,
    )


def _tidy(windows: Iterable[Window]) -> tuple[Window, ...]:
    """In order, those that touch as one."""
    found: list[Window] = []
    for opens, closes in sorted(windows):
        if found and opens <= found[-1][1]:
            found[-1] = (found[-1][0], max(closes, found[-1][1]))
        else:
            found.append((opens, min(closes, DAY)))
    return tuple(found)


def laws_markdown(path: Path = OURS) -> str:
    """The table of ``docs/reference/quiet-hours.md``: what the file says, a line a place, purpose and channel."""
    groups: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for row in rows_in(path):
        said = row.said
        place = f"{row.country}-{row.region}" if row.region else row.country
        hours = f"{said['days']} {said['from']} to {said['until']}" if row.window else f"{said['days']} never"
        groups[place, said["purpose"], said["channel"], row.source].append(hours)
    lines = ["| place | purpose | channel | when it may be spoken | source |", "|---|---|---|---|---|"]
    for (place, purpose, channel, source), spans in groups.items():
        lines.append(f"| {place} | {purpose} | {channel} | {', '.join(spans)} | {source} |")
    return "\n".join(lines)
