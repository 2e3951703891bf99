"""STOP while everything is in motion: after its commit nothing to that number is claimed, armed or sent.

The STOP is posted to our page, not through the post room: that one would refuse later texts by itself, as Twilio does,
and so hide a mistake. What had been claimed and armed by then is written down by a trigger within the very transaction
of the STOP, so that before and after are the database's own order and no clock's.
"""

import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median, quantiles

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, bindparam, func, select, text, update

import models
from beforehand.settings import Settings
from beforehand.web.postroom.callbacks import signature
from beforehand.web.postroom.server import PostRoom
from beforehand.web.serving import Pages
from beforehand.wiring import App, wall_clock
from messaging.claims import CLAIMABLE, attempt, message
from models.database import reading, writing
from models.vocabulary import AttemptState, MessageState
from tests.delivery.workers import Site, dispatch_on, forks, spawn
from tests.integration.out_world import SECRET, phone, plan_messages, references

WATCH = """INSERT INTO saw SELECT m.address, m.reference, a.id, a.state
FROM attempt a JOIN message m ON m.id = a.message_id
WHERE m.address = (SELECT phone FROM customer WHERE id = NEW.customer_id)"""


def watch(engine: Engine) -> None:
    """Let the database write down, in the STOP's own transaction, which attempts to that number there are by then."""
    with writing(engine) as connection:
        connection.execute(text("CREATE TABLE saw (number TEXT, reference TEXT, attempt BIGINT, state TEXT)"))
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql(f"CREATE TRIGGER watch AFTER INSERT ON reply BEGIN {WATCH}; END")
            return
        body = f"BEGIN {WATCH}; RETURN NEW; END"
        connection.exec_driver_sql(f"CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$")
        connection.exec_driver_sql("CREATE TRIGGER watch AFTER INSERT ON reply FOR EACH ROW EXECUTE FUNCTION watch()")


def queue(engine: Engine, count: int, numbers: int) -> None:
    """``count`` customers with a text each, on ``numbers`` phones that they share, in an order that mixes them."""
    plan_messages(engine, count, due_at=wall_clock(), created_at=wall_clock())
    own, m = models.Customer.__table__, message.c  # type: ignore[attr-defined]
    with writing(engine) as connection:
        keys = list(connection.execute(select(m.id, m.customer_id).order_by(m.id)))
        rows = [{"key": row.customer_id, "of": row.id, "to": phone(n % numbers)} for n, row in enumerate(keys)]
        connection.execute(update(own).where(own.c.id == bindparam("key")).values(phone=bindparam("to")), rows)
        connection.execute(update(message).where(m.id == bindparam("of")).values(address=bindparam("to")), rows)
        connection.execute(update(message).values(priority=m.id * 7919 % 101))


@dataclass
class Line:
    """Customers who write STOP, as Twilio would tell it; ``took`` are the seconds from the post to the answer."""

    pages: Pages
    token: str
    client: httpx.Client
    took: list[float]

    def stop(self, number: str) -> None:
        url = f"{self.pages.url}/hooks/twilio/sms"
        form = {
            "AccountSid": self.pages.app.settings.twilio_account_sid, "From": number, "To": "+442079460000",
            "Body": "STOP", "MessageSid": f"SM{number}",
        }  # fmt: skip
        began = time.monotonic()
        answer = httpx.post(
            url,
            data=form,
            headers={"X-Twilio-Signature": signature(self.token, url, form)},
            trust_env=False,
            timeout=30,
        )
        self.took.append(time.monotonic() - began)
        assert answer.status_code == 200


@contextmanager
def dispatching(engine: Engine, room: PostRoom, folder: Path, processes: int) -> Iterator[None]:
    """So many dispatchers, each a process of its own."""
    context = forks()
    site = Site.of(engine, room, folder)
    running = [spawn(context, dispatch_on, site, 60.0, 100, context.RawValue("i", 0)) for _ in range(processes)]
    try:
        yield
    finally:
        for process in running:
            process.terminate()
            process.join(10)


@dataclass(frozen=True)
class Found:
    """How it went: STOPs, how many fell while a claim or a send to that number was open, texts they spared, seconds."""

    stops: int
    in_claim: int
    in_flight: int
    spared: int
    took: list[float]

    @property
    def most(self) -> float:
        """The seconds within which 95 of 100 took effect."""
        return quantiles(self.took, n=20)[-1]

    def __str__(self) -> str:
        middle, most, last = median(self.took), self.most, max(self.took)
        return (
            f"{self.stops} STOPs, 0 claimed, armed or sent after the commit; {self.in_claim} fell while a claim to "
            f"that number was open, {self.in_flight} while one was on the wire; {self.spared} texts spared; webhook to "
            f"effect {middle * 1000:.0f} ms in the middle, {most * 1000:.0f} ms for 95%, {last * 1000:.0f} ms at most"
        )


def waiting(engine: Engine) -> int:
    """How many texts wait to be claimed."""
    with reading(engine) as connection:
        return connection.execute(select(func.count()).where(message.c.state.in_(CLAIMABLE))).scalar_one()


def stopped_in_motion(engine: Engine, folder: Path, count: int, numbers: int, stops: int, processes: int) -> Found:
    """Dispatch ``count`` texts to ``numbers`` phones while ``stops`` of these say STOP at random moments."""
    queue(engine, count, numbers)
    watch(engine)
    dice = random.Random(count)
    chosen = [phone(n) for n in dice.sample(range(numbers), stops)]
    said_it: list[Future[None]] = []
    with PostRoom() as room:
        said = {"twilio_auth_token": SecretStr(room.auth_token), "secret_key": SecretStr(SECRET.decode())}
        app = App(Settings(_env_file=None, twilio_account_sid=room.account_sid, **said), engine, wall_clock)  # type: ignore[arg-type]
        with (
            Pages(app) as pages,
            dispatching(engine, room, folder, processes),
            httpx.Client(trust_env=False, timeout=30) as client,
        ):
            line = Line(pages, room.auth_token, client, [])
            room.wait_for(1, timeout=60)
            with ThreadPoolExecutor(8) as people:
                left = sorted((dice.uniform(0.02, 0.98) * count for _ in chosen), reverse=True)
                for number, when in zip(chosen, left, strict=True):  # all along the way, as chance will have it
                    _until(partial(_left, engine, when), 300)
                    said_it.append(people.submit(line.stop, number))
            for one in said_it:
                one.result()
            _until(partial(_left, engine, 0), 300)
            _until(lambda: _open(engine) == 0, 60)
        return _judge(engine, room, set(chosen), line.took)


def _left(engine: Engine, most: float) -> bool:
    return waiting(engine) <= most


def _open(engine: Engine) -> int:
    with reading(engine) as connection:
        going = message.c.state.in_([MessageState.CLAIMED, MessageState.IN_FLIGHT])
        return connection.execute(select(func.count()).where(going)).scalar_one()


def _until(true: Callable[[], bool], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not true():
        if time.monotonic() > until:
            raise TimeoutError
        time.sleep(0.005)


def _judge(engine: Engine, room: PostRoom, chosen: set[str], took: list[float]) -> Found:
    with reading(engine) as connection:
        saw = connection.execute(text("SELECT number, reference, attempt, state FROM saw")).all()
        a, m = attempt.c, message.c
        later = select(a.id, m.address, m.reference, a.state, a.armed_at).join(message, m.id == a.message_id)
        attempts = connection.execute(later.where(m.address.in_(chosen))).all()
        ends = connection.execute(select(m.state, m.reason).where(m.address.in_(chosen))).all()
    then = {row.attempt: row.state for row in saw}
    assert [row for row in attempts if row.id not in then] == [], "claimed after the STOP"
    unarmed = [row for row in attempts if then[row.id] == AttemptState.CLAIMED]
    assert [row for row in unarmed if row.armed_at is not None] == [], "armed after the STOP"
    gone = {row.reference for row in saw if row.state not in (AttemptState.CLAIMED, AttemptState.RETURNED)}
    sent = references(entry for entry in room.entries if entry.to in chosen)
    assert len(sent) == len(set(sent))
    assert set(sent) <= gone, "sent after the STOP"
    assert {row.reason for row in ends if row.state == MessageState.SUPPRESSED} <= {"suppressed"}
    assert {row.state for row in ends} <= {"suppressed", "accepted", "sent", "delivered", "failed"}
    return Found(
        stops=len(took),
        in_claim=len({row.number for row in saw if row.state == AttemptState.CLAIMED}),
        in_flight=len({row.number for row in saw if row.state == AttemptState.IN_FLIGHT}),
        spared=sum(row.state == MessageState.SUPPRESSED for row in ends),
        took=took,
    )


def test_after_a_stop_nothing_is_claimed_armed_or_sent(engine: Engine, tmp_path: Path) -> None:
    found = stopped_in_motion(engine, tmp_path, count=200, numbers=20, stops=5, processes=1)
    assert found.spared > 0


@pytest.mark.prove
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_stop_with_ten_thousand_queued(request: pytest.FixtureRequest, database: str, tmp_path: Path) -> None:
    engine = request.getfixturevalue(f"{database}_engine")
    found = stopped_in_motion(engine, tmp_path, count=10_000, numbers=500, stops=200, processes=2)
    print(f"PROOF stop, 10,000 queued, 2 dispatchers ({engine.dialect.name}): {found}")
    assert found.in_claim > 0
    assert found.most < 1
