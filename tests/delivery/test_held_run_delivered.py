"""A mistaken run through the real post room and our own pages: approved all the same, one STOP ends it."""

from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine, insert

from beforehand.approving import answer, held_run, open_runs, watch
from beforehand.dispatching import dispatch_due
from beforehand.passes import advance, run_rule
from beforehand.wiring import App
from messaging.candidates import TABLES
from models.database import writing
from models.terms import THE_BEGINNING
from models.vocabulary import HeldState
from tests.deciding import NOON, House
from tests.delivery.pages import World, world

CANARY = 20
MINUTE = timedelta(minutes=1)


class Clock:
    """Ours to set."""

    now: datetime = NOON

    def __call__(self) -> datetime:
        return self.now


def shop(engine: Engine, folder: Path) -> None:
    """Two thousand customers, of whom forty are gold, and a rule for gold ones that forgets its condition."""
    house = House(engine, folder)
    house.template()
    house.rule(condition="country: DE")
    rows = [
        {
            "external_id": f"c{n}",
            "changed_at": NOON,
            "phone": f"+49151{n:08}",
            "country": "DE",
            "time_zone": "Europe/Berlin",
        }
        for n in range(2000)
    ]
    with writing(engine) as connection:
        connection.execute(insert(TABLES["customer"]), rows)


def go(app: App, clock: Clock, minutes: float) -> None:
    """What the heartbeat does, at a later moment."""
    clock.now += minutes * MINUTE
    advance(app, clock.now)
    dispatch_due(app, clock.now, everything=True)
    watch(app, clock.now)


def stop(here: World, number: str) -> None:
    """A customer texts STOP to us, as Twilio tells it."""
    url = f"{here.pages.url}/hooks/twilio/sms"
    form = {"MessageSid": "SM" + "7" * 32, "From": number, "To": "+442079460000", "Body": "STOP"}
    assert here.post(url, form).status_code == 200


def test_no_more_than_the_canary_leaves_before_a_stop_ends_the_run(sqlite_engine: Engine, tmp_path: Path) -> None:
    shop(sqlite_engine, tmp_path)
    clock = Clock()
    said = {"rules": tmp_path / "rules", "templates": tmp_path / "templates", "live_from": THE_BEGINNING}
    with world(sqlite_engine, clock=clock, canary=CANARY, quiet_laws=None, quiet_hours={}, **said) as here:
        assert run_rule(here.app, "hello", clock.now).brake is not None
        go(here.app, clock, 1)
        assert here.room.ledger.entries == []
        (run,) = open_runs(here.app)
        answer(here.app, run.id, approve=True, by="too.quick@example.com", via="test", now=clock.now)
        go(here.app, clock, 1)
        went = here.room.ledger.of("sms")
        assert len(went) == CANARY == max(20, 2000 // 100)
        stop(here, went[3].to)
        for minutes in (1, 31, 300, 900):
            go(here.app, clock, minutes)
        stopped = held_run(here.app, run.id)
        assert (stopped.state, stopped.said) == (HeldState.STOPPED, "1 of 20 customers said STOP (5.0%)")
        assert len(here.room.ledger.of("sms")) == CANARY
