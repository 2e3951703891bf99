"""A PostgreSQL primary killed in the middle of sending, its standby promoted: nothing is said twice, by the ledger."""

import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from beforehand.web.postroom.server import PostRoom
from messaging.journal import Journal
from messaging.journal.reconciling import pay, reconcile
from messaging.outbox import reap
from messaging.unknown import settle
from models.database import connect, migrate
from tests.delivery.clusters import Cluster, forget_standbys, new_parent, new_primary, new_standby
from tests.delivery.restoring import held, journal_of, once_each, send, states, twice
from tests.integration.out_world import plan_messages, references, rows_of, ways

SMS, MAILS = 150, 100


@pytest.fixture
def parent() -> Iterator[Path]:
    folder = new_parent()
    yield folder
    for one in folder.glob("*/postmaster.pid"):
        Cluster(one.parent).stop()
    shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Figures:
    """What the rounds came to: ``behind`` are sends that the promoted standby knew nothing of, or not their end."""

    rounds: int = 0
    messages: int = 0
    held: int = 0
    behind: int = 0


def wall() -> datetime:
    return datetime.now(UTC)


def dispatcher(engine: Engine, room: PostRoom, journal: Journal) -> threading.Thread:
    """Sends until the database is gone."""

    def work() -> None:
        try:
            while True:
                send(engine, room, journal, wall(), batch=20)
        except DBAPIError:
            return

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def kill_in_the_middle(primary: Cluster, room: PostRoom, chance: random.Random, *, synchronous: bool) -> None:
    """Wait for some sends, let an asynchronous standby fall behind, and kill the primary's whole process group."""
    until = len(room.ledger.entries) + chance.randint(20, 80)
    room.wait_for(until, timeout=120)
    if not synchronous:
        sender = primary.ask("SELECT pid FROM pg_stat_replication")
        os.kill(sender, signal.SIGSTOP)
        time.sleep(chance.uniform(0.05, 0.4))
    primary.kill()


def unknown_here(engine: Engine, room: PostRoom) -> int:
    """How many sends the provider has that this database does not know to the end."""
    known = {row.reference for row in rows_of(engine) if row.state == "accepted"}
    return len(set(references(room.ledger.entries)) - known)


def one_round(
    primary: Cluster, standby_name: str, room: PostRoom, folder: Path, chance: random.Random, *, synchronous: bool
) -> tuple[Cluster, Figures]:
    engine = connect(primary.url)
    plan_messages(engine, SMS)
    plan_messages(engine, MAILS, channel="email")
    standby = new_standby(primary.folder.parent, standby_name, primary, synchronous=synchronous)
    journals = [journal_of(engine, folder) for _ in range(2)]
    threads = [dispatcher(engine, room, journal) for journal in journals]
    kill_in_the_middle(primary, room, chance, synchronous=synchronous)
    for thread in threads:
        thread.join()
    engine.dispose()
    standby.promote()
    forget_standbys(standby)
    engine = connect(standby.url)
    figures = Figures(rounds=1, messages=SMS + MAILS, behind=unknown_here(engine, room))
    if chance.random() < 0.5:  # the processes were started anew as well
        for journal in journals:
            journal.close()
        journals = [journal_of(engine, folder)]
    go_on(engine, room, journals[0], figures)
    for journal in journals:
        journal.close()
    engine.dispose()
    return standby, figures


def go_on(engine: Engine, room: PostRoom, journal: Journal, figures: Figures) -> None:
    """What a house does by itself, and the one command that staff run where everything is held."""
    send(engine, room, journal, wall())
    figures.held = int(held(engine))
    if figures.held:
        before = len(room.ledger.entries)
        send(engine, room, journal, wall())
        assert len(room.ledger.entries) == before, "nothing goes while it is held"
        assert reconcile(engine, journal, wall()).released
    pay(engine, journal, wall())
    reap(engine, wall() + timedelta(minutes=2))
    send(engine, room, journal, wall() + timedelta(minutes=3))
    window = {"send_timeout": 2, "settle_after": timedelta(minutes=15)}
    settle(engine, ways(room), wall() + timedelta(hours=2), **window)  # type: ignore[arg-type]
    send(engine, room, journal, wall() + timedelta(hours=2))


@pytest.mark.prove
@pytest.mark.parametrize("synchronous", [False, True], ids=["asynchronous", "synchronous"])
def test_prove_failover(parent: Path, tmp_path: Path, synchronous: bool) -> None:
    chance = random.Random(4)
    total = Figures()
    primary = new_primary(parent, "n0")
    engine = connect(primary.url)
    migrate(engine)
    engine.dispose()
    with PostRoom() as room:
        for turn in range(1, 20 + 1):
            old = primary
            primary, one = one_round(primary, f"n{turn}", room, tmp_path, chance, synchronous=synchronous)
            shutil.rmtree(old.folder)
            total = Figures(*(a + b for a, b in zip(vars(total).values(), vars(one).values(), strict=True)))
            engine = connect(primary.url)
            assert not twice(engine, room), f"round {turn}: {twice(engine, room)}"
            assert once_each(room, total.messages), f"round {turn}: some were never sent"
            assert states(engine) == {"accepted": total.messages}
            engine.dispose()
    kind = "synchronous" if synchronous else "asynchronous"
    assert synchronous or total.behind > 100
    print(
        f"\nPROOF failover {kind}: {total.rounds} primaries killed and standbys promoted over {total.messages:,} "
        f"messages, {total.behind:,} sends unknown to the standby in {total.held} holds; 0 resent, 0 lost "
        f"(0 in {max(total.behind, 1)} bounds the rate at {3 / max(total.behind, 1):.4f})"
    )
