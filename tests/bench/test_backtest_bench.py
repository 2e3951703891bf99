"""How long it takes to replay four weeks of a 15-minute rule over 100,000 customers, and how a stepped run compares."""

import time
from datetime import UTC, datetime, timedelta

import pytest
import typer
from pydantic import SecretStr
from sqlalchemy import Engine, bindparam, text

from beforehand import ROOT
from beforehand.backtest import backtest, standins
from beforehand.backtest.replay import replay
from beforehand.settings import Settings
from beforehand.wiring import App
from models.database import writing
from models.types import UTCDateTime
from rules.loader import load_folder
from tests.bench.test_evaluation_bench import numbers

NOW = datetime(2026, 3, 10, tzinfo=UTC)
WEEKS = timedelta(weeks=4)
CUSTOMERS, ORDERS, TICKETS = 100_000, 300_000, 30_000

pytestmark = pytest.mark.bench


def fill(engine: Engine) -> None:
    """Customers in three zones; orders over a year, at any second; most come in time, some late, few never."""
    with writing(engine) as connection:
        pg = connection.dialect.name == "postgresql"
        start = NOW - timedelta(days=365)
        second, day = ("interval '1 second'", "interval '1 day'") if pg else ("1000000", "86400000000")
        placed = f":start + n * 105 * {second}"
        promised = (
            f"CAST({placed} + 4 * {day} AS DATE)" if pg else f"date(({placed} + 4 * {day}) / 1000000, 'unixepoch')"
        )
        took = f"(n % 4 + CASE WHEN n % 20 = 0 THEN 4 ELSE 0 END) * {day} + (n % 86400) * {second}"
        zones = "CASE n % 3 WHEN 0 THEN 'Europe/Berlin' WHEN 1 THEN 'America/New_York' ELSE 'Asia/Shanghai' END"
        run = {"start": start, "now": NOW}
        bound = [bindparam("start", type_=UTCDateTime()), bindparam("now", type_=UTCDateTime())]
        for sql in (
            f"INSERT INTO customer (id, external_id, changed_at, time_zone, created_at, bucket, phone, language)"
            f" SELECT n, 'c' || n, :now, {zones}, :start, n % 10000, '+4915112' || (100000 + n), 'en'"
            f" FROM {numbers(connection, CUSTOMERS)}",
            f"INSERT INTO orders (id, external_id, changed_at, number, customer_id, placed_at, promised_on, shipped_at,"
            f" delivered_at, currency, net_total) SELECT n, 'o' || n, :now, 'N' || n, 1 + (n * 7919) % {CUSTOMERS},"
            f" {placed}, {promised}, {placed} + {day}, CASE WHEN n % 500 = 0 THEN NULL"
            f" ELSE {placed} + {day} + {took} END,"
            f" 'EUR', 1000 + n % 9000 FROM {numbers(connection, ORDERS)}",
            f"INSERT INTO ticket (id, external_id, changed_at, customer_id, topic, opened_at, closed_at)"
            f" SELECT n, 't' || n, :now, 1 + (n * 104729) % {CUSTOMERS}, 'delivery', :start + n * 1051 * {second},"
            f" CASE WHEN n % 10 = 0 THEN NULL ELSE :start + n * 1051 * {second} + {day} END"
            f" FROM {numbers(connection, TICKETS)}",
        ):
            used = [each for each in bound if f":{each.key}" in sql]
            connection.execute(text(sql).bindparams(*used), {each.key: run[each.key] for each in used})
    with engine.connect() as connection:
        connection.exec_driver_sql("ANALYZE")
        connection.commit()


def test_four_weeks_of_a_quarter_hourly_rule(engine: Engine) -> None:
    fill(engine)
    settings = Settings(
        _env_file=None,
        secret_key=SecretStr("s" * 32),
        rules=ROOT / "rules/catalog",
        templates=ROOT / "messaging/templates",
        live_from=datetime(2000, 1, 1, tzinfo=UTC),
    )
    app = App(settings=settings, engine=engine, clock=lambda: NOW)
    rule = load_folder(ROOT / "rules/catalog").rules["late-order"]
    began = time.perf_counter()
    seen = backtest(app, rule, NOW - WEEKS, NOW)
    took = time.perf_counter() - began
    few = timedelta(hours=2)
    with standins.replaying(engine) as connection:
        began = time.perf_counter()
        done = replay(connection, app, rule, NOW - WEEKS, NOW - WEEKS + few, thorough=True)
        step = (time.perf_counter() - began) / len(done.walk.slots)
    typer.echo(f"\n{engine.dialect.name}: {CUSTOMERS:,} customers, {ORDERS:,} orders, {TICKETS:,} tickets; late-order")
    typer.echo(f"  four weeks, {seen.slots:,} slots: {took:.1f} s; {seen.matches:,} found, {seen.messages:,} messages")
    typer.echo(f"  {seen.looks:,} passes were decided; one slot in full takes {step * 1000:.0f} ms,")
    typer.echo(
        f"  so that a stepped run would take {step * seen.slots:.0f} s, {step * seen.slots / took:.0f} times as long"
    )
    assert seen.messages > 1000
    assert took < 60
