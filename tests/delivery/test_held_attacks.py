"""Attacks on held runs: what was not approved must not go, and who wrote it must not approve it.

Each test is a way in that was tried. A strict xfail marks one that is still open; take the mark off with
the mend.
"""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select, update

import models
from beforehand.approving import Looks, NotAllowed, WatchReport, answer, open_runs, watch
from beforehand.dispatching import dispatch_due
from beforehand.passes import advance, run_rule
from beforehand.web.postroom.faults import Fault
from beforehand.web.postroom.server import PostRoom
from messaging.candidates import TABLES, message
from models.database import reading, writing
from models.housekeeping import RuleInForce
from models.vocabulary import HeldState, MessageState
from tests.deciding import NOON, House
from tests.holding import states

HOUR = timedelta(hours=1)


@pytest.fixture
def room() -> Iterator[PostRoom]:
    with PostRoom(numbers=["+442079460000"]) as one:
        yield one


class Heartbeat:
    """Looks at held runs every five seconds by a clock that nobody sets, whatever the other clock says."""

    def __init__(self, house: House) -> None:
        self.house, self.beats = house, 0
        self.looks = Looks(monotonic=lambda: 5.0 * self.beats)

    def __call__(self, at: timedelta = timedelta()) -> WatchReport:
        self.beats += 1
        return watch(self.house.app, NOON + at, self.looks)


@pytest.fixture
def house(engine: Engine, tmp_path: Path, room: PostRoom) -> House:
    own = {
        "canary": 2,
        "quiet_hours": {},
        "quiet_laws": None,
        "journal": tmp_path / "journal",
        "post_room_port": int(room.http_url.rpartition(":")[2]),
        "post_room_smtp_port": room.smtp_port,
        "twilio_account_sid": room.account_sid,
        "twilio_auth_token": room.auth_token,
        "status_callbacks": False,
    }
    made = House(engine, tmp_path, own)
    made.template()
    made.rule(limits="{once_per: customer, brake: 20% of customers}", steps="  - {send: hello, by: sms}")
    for _ in range(10):
        made.customer()
    return made


def text(house: House) -> Path:
    return house.folder / "templates" / "hello" / "sms.en.txt"


def held(house: House) -> int:
    """A run of ten, held; its number."""
    run_rule(house.app, "hello", NOON)
    (run,) = open_runs(house.app)
    return run.id


def say(house: House, run: int, *, yes: bool, by: str = "tom", at: timedelta = timedelta()) -> Any:
    return answer(house.app, run, approve=yes, by=by, via="cli", now=NOON + at)


def stopped(house: House) -> int:
    """A run of which two have gone, stopped again since its texts were changed."""
    run = held(house)
    say(house, run, yes=True)
    advance(house.app, NOON)
    dispatch_due(house.app, NOON)
    text(house).write_text("Something else.\n")
    assert watch(house.app, NOON).stopped == [run]
    return run


def bodies(room: PostRoom) -> list[str]:
    return [entry.body for entry in room.ledger.entries if not entry.inbound]


def test_a_text_that_was_changed_after_the_approval_does_not_reach_the_wire(house: House, room: PostRoom) -> None:
    """Between the approval and the next look of the heartbeat lie seconds, in which a canary goes."""
    run = held(house)
    say(house, run, yes=True)
    text(house).write_text("We sell your data.\n")
    advance(house.app, NOON)
    dispatch_due(house.app, NOON)
    assert not [body for body in bodies(room) if "sell your data" in body]


def test_what_was_on_the_wire_as_a_person_refused_does_not_go_afterwards(house: House, room: PostRoom) -> None:
    """A claim that came back, a provider that was busy: the message is queued again when the run has ended."""
    run = stopped(house)
    gone = len(bodies(room))
    with writing(house.engine) as connection:  # one of the canary was in the air all the while
        key = connection.execute(select(message.c.id).order_by(message.c.id).limit(1)).scalar_one()
        away = update(message).where(message.c.id == key)
        connection.execute(away.values(state=MessageState.IN_FLIGHT, accepted_at=None))
    say(house, run, yes=False)
    with writing(house.engine) as connection:  # as the reaper or a 429 leave it
        connection.execute(away.values(state=MessageState.QUEUED, due_at=NOON, reason=None, ended_at=None))
    text(house).write_text("Good day.\n")
    dispatch_due(house.app, NOON + HOUR)
    assert len(bodies(room)) == gone


@pytest.mark.parametrize("refused", [False, True])
def test_what_is_claimed_as_its_run_is_stopped_does_not_leave(house: House, room: PostRoom, refused: bool) -> None:
    """A batch is claimed at once and goes bit by bit, for seconds or, by a slow sender, for minutes."""
    run, done = held(house), []
    say(house, run, yes=True)
    advance(house.app, NOON)

    def between() -> bool:
        if not done and states(house, models.Message) == {"claimed": 2}:
            text(house).write_text("Something else.\n")
            done.extend(watch(house.app, NOON).stopped)
            if refused:
                say(house, run, yes=False)
        return False

    dispatch_due(house.app, NOON, stopping=between)
    assert done == [run]
    assert bodies(room) == []
    assert set(house.rows(models.Message, "state")) == {"cancelled" if refused else "held"}
    assert set(house.rows(models.Attempt, "state", "ended_at")) == {("returned", NOON)}
    if refused:
        return
    say(house, run, yes=True)
    dispatch_due(house.app, NOON)
    assert ["Something else." in body for body in bodies(room)] == [True, True], "a yes brings them back"


def test_first_few_of_which_nobody_knows_anything_let_nothing_else_go(house: House, room: PostRoom) -> None:
    """The provider took them and did not say so: no STOP of theirs could be told from those of others."""
    run = held(house)
    say(house, run, yes=True)
    room.faults.add(Fault("messages", "drop", times=2, accepted=True))
    advance(house.app, NOON)
    dispatch_due(house.app, NOON)
    assert states(house, models.Message) == {"unknown": 2}
    for minutes in (31, 180):
        at = timedelta(minutes=minutes)
        assert watch(house.app, NOON + at).released == []
        advance(house.app, NOON + at)
        dispatch_due(house.app, NOON + at)
    assert len(bodies(room)) == 2


@pytest.mark.parametrize("what", ["voucher", "task"])
def test_while_a_run_is_stopped_no_step_of_it_is_taken(house: House, what: str) -> None:
    steps = {
        "voucher": "  - wait: 1 hour\n  - voucher: {worth: 5 EUR, valid_for: 90 days, budget: 500 EUR per month}\n",
        "task": "  - wait: 1 hour\n  - {task: Call them, to: care-desk}\n",
    }
    house.rule(limits="{once_per: customer, brake: 20% of customers}", steps=steps[what] + "  - {send: hello, by: sms}")
    run = held(house)
    say(house, run, yes=True)
    text(house).write_text("Something else.\n")
    assert watch(house.app, NOON).stopped == [run]
    advance(house.app, NOON + 2 * HOUR)
    assert house.rows({"voucher": models.Voucher, "task": models.Task}[what], "id") == []


def git(folder: Path, who: str, *told: str) -> None:
    said = ["-c", f"user.name={who}", "-c", f"user.email={who}@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *said, *told], cwd=folder, check=True, capture_output=True)


def test_who_wrote_the_words_cannot_approve_them_either(house: House) -> None:
    """The author of the change is not only who wrote the rule: the template is what customers read."""
    git(house.folder, "tom", "init", "-q")
    git(house.folder, "tom", "add", "rules")
    git(house.folder, "tom", "commit", "-qm", "rule")
    git(house.folder, "eva", "add", "templates")
    git(house.folder, "eva", "commit", "-qm", "text")
    run = held(house)
    with pytest.raises(NotAllowed):
        say(house, run, yes=True, by="Tom <tom@example.com>")
    with pytest.raises(NotAllowed):
        say(house, run, yes=True, by="Eva <eva@example.com>")


def test_a_clock_that_was_ahead_for_a_moment_lets_nothing_go_and_ends_nothing(house: House, room: PostRoom) -> None:
    run, look, ahead = held(house), Heartbeat(house), timedelta(days=400)
    look(ahead)
    look()
    look(ahead)
    (found,) = open_runs(house.app)
    assert found.state is HeldState.WAITING
    say(house, run, yes=True)
    advance(house.app, NOON)
    dispatch_due(house.app, NOON)
    look(ahead)
    look()
    look(ahead)
    advance(house.app, NOON + timedelta(minutes=1))
    assert len(house.rows(models.Message, "id")) == 2, "nobody has listened to what came back of the first few"


def test_many_small_runs_are_held_as_the_large_one_that_they_are(house: House) -> None:
    """A wrong rule on an event finds some at every beat: two by two, all of them are told within minutes."""
    house.set(models.Customer, country="XX")
    for turn in range(5):
        keys = house.rows(models.Customer, "id")[2 * turn : 2 * turn + 2]
        house.set(models.Customer, lambda c, keys=keys: c.id.in_(keys), country="DE")  # type: ignore[misc]
        run_rule(house.app, "hello", NOON + timedelta(seconds=2 * turn))
    assert len(house.rows(models.Message, "id")) < 10


def test_of_two_answers_at_once_one_is_given(house: House) -> None:
    run, done, ready = held(house), [], threading.Barrier(4)

    def give(yes: bool, who: str) -> None:
        ready.wait()
        with suppress(NotAllowed):
            done.append((yes, say(house, run, yes=yes, by=who).state))

    threads = [threading.Thread(target=give, args=(n % 2 == 0, f"person-{n}")) for n in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(done) == 1
    advance(house.app, NOON)
    expected = 2 if done[0][0] else 0
    assert len(house.rows(models.Message, "id")) == expected


def test_a_refused_list_stays_refused_when_the_same_is_found_again(house: House) -> None:
    run = held(house)
    say(house, run, yes=False)
    for hours in (1, 2, 3):
        assert run_rule(house.app, "hello", NOON + hours * HOUR).planned == 0
    advance(house.app, NOON + 4 * HOUR)
    assert house.rows(models.Message, "id") == []


def test_a_rule_that_is_a_draft_for_a_minute_loses_no_held_run_silently(house: House) -> None:
    run, look = held(house), Heartbeat(house)

    def becomes(status: str) -> None:
        table: Any = RuleInForce.__table__  # type: ignore[attr-defined]
        with writing(house.engine) as connection:
            connection.execute(update(table).values(status=status))

    for status in ("draft", "live", "draft"):
        becomes(status)
        assert look().ended == []
    assert look().ended == [run], "it has been a draft for two looks"
    with reading(house.engine) as connection:
        row = connection.execute(select(TABLES["held_run"])).one()
    assert (row.state, row.said) == ("refused", "the rule is not live any more")


def test_an_answer_is_given_now_whatever_moment_is_typed() -> None:
    """`beforehand approve 1 --yes --now YESTERDAY` would approve what nobody answered in time."""
    from typer.testing import CliRunner

    from beforehand.cli import app as cli

    told = CliRunner().invoke(cli, ["approve", "1", "--yes", "--now", "2026-03-10T12:00:00Z", "--by", "tom"])
    assert told.exit_code == 2
