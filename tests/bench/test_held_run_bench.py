"""A run of 100,000 matches held and let go: what each step costs, and how many statements."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import typer
from sqlalchemy import Engine, text, update

import models
from beforehand.approving import answer, held_run, open_runs, question_of, watch
from beforehand.passes import advance, run_rule
from messaging.candidates import message
from models.database import writing
from models.types import UTCDateTime
from models.vocabulary import HeldState, MessageState
from tests.deciding import NOON, House

MATCHES = 100_000
HOUR = timedelta(hours=1)

pytestmark = pytest.mark.bench


@contextmanager
def told(what: str, took: dict[str, float]) -> Iterator[None]:
    begun = time.perf_counter()
    yield
    took[what] = time.perf_counter() - begun
    typer.echo(f"{what:<40} {took[what]:6.2f} s")


def fill(engine: Engine) -> None:
    rows = """INSERT INTO customer (external_id, changed_at, time_zone, country, phone, bucket)
    SELECT 'c' || n, :now, 'Europe/Berlin', 'DE', '+4915' || (100000000 + n), n % 10000"""
    lite = f"WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {MATCHES}) "
    with writing(engine) as connection:
        if connection.dialect.name == "sqlite":
            into, select = rows.split("\n", 1)
            filled = text(f"{into} {lite} {select} FROM numbers")
        else:
            filled = text(f"{rows} FROM generate_series(1, {MATCHES}) AS numbers(n)")
        now = UTCDateTime().bind_processor(connection.dialect)
        connection.execute(filled, {"now": now(NOON) if now else NOON})


def leave(engine: Engine) -> int:
    went = {"state": MessageState.DELIVERED, "accepted_at": NOON, "ended_at": NOON, "tries": 1}
    with writing(engine) as connection:
        mine = update(message).where(message.c.state == MessageState.PLANNED).values(went)
        return int(connection.execute(mine).rowcount)


def test_a_hundred_thousand_are_held_and_let_go_in_seconds(engine: Engine, tmp_path: Path) -> None:
    house = House(engine, tmp_path, {"canary": 20, "caps": {}, "quiet_hours": {}, "quiet_laws": None})
    house.template()
    house.rule()
    fill(engine)
    app, took = house.app, {}
    typer.echo(f"\n{engine.dialect.name}, {MATCHES:,} matches")
    with told("a pass that holds them", took):
        assert run_rule(app, "hello", NOON).brake is not None
    (run,) = open_runs(app)
    with told("the question", took):
        assert question_of(app, run.id, NOON).going == MATCHES
    with told("the approval", took):
        approved = answer(app, run.id, approve=True, by="eva", via="bench", now=NOON)
    assert approved.canary == MATCHES // 100
    with told("the canary's messages planned", took):
        advance(app, NOON)
    assert leave(engine) == MATCHES // 100
    with told("the look that lets the rest go", took):
        assert watch(app, NOON + HOUR).released == [run.id]
    with told("the rest's messages planned", took):
        advance(app, NOON + HOUR)
    with told("a look while they go", took):
        assert watch(app, NOON + HOUR).done == []
    house.set(models.Message, lambda c: (c.state == "planned") & (c.id % 10 == 0), state="failed", ended_at=NOON + HOUR)
    with told("the look that stops it again", took):
        assert watch(app, NOON + HOUR).stopped == [run.id]
    with told("the refusal that ends it", took):
        assert answer(app, run.id, approve=False, by="eva", via="bench", now=NOON + HOUR).state is HeldState.REFUSED
    assert held_run(app, run.id).ended_at
    for what, most in (("the approval", 10), ("the look that lets the rest go", 20), ("a look while they go", 10)):
        assert took[what] < most, what
