"""What the tests of held runs share: a house whose rule goes over its brake, and short ways to go on from there."""

from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, insert, select, update

import models
from beforehand.approving import (
    HeldRunView,
    answer,
    held_run,
    open_runs,
    watch,
)
from beforehand.passes import advance, run_rule
from messaging.candidates import TABLES, message
from models.database import reading, writing
from models.vocabulary import HeldState, MessageState
from tests.deciding import NOON, House

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
EVA = "Eva <eva@example.com>"


def held_house(engine: Engine, folder: Path) -> House:
    """Ten customers in Germany and forty elsewhere, and a rule whose brake lets five of them pass."""
    made = House(engine, folder, {"canary": 3, "caps": {}, "quiet_hours": {}, "quiet_laws": None})
    made.template()
    made.rule(limits="{once_per: customer, brake: 10% of customers}")
    crowd(made, 10)
    crowd(made, 40, country="FR")
    return made


def crowd(house: House, many: int, **values: str) -> None:
    """So many customers more, in one statement."""
    numbers = [next(house.numbers) for _ in range(many)]
    rows = [
        {"external_id": f"crowd-{n}", "changed_at": NOON, "phone": f"+49151123{n:05}", "email": f"c{n}@example.com"}
        | {"country": "DE", "time_zone": "Europe/Berlin"}
        | values
        for n in numbers
    ]
    with writing(house.engine) as connection:
        connection.execute(insert(TABLES["customer"]), rows)


def hold(house: House, at: datetime = NOON) -> HeldRunView:
    """The pass of ``hello``, which is held."""
    assert run_rule(house.app, "hello", at).brake is not None
    (run,) = open_runs(house.app)
    return run


def approve(house: House, run: HeldRunView, at: datetime = NOON, by: str = EVA) -> HeldRunView:
    return answer(house.app, run.id, approve=True, by=by, via="test", now=at)


def refuse(house: House, run: HeldRunView, at: datetime = NOON) -> HeldRunView:
    return answer(house.app, run.id, approve=False, by=EVA, via="test", now=at, why="no")


def states(house: House, what: type[Any] = models.Match) -> dict[str, int]:
    return dict(Counter(house.rows(what, "state")))


def leave(house: House, at: datetime, state: MessageState = MessageState.DELIVERED) -> int:
    """All that may go goes at ``at`` and ends in ``state``. Returns how many."""
    went = {"state": state, "accepted_at": at, "ended_at": at, "tries": 1}
    mine = update(message).where(message.c.state.in_([MessageState.PLANNED, MessageState.QUEUED]))
    with writing(house.engine) as connection:
        return int(connection.execute(mine.values(went)).rowcount)


def notices(house: House) -> list[tuple[str, str]]:
    table = TABLES["notice"]
    with reading(house.engine) as connection:
        return [tuple(row) for row in connection.execute(select(table.c.topic, table.c.said)).all()]  # type: ignore[misc]


def go_through(house: House, run: HeldRunView, at: datetime) -> None:
    """The run goes to its end, all of it delivered."""
    for _ in range(4):
        advance(house.app, at)
        leave(house, at)
        at += timedelta(minutes=31)
        watch(house.app, at)
    assert held_run(house.app, run.id).state is HeldState.DONE
