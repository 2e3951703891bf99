"""The circuit breaker: an account or server at fault stops all its channels, and one message tries whether it is well.

A row of ``lease`` holds it, ``pause:ACCOUNT`` or ``pause:CHANNEL``: ``until`` is when it rests no more, ``holder`` the
provider's code, how many times in a row it failed, and whether a probe is out. No row: it is closed and all goes.
"""

import logging
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, select, update

from messaging.channels.base import Outcome
from messaging.events_out import PROVIDER_DOWN, PROVIDER_UP, happened
from messaging.outcomes import SENDER_CODES
from models.database import dialect_insert
from models.housekeeping import Lease, Notice
from models.vocabulary import Channel, OutcomeClass

_log = logging.getLogger(__name__)

lease: Any = Lease.__table__  # type: ignore[attr-defined]
notice: Any = Notice.__table__  # type: ignore[attr-defined]

PAUSE = "pause:"
"""A lease with this duty prefix, and an account or a channel behind it: what rests until then."""

ACCOUNTS: dict[Channel, str] = {Channel.SMS: "twilio", Channel.VOICE: "twilio", Channel.EMAIL: "smtp"}
"""The account behind each channel: what is wrong with it is wrong for all its channels."""

RESTS = tuple(timedelta(minutes=minutes) for minutes in (1, 2, 5, 10, 15))
"""How long it rests after the first fault, the second in a row ...; the last one again and again."""

LONGEST_REST = timedelta(hours=1)
"""Who would rest for longer was put to rest by a clock that was ahead."""

PROBING = timedelta(minutes=1)
"""How long a probe may take before another one is sent out."""

BROKEN = re.compile(r".*(Timeout|Error|_broken)")
"""Codes of a network that failed, rather than of an account that refused us."""

PATIENT = 3
"""A network that fails so often in a row is told to staff; an account's fault at once."""

HOLDER = re.compile(r"(?P<code>.*) x(?P<times>\d+)(?P<probe> probe)?")
LONGEST_TOPIC = 60


@dataclass(frozen=True)
class Open:
    """A breaker that is open: ``name`` of the account or channel, the provider's ``code``, ``times`` in a row.

    ``probing``: one message is out to try whether it is well.
    """

    name: str
    code: str
    times: int
    until: datetime
    probing: bool = False

    @property
    def channels(self) -> list[Channel]:
        """The channels that rest."""
        return [channel for channel, account in ACCOUNTS.items() if self.name in (account, channel.value)]


def opened(connection: Connection, names: Collection[str] | None = None, *, lock: bool = False) -> list[Open]:
    """The breakers that are open, all or those of ``names``; of webhooks none. ``lock`` holds them for a change."""
    all_names = {*ACCOUNTS.values(), *(channel.value for channel in Channel)}
    wanted = [f"{PAUSE}{name}" for name in (all_names if names is None else all_names & set(names))]
    rows = select(lease).where(lease.c.duty.in_(wanted)).order_by(lease.c.duty)
    return [_open(row) for row in connection.execute(rows.with_for_update() if lock else rows)]


def _open(row: Any) -> Open:
    name = row.duty.removeprefix(PAUSE)
    found = HOLDER.fullmatch(row.holder)
    if found is None:
        return Open(name, row.holder, 1, row.until)
    return Open(name, found["code"], int(found["times"]), row.until, bool(found["probe"]))


def standing(connection: Connection, channels: Collection[Channel], now: datetime) -> tuple[list[Channel], list[Open]]:
    """The channels that may send now, and the half-open breakers in front of them: only a probe may pass those."""
    breakers = opened(connection, _names(channels))
    rest = [one for one in breakers if now < one.until <= now + LONGEST_REST]
    resting = {channel for one in rest for channel in one.channels}
    awake = [channel for channel in channels if channel not in resting]
    return awake, [one for one in breakers if one not in rest and set(one.channels) & set(awake)]


def probe(connection: Connection, half: Sequence[Open], now: datetime) -> bool:
    """Take the right to be the one probe of these breakers; False where somebody else was quicker."""
    for one in half:
        taken = (
            update(lease)
            .where(lease.c.duty == f"{PAUSE}{one.name}", lease.c.until == one.until)
            .values(until=now + PROBING, holder=_holder(one.code, one.times, probing=True))
        )
        if not connection.execute(taken).rowcount:
            return False
    return True


def unprobe(connection: Connection, half: Sequence[Open]) -> None:
    """Give the right of the probe back: nothing went."""
    for one in half:
        row = update(lease).where(lease.c.duty == f"{PAUSE}{one.name}")
        connection.execute(row.values(until=one.until, holder=_holder(one.code, one.times)))


def learn(connection: Connection, results: Iterable[tuple[Channel, Outcome]], now: datetime) -> None:
    """Open, keep or close breakers by what tries led to. Must run in the transaction that writes these down."""
    seen = list(results)
    faults = {_name(channel, outcome.code): outcome.code for channel, outcome in seen if outcome.stops}
    for name, code in sorted(faults.items()):  # one order for all, so that nobody waits in a circle
        trip(connection, name, code, now)
    well = {channel for channel, outcome in seen if _proves_well(outcome)}
    if not well:
        return
    for one in opened(connection, _names(well) - faults.keys()):
        if one.probing:
            close(connection, one.name, now)


def trip(connection: Connection, name: str, code: str, now: datetime) -> None:
    """Open the breaker of an account or a channel, or keep it open for longer: each fault in a row rests longer."""
    before = next(iter(opened(connection, [name], lock=True)), None)
    if before and before.until > now and not before.probing:
        return  # another process has just said so
    times = before.times + 1 if before else 1
    until = now + RESTS[min(times, len(RESTS)) - 1]
    row = {"duty": f"{PAUSE}{name}", "holder": _holder(code, times), "until": until}
    put = dialect_insert(connection, lease).values(row)
    changed = {"holder": row["holder"], "until": until}
    connection.execute(put.on_conflict_do_update(index_elements=["duty"], set_=changed))
    if times >= PATIENT or not BROKEN.fullmatch(code):
        channels = [channel.value for channel in Open(name, code, times, until).channels]
        said = f"{' and '.join(channels)}: nothing is sent, because {name} says {code}"
        if call_staff(connection, f"provider:{name}", said, now):
            told = {"channels": channels, "code": code, "times": times}
            happened(connection, PROVIDER_DOWN, f"provider:{name}", now, told)


def close(connection: Connection, name: str, now: datetime) -> None:
    """All goes again, and staff need not look any more."""
    connection.execute(delete(lease).where(lease.c.duty == f"{PAUSE}{name}"))
    if dismiss(connection, f"provider:{name}"):
        happened(connection, PROVIDER_UP, f"provider:{name}", now)
    _log.info("%s is well again", name)


UNTIL_SEEN = ("callbacks:", "callback:", "mail:")
"""Beginnings of topics of which nothing tells that they are over: somebody says that they have looked."""


def is_until_seen(topic: str) -> bool:
    """Whether a notice lasts until somebody says that they have looked; the others end with what they tell of."""
    return topic.startswith(UNTIL_SEEN)


def call_staff(connection: Connection, topic: str, said: str, now: datetime) -> bool:
    """Tell staff what only they can put right: a row of ``notice`` and an error in the log, once while it lasts.

    ``topic`` is ``provider:ACCOUNT``, ``rule:ID`` or the like. Returns whether this was news.
    """
    row = {"topic": topic[:LONGEST_TOPIC], "said": said, "since": now}
    put = dialect_insert(connection, notice).values(row).on_conflict_do_nothing().returning(notice.c.topic)
    news = connection.execute(put).first() is not None
    if news:
        _log.error("%s: %s", topic, said)
    return news


def dismiss(connection: Connection, topic: str) -> bool:
    """Take a notice back: what it told is over. Returns whether there was one."""
    return bool(connection.execute(delete(notice).where(notice.c.topic == topic[:LONGEST_TOPIC])).rowcount)


def _proves_well(outcome: Outcome) -> bool:
    """Whether somebody at the provider's has answered for this account; one who says "slower" has, too."""
    if outcome.kind is OutcomeClass.ACCEPTED:
        return True
    refused = outcome.kind is OutcomeClass.REFUSED
    later = outcome.kind is OutcomeClass.NOT_ACCEPTED and not outcome.stops and bool(outcome.content)
    return (refused or later) and "error" not in outcome.content  # an error is a network's, or our own


def _name(channel: Channel, code: str) -> str:
    return channel.value if code in SENDER_CODES else ACCOUNTS[channel]


def _names(channels: Collection[Channel]) -> set[str]:
    return {name for channel in channels for name in (channel.value, ACCOUNTS[channel])}


def _holder(code: str, times: int, *, probing: bool = False) -> str:
    return f"{code[:80]} x{times}{' probe' if probing else ''}"
