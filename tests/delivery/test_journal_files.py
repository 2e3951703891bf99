"""A journal's files: synced lines, torn ends, one process each, full and old ones; and nothing about a person."""

import os
import signal
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from beforehand.web.postroom.server import PostRoom
from messaging.addresses import address_hash
from messaging.channels.base import Outcome
from messaging.channels.base import fingerprint as plain_fingerprint
from messaging.claims import Claim
from messaging.journal import files
from messaging.journal.files import JournalError, JournalFile, Tails, lines_of
from messaging.journal.lines import Entry, Header, armed_line, done_line, entries, header_line, read_header, unreadable
from models.database import writing
from models.vocabulary import Channel, OutcomeClass, Purpose
from tests.delivery.restoring import held, journal_of, send
from tests.integration.out_world import NOW, SECRET, later, phone, plan_messages

HEADER = Header("", "d1", "here", False, "c")


def claim(number: int) -> Claim:
    """A claim of attempt ``number``."""
    return Claim(
        attempt_id=number,
        message_id=number + 100,
        number=1,
        lease="a" * 32,
        lease_until=later(minutes=1),
        channel=Channel.SMS,
        address=phone(number),
        address_hash=address_hash(SECRET, "sms", phone(number)),
        purpose=Purpose.SERVICE,
        rule_id="late-order",
        version="v1",
        occasion=f"order/{number}",
        step="0",
        match_id=number,
        customer_id=number,
        template="late-order",
        language="en",
        reference="R",
        details={},
        expires_at=None,
    )


def armed(number: int, *keys: int) -> str:
    marks = {key: plain_fingerprint(phone(key), "Your order is late") for key in keys}
    names = {key: f"k{key}" for key in keys}
    return armed_line(number, [claim(key) for key in keys], names, marks, "twilio", NOW, SECRET)


def done(number: int, *keys: int) -> str:
    accepted = [(claim(key), Outcome(OutcomeClass.ACCEPTED, provider_id=f"SM{key}")) for key in keys]
    return done_line(number, accepted, later(seconds=1))


def found(lines: Sequence[str], after: int = 0) -> dict[int, str | None]:
    """Attempts with the provider's id, None without an answer."""
    return {e.attempt_id: e.result.provider_id if e.result else None for e in entries(lines, SECRET, after=after)}


def test_what_is_written_is_read() -> None:
    (entry,) = entries([header_line(HEADER), armed(1, 7), done(2, 7)], SECRET, after=0)
    assert isinstance(entry, Entry)
    assert (entry.attempt_id, entry.message_id, entry.key, entry.channel) == (7, 107, "k7", Channel.SMS)
    assert (entry.armed_at, entry.lease_until) == (NOW, later(minutes=1))
    assert entry.fingerprint == plain_fingerprint(phone(7), "Your order is late")
    assert entry.result is not None
    assert (entry.result.kind, entry.result.at) == (OutcomeClass.ACCEPTED, later(seconds=1))
    assert read_header(header_line(HEADER)) == HEADER


def test_only_what_is_behind_the_number_counts() -> None:
    lines = [armed(1, 1, 2), done(2, 1), armed(3, 3), done(4, 2, 3)]
    assert found(lines) == {1: "SM1", 2: "SM2", 3: "SM3"}
    assert found(lines, after=2) == {2: "SM2", 3: "SM3"}, "an attempt counts where its result does"
    assert found(lines, after=3) == {2: "SM2", 3: "SM3"}
    assert found(lines, after=4) == {}


@pytest.mark.parametrize("cut", [2, 20, 150, 200])
def test_a_torn_line_says_nothing(cut: int) -> None:
    lines = [armed(1, 1), armed(2, 2)[:-cut]]
    assert found(lines) == {1: None}
    assert unreadable(lines) == 1


def test_nothing_in_a_journal_names_a_person(sqlite_engine: Engine, tmp_path: Path) -> None:
    with PostRoom() as room:
        plan_messages(sqlite_engine, 3)
        plan_messages(sqlite_engine, 3, channel="email")
        send(sqlite_engine, room, journal_of(sqlite_engine, tmp_path))
    said = "".join(file.read_text() for file in tmp_path.glob("*/*.jsonl"))
    assert said.count("armed") == 2
    for number in range(6):
        spoken = f"Your order is late. (R{number:07d})"
        for secret in (phone(number), f"c{number}@kunde", f"order/{number}", spoken, "late-order"):
            assert secret not in said
        assert plain_fingerprint(phone(number), spoken) not in said, "numbers can be tried against a plain hash"


def test_a_process_goes_on_with_the_file_that_another_left(tmp_path: Path) -> None:
    first = JournalFile.open(tmp_path, HEADER)
    first.append(armed(1, 1), number=1, sync=True)
    second = JournalFile.open(tmp_path, HEADER)
    assert second.journal != first.journal, "each has its own"
    first.close()
    third = JournalFile.open(tmp_path, HEADER)
    assert (third.journal, third.last) == (first.journal, 1)
    other = JournalFile.open(tmp_path, Header("", "d2", "here", False, "c"))
    assert other.journal not in (first.journal, second.journal), "another database has another"
    for file in (second, third, other):
        file.close()


def test_a_file_with_a_torn_end_is_gone_on_with(tmp_path: Path) -> None:
    file = JournalFile.open(tmp_path, HEADER)
    file.append(armed(1, 1), number=1, sync=True)
    file.close()
    with file.path.open("a") as opened:
        opened.write(armed(2, 2)[:90])
    assert Tails().last(file.path) == 1
    again = JournalFile.open(tmp_path, HEADER)
    again.append(armed(2, 3), number=2, sync=True)
    again.close()
    assert found(list(lines_of(file.path))) == {1: None, 3: None}


def test_tails_read_on_where_they_were(tmp_path: Path) -> None:
    file, tails = JournalFile.open(tmp_path, HEADER), Tails()
    assert tails.last(file.path) == 0
    for number in range(1, 50):
        file.append(armed(number, number), number=number, sync=False)
        assert tails.last(file.path) == number
    file.append(done(12, 12), number=12, sync=False)
    assert tails.last(file.path) == 49, "two threads may write their lines in another order than they were counted"
    file.path.unlink()
    assert tails.last(file.path) == 0
    file.close()


def test_a_killed_process_leaves_its_file_to_the_next(tmp_path: Path) -> None:
    child = os.fork()
    if not child:
        JournalFile.open(tmp_path, HEADER).append(armed(1, 1), number=1, sync=True)
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    after = JournalFile.open(tmp_path, HEADER)
    assert after.last == 1
    after.close()


def test_a_full_file_is_left_and_another_begun(
    sqlite_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("messaging.journal.book.ROTATE_BYTES", 3000)
    monkeypatch.setattr(files, "ROTATE_BYTES", 3000)
    with PostRoom() as room:
        plan_messages(sqlite_engine, 60)
        journal = journal_of(sqlite_engine, tmp_path)
        assert send(sqlite_engine, room, journal).sent == 60
        there = list(tmp_path.glob("*/*.jsonl"))
        assert len(there) > 3
        assert sum(len(found(list(lines_of(file)))) for file in there) == 60
        with writing(sqlite_engine) as connection:
            assert not journal_of(sqlite_engine, tmp_path).look(connection, NOW)


def test_old_files_go_and_the_database_forgets_them(sqlite_engine: Engine, tmp_path: Path) -> None:
    with PostRoom() as room:
        plan_messages(sqlite_engine, 2)
        journal = journal_of(sqlite_engine, tmp_path, keep=timedelta(days=5))
        send(sqlite_engine, room, journal)
        (file,) = tmp_path.glob("*/*.jsonl")
        now = NOW.fromtimestamp(file.stat().st_mtime, tz=NOW.tzinfo)
        for process, after, stays in ((False, 6, True), (True, 4, True), (True, 6, False)):
            if process:
                journal.close()
            with writing(sqlite_engine) as connection:
                journal_of(sqlite_engine, tmp_path, keep=timedelta(days=5)).look(
                    connection, now + timedelta(days=after)
                )
            assert file.exists() is stays, "a file in use stays, and so does a young one"
        plan_messages(sqlite_engine, 1)
        assert send(sqlite_engine, room, journal).sent == 1
        assert not held(sqlite_engine)


def test_a_folder_that_cannot_be_written_is_said_plainly(sqlite_engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("a file, where the folder should be")
    plan_messages(sqlite_engine, 1)
    with PostRoom() as room:
        with pytest.raises(JournalError, match=r"cannot be written.*BEFOREHAND_JOURNAL"):
            send(sqlite_engine, room, journal_of(sqlite_engine, tmp_path / "journal"))
        assert not room.ledger.entries
