"""Crashes at each named point, many dispatchers at once, faults on the wire: never twice, never lost, by the ledger."""

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, event, func, select
from sqlalchemy.exc import OperationalError

from beforehand.web.postroom.faults import Fault
from beforehand.web.postroom.server import PostRoom
from messaging.addresses import address_hash
from messaging.channels.base import Envelope
from messaging.claims import Claim, evidence
from messaging.dispatch import Plan, dispatch
from messaging.outbox import reap
from messaging.unknown import SettleReport, settle
from models.customer import Suppression
from models.database import reading
from models.housekeeping import Lease
from models.vocabulary import Channel, Reason
from tests.integration.out_world import (
    NOW,
    POLICY,
    SECRET,
    attempts_of,
    envelopes,
    later,
    phone,
    plan_messages,
    references,
    rows_of,
    send_due,
    ways,
)

POINTS = [
    ("claimed", 0), ("rendered", 0), ("armed", 0), ("armed", 1), ("answered", 0), ("answered", 1), ("recorded", 0),
]  # fmt: skip
"""Where to crash, and how often to pass there before."""


class Crash(BaseException):
    """The process dies here: nothing in the product catches this."""


@pytest.fixture
def room() -> Iterator[PostRoom]:
    with PostRoom() as opened:
        yield opened


def crashing_at(point: str, skip: int = 0) -> Any:
    seen = Counter[str]()

    def at(reached: str) -> None:
        seen[reached] += 1
        if reached == point and seen[reached] > skip:
            raise Crash(point)

    return at


def states(engine: Engine) -> Counter[str]:
    return Counter(row.state for row in rows_of(engine))


def settled(engine: Engine, room: PostRoom, now: datetime) -> SettleReport:
    return settle(engine, ways(room), now, send_timeout=2, settle_after=timedelta(minutes=15))


@pytest.mark.parametrize(("point", "skip"), POINTS)
def test_a_crash_leaves_no_duplicate_and_nothing_lost(engine: Engine, room: PostRoom, point: str, skip: int) -> None:
    ids = plan_messages(engine, 20)
    wall = datetime.now(NOW.tzinfo)
    with pytest.raises(Crash):
        send_due(engine, ways(room), wall, at=crashing_at(point, skip), batch=10)
    reap(engine, wall + timedelta(minutes=2))
    crashed = states(engine)
    assert crashed["claimed"] + crashed["in_flight"] == 0
    # groups of a batch of ten are eight and two: at most one armed group can be unknown
    assert crashed["unknown"] == ((2 if skip else 8) if point in ("armed", "answered") else 0)
    send_due(engine, ways(room), wall + timedelta(minutes=3))
    assert states(engine)["accepted"] == 20 - crashed["unknown"]
    once = references(room.ledger.of("sms"))
    assert len(once) == len(set(once)), "the provider has each message once"
    settled(engine, room, wall + timedelta(hours=1))
    send_due(engine, ways(room), wall + timedelta(hours=2))
    everything = references(room.ledger.of("sms"))
    assert everything == sorted(f"R{n:07d}" for n in range(20)), "each message once, and all of them"
    assert states(engine) == {"accepted": 20}
    assert len(rows_of(engine)) == len(ids)


def test_many_dispatchers_on_one_database_send_each_message_once(engine: Engine, room: PostRoom) -> None:
    for channel in Channel:
        plan_messages(engine, 60, channel=channel.value)
    with ThreadPoolExecutor(4) as pool:
        reports = [pool.submit(send_due, engine, ways(room, timeout=10), batch=10) for _ in range(4)]
        sent = sum(report.result().sent for report in reports)
    assert sent == 180
    assert references(room.ledger.entries) == sorted(f"R{n:07d}" for n in range(180))
    assert states(engine) == {"accepted": 180}
    assert Counter(entry.kind for entry in room.ledger.entries) == dict.fromkeys(Channel, 60)


def test_a_reaper_beside_a_slow_sender_causes_no_second_copy(engine: Engine, room: PostRoom) -> None:
    plan_messages(engine, 1)
    room.faults.add(Fault("messages", "hang", accepted=True, seconds=0.8))
    slow = threading.Thread(target=send_due, args=(engine, ways(room)))
    slow.start()
    room.wait_for(1)
    assert reap(engine, later(minutes=5)).unknown == 1
    assert send_due(engine, ways(room), later(minutes=6)).sent == 0
    slow.join()
    assert states(engine) == {"accepted": 1}, "the late answer is the better knowledge"
    assert len(room.ledger.entries) == 1


@pytest.mark.parametrize("accepted", [True, False])
@pytest.mark.parametrize("purpose", ["service", "marketing"])
def test_an_unknown_sms_is_looked_for_and_then_follows_the_policy(
    engine: Engine, room: PostRoom, accepted: bool, purpose: str
) -> None:
    plan_messages(engine, 1, purpose=purpose)
    room.faults.add(Fault("messages", "error", accepted=accepted))
    wall = datetime.now(NOW.tzinfo)
    assert send_due(engine, ways(room), wall).unknown == 1
    assert settled(engine, room, wall + timedelta(minutes=14)) == SettleReport()
    report = settled(engine, room, wall + timedelta(minutes=16))
    send_due(engine, ways(room), wall + timedelta(minutes=17))
    if accepted:
        assert (report, len(room.ledger.entries)) == (SettleReport(found=1), 1)
        assert attempts_of(engine)[0].provider_id == room.ledger.entries[0].sid
    elif purpose == "service":
        assert (report, len(room.ledger.entries)) == (SettleReport(resent=1), 1)
    else:
        assert (report, len(room.ledger.entries)) == (SettleReport(given_up=1), 0)
        assert (rows_of(engine)[0].state, rows_of(engine)[0].reason) == ("failed", "gave_up")
        return
    assert states(engine) == {"accepted": 1}


def test_a_call_is_never_made_again(engine: Engine, room: PostRoom) -> None:
    plan_messages(engine, 1, channel="voice")
    room.faults.add(Fault("calls", "drop"))
    wall = datetime.now(NOW.tzinfo)
    send_due(engine, ways(room), wall)
    assert settled(engine, room, wall + timedelta(hours=2)) == SettleReport(given_up=1)
    assert send_due(engine, ways(room), wall + timedelta(days=2)).sent == 0
    assert not room.ledger.entries


def test_a_mail_is_resent_once_with_the_same_message_id(engine: Engine, room: PostRoom) -> None:
    plan_messages(engine, 1, channel="email")
    for _ in range(2):
        room.faults.add(Fault("mail", "drop", accepted=True))
    assert send_due(engine, ways(room)).unknown == 1
    assert settled(engine, room, later(minutes=59)) == SettleReport()
    assert settled(engine, room, later(minutes=60)) == SettleReport(resent=1)
    assert send_due(engine, ways(room), later(minutes=60)).unknown == 1
    assert settled(engine, room, later(hours=3)) == SettleReport(given_up=1)
    assert settled(engine, room, later(hours=9)) == SettleReport()
    row = rows_of(engine)[0]
    assert (row.state, row.reason) == ("unknown", "gave_up"), "nobody knows, and that is what it says"
    assert {entry.header("Message-ID") for entry in room.ledger.entries} == {"<R0000000@shop.example>"}
    assert len(room.ledger.entries) == 2


def test_two_messages_of_one_text_to_one_person_are_two(engine: Engine, room: PostRoom) -> None:
    plan_messages(engine, 2, address=phone(7))
    wall = datetime.now(NOW.tzinfo)
    room.faults.add(Fault("messages", "error"))

    def same(claims: Sequence[Claim]) -> dict[int, Envelope]:
        return {c.message_id: Envelope(c.attempt_id, c.reference, c.address, "One text") for c in claims}

    dispatch(engine, lambda: wall, ways(room), same, Plan(POLICY))
    assert states(engine) == {"accepted": 1, "unknown": 1}
    assert settled(engine, room, wall + timedelta(minutes=16)) == SettleReport(resent=1)


def test_a_busy_provider_is_tried_again_after_its_own_time(engine: Engine, room: PostRoom) -> None:
    plan_messages(engine, 1)
    room.faults.add(Fault("messages", "busy"))
    assert send_due(engine, ways(room)).retry == 1
    row = rows_of(engine)[0]
    assert (row.state, row.due_at, row.tries) == ("queued", later(seconds=30), 1)
    assert send_due(engine, ways(room), later(seconds=29)).sent == 0
    assert send_due(engine, ways(room), later(seconds=30)).sent == 1
    assert [a.number for a in attempts_of(engine)] == [1, 2]


def test_all_tries_used_up_is_given_up(engine: Engine, room: PostRoom) -> None:
    plan_messages(engine, 1)
    room.faults.add(Fault("messages", "busy", times=99))
    for hours in range(10):
        send_due(engine, ways(room), later(hours=hours))
    assert (rows_of(engine)[0].state, rows_of(engine)[0].reason) == ("failed", "gave_up")
    assert len(attempts_of(engine)) == 5


def test_a_wrong_token_rests_the_channel_and_loses_nothing(engine: Engine, room: PostRoom) -> None:
    plan_messages(engine, 40)
    plan_messages(engine, 3, channel="email")
    wrong = PostRoom(account_sid=room.account_sid)
    with wrong:
        report = send_due(engine, ways(room) | {Channel.SMS: ways_with(wrong, room)})
    assert report.stopped == {Channel.SMS: "20003"}
    assert report.by_channel == {Channel.EMAIL: 3}
    assert len(attempts_of(engine)) - 3 - 40 == 0
    assert states(engine) == {"queued": 40, "accepted": 3}
    with reading(engine) as connection:
        assert connection.execute(select(Lease.duty)).scalars().all() == ["pause:twilio"]  # type: ignore[call-overload]
    assert send_due(engine, ways(room), later(seconds=59)).sent == 0
    assert send_due(engine, ways(room), later(seconds=61)).sent == 40


def ways_with(server: PostRoom, credentials: PostRoom) -> Any:
    """The SMS channel of one post room with the token of another."""
    from messaging.channels.sms import Sms
    from messaging.channels.twilio_client import Account

    return Sms(Account(server.account_sid, credentials.auth_token, "+442079460000", server.http_url, 2))


def test_a_stop_at_the_provider_becomes_a_suppression(engine: Engine, room: PostRoom) -> None:
    plan_messages(engine, 1, address=phone(5))
    plan_messages(engine, 1, address=phone(5), due_at=later(hours=1))
    room.ledger.add(
        kind=Channel.SMS, direction="inbound", sid="SM" + "0" * 32, to="+442079460000", from_=phone(5), body="STOP",
        at=NOW, status="received",
    )  # fmt: skip
    assert send_due(engine, ways(room)).failed == 1
    assert (rows_of(engine)[0].state, rows_of(engine)[0].reason) == ("failed", "refused")
    with reading(engine) as connection:
        rows = connection.execute(select(Suppression.__table__)).all()
    assert [(r.address_hash, r.channel, r.cause) for r in rows] == [
        (address_hash(SECRET, "sms", phone(5)), "sms", "provider_21610")
    ]
    assert send_due(engine, ways(room), later(hours=1)).withheld == {Reason.SUPPRESSED: 1}


def test_one_template_that_fails_fails_alone(engine: Engine, room: PostRoom) -> None:
    bad, *good = plan_messages(engine, 5)

    def brittle(claims: Sequence[Claim]) -> dict[int, Envelope]:
        if any(c.message_id == bad for c in claims):
            raise KeyError("order")
        return envelopes(claims)

    report = dispatch(engine, lambda: NOW, ways(room), brittle, Plan(POLICY))
    assert (report.sent, report.failed) == (4, 1)
    failed = rows_of(engine, [bad])[0]
    assert (failed.state, failed.reason, failed.tries) == ("failed", "template_failed", 0)
    assert {row.state for row in rows_of(engine, good)} == {"accepted"}


def test_a_process_that_slept_after_arming_does_not_send(engine: Engine, room: PostRoom) -> None:
    plan_messages(engine, 1)
    clock = iter([NOW, NOW, NOW, later(minutes=10)])
    dispatch(engine, lambda: next(clock, later(minutes=10)), ways(room), envelopes, Plan(POLICY, limit=1))
    assert not room.ledger.entries
    assert states(engine) == {"queued": 1}
    assert send_due(engine, ways(room), later(minutes=11)).sent == 1


def test_each_attempt_has_its_evidence(engine: Engine, room: PostRoom) -> None:
    plan_messages(engine, 3)
    send_due(engine, ways(room))
    with reading(engine) as connection:
        counts = connection.execute(select(evidence.c.attempt_id, func.count()).group_by(evidence.c.attempt_id)).all()
    assert sorted(counts) == [(a.id, 1) for a in attempts_of(engine)]
    assert {a.provider for a in attempts_of(engine)} == {"twilio"}
    assert {a.provider_id for a in attempts_of(engine)} == {entry.sid for entry in room.ledger.entries}


def test_a_database_that_is_away_for_a_moment_costs_no_result(engine: Engine, room: PostRoom) -> None:
    plan_messages(engine, 1)
    broken = []

    def away(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if statement.startswith("UPDATE attempt SET") and "provider_id" in statement and not broken:
            broken.append(statement)
            raise OperationalError(statement, None, Exception("the server went away"))

    event.listen(engine, "before_cursor_execute", away)
    assert send_due(engine, ways(room)).sent == 1
    assert broken
    assert (states(engine), len(room.ledger.entries)) == ({"accepted": 1}, 1)
