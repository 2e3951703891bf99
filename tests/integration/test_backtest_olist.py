"""A replay of the rules of examples/olist over real orders equals a house stepped through the same time."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, String, cast, update

from beforehand.ingest import run
from beforehand.settings import Settings
from beforehand.wiring import App
from models.customer import Customer
from models.database import writing
from tests.integration.test_backtest_equal import LONG_AGO, ROOT, compare
from tests.stepping import stepped

START = datetime(2018, 3, 5, 12, tzinfo=UTC)
"""A Monday of the busiest weeks, with many late parcels."""


def olist(engine: Engine, folder: Path, data: Path) -> App:
    """The sample of Olist in a database, its two rules live, everybody reachable by e-mail."""
    rules = folder / "rules"
    rules.mkdir()
    for file in (ROOT / "examples/olist/rules").glob("*.yaml"):
        (rules / file.name).write_text(file.read_text().replace("status: shadow", "status: live"))
    settings = Settings(
        _env_file=None,
        canary=1_000_000,  # a replay holds no run, so the house beside it must not
        rules=rules,
        templates=ROOT / "messaging/templates",
        live_from=LONG_AGO,
        time_zone="America/Sao_Paulo",
    )
    mapping = ROOT / "examples/olist/sources.yaml"
    run(engine, mapping, now=START, settings=settings, data=data / "olist-15k", var=folder)
    with writing(engine) as connection:
        connection.execute(update(Customer).values(email="c" + cast(Customer.id, String) + "@example.com"))  # type: ignore[arg-type]
    return App(settings=settings, engine=engine, clock=lambda: START)


def test_an_afternoon_of_real_orders(sqlite_engine: Engine, tmp_path: Path, shared_data: Path) -> None:
    app = olist(sqlite_engine, tmp_path, shared_data)
    end = START + timedelta(hours=5)
    told = compare(app, stepped(app, START, end), START, end)
    assert all(count > 0 for count in told.values()), told


@pytest.mark.prove
def test_three_weeks_of_real_orders(sqlite_engine: Engine, tmp_path: Path, shared_data: Path) -> None:
    app = olist(sqlite_engine, tmp_path, shared_data)
    end = START + timedelta(weeks=3)
    told = compare(app, stepped(app, START, end), START, end)
    assert min(told.values()) > 20, told


@pytest.mark.prove
def test_two_days_of_real_orders_on_postgresql(postgres_engine: Engine, tmp_path: Path, shared_data: Path) -> None:
    app = olist(postgres_engine, tmp_path, shared_data)
    end = START + timedelta(days=2)
    told = compare(app, stepped(app, START, end), START, end)
    assert all(count > 0 for count in told.values()), told
