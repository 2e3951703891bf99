"""The kill switch while everything is in motion: a second after the command nothing is sent, by the post room's ledger.

The commands are the real ones, each a process of its own beside the dispatchers. What was stopped then goes on, once.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select

from beforehand import ROOT
from beforehand.web.postroom.server import PostRoom
from messaging.claims import CLAIMABLE, message
from models.database import reading
from models.vocabulary import MessageState
from tests.delivery.test_prove_stop import dispatching
from tests.integration.out_world import plan_messages, references, rows_of

GOING = (MessageState.CLAIMED, MessageState.IN_FLIGHT)


@dataclass(frozen=True)
class Found:
    """How it went. ``last``: seconds from the command's return to the last send, below 0 where that was before."""

    took: float
    sent: int
    left: int
    last: float

    def __str__(self) -> str:
        return (
            f"{self.sent} sent, {self.left} held; the last send {self.last * 1000:+.0f} ms from when the command had "
            f"returned, which took {self.took:.1f} s with its start"
        )


def beforehand(engine: Engine, stop_file: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A command as somebody on duty runs it."""
    said = {
        "BEFOREHAND_DATABASE_URL": engine.url.render_as_string(hide_password=False),
        "BEFOREHAND_STOP_FILE": str(stop_file),
    }
    command = [sys.executable, "-m", "beforehand", *words]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | said, capture_output=True, text=True, check=False, timeout=120
    )


def count(engine: Engine, *states: MessageState) -> int:
    with reading(engine) as connection:
        return connection.execute(select(func.count()).where(message.c.state.in_(states))).scalar_one()


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.01)


def stopped_in_motion(
    engine: Engine, folder: Path, messages: int, processes: int, how: tuple[str, ...], *, goes_on: bool
) -> Found:
    """Stop while ``processes`` send ``messages`` that are due, watch for two seconds, and let go what is left."""
    file = folder / "STOP"
    plan_messages(engine, messages, due_at=datetime.now(UTC), created_at=datetime.now(UTC))
    with PostRoom() as room, dispatching(engine, room, folder, processes):
        room.wait_for(messages // 20 + 1, timeout=60)
        began = time.monotonic()
        if how:
            done = beforehand(engine, file, *how)
            assert done.returncode == 0, done.stderr
        else:
            file.touch()
        took, returned = time.monotonic() - began, datetime.now(UTC)
        time.sleep(2)
        sent = len(room.entries)
        last = (max(entry.at for entry in room.entries) - returned).total_seconds()
        time.sleep(0.5)
        assert len(room.entries) == sent
        until(lambda: not count(engine, *GOING))  # what was claimed has gone back
        left = count(engine, *CLAIMABLE)
        assert 0 < sent == messages - left
        if goes_on:
            if how:
                beforehand(engine, file, "resume", "--yes").check_returncode()
            else:
                file.unlink()
            until(lambda: not count(engine, *CLAIMABLE, *GOING), 300)
            assert references(room.entries) == sorted(row.reference for row in rows_of(engine))
    return Found(took, sent, left, last)


def test_a_second_after_the_command_nothing_is_sent_and_later_all_goes_once(
    sqlite_engine: Engine, tmp_path: Path
) -> None:
    found = stopped_in_motion(sqlite_engine, tmp_path, 800, 1, ("stop", "--by", "anna"), goes_on=True)
    assert found.last < 1


def test_a_second_after_the_file_nothing_is_sent(postgres_engine: Engine, tmp_path: Path) -> None:
    assert stopped_in_motion(postgres_engine, tmp_path, 800, 1, (), goes_on=False).last < 1


@pytest.mark.prove
@pytest.mark.parametrize("how", [("stop", "--by", "anna"), ()], ids=["command", "file"])
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_stop_with_ten_thousand_queued(
    request: pytest.FixtureRequest, database: str, tmp_path: Path, how: tuple[str, ...]
) -> None:
    engine = request.getfixturevalue(f"{database}_engine")
    found = stopped_in_motion(engine, tmp_path, 10_000, 2, how, goes_on=True)
    print(f"PROOF kill switch, 10,000 queued, 2 dispatchers ({engine.dialect.name}): {found}")
    assert found.last < 1
