"""Twelve classic mistakes: each run is held, and approved all the same, what comes back stops it within the canary."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, insert, select, update

from beforehand.approving import HeldRunView, answer, open_runs, watch
from beforehand.passes import PassReport, advance, preview_rule, run_rule
from messaging.candidates import TABLES, match, message
from models.database import reading, writing
from models.vocabulary import HeldState, MatchState, MessageState, Reason
from tests.databases import on_postgres, on_sqlite
from tests.deciding import House
from tests.mistakes import FIRST, MISTAKES, PASSES, WRONG_AT, Mistake, fill

SOON = timedelta(minutes=1)
CANARY = 20


@dataclass
class Lived:
    """A shop in which all twelve right rules have had their ordinary passes."""

    house: House
    passes: dict[str, list[PassReport]] = field(default_factory=dict)


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.prove)])
def lived(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    folder = tmp_path_factory.mktemp("mistakes")
    with _database(request, folder) as engine:
        house = House(engine, folder, {"caps": {}, "quiet_hours": {}, "quiet_laws": None, "canary": CANARY})
        house.settings["time_zone"] = "Europe/Berlin"
        house.template()
        (folder / "rules").mkdir()
        fill(house)
        made = Lived(house)
        for mistake in MISTAKES:
            mistake.write(house, mistake.right)
            days = [FIRST + timedelta(days=day) for day in range(PASSES)]
            made.passes[mistake.name] = [run_rule(house.app, mistake.name, day) for day in days]
        yield made


def _database(request: pytest.FixtureRequest, folder: Path) -> AbstractContextManager[Engine]:
    if request.param == "sqlite":
        return on_sqlite(request.getfixturevalue("sqlite_template"), folder)
    return on_postgres(request.getfixturevalue("postgres_uri"))


@pytest.fixture(params=MISTAKES, ids=lambda mistake: mistake.name)
def held(request: pytest.FixtureRequest, lived: Lived) -> Iterator[tuple[House, Mistake, HeldRunView]]:
    """The house after a mistake, and the run that it led to; its settings are put right afterwards."""
    mistake: Mistake = request.param
    house, before = lived.house, dict(lived.house.settings)
    assert all(report.brake is None for report in lived.passes[mistake.name]), "the right rule is never held"
    assert any(report.planned for report in lived.passes[mistake.name])
    mistake.happen(house)
    seen = preview_rule(house.app, mistake.name, WRONG_AT, limit=0)
    report = run_rule(house.app, mistake.name, WRONG_AT)
    assert report.brake is not None, "the mistake is held"
    assert seen.brake == report.brake, "and the preview has said so"
    assert (report.planned, report.tasks, report.vouchers, report.webhooks, report.displaced) == (0, 0, 0, 0, 0)
    (run,) = [one for one in open_runs(house.app) if one.rule_id == mistake.name]
    yield house, mistake, run
    house.settings = before


def _messages(house: House, run: HeldRunView) -> list[Any]:
    mine = select(message).join(match, match.c.id == message.c.match_id).where(match.c.held_run_id == run.id)
    with reading(house.engine) as connection:
        return list(connection.execute(mine.order_by(message.c.id)).all())


def _leave(house: House, run: HeldRunView, at: datetime) -> list[Any]:
    """All that may leave now leaves, and arrives."""
    going = [row for row in _messages(house, run) if row.state in (MessageState.PLANNED, MessageState.QUEUED)]
    with writing(house.engine) as connection:
        mine = update(message).where(message.c.id.in_([row.id for row in going]))
        connection.execute(mine.values(state=MessageState.DELIVERED, accepted_at=at, ended_at=at, tries=1))
    return going


def _somebody_says_stop(house: House, rows: list[Any], at: datetime) -> None:
    said = {"channel": "sms", "address_hash": "h", "customer_id": rows[0].customer_id, "said": "stop"}
    with writing(house.engine) as connection:
        connection.execute(insert(TABLES["reply"]).values(**said, received_at=at))


def _some_come_back(house: House, rows: list[Any], at: datetime) -> None:
    with writing(house.engine) as connection:
        mine = update(message).where(message.c.id.in_([row.id for row in rows[: max(2, len(rows) // 15)]]))
        connection.execute(mine.values(state=MessageState.UNDELIVERED, ended_at=at))


def test_it_is_stopped_at_or_under_the_canary(held: tuple[House, Mistake, HeldRunView]) -> None:
    house, mistake, run = held
    assert _messages(house, run) == [], "held: nothing is planned"
    with reading(house.engine) as connection:
        mine = select(func.count()).where(match.c.held_run_id == run.id, match.c.state == MatchState.HELD)
        assert connection.execute(mine).scalar_one() == run.subjects > CANARY
    approved = answer(house.app, run.id, approve=True, by="too.quick@example.com", via="test", now=WRONG_AT + SOON)
    assert approved.canary == max(CANARY, -(-run.subjects // 100))
    advance(house.app, WRONG_AT + SOON)
    went = _leave(house, run, WRONG_AT + SOON)
    assert 0 < len(went) <= approved.canary
    back = _somebody_says_stop if MISTAKES.index(mistake) % 2 else _some_come_back
    back(house, went, WRONG_AT + 2 * SOON)
    watch(house.app, WRONG_AT + 3 * SOON)
    for hours in (1, 5, 23):
        later = WRONG_AT + timedelta(hours=hours)
        advance(house.app, later)
        watch(house.app, later)
        went += _leave(house, run, later)
    assert len(went) <= approved.canary
    (now,) = [one for one in open_runs(house.app) if one.id == run.id]
    assert now.state is HeldState.STOPPED
    answer(house.app, run.id, approve=False, by="too.quick@example.com", via="test", now=WRONG_AT + timedelta(hours=23))
    ended = WRONG_AT + timedelta(hours=24)
    again = run_rule(house.app, mistake.name, ended)
    assert again.withheld.get(Reason.BRAKE_REFUSED, 0) > 0


def test_there_are_twelve() -> None:
    assert len({mistake.name for mistake in MISTAKES}) == 12
