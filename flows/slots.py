"""When a rule is due: the slots of its cron lines in a zone, and how late a pass may come."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from prefect.server.schemas.schedules import CronSchedule

LONGEST_GRACE = timedelta(hours=1)


async def slots(crons: Sequence[str], zone: str, *, after: datetime, until: datetime) -> list[datetime]:
    """The moments in ``(after, until]`` at which one of ``crons`` fires in ``zone``, oldest first, without doubles."""
    found: set[datetime] = set()
    for cron in crons:
        found.update(await CronSchedule(cron=cron, timezone=zone).get_dates(start=after, end=until))
    return sorted(slot for slot in found if after < slot <= until)


async def grace(crons: Sequence[str], zone: str, slot: datetime) -> timedelta:
    """How late the pass of ``slot`` may start: until the next slot, and never more than an hour."""
    following = await slots(crons, zone, after=slot, until=slot + LONGEST_GRACE)
    return min([LONGEST_GRACE, *(one - slot for one in following)])
