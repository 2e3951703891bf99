"""A restored database says nothing twice: it is held, reconciled with the journal, and goes on."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from beforehand.web.postroom.server import PostRoom
from messaging.journal.reconciling import reconcile
from models.vocabulary import MessageState, Reason
from tests.delivery.restoring import (
    held,
    journal_of,
    once_each,
    put_back,
    reasons,
    send,
    snapshot,
    states,
)
from tests.integration.out_world import attempts_of, later, plan_messages


@pytest.fixture
def room() -> Iterator[PostRoom]:
    with PostRoom() as opened:
        yield opened


@pytest.mark.parametrize("channel", ["sms", "voice", "email"])
def test_a_restored_snapshot_says_nothing_twice(
    sqlite_engine: Engine, room: PostRoom, tmp_path: Path, channel: str
) -> None:
    plan_messages(sqlite_engine, 12, channel=channel)
    journal = journal_of(sqlite_engine, tmp_path / "journal")
    send(sqlite_engine, room, journal, limit=4, batch=4)
    copy = snapshot(sqlite_engine, tmp_path / "copy.db")
    send(sqlite_engine, room, journal, limit=4, batch=4)
    engine = put_back(sqlite_engine, copy)
    assert states(engine) == {"accepted": 4, "planned": 8}
    assert send(engine, room, journal_of(engine, tmp_path / "journal")).withheld == {Reason.RESTORED: 8}
    assert held(engine)
    done = reconcile(engine, journal_of(engine, tmp_path / "journal"), later(minutes=1))
    assert (done.was_held, done.attempts, done.moved, done.released) == (True, 4, {MessageState.ACCEPTED: 4}, True)
    assert not held(engine)
    assert reasons(engine) == {None: 8, "sent_before": 4}
    assert send(engine, room, journal_of(engine, tmp_path / "journal"), later(minutes=2)).sent == 4
    assert once_each(room, 12)
    assert states(engine) == {"accepted": 12}
    assert len({row.provider_id for row in attempts_of(engine)}) == (1 if channel == "email" else 12)
    again = reconcile(engine, journal_of(engine, tmp_path / "journal"), later(minutes=3))
    assert (again.was_held, again.attempts, again.moved) == (False, 0, {})
