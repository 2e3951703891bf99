"""The breaker: an account at fault stops its channels, one message tries whether it is well, staff are called once."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, select

from beforehand.web.postroom import Pace
from beforehand.web.postroom.server import PostRoom
from messaging import breaker
from messaging.channels.base import Envelope, Outcome, Sighting
from messaging.outbox import claim
from messaging.receipts import apply
from models.database import reading, writing
from models.housekeeping import Notice
from models.vocabulary import Channel, MessageState, OutcomeClass
from tests.integration.out_world import NOW, POLICY, attempts_of, later, plan_messages, rows_of, send_due, ways

NOT_ACCEPTED = OutcomeClass.NOT_ACCEPTED
REFUSED_LOGIN = Outcome(NOT_ACCEPTED, code="20003", stops=True)
NOBODY_THERE = Outcome(NOT_ACCEPTED, code="ConnectTimeout", stops=True)
FINE = Outcome(OutcomeClass.ACCEPTED, code="201")


class Played:
    """A channel that says what it is told to, and counts who asked."""

    provider, parallel = "played", 4

    def __init__(self, name: Channel, says: Outcome) -> None:
        self.name, self.says, self.asked = name, says, 0

    def send(self, envelope: Envelope) -> Outcome:
        self.asked += 1
        return self.says

    def fingerprint(self, envelope: Envelope) -> str:
        return ""

    def look(self, provider_ids: list[str]) -> list[Sighting]:
        return []

    def find(self, *_: Any) -> None:
        return None

    def close(self) -> None:
        return None


def open_now(engine: Engine) -> list[breaker.Open]:
    with reading(engine) as connection:
        return breaker.opened(connection)


def notices(engine: Engine) -> list[str]:
    with reading(engine) as connection:
        return list(connection.execute(select(Notice.topic)).scalars())  # type: ignore[call-overload]


def test_a_refused_account_stops_both_its_channels_and_not_the_mail(engine: Engine) -> None:
    for channel in Channel:
        plan_messages(engine, 9, channel=channel.value)
    sms, voice, mail = (Played(Channel.SMS, REFUSED_LOGIN), Played(Channel.VOICE, FINE), Played(Channel.EMAIL, FINE))
    report = send_due(engine, {Channel.SMS: sms})
    assert (sms.asked, report.stopped) == (4, {Channel.SMS: "20003"})
    report = send_due(engine, {Channel.VOICE: voice, Channel.EMAIL: mail})
    assert (voice.asked, mail.asked) == (0, 9)
    assert [(one.name, one.code, one.times) for one in open_now(engine)] == [("twilio", "20003", 1)]
    assert notices(engine) == ["provider:twilio"]


def test_the_fault_of_one_sender_stops_its_channel_only(engine: Engine) -> None:
    plan_messages(engine, 2)
    plan_messages(engine, 2, channel="voice")
    sms, voice = Played(Channel.SMS, Outcome(NOT_ACCEPTED, code="21606", stops=True)), Played(Channel.VOICE, FINE)
    assert send_due(engine, {Channel.SMS: sms}).sent == 0
    assert send_due(engine, {Channel.VOICE: voice, Channel.SMS: sms}).sent == 2
    assert [one.name for one in open_now(engine)] == ["sms"]


def test_one_probe_goes_when_it_has_rested_and_all_the_rest_when_that_is_well(engine: Engine) -> None:
    plan_messages(engine, 20)
    way = Played(Channel.SMS, REFUSED_LOGIN)
    send_due(engine, {Channel.SMS: way})
    assert send_due(engine, {Channel.SMS: way}, later(seconds=59)).sent == 0
    assert way.asked == 4
    send_due(engine, {Channel.SMS: way}, later(seconds=61))
    assert way.asked == 5, "one probe, not a group"
    (after,) = open_now(engine)
    assert (after.times, after.until) == (2, later(seconds=61, minutes=2))
    way.says = FINE
    assert send_due(engine, {Channel.SMS: way}, later(minutes=4)).sent == 20
    assert open_now(engine) == []
    assert notices(engine) == []
    assert {attempt.number for attempt in attempts_of(engine)} == {1}, "no message has lost a try"


def test_two_processes_send_one_probe(engine: Engine) -> None:
    plan_messages(engine, 9)
    with writing(engine) as connection:
        breaker.trip(connection, "twilio", "20003", NOW)
    probes = []
    for _ in range(2):
        with writing(engine) as connection:
            probes += claim(connection, later(minutes=2), limit=100, lease_seconds=60, policy=POLICY).claims
    assert len(probes) == 1
    with writing(engine) as connection:
        again = claim(connection, later(minutes=4), limit=100, lease_seconds=60, policy=POLICY).claims
    assert len(again) == 1, "a probe of which nobody has heard again is followed by another one"


def test_a_probe_that_may_not_go_is_given_back(engine: Engine) -> None:
    plan_messages(engine, 1, expires_at=later(seconds=30))
    plan_messages(engine, 1, due_at=later(minutes=3))
    with writing(engine) as connection:
        breaker.trip(connection, "twilio", "20003", NOW)
    assert send_due(engine, {Channel.SMS: Played(Channel.SMS, FINE)}, later(minutes=2)).sent == 0
    assert [(one.probing, one.until) for one in open_now(engine)] == [(False, later(minutes=1))]
    assert send_due(engine, {Channel.SMS: Played(Channel.SMS, FINE)}, later(minutes=3)).sent == 1


def test_an_unknown_outcome_of_the_probe_proves_nothing(engine: Engine) -> None:
    plan_messages(engine, 3)
    with writing(engine) as connection:
        breaker.trip(connection, "twilio", "20003", NOW)
    way = Played(Channel.SMS, Outcome(OutcomeClass.UNKNOWN, code="ReadTimeout"))
    send_due(engine, {Channel.SMS: way}, later(minutes=2))
    assert (way.asked, len(open_now(engine))) == (1, 1)


def test_an_answer_from_before_the_fault_does_not_close_it(engine: Engine) -> None:
    with writing(engine) as connection:
        breaker.learn(connection, [(Channel.SMS, FINE), (Channel.SMS, REFUSED_LOGIN), (Channel.VOICE, FINE)], NOW)
        breaker.learn(connection, [(Channel.SMS, FINE)], NOW)
    assert len(open_now(engine)) == 1


def test_rests_grow_to_a_quarter_of_an_hour_and_a_second_witness_adds_nothing(engine: Engine) -> None:
    now, rests = NOW, []
    for _ in range(7):
        for _witness in range(2):
            with writing(engine) as connection:
                breaker.learn(connection, [(Channel.EMAIL, REFUSED_LOGIN)], now)
        (one,) = open_now(engine)
        rests.append(one.until - now)
        now = one.until
    assert [rest // timedelta(minutes=1) for rest in rests] == [1, 2, 5, 10, 15, 15, 15]


def test_staff_are_called_for_a_network_that_stays_away(engine: Engine) -> None:
    now, told = NOW, []
    for _ in range(3):
        with writing(engine) as connection:
            breaker.learn(connection, [(Channel.SMS, NOBODY_THERE)], now)
        told.append(notices(engine))
        now = open_now(engine)[0].until
    assert told == [[], [], ["provider:twilio"]]


def test_staff_are_called_once_while_it_lasts(engine: Engine) -> None:
    with writing(engine) as connection:
        news = [breaker.call_staff(connection, "rule:x" + "y" * 90, "said", NOW) for _ in range(2)]
        breaker.dismiss(connection, "rule:x" + "y" * 90)
        news.append(breaker.call_staff(connection, "rule:x" + "y" * 90, "said", NOW))
    assert news == [True, False, True]


def test_an_account_that_is_suspended_after_it_accepted(engine: Engine) -> None:
    plan_messages(engine, 1)
    with PostRoom(pace=Pace(sent=0, delivered=0)) as room:
        send_due(engine, ways(room))
    (attempt,) = attempts_of(engine)
    with writing(engine) as connection:
        apply(connection, [Sighting(attempt.provider_id, MessageState.UNDELIVERED, "30002")], NOW)
    assert [one.code for one in open_now(engine)] == ["30002"]


@pytest.mark.parametrize("away", ["http", "smtp"])
def test_a_server_that_is_away_and_comes_back(engine: Engine, away: str) -> None:
    """The post room itself goes away and comes back at another port, as after a restart."""
    channel = Channel.SMS if away == "http" else Channel.EMAIL
    plan_messages(engine, 12, channel=channel.value)
    with PostRoom() as room:
        gone = ways(room)[channel]
    assert send_due(engine, {channel: gone}).sent == 0
    assert Counter(row.state for row in rows_of(engine)) == {"queued": 12}
    assert [one.name for one in open_now(engine)] == ["twilio" if away == "http" else "smtp"]
    with PostRoom() as back:
        sent = [send_due(engine, {channel: ways(back)[channel]}, at(minute)).sent for minute in (0.5, 1.1)]
        assert (sent, len(back.ledger.entries)) == ([0, 12], 12)
    assert open_now(engine) == []


def at(minutes: float) -> datetime:
    return later(minutes=minutes)
