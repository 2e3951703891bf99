"""What codes after acceptance lead to: sent again, another channel, a rule stopped. The ledger is the judge."""

import itertools
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select, update

from beforehand.passes import advance, policy_of, run_rule
from beforehand.web.postroom import Pace
from beforehand.web.postroom.server import PostRoom
from messaging import audit, events_out
from messaging.channels.base import Sighting
from messaging.claims import message
from messaging.elsewhere import give_up
from messaging.receipts import apply
from models.commerce import Voucher
from models.contact import Survey
from models.customer import Suppression
from models.database import reading, writing
from models.delivery import Match, Message
from models.housekeeping import Notice, Switch
from models.housekeeping import Pace as PaceRow
from models.vocabulary import Channel, MessageState
from tests.deciding import NOON, House
from tests.integration.out_world import NOW, attempts_of, later, plan_messages, rows_of, send_due, ways

SENT, UNDELIVERED, DELIVERED = MessageState.SENT, MessageState.UNDELIVERED, MessageState.DELIVERED


@pytest.fixture(scope="module")
def office() -> Iterator[PostRoom]:
    with PostRoom(pace=Pace(sent=0, delivered=0)) as room:
        yield room


@pytest.fixture
def room(office: PostRoom) -> PostRoom:
    office.ledger.clear(NOW)
    return office


def tell(engine: Engine, state: MessageState, code: str = "", *, of: int = -1, at: datetime = NOW) -> None:
    """The provider's word on an attempt that it has, the newest one unless said otherwise."""
    ids = [attempt.provider_id for attempt in attempts_of(engine) if attempt.provider_id]
    with writing(engine) as connection:
        apply(connection, [Sighting(ids[of], state, code)], at)


def state_of(engine: Engine) -> tuple[str, int]:
    (row,) = rows_of(engine)
    return row.state, row.resends


def sent(room: PostRoom) -> int:
    return len(room.ledger.entries)


def test_out_of_reach_is_tried_twice_more_and_then_left(engine: Engine, room: PostRoom) -> None:
    plan_messages(engine, 1)
    send_due(engine, ways(room))
    tell(engine, UNDELIVERED, "30003")
    assert state_of(engine) == ("queued", 1)
    assert send_due(engine, ways(room), later(minutes=29)).sent == 0
    assert send_due(engine, ways(room), later(minutes=30)).sent == 1
    tell(engine, UNDELIVERED, "30003", at=later(minutes=31))
    assert send_due(engine, ways(room), later(minutes=31, hours=2)).sent == 1
    tell(engine, UNDELIVERED, "30003", at=later(hours=3))
    assert state_of(engine) == ("undelivered", 2)
    assert send_due(engine, ways(room), later(days=2)).sent == 0
    assert sent(room) == 3


def test_it_is_never_sent_again_beyond_its_send_by(engine: Engine, room: PostRoom) -> None:
    plan_messages(engine, 1, expires_at=later(minutes=30))
    send_due(engine, ways(room))
    tell(engine, UNDELIVERED, "30003")
    assert state_of(engine) == ("undelivered", 0)


@pytest.mark.parametrize(("purpose", "total"), [("service", 2), ("survey", 1), ("marketing", 1)])
def test_an_error_without_a_cause_is_sent_again_once_and_for_service_only(
    engine: Engine, room: PostRoom, purpose: str, total: int
) -> None:
    plan_messages(engine, 1, purpose=purpose)
    for hours in range(0, 9, 3):
        send_due(engine, ways(room), later(hours=hours))
        tell(engine, UNDELIVERED, "30008", at=later(hours=hours))
    assert (sent(room), state_of(engine)[0]) == (total, "undelivered")


def test_the_same_word_again_and_again_neither_hastens_nor_ends_the_next_try(engine: Engine, room: PostRoom) -> None:
    """Seen while it was written: a doubled 30008 found no resend left and took the message out of the queue."""
    plan_messages(engine, 1)
    send_due(engine, ways(room))
    for minute in range(5):
        tell(engine, UNDELIVERED, "30008", at=later(minutes=minute))
        tell(engine, SENT, at=later(minutes=minute))
    assert state_of(engine) == ("queued", 1)
    assert rows_of(engine)[0].due_at == later(minutes=30)
    send_due(engine, ways(room), later(minutes=30))
    tell(engine, UNDELIVERED, "30008", of=0, at=later(minutes=31))
    assert state_of(engine) == ("accepted", 1)
    tell(engine, DELIVERED, at=later(minutes=32))
    assert (state_of(engine), sent(room)) == (("delivered", 1), 2)


def test_a_delivery_that_is_told_late_takes_the_next_try_back(engine: Engine, room: PostRoom) -> None:
    plan_messages(engine, 1)
    send_due(engine, ways(room))
    tell(engine, UNDELIVERED, "30003")
    tell(engine, DELIVERED)
    assert state_of(engine) == ("delivered", 1)
    assert (send_due(engine, ways(room), later(hours=5)).sent, sent(room)) == (0, 1)


@pytest.mark.parametrize("why", ["brake", "maybe_stop"])
@pytest.mark.parametrize(("state", "code"), [(DELIVERED, ""), (UNDELIVERED, "30006")])
def test_a_late_word_is_heard_while_the_next_try_is_held(
    engine: Engine, room: PostRoom, why: str, state: MessageState, code: str
) -> None:
    plan_messages(engine, 1)
    send_due(engine, ways(room))
    tell(engine, UNDELIVERED, "30003")
    with writing(engine) as connection:
        connection.execute(message.update().values(state="held", reason=why))
    tell(engine, UNDELIVERED, "30003", at=later(minutes=1))
    assert [(row.state, row.reason) for row in rows_of(engine)] == [("held", why)], "said again, it changes nothing"
    tell(engine, state, code, at=later(minutes=2))
    (row,) = rows_of(engine)
    assert (row.state, row.ended_at) == (state, later(minutes=2))
    assert row.reason == ("bad_address" if code else None)


def test_an_earlier_try_says_nothing_of_a_later_one(engine: Engine, room: PostRoom) -> None:
    plan_messages(engine, 1)
    send_due(engine, ways(room))
    tell(engine, UNDELIVERED, "30003")
    send_due(engine, ways(room), later(minutes=30))
    for word in ((UNDELIVERED, "30003"), (UNDELIVERED, "30006"), (DELIVERED, "")):
        tell(engine, *word, of=0, at=later(minutes=31))
        assert state_of(engine)[0] == "accepted"
    tell(engine, SENT, at=later(minutes=32))
    assert state_of(engine)[0] == "sent"


WORDS = [(SENT, ""), (UNDELIVERED, "undelivered"), (UNDELIVERED, "30003"), (UNDELIVERED, "30006"), (DELIVERED, "")]


@pytest.mark.parametrize("words", [w for n in (2, 3) for w in itertools.combinations(WORDS, n)])
def test_any_order_of_any_words_ends_in_the_same_state(sqlite_engine: Engine, room: PostRoom, words: Any) -> None:
    orders = list(itertools.permutations(words))
    plan_messages(sqlite_engine, len(orders))
    send_due(sqlite_engine, ways(room))
    ids = [attempt.provider_id for attempt in attempts_of(sqlite_engine)]
    for turn in range(len(words)):
        with writing(sqlite_engine) as connection:
            seen = [Sighting(key, *order[turn]) for key, order in zip(ids, orders, strict=True)]
            apply(connection, seen, later(minutes=turn))
    ends = Counter((row.state, row.resends > 0, row.reason) for row in rows_of(sqlite_engine))
    assert len({state for state, _, _ in ends}) == 1, ends


def test_a_carrier_that_filters_us_stops_the_rule_and_calls_staff_once(engine: Engine, room: PostRoom) -> None:
    plan_messages(engine, 1)
    send_due(engine, ways(room))
    plan_messages(engine, 5)
    plan_messages(engine, 1, rule_id="another-rule")
    for _ in range(2):
        tell(engine, UNDELIVERED, "30007")
    assert send_due(engine, ways(room), later(minutes=1)).sent == 1
    assert {row.reason for row in rows_of(engine) if row.state == "planned"} == {"kill_switch"}
    with reading(engine) as connection:
        (stop,) = connection.execute(select(Switch.scope, Switch.by)).all()  # type: ignore[call-overload]
        notices = connection.execute(select(Notice.topic)).scalars().all()  # type: ignore[call-overload]
        told = [(one.by, one.action, one.about) for one in audit.entries(connection)]
        events = [(one.event, one.about) for one in events_out.untold(connection)]
    assert (tuple(stop), notices) == (("rule:late-order", "provider 30007"), ["rule:late-order"])
    assert told == [("provider 30007", "stop", "rule:late-order")]
    assert (events_out.STOPPED, "rule:late-order") in events
    with writing(engine) as connection:
        connection.execute(update(Switch).values(stopped_at=None))
    tell(engine, UNDELIVERED, "30007", of=0)
    assert send_due(engine, ways(room), later(minutes=2)).sent == 5, "the same word again stops nothing again"


def test_a_queue_that_overflows_slows_the_sender_down(engine: Engine, room: PostRoom) -> None:
    plan_messages(engine, 1)
    send_due(engine, ways(room))
    plan_messages(engine, 3, due_at=later(minutes=1))
    tell(engine, UNDELIVERED, "30001")
    assert send_due(engine, ways(room), later(minutes=9)).sent == 0
    assert send_due(engine, ways(room), later(minutes=10)).sent == 4
    with reading(engine) as connection:
        assert connection.execute(select(PaceRow.sender)).scalars().all() == ["sms"]  # type: ignore[call-overload]


# The rule's other channel


@pytest.fixture
def house(engine: Engine, tmp_path: Path) -> House:
    made = House(engine, tmp_path)
    made.template()
    return made


def begin(house: House, room: PostRoom, *, phone: str = "+4915112345678", email: str = "anna@kunde.example") -> None:
    house.customer(phone=phone, email=email)
    run_rule(house.app, "hello", NOON)
    go(house, room, NOON)


def go(house: House, room: PostRoom, now: datetime) -> None:
    assert advance(house.app, now).problems == []
    send_due(house.engine, ways(room, clock=lambda: now), now, policy=policy_of(house.app))


def story(house: House) -> list[tuple[str, str, str, str | None]]:
    return [tuple(row) for row in house.rows(Message, "step", "channel", "state", "reason")]


@pytest.mark.parametrize("code", ["30005", "30006"])
def test_a_bad_address_is_suppressed_there_and_the_other_channel_is_used_once(
    house: House, room: PostRoom, code: str
) -> None:
    house.rule()
    begin(house, room)
    for minute in range(3):
        tell(house.engine, UNDELIVERED, code, of=0, at=NOON + timedelta(minutes=minute))
        go(house, room, NOON + timedelta(minutes=minute))
    assert story(house) == [
        ("0", "sms", "undelivered", "bad_address"),
        ("0.other2", "email", "accepted", None),
    ]
    assert [entry.kind for entry in room.ledger.entries] == [Channel.SMS, Channel.EMAIL]
    assert house.rows(Suppression, "channel", "cause") == [("sms", f"provider_{code}")]
    assert house.rows(Match, "state") == ["done"]


def test_a_number_that_is_refused_at_once_is_bad_too(house: House, room: PostRoom) -> None:
    house.rule()
    begin(house, room, phone="+15005550009")
    go(house, room, NOON + timedelta(seconds=2))
    assert story(house) == [("0", "sms", "failed", "bad_address"), ("0.other2", "email", "accepted", None)]
    assert [entry.kind for entry in room.ledger.entries] == [Channel.EMAIL]


def test_a_landline_is_still_rung(house: House, room: PostRoom) -> None:
    house.rule(steps="  - {send: hello, by: [sms, voice, email]}")
    begin(house, room)
    tell(house.engine, UNDELIVERED, "30006", at=NOON)
    go(house, room, NOON)
    assert [(step, channel) for step, channel, *_ in story(house)] == [("0", "sms"), ("0.other2", "voice")]


def test_whoever_cannot_be_reached_otherwise_keeps_the_reason(house: House, room: PostRoom) -> None:
    house.rule(steps="  - {send: hello, by: [sms, email]}")
    begin(house, room, email="")
    tell(house.engine, UNDELIVERED, "30006", at=NOON)
    for minute in range(2):
        go(house, room, NOON + timedelta(minutes=minute))
    assert story(house)[1:] == [("0.other2", "sms", "suppressed", "unreachable")]
    assert sent(room) == 1


def test_the_other_channel_passes_the_same_gates(house: House, room: PostRoom) -> None:
    house.rule()
    begin(house, room)
    house.consent(house.rows(Match, "customer_id")[0], "email", "service", "withdrawn")
    tell(house.engine, UNDELIVERED, "30006", at=NOON)
    go(house, room, NOON)
    assert story(house)[1][2:] == ("suppressed", "suppressed"), "the gate that struck out the last choice"
    assert sent(room) == 1


def test_the_first_send_by_holds_and_the_cap_counts_one_message(house: House, room: PostRoom) -> None:
    house.settings |= {"caps": {"service": "1 per 1 day"}}
    house.rule(limits="{once_per: customer, valid_for: 2 hours}")
    begin(house, room)
    tell(house.engine, UNDELIVERED, "30006", at=NOON + timedelta(hours=1))
    go(house, room, NOON + timedelta(hours=1))
    first, second = house.rows(Message, "expires_at")
    assert first == second == NOON + timedelta(hours=2)
    assert story(house)[1][2] == "accepted"


def test_a_bad_address_too_late_is_left(house: House, room: PostRoom) -> None:
    house.rule(limits="{once_per: customer, valid_for: 2 hours}")
    begin(house, room)
    tell(house.engine, UNDELIVERED, "30006", at=NOON + timedelta(hours=2))
    go(house, room, NOON + timedelta(hours=2))
    assert len(story(house)) == 1


def test_the_voucher_lives_on_in_the_other_channel(house: House, room: PostRoom) -> None:
    house.rule(
        steps="  - voucher: {worth: 5 EUR, valid_for: 30 days}\n  - {send: hello, by: [sms, email]}",
        purpose="marketing",
    )
    house.settings |= {"consent_needed": []}
    begin(house, room, phone="+15005550009")
    go(house, room, NOON)
    assert story(house)[1][:3] == ("1.other2", "email", "accepted")
    assert house.rows(Voucher, "voided_at") == [None]
    assert [row["voucher"] for row in house.rows(Message, "details")] == [True, True]


def test_a_voucher_that_no_channel_will_show_is_taken_back(house: House, room: PostRoom) -> None:
    house.rule(
        steps="  - voucher: {worth: 5 EUR, valid_for: 30 days}\n  - {send: hello, by: [sms, email]}",
        limits="{once_per: customer, valid_for: 2 hours}",
        purpose="marketing",
    )
    house.settings |= {"consent_needed": []}
    begin(house, room, phone="+15005550009")
    for hours, voided in ((1, None), (2, NOON + timedelta(hours=2))):
        with writing(house.engine) as connection:
            give_up(connection, NOON + timedelta(hours=hours))
        assert house.rows(Voucher, "voided_at") == [voided]


def test_a_survey_is_asked_for_by_the_other_channel_too(house: House, room: PostRoom) -> None:
    house.rule(steps="  - {survey: hello, by: [sms, email]}", purpose="survey")
    house.settings |= {"consent_needed": []}
    begin(house, room, phone="+15005550009")
    go(house, room, NOON)
    steps = [step for step, _, state, _ in story(house) if state == "accepted"]
    (match_id,) = house.rows(Match, "id")
    assert f"survey/{match_id}/{steps[0]}" in house.rows(Survey, "external_id")


def test_the_other_branch_comes_after_the_other_channel(house: House, room: PostRoom) -> None:
    house.rule(
        steps="  - {call: hello, tries: 2, every: 20 minutes, else: {send: hello, by: [sms, email]}}",
    )
    begin(house, room)
    tell(house.engine, UNDELIVERED, "busy", at=NOON)
    go(house, room, NOON + timedelta(minutes=21))
    tell(house.engine, UNDELIVERED, "busy", at=NOON + timedelta(minutes=22))
    go(house, room, NOON + timedelta(minutes=23))
    tell(house.engine, UNDELIVERED, "30006", at=NOON + timedelta(minutes=24))
    go(house, room, NOON + timedelta(minutes=25))
    steps = [(step, channel) for step, channel, *_ in story(house)]
    assert steps == [("0", "voice"), ("0.try2", "voice"), ("0.else", "sms"), ("0.else.other2", "email")]


def test_a_stopped_match_is_left_alone(house: House, room: PostRoom) -> None:
    house.rule()
    begin(house, room)
    house.set(Match, state="stopped")
    tell(house.engine, UNDELIVERED, "30006", at=NOON)
    go(house, room, NOON)
    assert len(story(house)) == 1


def test_references_stay_apart(house: House, room: PostRoom) -> None:
    house.rule(steps="  - {send: hello, by: [sms, email, voice]}")
    begin(house, room)
    for state in ("undelivered", "undelivered"):
        with writing(house.engine) as connection:
            newest = select(message.c.id).order_by(message.c.id.desc()).limit(1)
            ended = {"state": state, "reason": "bad_address", "ended_at": NOON}
            connection.execute(update(message).where(message.c.id.in_(newest)).values(ended))
        go(house, room, NOON)
    assert [(step, channel) for step, channel, *_ in story(house)] == [
        ("0", "sms"),
        ("0.other2", "email"),
        ("0.other3", "voice"),
    ]
    assert len(set(house.rows(Message, "reference"))) == 3
