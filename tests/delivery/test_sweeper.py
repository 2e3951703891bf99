"""What waits until it is of no use ends by itself, and says why; status says what rests."""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert, text

from beforehand.dispatching import reap
from beforehand.status import status_of
from messaging import breaker
from messaging.channels.base import Outcome
from messaging.sweeper import sweep
from messaging.unknown import settle
from models.commerce import Voucher
from models.database import reading, writing
from models.delivery import Match
from models.housekeeping import Switch
from models.vocabulary import Channel, OutcomeClass
from tests.deciding import NOON, House
from tests.delivery.test_breaker import Played
from tests.integration.out_world import NOW, later, plan_messages, rows_of, send_due

WAITING = ("planned", "held", "queued")
NOT_OURS = ("claimed", "in_flight", "accepted", "sent", "delivered", "unknown", "cancelled")


def test_what_waits_beyond_its_send_by_expires_and_nothing_else(engine: Engine) -> None:
    for state in (*WAITING, *NOT_OURS):
        plan_messages(engine, 1, state=state, expires_at=later(hours=1))
        plan_messages(engine, 1, state=state, expires_at=None)
    assert sweep(engine, later(minutes=59)) == 0
    assert sweep(engine, later(hours=1)) == 3
    assert sweep(engine, later(hours=1)) == 0
    ended = [(row.reason, row.ended_at) for row in rows_of(engine) if row.state == "expired"]
    assert ended == [("too_late", later(hours=1))] * 3
    states = [row.state for row in rows_of(engine)]
    assert [state for state in states if state in NOT_OURS] == [state for state in NOT_OURS for _ in range(2)]


def test_a_long_queue_is_swept_in_parts_the_oldest_first(sqlite_engine: Engine) -> None:
    for hours in (3, 1, 2):
        plan_messages(sqlite_engine, 1, expires_at=later(hours=hours))
    assert sweep(sqlite_engine, later(days=1), most=2) == 2
    assert [row.state for row in rows_of(sqlite_engine)] == ["planned", "expired", "expired"]


def test_a_voucher_that_nobody_was_told_of_goes_with_its_message(engine: Engine, tmp_path: Path) -> None:
    house = House(engine, tmp_path)
    plan_messages(engine, 1, expires_at=later(hours=1), state="held")
    (row,) = rows_of(engine)
    voucher = {"match_id": row.match_id, "customer_id": row.customer_id, "salt": "s", "code_hash": "h"}
    money = {"currency": "EUR", "worth": 500, "issued_at": NOW, "valid_until": later(days=9)}
    house.add(Voucher, rule_id="late-order", **voucher, **money)
    house.set(Match, state="done")
    sweep(engine, later(hours=2))
    assert house.rows(Voucher, "voided_at") == [later(hours=2)]


def test_the_reaper_sweeps_what_a_kill_switch_holds(engine: Engine, tmp_path: Path) -> None:
    house = House(engine, tmp_path)
    plan_messages(engine, 1, expires_at=NOON + timedelta(hours=1))
    with writing(engine) as connection:
        connection.execute(insert(Switch).values(scope="all", stopped_at=NOON, by="staff"))
    reap(house.app, NOON + timedelta(hours=2))
    assert rows_of(engine)[0].state == "expired"


@pytest.mark.parametrize("rows", [3000])
def test_the_sweep_is_found_by_its_index(postgres_engine: Engine, rows: int) -> None:
    plan_messages(postgres_engine, rows, state="delivered", expires_at=later(hours=1))
    with postgres_engine.connect() as connection:
        connection.execute(text("ANALYZE message"))
        plan = connection.execute(
            text(
                "EXPLAIN SELECT id FROM message WHERE state IN ('planned', 'held', 'queued') AND expires_at <= now() "
                "LIMIT 1"
            )
        ).scalars()
        assert "ix_message_expires" in "\n".join(plan)


def test_status_says_what_rests_and_what_staff_are_called_for(engine: Engine, tmp_path: Path) -> None:
    house = House(engine, tmp_path)
    house.rule()
    with writing(engine) as connection:
        breaker.trip(connection, "twilio", "20003", NOON)
    seen = status_of(house.app, NOON)
    (rests,) = seen.resting
    assert (rests.name, rests.channels, rests.code) == ("twilio", ["sms", "voice"], "20003")
    assert [call.topic for call in seen.calls] == ["provider:twilio"]
    with reading(engine) as connection:
        assert breaker.opened(connection, ["smtp"]) == []


def test_a_listing_is_asked_after_a_quarter_of_an_hour_at_the_earliest(engine: Engine) -> None:
    plan_messages(engine, 1)
    way = Played(Channel.SMS, Outcome(OutcomeClass.UNKNOWN, code="ReadTimeout"))
    send_due(engine, {Channel.SMS: way})
    asked: list[str] = []
    way.find = lambda *_: asked.append("asked")  # type: ignore[method-assign]
    for minutes, timeout, times in ((14.9, 2, 0), (15, 600, 0), (15, 2, 1)):
        settle(engine, {Channel.SMS: way}, later(minutes=minutes), send_timeout=timeout, settle_after=timedelta(0))
        assert len(asked) == times
