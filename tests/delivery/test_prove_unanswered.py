"""Accepted but unanswered, six ways: evidence says what became of each, and nobody gets anything twice.

The provider has the message, and we have an answer that says nothing: only its listing, or its own callback to an
address that names the attempt, tells. The post room's ledger is the judge.
"""

import time
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from beforehand.web.postroom import Fault, Pace, PostRoom
from beforehand.web.postroom.faults import Place, What
from beforehand.wiring import providers
from messaging.channels import Account, MailServer, Providers, build
from messaging.channels.base import Channel as Way
from messaging.unknown import SettleReport, settle
from models.vocabulary import Channel, MessageState
from tests.delivery.pages import world
from tests.integration.out_world import NOW, SENDER, attempts_of, later, plan_messages, references, rows_of, send_due

WAYS: dict[str, What] = {
    "accepted, then closed": "drop",
    "no answer": "hang",
    "500": "error",
    "502": "bad_gateway",
    "half a body": "truncate",
    "garbage": "garbage",
}
PLACES: dict[Channel, Place] = {Channel.SMS: "messages", Channel.VOICE: "calls"}
AFTER = timedelta(minutes=16)


def wall() -> datetime:
    return datetime.now(UTC)


@dataclass
class Tally:
    """What was seen: messages that had an answer that says nothing, those that evidence resolved, and copies."""

    unanswered: int = 0
    listed: int = 0
    called_back: int = 0
    duplicates: int = 0
    lost: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(*(ours + theirs for ours, theirs in zip(vars(self).values(), vars(other).values(), strict=True)))


def plan_and_spoil(engine: Engine, room: PostRoom, many: int) -> int:
    """``many`` messages for each way and channel, and a provider that spoils the answer to each of them."""
    for channel, place in PLACES.items():
        plan_messages(engine, many * len(WAYS), channel=channel.value)
        for what in WAYS.values():
            room.faults.add(Fault(place, what, many, accepted=True, seconds=1.0))
    return many * len(WAYS) * len(PLACES)


def counted(engine: Engine, room: PostRoom, planned: int) -> Tally:
    """Hold the ledger against our rows: each message is there once, under the id that we have found."""
    sids = {a.provider_id for a in attempts_of(engine)}
    copies = Counter(entry.to for entry in room.entries)
    known = {entry.to for entry in room.entries if entry.sid in sids}
    return Tally(duplicates=len(room.entries) - len(copies), lost=planned - len(known))


def by_listing(engine: Engine, many: int) -> Tally:
    """The provider does not tell us: its listing is asked when the window is over."""
    before = len(rows_of(engine))
    with PostRoom() as room:
        channels = build(Providers(_account(room), MailServer("127.0.0.1", 9, "care@shop.example"), wall))
        planned = plan_and_spoil(engine, room, many)
        unknown = send_due(engine, channels, wall()).unknown
        assert _settled(engine, channels, wall() + timedelta(minutes=10)) == SettleReport(), "too early to ask"
        _settled(engine, channels, wall() + AFTER)
        send_due(engine, channels, wall() + 2 * AFTER)
        found = sum(row.state == MessageState.ACCEPTED for row in rows_of(engine)[before:])
        return Tally(unanswered=unknown, listed=found) + counted(engine, room, planned)


def by_callback(engine: Engine, many: int, wait: float = 0.5) -> Tally:
    """The provider calls the address that names the attempt, ``wait`` seconds later; its listing is never asked."""
    before = len(rows_of(engine))
    pace = Pace(wait, 0.01, wait, 0.01, 0.01, callback_pauses=(0.2, 1.0, 3.0))
    with world(engine, clock=wall, pace=pace) as here:
        account = replace(providers(here.app.settings, wall).twilio, timeout=0.4)
        channels = build(Providers(account, MailServer("127.0.0.1", 9, "care@shop.example"), wall))
        planned = plan_and_spoil(engine, here.room, many)
        unanswered = planned - send_due(engine, channels, wall()).sent
        for _ in range(1000):
            told = [row for row in rows_of(engine)[before:] if row.state in (MessageState.DELIVERED, MessageState.SENT)]
            if len(told) == planned:
                break
            time.sleep(0.03)
        send_due(engine, channels, wall() + 2 * AFTER)
        return Tally(unanswered=unanswered, called_back=len(told)) + counted(engine, here.room, planned)


def _account(room: PostRoom) -> Account:
    return Account(room.account_sid, room.auth_token, SENDER, room.http_url, 0.4)


def _settled(engine: Engine, channels: dict[Channel, Way], now: datetime) -> SettleReport:
    return settle(engine, channels, now, send_timeout=2, settle_after=timedelta(minutes=15), most=10_000)


def test_each_way_is_resolved_by_the_listing(engine: Engine) -> None:
    assert by_listing(engine, 3) == Tally(unanswered=36, listed=36)


def test_each_way_is_resolved_by_a_callback(engine: Engine) -> None:
    assert by_callback(engine, 3, wait=0.1) == Tally(unanswered=36, called_back=36)


def test_a_listing_that_lags_is_not_asked_before_it_has_caught_up(engine: Engine) -> None:
    moment = [NOW]
    with PostRoom(clock=lambda: moment[0]) as room:
        channels = build(Providers(_account(room), MailServer("127.0.0.1", 9, "care@shop.example"), lambda: NOW))
        plan_messages(engine, 4)
        room.faults.add(Fault("messages", "error", 4, accepted=True))
        assert send_due(engine, channels, NOW).unknown == 4
        room.faults.add(Fault("listing", "lag", 1000, seconds=12 * 60))
        for minutes in range(1, 40):
            moment[0] = later(minutes=minutes)
            _settled(engine, channels, moment[0])
            send_due(engine, channels, moment[0])
        assert {row.state for row in rows_of(engine)} == {"accepted"}
        assert references(room.entries) == [f"R{n:07d}" for n in range(4)]


@pytest.mark.parametrize("what", ["drop", "hang"])
@pytest.mark.parametrize(("purpose", "copies"), [("service", 2), ("marketing", 1)])
def test_a_mail_behind_its_dot_goes_by_the_written_policy(
    engine: Engine, what: What, purpose: str, copies: int
) -> None:
    with PostRoom() as room:
        account = _account(room)
        server = MailServer("127.0.0.1", room.smtp_port, "care@shop.example", starttls=False, timeout=5, patience=0.3)
        channels = build(Providers(account, server, lambda: NOW))
        plan_messages(engine, 3, channel="email", purpose=purpose)
        room.faults.add(Fault("mail", what, 3, accepted=True, seconds=1))
        assert send_due(engine, channels, NOW).unknown == 3
        for minutes in (30, 61, 90, 200):
            _settled(engine, channels, later(minutes=minutes))
            send_due(engine, channels, later(minutes=minutes))
        ids = Counter(entry.header("Message-ID") for entry in room.entries)
        assert set(ids.values()) == {copies}
        assert len(ids) == 3


@pytest.mark.prove
def test_twelve_hundred_are_resolved_by_evidence(sqlite_engine: Engine, postgres_engine: Engine) -> None:
    for engine in (sqlite_engine, postgres_engine):
        total = by_listing(engine, 50) + by_callback(engine, 50)
        print(
            f"\nPROOF unanswered ({engine.dialect.name}): {total.listed + total.called_back} of {total.unanswered} "
            f"resolved by evidence ({total.listed} by the listing, {total.called_back} by callbacks), "
            f"{total.duplicates} duplicates, {total.lost} lost; all {total.unanswered} fell inside the window"
        )
        assert total == Tally(unanswered=1200, listed=600, called_back=600)
