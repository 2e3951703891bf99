"""The pace of a sender: so many messages or segments a second, kept by all processes and machines together.

One row a sender holds the moment at which its last reserved turn is over (GCRA, the "virtual scheduling" of ITU-T
I.371): a turn is taken in the transaction that arms the message, by one conditional UPDATE. What has no turn yet goes
back to the queue with the moment of its turn; nobody sleeps, and a sender without a turn is not claimed for at all.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, or_, select, update

from models.database import dialect_insert
from models.housekeeping import Pace
from models.vocabulary import Channel

pace: Any = Pace.__table__  # type: ignore[attr-defined]

BURST = timedelta(seconds=1)
"""A second's worth may go at once: the house dispatches every second."""


LONGEST_REST = timedelta(hours=7)
"""Longer than any provider lets us wait (``messaging.outcomes``): a later moment is that of a clock that was ahead."""


@dataclass(frozen=True)
class Rate:
    """At most ``per_second`` units (segments of an SMS, calls, e-mails) a second.

    In any stretch of ``w`` seconds at most ``per_second * (w + 1)`` units go, and one more.
    """

    per_second: float

    @property
    def each(self) -> timedelta:
        """How long the turn of one unit lasts."""
        return timedelta(seconds=1 / self.per_second)

    @property
    def ahead(self) -> timedelta:
        """How far in front of its own clock a sender may be."""
        return max(BURST - self.each, timedelta(0))


Rates = Mapping[Channel, Rate]
"""The rates of the senders, one a channel; a channel without one goes as fast as it can."""


def room(connection: Connection, sender: str, rate: Rate | None, now: datetime) -> int | None:
    """How many units have a turn now; None: any number. 0 is no reason to claim anything."""
    free_at = connection.execute(select(pace.c.free_at).where(pace.c.sender == sender)).scalar_one_or_none() or now
    free_at = free_at if free_at <= now + LONGEST_REST else now
    if rate is None:
        return 0 if free_at > now else None
    spare = now + rate.ahead - max(free_at, now)
    return 0 if spare < timedelta(0) else int(spare / rate.each) + 1


def take_turns(
    connection: Connection, wanted: Iterable[tuple[int, Channel, int]], rates: Rates, now: datetime
) -> dict[int, datetime]:
    """Reserve turns in the order of ``wanted``: (key, channel, units). Must run in a write transaction.

    Returns, by key, when the turns of those come that have none yet; whoever is not in it may go now.
    """
    senders: dict[Channel, list[tuple[int, int]]] = defaultdict(list)
    for key, channel, units in wanted:
        senders[channel].append((key, units))
    waits: dict[int, datetime] = {}
    for channel in sorted(senders):
        keys = [key for key, _ in senders[channel]]
        turns = _reserve(connection, channel.value, rates.get(channel), [units for _, units in senders[channel]], now)
        waits |= {key: turn for key, turn in zip(keys, turns, strict=True) if turn is not None}
    return waits


def _reserve(
    connection: Connection, sender: str, rate: Rate | None, units: Sequence[int], now: datetime
) -> list[datetime | None]:
    if rate is not None:
        first = dialect_insert(connection, pace).values(sender=sender, free_at=now)
        connection.execute(first.on_conflict_do_nothing())
    held = select(pace.c.free_at).where(pace.c.sender == sender)
    found = connection.execute(held.with_for_update() if rate else held).scalar_one_or_none()
    free_at = found if found and found <= now + LONGEST_REST else None
    if rate is None:
        return [free_at if free_at and free_at > now else None for _ in units]
    turns, over = turns_of(rate, free_at or now, units, now)
    taken = update(pace).where(pace.c.sender == sender, pace.c.free_at == found).values(free_at=over)
    connection.execute(taken)
    return turns


def turns_of(
    rate: Rate, free_at: datetime, units: Sequence[int], now: datetime
) -> tuple[list[datetime | None], datetime]:
    """Who goes now (None) and when the others' turns come, and when the last turn taken is over. Pure.

    Nobody overtakes: after the first who must wait, all wait.
    """
    turns: list[datetime | None] = []
    at = max(free_at, now)
    over = free_at
    for each in units:
        waits = at > now + rate.ahead or any(turns)
        turns.append(at - rate.ahead if waits else None)
        at += max(each, 1) * rate.each
        over = over if waits else at
    return turns, over


def slow_down(connection: Connection, sender: str, until: datetime) -> None:
    """Let a sender rest: the provider says that we are too fast."""
    put = dialect_insert(connection, pace).values(sender=sender, free_at=until)
    earlier = or_(pace.c.free_at < until, pace.c.free_at > until + LONGEST_REST)
    later = put.on_conflict_do_update(index_elements=["sender"], set_={"free_at": until}, where=earlier)
    connection.execute(later)
