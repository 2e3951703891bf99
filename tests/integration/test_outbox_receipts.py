"""Receipts: asked for in turn, written once, and states that only move forward."""

import itertools
from collections import Counter
from datetime import datetime

import pytest
from sqlalchemy import Engine, select

from beforehand.web.postroom.server import PostRoom
from messaging.channels.base import Envelope, Outcome, Sighting
from messaging.receipts import apply, poll, receipt
from models.database import reading, writing
from models.vocabulary import Channel, MessageState, OutcomeClass
from tests.integration.out_world import NOW, attempts_of, later, plan_messages, rows_of, send_due, ways

ACCEPTED, SENT, UNDELIVERED, DELIVERED = (
    MessageState.ACCEPTED,
    MessageState.SENT,
    MessageState.UNDELIVERED,
    MessageState.DELIVERED,
)


class Told:
    """A channel whose provider says what the test tells it to."""

    provider = "told"
    parallel = 1

    def __init__(self, name: Channel = Channel.SMS) -> None:
        self.name = name
        self.asked: list[list[str]] = []
        self.says: dict[str, Sighting] = {}

    def send(self, envelope: Envelope) -> Outcome:
        return Outcome(OutcomeClass.ACCEPTED, provider_id=f"{self.name}-{envelope.reference}")

    def fingerprint(self, envelope: Envelope) -> str:
        return ""

    def look(self, provider_ids: list[str]) -> list[Sighting]:
        self.asked.append(provider_ids)
        return [self.says[one] for one in provider_ids if one in self.says]

    def find(self, to: str, fingerprint: str, since: datetime, until: datetime) -> list[Sighting] | None:
        return None

    def close(self) -> None:
        return None


def accepted(engine: Engine, count: int = 1, name: Channel = Channel.SMS) -> tuple[Told, list[str]]:
    told = Told(name)
    plan_messages(engine, count, channel=name.value)
    assert send_due(engine, {name: told}).sent == count
    return told, [attempt.provider_id for attempt in attempts_of(engine)]


def receipts_of(engine: Engine) -> list[tuple[str, str]]:
    with reading(engine) as connection:
        rows = connection.execute(select(receipt.c.state, receipt.c.code).order_by(receipt.c.id))
        return [(row.state, row.code) for row in rows]


@pytest.mark.parametrize("order", list(itertools.permutations([SENT, UNDELIVERED, DELIVERED])))
def test_any_order_of_words_ends_in_the_same_state(sqlite_engine: Engine, order: tuple[MessageState, ...]) -> None:
    _, (key,) = accepted(sqlite_engine)
    for state in order:
        with writing(sqlite_engine) as connection:
            apply(connection, [Sighting(key, state)], later(minutes=1))
    assert rows_of(sqlite_engine)[0].state == "delivered"
    assert Counter(receipts_of(sqlite_engine)) == {("sent", ""): 1, ("undelivered", ""): 1, ("delivered", ""): 1}


def test_a_batch_that_says_several_things_of_one_message(engine: Engine) -> None:
    _, (key,) = accepted(engine)
    with writing(engine) as connection:
        moved = apply(connection, [Sighting(key, DELIVERED), Sighting(key, SENT)], later(minutes=1))
    row = rows_of(engine)[0]
    assert (row.state, row.ended_at) == ("delivered", later(minutes=1))
    assert moved == {DELIVERED: 1}


def test_saying_it_twice_has_no_effect(engine: Engine) -> None:
    _, (key,) = accepted(engine)
    for minute in range(3):
        with writing(engine) as connection:
            apply(connection, [Sighting(key, UNDELIVERED, "30410")], later(minutes=minute))
    assert receipts_of(engine) == [("undelivered", "30410")]
    assert rows_of(engine)[0].ended_at == NOW


def test_an_id_that_is_not_ours_is_left_alone(engine: Engine) -> None:
    accepted(engine)
    with writing(engine) as connection:
        assert apply(connection, [Sighting("SMof-someone-else", DELIVERED)], NOW) == {}
    assert rows_of(engine)[0].state == "accepted"


def test_nothing_moves_a_message_that_ended_otherwise(engine: Engine) -> None:
    _, (key,) = accepted(engine)
    with writing(engine) as connection:
        from messaging.claims import message

        connection.execute(message.update().values(state="cancelled"))
        assert apply(connection, [Sighting(key, DELIVERED)], NOW) == {}


def test_providers_are_asked_in_turn_and_less_often_with_age(engine: Engine) -> None:
    told, keys = accepted(engine, 5)
    assert poll(engine, {Channel.SMS: told}, later(seconds=1), most=3).asked == 3
    assert poll(engine, {Channel.SMS: told}, later(seconds=1), most=3).asked == 2
    assert sorted(itertools.chain(*told.asked)) == sorted(keys)
    assert poll(engine, {Channel.SMS: told}, later(seconds=2)).asked == 0
    assert poll(engine, {Channel.SMS: told}, later(seconds=3)).asked == 5
    assert poll(engine, {Channel.SMS: told}, later(minutes=10)).asked == 5
    assert poll(engine, {Channel.SMS: told}, later(minutes=10, seconds=59)).asked == 0
    assert poll(engine, {Channel.SMS: told}, later(minutes=11)).asked == 5
    assert poll(engine, {Channel.SMS: told}, later(days=4)).asked == 0


def test_what_is_delivered_is_not_asked_about_again(engine: Engine) -> None:
    told, keys = accepted(engine, 2)
    told.says = {keys[0]: Sighting(keys[0], DELIVERED)}
    assert poll(engine, {Channel.SMS: told}, later(seconds=5)).moved == {DELIVERED: 1}
    assert poll(engine, {Channel.SMS: told}, later(seconds=15)).asked == 1


def test_a_mail_server_is_not_asked(engine: Engine) -> None:
    told, _ = accepted(engine, name=Channel.EMAIL)
    assert poll(engine, {Channel.EMAIL: told}, later(seconds=5)).asked == 0


def test_receipts_from_the_post_room(engine: Engine) -> None:
    with PostRoom() as room:
        plan_messages(engine, 4)
        plan_messages(engine, 3, channel="voice")
        send_due(engine, ways(room))
        room.wait_final(7)
        report = poll(engine, ways(room), later(seconds=5))
    assert report.asked == 7
    assert {row.state for row in rows_of(engine)} == {"delivered"}
    assert len(receipts_of(engine)) == 7
