"""What a reviewer broke once in delivery: the last second before the wire, outages, and news that nobody heard."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select
from urllib3.exceptions import ClosedPoolError

from beforehand.web.postroom.server import PostRoom
from messaging.addresses import address_hash
from messaging.breaker import RESTS
from messaging.channels.base import Envelope, Outcome
from messaging.dispatch import Plan, dispatch
from messaging.outbox import arm, claim, record
from messaging.unknown import settle
from models.changes import touch
from models.customer import Consent, Suppression
from models.database import reading, writing
from models.housekeeping import Change
from models.vocabulary import Channel, OutcomeClass, Reason
from tests.integration.out_world import NOW, POLICY, SECRET, later, phone, plan_messages, rows_of, ways


def take(engine: Engine, now: datetime = NOW) -> Any:
    with writing(engine) as connection:
        return claim(connection, now, limit=10, lease_seconds=60, policy=POLICY)


@pytest.mark.parametrize("how", ["suppression", "consent"])
def test_a_stop_that_comes_while_the_batch_is_on_its_way_is_honoured(engine: Engine, how: str) -> None:
    """Seen: once claimed, a message went out up to a minute after the customer had said STOP."""
    plan_messages(engine, 2)
    claims = take(engine).claims
    who = rows_of(engine)[0].customer_id
    rows: dict[str, Any] = {
        "suppression": insert(Suppression).values(
            address_hash=address_hash(SECRET, "sms", phone(0)), channel="phone", scope="all", cause="stop",
            since=later(seconds=1), source="test",
        ),
        "consent": insert(Consent).values(
            customer_id=who, channel="all", purpose="all", verdict="withdrawn", given_at=later(seconds=1),
            recorded_at=NOW, source="test",
        ),
    }  # fmt: skip
    with writing(engine) as connection:
        connection.execute(rows[how])
    armed = arm(engine, claims, later(seconds=2))
    assert [one.customer_id for one in armed] == [rows_of(engine)[1].customer_id]
    assert take(engine, later(seconds=3)).withheld in ({Reason.SUPPRESSED: 1}, {Reason.OPTED_OUT: 1})
    assert [row.state for row in rows_of(engine)] == ["suppressed", "in_flight"]


def test_an_outage_of_the_account_uses_up_no_try(engine: Engine) -> None:
    """Seen: after five minutes of a provider being away, the first 429 afterwards gave the message up."""
    plan_messages(engine, 1)
    away = Outcome(OutcomeClass.NOT_ACCEPTED, code="ConnectionError", stops=True)
    now = NOW
    for _ in range(8):
        (claimed,) = arm(engine, take(engine, now).claims, now)
        record(engine, claimed, away, now)
        now += RESTS[-1]
    (claimed,) = arm(engine, take(engine, now).claims, now)
    assert claimed.number == 1
    record(engine, claimed, Outcome(OutcomeClass.NOT_ACCEPTED, code="20429"), now)
    row = rows_of(engine)[0]
    assert (row.state, row.tries, row.due_at) == ("queued", 1, now + timedelta(seconds=30))


@pytest.mark.parametrize("seconds", [0, -30], ids=["the same run's next batch", "a run that began earlier"])
def test_what_comes_in_after_a_look_is_news_again(engine: Engine, seconds: int) -> None:
    """Seen: a pass between two batches of one ingest, whose second batch then was no news: an event rule slept on."""
    with writing(engine) as connection:
        touch(connection, ("order.updated",), NOW)
    first = changed_at(engine)
    with writing(engine) as connection:
        touch(connection, ("order.updated",), NOW + timedelta(seconds=seconds))
    assert changed_at(engine) > first


def changed_at(engine: Engine) -> Any:
    with reading(engine) as connection:
        return connection.execute(select(Change.changed_at)).scalar_one()  # type: ignore[call-overload]


class Closing:
    """A channel that tells when it is closed."""

    name, provider, parallel, closed = Channel.SMS, "test", 2, 0

    def close(self) -> None:
        self.closed += 1


def test_an_idle_dispatch_closes_nothing_that_another_one_sends_through(engine: Engine) -> None:
    """Seen: the heartbeat looked every second, and shut the connections of a flow in the midst of its batch."""
    way: Any = Closing()
    dispatch(engine, lambda: NOW, {Channel.SMS: way}, lambda _: {}, Plan(policy=POLICY))
    assert way.closed == 0


def test_a_pool_that_another_dispatch_closed_has_sent_nothing(room: PostRoom) -> None:
    """Seen: such a send was UNKNOWN, and a call or an advertisement was given up though nobody had been asked."""
    sms: Any = ways(room)[Channel.SMS]

    def closed(*_given: Any, **_named: Any) -> None:
        raise ClosedPoolError(None, "Pool is closed.")  # type: ignore[arg-type]

    adapter = sms.client.http_client.session.get_adapter(room.http_url)
    adapter.get_connection_with_tls_context = lambda *_, **__: SimpleNamespace(urlopen=closed)
    outcome = sms.send(Envelope(1, "R", phone(1), "Hello"))
    assert (outcome.kind, outcome.stops) == (OutcomeClass.NOT_ACCEPTED, False)
    assert list(room.ledger) == []


@pytest.fixture
def room() -> Iterator[PostRoom]:
    with PostRoom() as opened:
        yield opened


class Silent:
    """A provider whose listing does not answer, or a mail server, which has none."""

    def __init__(self, name: Channel) -> None:
        self.name, self.asked = name, 0

    def find(self, *_given: Any) -> None:
        self.asked += 1


def test_a_provider_that_does_not_answer_keeps_no_other_channel_from_settling(engine: Engine) -> None:
    """Seen: with a hundred unknown SMS and no listing, unknown e-mails had to wait for a day."""
    for channel in (Channel.SMS, Channel.EMAIL):
        plan_messages(engine, 3, channel=channel)
        with writing(engine) as connection:
            claims = claim(connection, NOW, limit=9, lease_seconds=60, policy=POLICY, channels=[channel]).claims
        for claimed in arm(engine, claims, NOW):
            record(engine, claimed, Outcome(OutcomeClass.UNKNOWN, code="ReadTimeout"), NOW)
    silent: Any = {channel: Silent(channel) for channel in (Channel.SMS, Channel.EMAIL)}
    wait = timedelta(minutes=15)
    report = settle(engine, silent, NOW + timedelta(hours=2), send_timeout=10, settle_after=wait, most=3)
    assert (silent[Channel.SMS].asked, report.resent) == (3, 3)
