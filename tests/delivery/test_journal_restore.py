"""A restored database says nothing twice: it is held, reconciled with the journal, and goes on."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, delete, select, update

from beforehand.web.postroom.faults import Fault
from beforehand.web.postroom.server import PostRoom
from messaging.candidates import TABLES
from messaging.claims import attempt, evidence, message
from messaging.journal import Journal
from messaging.journal.reconciling import Reconciled, pay, reconcile
from messaging.outbox import reap
from models.database import connect, migrate, reading, writing
from models.vocabulary import MessageState, Reason
from tests.delivery.restoring import held, journal_of, once_each, put_back, reasons, send, snapshot, states
from tests.integration.out_world import attempts_of, later, plan_messages, references, rows_of


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
    known = {row.provider_id for row in attempts_of(engine)}
    assert known == ({None} if channel == "email" else {entry.sid for entry in room.ledger.entries})
    again = reconcile(engine, journal_of(engine, tmp_path / "journal"), later(minutes=3))
    assert (again.was_held, again.attempts, again.moved) == (False, 0, {})


def restored_after(
    engine: Engine, room: PostRoom, folder: Path, count: int = 6, *, faults: tuple[Fault, ...] = ()
) -> tuple[Engine, Journal]:
    """A database of ``count`` messages, put back to before any of them was sent, and its journal."""
    plan_messages(engine, count)
    journal = journal_of(engine, folder / "journal")
    send(engine, room, journal, limit=0)
    with writing(engine) as connection:
        journal.look(connection, later())
    copy = snapshot(engine, folder / "copy.db")
    for fault in faults:
        room.faults.add(fault)
    send(engine, room, journal)
    journal.close()
    restored = put_back(engine, copy)
    return restored, journal_of(restored, folder / "journal")


def test_an_answer_that_never_came_is_unknown_and_follows_the_policy(
    sqlite_engine: Engine, room: PostRoom, tmp_path: Path
) -> None:
    engine, journal = restored_after(sqlite_engine, room, tmp_path, faults=(Fault("messages", "drop", accepted=True),))
    done = reconcile(engine, journal, later(minutes=1))
    assert done.moved == {MessageState.ACCEPTED: 5, MessageState.UNKNOWN: 1}
    assert states(engine) == {"accepted": 5, "unknown": 1}
    assert [row.fingerprint is not None for row in attempts_of(engine)] == [True] * 6, "a listing can be asked"
    assert send(engine, room, journal, later(minutes=2)).sent == 0
    assert once_each(room, 6)


def test_what_was_refused_and_what_was_not_accepted(sqlite_engine: Engine, room: PostRoom, tmp_path: Path) -> None:
    """With a refusal comes back what it asked for: the address must not be used."""
    plan_messages(sqlite_engine, 1, address="+15005550009")
    engine, journal = restored_after(sqlite_engine, room, tmp_path, 1, faults=(Fault("messages", "busy"),))
    busy = [row.state for row in rows_of(engine)]
    assert busy == ["planned", "planned"]
    reconcile(engine, journal, later(minutes=1))
    assert sorted((row.state, row.reason) for row in rows_of(engine)) == [("failed", "refused"), ("queued", None)]
    with reading(engine) as connection:
        causes = connection.execute(select(TABLES["suppression"].c.cause)).scalars().all()
    assert causes == ["provider_21614"]
    assert send(engine, room, journal, later(minutes=2)).sent == 1
    assert {row.tries for row in rows_of(engine) if row.state == "accepted"} == {2}


def forget_messages(engine: Engine) -> None:
    """The backup was from before the messages were planned: take everything of theirs away."""
    with writing(engine) as connection:
        for table in (evidence, attempt, message, TABLES["match"]):
            connection.execute(delete(table))


def test_a_send_whose_message_is_gone_is_remembered_by_what_the_sources_call_it(
    sqlite_engine: Engine, room: PostRoom, tmp_path: Path
) -> None:
    engine, journal = restored_after(sqlite_engine, room, tmp_path, 3)
    forget_messages(engine)
    with writing(engine) as connection:  # the sources are read anew, in another order: our own ids are others now
        for table in ("orders", "customer"):
            moved = update(TABLES[table]).values(external_id=TABLES[table].c.external_id + "-old")
            connection.execute(moved)
    done = reconcile(engine, journal, later(minutes=1))
    assert (done.moved, done.past, done.released) == ({}, 3, True)
    plan_messages(engine, 2)  # customers c3, c4, whose matches have the ids of those forgotten
    assert send(engine, room, journal, later(minutes=2)).sent == 2
    assert len(references(room.ledger.entries)) == 5


def test_a_forgotten_send_planned_anew_is_put_right_and_not_sent(
    sqlite_engine: Engine, room: PostRoom, tmp_path: Path
) -> None:
    plan_messages(sqlite_engine, 3)
    journal = journal_of(sqlite_engine, tmp_path / "journal")
    with writing(sqlite_engine) as connection:
        journal.look(connection, later())
    send(sqlite_engine, room, journal)
    rows, matches = rows_of(sqlite_engine), TABLES["match"]
    with reading(sqlite_engine) as connection:
        kept = [dict(row) for row in connection.execute(select(matches)).mappings()]
    forget_messages(sqlite_engine)
    with writing(sqlite_engine) as connection:
        connection.execute(delete(TABLES["mark"]).where(TABLES["mark"].c.journal != "database"))
    assert reconcile(sqlite_engine, journal, later(minutes=1)).past == 3
    with writing(sqlite_engine) as connection:  # the rule finds two of them again
        connection.execute(matches.insert(), [row | {"started_at": later(minutes=2)} for row in kept[:2]])
        planned = [dict(row._mapping) | {"state": "planned", "accepted_at": None, "tries": 0} for row in rows[:2]]
        connection.execute(message.insert(), planned)
    assert send(sqlite_engine, room, journal, later(minutes=3)).withheld == {Reason.SENT_BEFORE: 2}
    assert [(row.state, row.reason, row.accepted_at) for row in rows_of(sqlite_engine)] == [
        ("accepted", "sent_before", later())
    ] * 2
    assert {row.provider_id for row in attempts_of(sqlite_engine)} <= {entry.sid for entry in room.ledger.entries}
    with reading(sqlite_engine) as connection:
        begun = set(connection.execute(select(matches.c.started_at)).scalars())
        left = connection.execute(select(TABLES["past_send"].c.key)).all()
    assert begun == {later()}, "a pause counts from when it was said"
    assert len(left) == 1
    assert once_each(room, 3)


def test_a_database_that_is_behind_in_its_results_alone_is_held(
    sqlite_engine: Engine, room: PostRoom, tmp_path: Path
) -> None:
    """An e-mail that was armed and whose answer is lost would go a second time: no listing tells of it."""
    plan_messages(sqlite_engine, 1, channel="email")
    journal = journal_of(sqlite_engine, tmp_path / "journal")
    copies = []

    def at(point: str) -> None:
        if point == "armed":
            copies.append(snapshot(sqlite_engine, tmp_path / "copy.db"))

    send(sqlite_engine, room, journal, at=at)
    journal.close()
    engine = put_back(sqlite_engine, copies[0])
    assert states(engine) == {"in_flight": 1}
    journal = journal_of(engine, tmp_path / "journal")
    reap(engine, later(minutes=5))
    send(engine, room, journal, later(minutes=5))
    assert held(engine)
    assert reconcile(engine, journal, later(minutes=6)).moved == {MessageState.ACCEPTED: 1}
    send(engine, room, journal, later(hours=5))
    assert len(room.ledger.entries) == 1


def test_nothing_is_written_beyond_what_was_lost(sqlite_engine: Engine, room: PostRoom, tmp_path: Path) -> None:
    """A process that goes on over a restored database does not catch up with the lines that were lost."""
    plan_messages(sqlite_engine, 24)
    journal = journal_of(sqlite_engine, tmp_path / "journal")
    send(sqlite_engine, room, journal, limit=8)
    with reading(sqlite_engine) as connection:
        mark = dict(connection.execute(select(TABLES["mark"].c.journal, TABLES["mark"].c.number)).tuples().all())
    put_back_at = {"claimed": False}

    def at(point: str) -> None:
        """Between the claim and arming, the mark goes back: rows that only this process knew of were lost."""
        if point == "rendered" and not put_back_at["claimed"]:
            put_back_at["claimed"] = True
            with writing(sqlite_engine) as connection:
                for name, number in mark.items():
                    if name != "database":
                        change = update(TABLES["mark"]).where(TABLES["mark"].c.journal == name)
                        connection.execute(change.values(number=number - 2))

    assert send(sqlite_engine, room, journal, later(minutes=1), at=at, limit=8).sent == 0
    assert held(sqlite_engine)
    assert len(room.ledger.entries) == 8
    assert states(sqlite_engine) == {"accepted": 8, "planned": 8, "queued": 8}
    assert reconcile(sqlite_engine, journal, later(minutes=2)).released
    send(sqlite_engine, room, journal, later(minutes=3))
    assert once_each(room, 24)


def test_results_that_the_database_could_not_take_are_brought_in_without_anybody(
    engine: Engine, room: PostRoom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("messaging.dispatch.RECORD_WAITS", ())
    plan_messages(engine, 3, channel="email")
    journal = journal_of(engine, tmp_path)
    closing = "CREATE TRIGGER closed BEFORE INSERT ON evidence "
    how = "BEGIN SELECT RAISE(ABORT, 'closed'); END"
    if engine.dialect.name == "postgresql":
        how = "EXECUTE FUNCTION closed()"
        body = "CREATE FUNCTION closed() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'closed'; END$$"
        with engine.begin() as connection:
            connection.exec_driver_sql(body)
    with engine.begin() as connection:
        connection.exec_driver_sql(closing + how)
    with pytest.raises(Exception, match="closed"):
        send(engine, room, journal)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER closed" + (" ON evidence" if "FUNCTION" in how else ""))
    assert states(engine) == {"in_flight": 3}
    reaped = journal_of(engine, tmp_path)  # another process
    with writing(engine) as connection:
        assert not reaped.look(connection, later(minutes=1)), "nobody is needed for this"
    assert pay(engine, reaped, later(minutes=1)) == 3
    assert (states(engine), reasons(engine)) == ({"accepted": 3}, {None: 3})
    assert pay(engine, reaped, later(minutes=2)) == 0
    assert send(engine, room, journal, later(hours=3)).sent == 0


def lost_and_begun_anew(folder: Path, room: PostRoom, *, live: bool, elsewhere: bool = False) -> tuple[Engine, Journal]:
    """A database that sent, and a new and empty one in its place (or ``elsewhere``)."""
    first = connect(f"sqlite:///{folder / 'a.db'}")
    migrate(first)
    plan_messages(first, 2)
    send(first, room, journal_of(first, folder / "journal", live=live))
    first.dispose()
    for file in folder.glob("a.db*"):
        file.unlink()
    new = connect(f"sqlite:///{folder / ('b.db' if elsewhere else 'a.db')}")
    migrate(new)
    return new, journal_of(new, folder / "journal", live=live)


def test_a_lost_database_begun_anew_is_held_and_nobody_is_told_again(room: PostRoom, tmp_path: Path) -> None:
    engine, journal = lost_and_begun_anew(tmp_path, room, live=True)
    plan_messages(engine, 3)
    assert send(engine, room, journal).withheld == {Reason.RESTORED: 3}
    done = reconcile(engine, journal, later(minutes=1))
    assert (done.released, done.moved) == (True, {MessageState.ACCEPTED: 2})
    assert send(engine, room, journal, later(minutes=2)).sent == 1
    assert once_each(room, 3)


@pytest.mark.parametrize(("live", "elsewhere"), [(False, False), (True, True), (False, True)])
def test_a_new_database_is_no_alarm(room: PostRoom, tmp_path: Path, live: bool, elsewhere: bool) -> None:
    """Begun anew over the post room, or a second one at another place beside the same folder."""
    engine, journal = lost_and_begun_anew(tmp_path, room, live=live, elsewhere=elsewhere)
    plan_messages(engine, 1)
    assert send(engine, room, journal).sent == 1
    assert not held(engine)


def test_a_deleted_journal_is_no_alarm(sqlite_engine: Engine, room: PostRoom, tmp_path: Path) -> None:
    plan_messages(sqlite_engine, 2)
    send(sqlite_engine, room, journal_of(sqlite_engine, tmp_path / "journal"), limit=1)
    shutil.rmtree(tmp_path / "journal")
    assert send(sqlite_engine, room, journal_of(sqlite_engine, tmp_path / "journal")).sent == 1
    assert not held(sqlite_engine)


def test_what_another_machine_found_is_not_released_here(sqlite_engine: Engine, room: PostRoom, tmp_path: Path) -> None:
    engine, journal = restored_after(sqlite_engine, room, tmp_path)
    send(engine, room, journal)
    assert held(engine)
    elsewhere = journal_of(engine, tmp_path / "other")
    done: Reconciled = reconcile(engine, elsewhere, later(minutes=1))
    assert (done.released, held(engine)) == (False, True)
    assert reconcile(engine, elsewhere, later(minutes=1), force=True).released
    send(engine, room, journal, later(minutes=2))
    assert held(engine), "the machine that sent looks for itself"
    assert once_each(room, 6)
