"""Quiet hours in the customer's own zone: when may we speak again? By instants, so that daylight saving is right."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from phonenumbers.tzdata import TIMEZONE_DATA, TIMEZONE_LONGEST_PREFIX

BETWEEN = "|"
"""Stands between zones where a customer may live in any of them: ``America/Adak|America/New_York``."""

LONGEST_PREFIX: int = TIMEZONE_LONGEST_PREFIX
PATIENCE = timedelta(hours=48)
SPAN = re.compile(r"(\d{1,2}:\d{2})\s*-\s*(\d{1,2}:\d{2})")


@dataclass(frozen=True)
class QuietHours:
    """A daily span of wall-clock time; it may run over midnight. ``start == end``: no quiet hours."""

    start: time
    end: time

    def holds(self, clock: time) -> bool:
        """Whether it is quiet at this wall-clock time. The end itself is no longer quiet."""
        if self.start <= self.end:
            return self.start <= clock < self.end
        return clock >= self.start or clock < self.end


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


def _free_in_zone(moment: datetime, zone: ZoneInfo, quiet: QuietHours) -> datetime:
    local = moment.astimezone(zone)
    if not quiet.holds(local.time()):
        return moment
    day = local.date() if local.time() < quiet.end else local.date() + timedelta(days=1)
    ends = datetime.combine(day, quiet.end, zone).astimezone(UTC)
    # Where clocks are put back, the wall shows the end twice; the first one may lie behind us.
    return ends if ends > moment else datetime.combine(day, quiet.end.replace(fold=1), zone).astimezone(UTC)


def zones_in(key: str, default: str) -> list[ZoneInfo]:
    """The zones of a candidate's key (``A|B``); names that tzdata does not know give way to the default."""
    found = []
    for name in key.split(BETWEEN):
        try:
            found.append(ZoneInfo(name))
        except (ZoneInfoNotFoundError, ValueError, OSError):
            found.append(ZoneInfo(default))
    return found


def free_at(moment: datetime, key: str, quiet: QuietHours, *, default: str) -> datetime:
    """The first moment, from ``moment`` on, that is quiet in none of the zones in ``key``.

    Where the zones leave no common hour (a number that may be anywhere on earth), the default zone decides.
    """
    zones = zones_in(key, default)
    at = moment
    while at - moment <= PATIENCE:
        later = max(_free_in_zone(at, zone, quiet) for zone in zones)
        if later == at:
            return at
        at = later
    return _free_in_zone(moment, ZoneInfo(default), quiet)


@lru_cache(maxsize=65_536)
def zones_of_phone(prefix: str) -> str | None:
    """The zones in which a phone number may be, from its first digits (E.164), joined by ``|``; None: nobody knows.

    ``prefix`` needs the plus and at most ``LONGEST_PREFIX`` digits. Source: libphonenumber's zone table.
    """
    digits = prefix.lstrip("+")[:LONGEST_PREFIX]
    for length in range(len(digits), 0, -1):
        zones = TIMEZONE_DATA.get(digits[:length])
        if zones:
            return BETWEEN.join(zones)
    return None
