"""What an attacker would try on claim, arm, record, reap and settle: two transactions at the worst moments."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text, update
from sqlalchemy.exc import OperationalError

from beforehand.web.postroom.server import PostRoom
from messaging import breaker
from messaging.channels.base import Outcome, Sighting
from messaging.claims import Claim, message
from messaging.dispatch import Plan, dispatch
from messaging.outbox import arm, claim, reap, record
from messaging.pace import Rate, room, slow_down, take_turns
from messaging.unknown import settle
from models.database import connect, writing
from models.vocabulary import Channel, MessageState, OutcomeClass
from tests.integration.out_world import (
    NOW,
    POLICY,
    attempts_of,
    envelopes,
    later,
    plan_messages,
    references,
    rows_of,
    send_due,
    ways,
)

ACCEPTED = Outcome(OutcomeClass.ACCEPTED, code="201", provider_id="SM" + "1" * 32)
REFUSED = Outcome(OutcomeClass.REFUSED, code="21211")
UNKNOWN = Outcome(OutcomeClass.UNKNOWN, code="ReadTimeout")


def claimed(engine: Engine, now: datetime = NOW, limit: int = 10) -> list[Claim]:
    with writing(engine) as connection:
        return claim(connection, now, limit=limit, lease_seconds=60, policy=POLICY).claims


def one_resend(engine: Engine) -> tuple[Claim, Claim]:
    """A message whose first try is unknown and whose resend is claimed: both claims."""
    plan_messages(engine, 1)
    (first,) = arm(engine, claimed(engine), NOW)
    reap(engine, later(minutes=5))
    queue_again(engine)
    (second,) = claimed(engine, later(minutes=30))
    return first, second


def queue_again(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(update(message).values(state=MessageState.QUEUED))


def state_of(engine: Engine) -> tuple[str, str | None]:
    (row,) = rows_of(engine)
    return row.state, row.reason


@pytest.fixture
def before_commit(engine: Engine) -> Iterator[Callable[[Callable[[], None]], None]]:
    """Calls a function once, just before the commit of this thread's next transaction that writes."""
    todo: list[Callable[[], None]] = []
    mine = threading.get_ident()

    def meanwhile(connection: Connection) -> None:
        if todo and threading.get_ident() == mine and connection.get_execution_options().get("write"):
            todo.pop()()

    event.listen(engine, "commit", meanwhile)
    yield todo.append
    event.remove(engine, "commit", meanwhile)


def test_a_late_acceptance_that_commits_while_the_resend_is_armed_stops_it(
    engine: Engine, before_commit: Callable[[Callable[[], None]], None]
) -> None:
    first, second = one_resend(engine)
    with ThreadPoolExecutor(1) as pool:
        arming: list[Any] = []

        def meanwhile() -> None:
            arming.append(pool.submit(arm, engine, [second], later(minutes=30)))
            time.sleep(0.3)  # time enough for the other to get as far as it can

        before_commit(meanwhile)
        record(engine, first, ACCEPTED, later(minutes=30))
        assert arming[0].result() == [], "the message is with the provider already"
    assert state_of(engine) == ("accepted", None)


def test_a_message_cancelled_while_it_is_armed_is_not_sent(
    engine: Engine, before_commit: Callable[[Callable[[], None]], None]
) -> None:
    plan_messages(engine, 1)
    (one,) = claimed(engine)
    with ThreadPoolExecutor(1) as pool:
        arming: list[Any] = []

        def meanwhile() -> None:
            arming.append(pool.submit(arm, engine, [one], NOW))
            time.sleep(0.3)

        before_commit(meanwhile)
        with writing(engine) as connection:
            connection.execute(update(message).values(state=MessageState.CANCELLED, ended_at=NOW))
        assert arming[0].result() == []
    assert state_of(engine) == ("cancelled", None)
    assert [a.state for a in attempts_of(engine)] == ["returned"]


@pytest.mark.parametrize("given_up", [MessageState.FAILED, MessageState.EXPIRED, MessageState.SUPPRESSED])
def test_a_late_acceptance_is_the_truth_whatever_was_concluded_meanwhile(
    engine: Engine, given_up: MessageState
) -> None:
    plan_messages(engine, 1)
    (one,) = arm(engine, claimed(engine), NOW)
    reap(engine, later(minutes=5))
    with writing(engine) as connection:
        connection.execute(update(message).values(state=given_up, reason="gave_up", ended_at=later(minutes=20)))
    record(engine, one, ACCEPTED, later(minutes=30))
    (row,) = rows_of(engine)
    assert (row.state, row.reason, row.ended_at) == ("accepted", None, None)


@pytest.mark.parametrize("second_says", [REFUSED, UNKNOWN])
def test_what_is_accepted_stays_so_whatever_its_resend_says(engine: Engine, second_says: Outcome) -> None:
    first, second = one_resend(engine)
    assert arm(engine, [second], later(minutes=30))
    record(engine, first, ACCEPTED, later(minutes=30))
    record(engine, second, second_says, later(minutes=30))
    assert state_of(engine) == ("accepted", None)
    assert [a.state for a in attempts_of(engine)] == ["accepted", second_says.kind.value]


def test_a_receipt_before_our_own_answer_is_not_undone_by_a_lost_answer(engine: Engine) -> None:
    plan_messages(engine, 1)
    (one,) = arm(engine, claimed(engine), NOW)
    with writing(engine) as connection:  # a callback with our attempt in its address was quicker than the 201
        connection.execute(update(message).values(state=MessageState.DELIVERED))
    record(engine, one, UNKNOWN, later(seconds=10))
    assert state_of(engine)[0] == "delivered"


class SlowListing:
    """A provider whose listing takes so long that others settle and send in the meantime."""

    name = Channel.SMS

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        self.meanwhile = meanwhile

    def find(self, to: str, fingerprint: str, since: datetime, until: datetime) -> list[Sighting]:
        """Nothing is found, but first the others work."""
        self.meanwhile()
        return []


def settled(engine: Engine, way: Any, now: datetime) -> Any:
    return settle(engine, {Channel.SMS: way}, now, send_timeout=2, settle_after=timedelta(minutes=15))


def test_two_who_settle_the_same_message_resend_it_once(engine: Engine) -> None:
    plan_messages(engine, 1)
    (one,) = arm(engine, claimed(engine), NOW)
    record(engine, one, UNKNOWN, NOW)

    def others() -> None:
        assert settled(engine, SlowListing(lambda: None), later(minutes=16)).resent == 1
        (two,) = arm(engine, claimed(engine, later(minutes=16)), later(minutes=16))
        record(engine, two, UNKNOWN, later(minutes=16))

    assert settled(engine, SlowListing(others), later(minutes=16)).resent == 0
    assert state_of(engine)[0] == "unknown", "one resend, and the policy has had its say"


def test_two_reapers_at_once_count_each_lapse_once(engine: Engine) -> None:
    plan_messages(engine, 40)
    claims = claimed(engine, limit=40)
    arm(engine, claims[:20], NOW)
    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(lambda _: reap(engine, later(minutes=5)), range(4)))
    assert (sum(r.returned for r in reports), sum(r.unknown for r in reports)) == (20, 20)


def test_a_reply_with_signs_that_no_database_takes_costs_nobody_a_result(engine: Engine) -> None:
    plan_messages(engine, 2)
    one, two = arm(engine, claimed(engine), NOW)
    odd = Outcome(OutcomeClass.ACCEPTED, code="250\x00", content={"reply": "ok\x00 \ud800 queued", "n": [1, "\x00"]})
    record(engine, one, odd, NOW)
    record(engine, two, ACCEPTED, NOW)
    assert {row.state for row in rows_of(engine)} == {"accepted"}


def test_a_process_that_slept_while_its_clock_was_set_back_does_not_send(engine: Engine) -> None:
    plan_messages(engine, 1)
    ticks = iter([0.0])
    with PostRoom() as room:
        plan = Plan(
            POLICY, limit=1, ticks=lambda: next(ticks, 3600.0)
        )  # the wall clock stands still, this one does not
        dispatch(engine, lambda: NOW, ways(room), envelopes, plan)
        assert not room.ledger.entries
        assert state_of(engine)[0] == "queued"
        assert send_due(engine, ways(room)).sent == 1


def test_an_arm_whose_commit_was_not_confirmed_is_undone_and_not_parked_as_unknown(engine: Engine) -> None:
    plan_messages(engine, 3)
    broken: list[int] = []

    def lost(connection: Connection) -> None:
        """The commit is done, but the line breaks before we hear of it."""
        if broken == [0] and connection.get_execution_options().get("write"):
            broken.append(1)
            connection.connection.dbapi_connection.commit()  # type: ignore[union-attr]
            raise OperationalError("COMMIT", None, Exception("the server went away"))

    event.listen(engine, "commit", lost)
    with PostRoom() as room:
        only = {Channel.SMS: ways(room)[Channel.SMS]}  # so that the next commit is the one that arms
        with pytest.raises(OperationalError):
            send_due(engine, only, at=lambda point: broken.append(0) if point == "rendered" else None)
        event.remove(engine, "commit", lost)
        assert broken == [0, 1]
        assert {row.state for row in rows_of(engine)} == {"queued"}, "nothing was on the wire, and we know it"
        assert {row.tries for row in rows_of(engine)} == {0}
        assert send_due(engine, ways(room)).sent == 3
        assert len(references(room.ledger.entries)) == 3


def test_what_is_armed_is_durable_whatever_the_server_is_set_to(postgres_engine: Engine) -> None:
    with postgres_engine.connect().execution_options(isolation_level="AUTOCOMMIT") as admin:
        name = admin.execute(text("SELECT current_database()")).scalar_one()
        admin.execute(text(f"ALTER DATABASE {name} SET synchronous_commit = off"))
        admin.execute(text(f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'"))
    engine = connect(postgres_engine.url.render_as_string(hide_password=False))
    with writing(engine) as connection:
        assert connection.execute(text("SHOW synchronous_commit")).scalar_one() == "on"
        assert connection.execute(text("SHOW transaction_isolation")).scalar_one() == "read committed"
    engine.dispose()


def test_dispatchers_and_reapers_whose_clocks_differ_send_once(engine: Engine) -> None:
    """Clocks some minutes apart: what is ahead reaps what the others hold. Still each message once, and all of them."""
    plan_messages(engine, 60)
    skews = [timedelta(0), timedelta(minutes=-3), timedelta(minutes=3)]
    over = threading.Event()

    def reaping() -> None:
        while not over.is_set():
            reap(engine, later(minutes=6))
            time.sleep(0.005)

    with PostRoom() as room, ThreadPoolExecutor(4) as pool:
        pool.submit(reaping)
        try:
            for _ in range(40):
                list(pool.map(lambda skew: send_due(engine, ways(room, timeout=10), NOW + skew, batch=8), skews))
                if not {row.state for row in rows_of(engine)} & {"planned", "queued"}:
                    break
        finally:
            over.set()
        sent = references(room.ledger.entries)
    assert sent == sorted(f"R{n:07d}" for n in range(60))


def test_leases_of_a_clock_that_was_far_ahead_and_was_put_right_end_all_the_same(engine: Engine) -> None:
    plan_messages(engine, 2)
    ahead = later(days=400)
    kept, armed = claimed(engine, ahead)
    assert arm(engine, [armed], ahead)
    assert reap(engine, later(minutes=1)).returned == 1, "a lease that ends in a year is nobody's"
    assert [a.state for a in attempts_of(engine)] == ["returned", "unknown"]
    assert arm(engine, [kept], ahead) == [], "and whoever held it by that clock has lost it"
    record(engine, armed, ACCEPTED, later(minutes=2))
    assert {row.state for row in rows_of(engine)} == {"queued", "accepted"}


def test_no_sender_and_no_account_rests_until_the_moment_of_a_clock_that_was_far_ahead(engine: Engine) -> None:
    rates, sms = {Channel.SMS: Rate(5)}, [Channel.SMS]
    with writing(engine) as connection:
        take_turns(connection, [(1, Channel.SMS, 1)], rates, later(days=1))
        slow_down(connection, "email", later(days=1))
        breaker.trip(connection, "twilio", "500", later(days=1))
        assert breaker.standing(connection, sms, later(days=1, seconds=30)) == ([], [])
        awake, half = breaker.standing(connection, sms, NOW)
        assert awake == sms
        assert [one.name for one in half] == ["twilio"], "one message tries whether it is well"
        assert room(connection, "sms", Rate(5), NOW) == 5
        assert room(connection, "email", None, NOW) is None
        assert take_turns(connection, [(1, Channel.SMS, 1)], rates, NOW) == {}
        assert room(connection, "sms", Rate(5), NOW) == 4
        slow_down(connection, "email", later(minutes=1))
        assert room(connection, "email", None, NOW) == 0
        assert room(connection, "email", None, later(minutes=1)) is None
