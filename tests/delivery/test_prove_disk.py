"""A disk that fills up and a file that breaks: a clear error, nothing sent without a record, and it goes on after."""

import random
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, select
from sqlalchemy.exc import DBAPIError

from beforehand.web.postroom.server import PostRoom
from messaging.claims import attempt, message
from messaging.journal import Journal, JournalError
from messaging.journal.reconciling import pay, reconcile
from messaging.outbox import reap
from messaging.unknown import settle
from models.database import connect, reading
from models.trouble import Trouble, damaged, plainly, quick_check, trouble_of
from tests.delivery.restoring import held, journal_of, once_each, put_back, send, snapshot, states
from tests.integration.out_world import plan_messages, references, ways

PAGE = 4096


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk stays as full as it is: there is no use in waiting long for it."""
    monkeypatch.setattr("messaging.dispatch.RECORD_WAITS", (0.02, 0.02, 0.02))


def wall() -> datetime:
    return datetime.now(UTC)


def database_file(engine: Engine) -> Path:
    return Path(str(engine.url.database))


def to_the_end(engine: Engine, room: PostRoom, journal: Journal) -> None:
    """What a house does by itself once all is well again."""
    pay(engine, journal, wall())
    reap(engine, wall() + timedelta(minutes=2))
    send(engine, room, journal, wall() + timedelta(minutes=3))
    settle(
        engine, ways(room), wall() + timedelta(hours=2), send_timeout=2, settle_after=timedelta(minutes=15)
    )  # fmt: skip
    send(engine, room, journal, wall() + timedelta(hours=2))


def sent_without_record(engine: Engine, room: PostRoom) -> set[str]:
    """What the provider has and no armed attempt tells of."""
    armed = select(message.c.reference).join(attempt, attempt.c.message_id == message.c.id)
    with reading(engine) as connection:
        known = set(connection.execute(armed.where(attempt.c.armed_at.is_not(None))).scalars())
    return set(references(room.ledger.entries)) - known


@contextmanager
def at_most_pages(engine: Engine, more: int) -> Iterator[None]:
    """The database can grow by so many pages and no further: a disk with little room."""
    with engine.connect() as connection:
        size = connection.exec_driver_sql("PRAGMA page_count").scalar_one()

    def limit(raw: object, *_rest: object) -> None:
        raw.execute(f"PRAGMA max_page_count = {size + more}")  # type: ignore[attr-defined]

    engine.dispose()
    event.listen(engine, "connect", limit)
    try:
        yield
    finally:
        event.remove(engine, "connect", limit)
        engine.dispose()


def full_disk(engine: Engine, room: PostRoom, folder: Path, count: int, more: int) -> int:
    """Send until the disk is full, make room, go on; gives how many had gone by then."""
    plan_messages(engine, count)
    journal = journal_of(engine, folder)
    with at_most_pages(engine, more):
        with pytest.raises(DBAPIError) as wrong:
            send(engine, room, journal, wall(), batch=20)
        assert trouble_of(wrong.value) is Trouble.FULL
        assert "make room there" in plainly(wrong.value, engine.url)
        before = len(room.ledger.entries)
        with pytest.raises(DBAPIError):
            send(engine, room, journal, wall(), batch=20)
        assert len(room.ledger.entries) - before <= 8, "at most a group gets through where a page was free"
    assert not sent_without_record(engine, room)
    to_the_end(engine, room, journal)
    assert once_each(room, count)
    assert states(engine) == {"accepted": count}
    assert not held(engine)
    return before


def test_a_full_disk_stops_sending_and_nothing_is_lost(sqlite_engine: Engine, tmp_path: Path) -> None:
    with PostRoom() as room:
        assert full_disk(sqlite_engine, room, tmp_path / "journal", 60, 3) < 60


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """No file of this process can grow beyond so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_journal_that_cannot_be_written_stops_sending(postgres_engine: Engine, tmp_path: Path) -> None:
    plan_messages(postgres_engine, 120)
    journal = journal_of(postgres_engine, tmp_path)
    with PostRoom() as room:
        send(postgres_engine, room, journal, wall(), limit=8)
        (file,) = tmp_path.glob("*/*.jsonl")
        with files_no_larger_than(file.stat().st_size + 5000), pytest.raises(JournalError, match="Make room there"):
            send(postgres_engine, room, journal, wall())
        lines = [line for line in file.read_text().splitlines() if line.endswith("}")]
        gone = len(room.ledger.entries)
        assert 8 < gone < 120
        assert len(lines) > 2
        assert states(postgres_engine)["in_flight"] == 0, "what was armed and not sent is back in the queue"
        to_the_end(postgres_engine, room, journal)
        assert once_each(room, 120)
        assert states(postgres_engine) == {"accepted": 120}
        assert not held(postgres_engine)


def break_page(file: Path, number: int, chance: random.Random) -> None:
    """Write noise over one page (from 1)."""
    with file.open("r+b") as opened:
        opened.seek((number - 1) * PAGE)
        opened.write(chance.randbytes(PAGE))


def whole_file(engine: Engine) -> int:
    """Bring the log into the file; gives the number of its pages."""
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        pages: int = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    engine.dispose()
    return pages


def broken_page(engine: Engine, folder: Path, number: int, chance: random.Random) -> tuple[bool, bool, Engine]:
    """Break a page in the middle of a run, try to go on, restore, reconcile, go on.

    Returns whether sending noticed, whether the look at the start would have, and the restored database.
    """
    journal = journal_of(engine, folder / "journal")
    with PostRoom() as room:
        plan_messages(engine, 24)
        send(engine, room, journal, wall(), limit=8)
        copy = snapshot(engine, folder / "copy.db")
        send(engine, room, journal, wall(), limit=8)
        whole_file(engine)
        break_page(database_file(engine), number, chance)
        engine = connect(str(engine.url))
        noticed = False
        try:
            send(engine, room, journal, wall(), limit=4)
        except DBAPIError as wrong:
            noticed = trouble_of(wrong) is Trouble.DAMAGED
        except JournalError:
            noticed = True
        if noticed:
            with pytest.raises(JournalError, match=r"is damaged.*restore-a-backup\.md"):
                send(engine, room, journal, wall())
        found = quick_check(engine)
        journal.note_damage("")
        engine = put_back(engine, copy)
        assert quick_check(engine) is None
        send(engine, room, journal, wall())
        assert held(engine)
        assert reconcile(engine, journal, wall()).released
        to_the_end(engine, room, journal)
        assert once_each(room, 24)
        assert states(engine) == {"accepted": 24}
    journal.close()
    return noticed, found is not None, engine


def root_page(engine: Engine, table: str) -> int:
    with engine.connect() as connection:
        said = connection.exec_driver_sql(f"SELECT rootpage FROM sqlite_master WHERE name = '{table}'")
        return int(said.scalar_one())


@pytest.mark.parametrize("table", ["message", "ix_message_due", "attempt"])
def test_a_corrupt_page_stops_sending_and_a_backup_brings_it_back(
    sqlite_engine: Engine, tmp_path: Path, table: str
) -> None:
    noticed, found, _ = broken_page(sqlite_engine, tmp_path, root_page(sqlite_engine, table), random.Random(4))
    assert noticed
    assert found
    assert "restore-a-backup.md" in damaged(sqlite_engine.url)


@pytest.mark.prove
def test_prove_disk(sqlite_template: Path, tmp_path: Path) -> None:
    gone = []
    for more in range(1, 21):
        engine = fresh(sqlite_template, tmp_path / f"full{more}")
        with PostRoom() as room:
            gone.append(full_disk(engine, room, tmp_path / f"full{more}" / "journal", 200, more))
        engine.dispose()
    noticed = found = 0
    probe = connect(f"sqlite:///{sqlite_template}")
    pages = whole_file(probe)
    looked = range(1, pages + 1, 2)
    for number in looked:
        folder = tmp_path / f"page{number}"
        saw, would, engine = broken_page(fresh(sqlite_template, folder), folder, number, random.Random(number))
        engine.dispose()
        noticed, found = noticed + saw, found + would
    print(
        f"\nPROOF disk: {len(gone)} full disks after {min(gone)} to {max(gone)} of 200 messages and {len(looked)} "
        f"broken pages (sending noticed {noticed}, the look at the start {found}): "
        "0 sent without a record, 0 twice, 0 lost"
    )


def fresh(template: Path, folder: Path) -> Engine:
    folder.mkdir()
    (folder / "test.db").write_bytes(template.read_bytes())
    return connect(f"sqlite:///{folder / 'test.db'}")
