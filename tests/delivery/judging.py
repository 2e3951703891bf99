"""The judge: what the post room's own ledger says of messages, beside what our database says of them."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, select

from beforehand.web.postroom.server import PostRoom
from messaging.claims import attempt, evidence
from messaging.journal import Journal
from messaging.outbox import reap
from messaging.unknown import SettleReport, settle
from models.database import reading
from models.vocabulary import Channel, MessageState, Reason
from tests.delivery.workers import wall
from tests.integration.out_world import SECRET, rows_of, send_due, ways

ENDED = {MessageState.ACCEPTED, MessageState.FAILED, MessageState.EXPIRED}


@dataclass(frozen=True)
class Verdict:
    """What became of all messages. ``duplicates``: copies that no policy asked for; ``lost``: nobody knows of them.

    ``policy_copies``: e-mails that came twice with one Message-ID, as the written policy says and as the evidence
    tells. ``given_up``: unknown and proven absent, not tried again by policy (a call), with its reason.
    """

    messages: int
    duplicates: int
    lost: int
    policy_copies: int
    given_up: int
    wrong: int

    def __add__(self, other: "Verdict") -> "Verdict":
        return Verdict(*(ours + theirs for ours, theirs in zip(vars(self).values(), vars(other).values(), strict=True)))

    def __str__(self) -> str:
        return (
            f"{self.duplicates} duplicates, {self.lost} lost, {self.policy_copies} e-mails sent again by the policy "
            f"(same Message-ID), {self.given_up} given up by the policy and shown to staff"
        )

    @property
    def clean(self) -> bool:
        """No copy without a policy, nothing lost, and no state that says something else than the ledger."""
        return self.duplicates == self.lost == self.wrong == 0


def reference_of(entry: Any) -> str:
    """The reference in a ledger entry's text."""
    return str(entry.body.partition("(")[2].split(")")[0])


def copies(room: PostRoom) -> dict[str, list[Any]]:
    """The outbound entries by reference."""
    found: dict[str, list[Any]] = {}
    for entry in room.ledger.entries:
        if not entry.inbound:
            found.setdefault(reference_of(entry), []).append(entry)
    return found


def resent(engine: Engine) -> set[int]:
    """The messages whose evidence says that the policy queued them once more."""
    told = select(attempt.c.message_id, evidence.c.content).join(evidence, evidence.c.attempt_id == attempt.c.id)
    with reading(engine) as connection:
        rows = connection.execute(told.where(evidence.c.kind == "listing")).all()
    return {key for key, content in rows if content["becomes"] == "queued"}


def judge(engine: Engine, room: PostRoom) -> Verdict:
    """Hold the ledger against the rows."""
    seen, again = copies(room), resent(engine)
    rows = rows_of(engine)
    count: Counter[str] = Counter(messages=len(rows))
    for row in rows:
        entries = seen.get(row.reference, [])
        count["duplicates"] += _unasked(row, entries, again)
        count["policy_copies"] += len(entries) - 1 - _unasked(row, entries, again) if entries else 0
        count["given_up"] += (row.state, row.reason) == (MessageState.FAILED, Reason.GAVE_UP)
        count["lost"] += row.state not in ENDED or (row.state == MessageState.ACCEPTED and not entries)
        count["wrong"] += bool(entries) != (row.state == MessageState.ACCEPTED)
    strange = set(seen) - {row.reference for row in rows}
    return Verdict(
        **{name: count[name] for name in Verdict.__dataclass_fields__} | {"wrong": count["wrong"] + len(strange)}
    )


def _unasked(row: Any, entries: list[Any], again: set[int]) -> int:
    """How many copies came that no policy asked for."""
    more = max(len(entries) - 1, 0)
    same = len({entry.headers.get("Message-ID") for entry in entries}) == 1
    asked = row.channel == Channel.EMAIL and row.id in again and same
    return max(more - 1, 0) if asked else more


def finish(engine: Engine, room: PostRoom, folder: Path, hours: Iterable[float] = (0.1, 2, 4, 6)) -> SettleReport:
    """What the heartbeat does as time goes on: reap, settle and dispatch by a clock that is ahead, until all ended."""
    channels, journal, total = ways(room, timeout=60), Journal(folder, SECRET), SettleReport()
    for ahead in hours:
        now = wall() + timedelta(hours=ahead)
        reap(engine, now)
        done = settle(engine, channels, now, send_timeout=2, settle_after=timedelta(minutes=15), most=100_000)
        total = SettleReport(total.found + done.found, total.resent + done.resent, total.given_up + done.given_up)
        send_due(engine, channels, now, journal=journal)
    return total
