"""When a rule is due: the slots of its cron lines in a zone, and how late a pass may come."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prefect.server.schemas.schedules import CronSchedule

SLUG = "rule-"
"""How the slugs begin of the schedules that come from a rule's file; staff may add others by hand."""
LONGEST_GRACE = timedelta(hours=1)
CLOCKS_CHANGE = timedelta(hours=3)
"""By no more than this are clocks set back anywhere."""


def slug_of(number: int) -> str:
    """The slug of the schedule for a rule's cron line of this ``number``, from 1: pauses by staff hang on it."""
    return f"{SLUG}{number}"


async def slots(crons: Sequence[str], zone: str, *, after: datetime, until: datetime) -> list[datetime]:
    """The moments in ``(after, until]`` at which one of ``crons`` fires in ``zone``, oldest first, without doubles."""
    found: set[datetime] = set()
    schedule = await asyncio.to_thread(_schedule)
    for cron in crons:
        # it compares by the wall's clock, and would stop an hour early where ``until`` is in an hour that comes twice
        dates = await schedule(cron=cron, timezone=zone).get_dates(start=after, end=until + CLOCKS_CHANGE)
        found.update(plain(date) for date in dates)
    return sorted(slot for slot in found if after < slot <= until)


def plain(moment: datetime) -> datetime:
    """A moment of Prefect's own date type as a plain datetime in UTC, which every database driver takes."""
    return datetime.fromtimestamp(moment.timestamp(), UTC)


async def grace(crons: Sequence[str], zone: str, slot: datetime) -> timedelta:
    """How late the pass of ``slot`` may start: until the next slot, and never more than an hour."""
    following = await slots(crons, zone, after=slot, until=slot + LONGEST_GRACE)
    return min([LONGEST_GRACE, *(one - slot for one in following)])


def _schedule() -> "type[CronSchedule]":
    """Prefect's own reading of cron, so that we agree with it on the days when clocks change.

    Imported late and in a thread: it brings the server's code, 1.8 s and 37 MB.
    """
    from prefect.server.schemas.schedules import CronSchedule

    return CronSchedule
