"""Snapshots of SQLite and of PostgreSQL taken in the middle of a run and restored: nothing is said twice."""

import random
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

from beforehand.web.postroom.faults import Fault
from beforehand.web.postroom.server import PostRoom
from messaging.journal import Journal
from messaging.journal.reconciling import pay, reconcile
from messaging.outbox import reap
from messaging.unknown import settle
from models.database import connect, normal_url
from tests.delivery.restoring import held, journal_of, once_each, put_back, send, snapshot, states, twice
from tests.integration.out_world import plan_messages, ways

Restore = Callable[[], Engine]


def wall() -> datetime:
    return datetime.now(UTC)


@contextmanager
def of_postgres(engine: Engine, uri: str) -> Iterator[Restore]:
    """A copy of a PostgreSQL database, made now; what it gives renames the copy to the database's own name."""
    name, copy = str(engine.url.database), f"copy_{uuid.uuid4().hex}"
    admin = create_engine(normal_url(uri), isolation_level="AUTOCOMMIT")

    def run(*statements: str) -> None:
        engine.dispose()
        with admin.connect() as connection:
            for statement in statements:
                connection.execute(text(statement))

    run(f"CREATE DATABASE {copy} TEMPLATE {name}")

    def restore() -> Engine:
        run(f"DROP DATABASE {name} WITH (FORCE)", f"ALTER DATABASE {copy} RENAME TO {name}")
        return connect(engine.url.render_as_string(hide_password=False))

    yield restore
    admin.dispose()


@contextmanager
def of_sqlite(engine: Engine, folder: Path) -> Iterator[Restore]:
    """A copy of a SQLite database by its backup API, made now."""
    copy = snapshot(engine, folder / f"{uuid.uuid4().hex}.db")
    yield lambda: put_back(engine, copy)


def one_restore(
    engine: Engine,
    room: PostRoom,
    journal: Callable[[Engine], Journal],
    take: Callable[[Engine], AbstractContextManager[Restore]],
    chance: random.Random,
    count: int,
) -> tuple[Engine, int]:
    """Plan, send some, take a copy, send more, restore, reconcile, run to the end. Gives the forgotten sends."""
    for channel in ("sms", "voice", "email"):
        plan_messages(engine, count, channel=channel)
    first = journal(engine)
    send(engine, room, first, wall(), limit=chance.randint(1, count // 2), batch=7)
    with take(engine) as restore:
        known = len(room.ledger.entries)
        send(engine, room, first, wall(), limit=chance.randint(1, count // 2), batch=7)
        forgotten = len(room.ledger.entries) - known
        first.close()
        engine.dispose()
        engine = restore()
    again = journal(engine)
    before = len(room.ledger.entries)
    send(engine, room, again, wall())
    assert held(engine)
    assert len(room.ledger.entries) == before, "nothing goes while it is held"
    assert reconcile(engine, again, wall()).released
    finish(engine, room, again)
    again.close()
    return engine, forgotten


def finish(engine: Engine, room: PostRoom, journal: Journal) -> None:
    """What a house does by itself, until everything has ended."""
    pay(engine, journal, wall())
    reap(engine, wall() + timedelta(minutes=2))
    send(engine, room, journal, wall() + timedelta(minutes=3))
    after = timedelta(minutes=15)
    settle(engine, ways(room), wall() + timedelta(hours=2), send_timeout=2, settle_after=after)
    send(engine, room, journal, wall() + timedelta(hours=2))


@pytest.mark.prove
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_prove_restore(request: pytest.FixtureRequest, tmp_path: Path, database: str) -> None:
    chance, rounds, count = random.Random(4), 10, 60
    engine: Engine = request.getfixturevalue(f"{database}_engine".replace("postgresql", "postgres"))
    uri = request.getfixturevalue("postgres_uri") if database == "postgresql" else ""
    forgotten = total = 0
    with PostRoom() as room:
        for turn in range(1, rounds + 1):
            engine, here = one_restore(
                engine,
                room,
                lambda found: journal_of(found, tmp_path / "journal"),
                (lambda found: of_postgres(found, uri)) if uri else (lambda found: of_sqlite(found, tmp_path)),
                chance,
                count,
            )
            forgotten, total = forgotten + here, turn * 3 * count
            assert not twice(engine, room), f"restore {turn}: {twice(engine, room)}"
            assert once_each(room, total), f"restore {turn}: some were never sent"
            assert states(engine) == {"accepted": total}
    engine.dispose()
    print(
        f"\nPROOF restore {database}: {rounds} snapshots restored in the middle of {total:,} messages on three "
        f"channels, {forgotten:,} sends that the restored database had forgotten; 0 resent, 0 lost "
        f"(0 in {forgotten} bounds the rate at {3 / forgotten:.4f})"
    )


def test_a_postgres_copy_restored_says_nothing_twice(
    postgres_engine: Engine, postgres_uri: str, tmp_path: Path
) -> None:
    with PostRoom() as room:
        room.faults.add(Fault("messages", "error", accepted=True))
        engine, forgotten = one_restore(
            postgres_engine,
            room,
            lambda found: journal_of(found, tmp_path),
            lambda found: of_postgres(found, postgres_uri),
            random.Random(1),
            10,
        )
        assert forgotten > 0
        assert once_each(room, 30)
        assert states(engine) == {"accepted": 30}
        engine.dispose()
