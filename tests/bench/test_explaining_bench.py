"""How long it takes to explain one customer among a million, with a few million orders and a long past."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer
from pydantic import SecretStr
from sqlalchemy import Engine, bindparam, text

from beforehand import ROOT
from beforehand.explaining import explain, explain_one
from beforehand.settings import Settings
from beforehand.wiring import App
from models.database import writing
from models.types import UTCDateTime
from tests.bench.test_evaluation_bench import best, numbers

NOW = datetime(2026, 3, 10, 9, tzinfo=UTC)
CUSTOMERS, ORDERS, TICKETS, CALLS, MESSAGES = 1_000_000, 4_000_000, 400_000, 400_000, 1_000_000
ASKED = 424_242

pytestmark = pytest.mark.bench


ROWS = (
    (
        CUSTOMERS,
        """INSERT INTO customer (id, external_id, changed_at, time_zone, created_at, bucket, phone, email)
        SELECT n, 'c' || n, :now, CASE n % 3 WHEN 0 THEN 'Europe/Berlin' WHEN 1 THEN 'America/New_York'
        ELSE 'Asia/Shanghai' END, :start, n % 10000, '+4915' || (100000000 + n), 'c' || n || '@example.com'""",
    ),
    (
        ORDERS,
        """INSERT INTO orders (id, external_id, changed_at, customer_id, placed_at, promised_on, shipped_at,
        delivered_at, currency, net_total)
        SELECT n, 'o' || n, :now, 1 + (n * 7919) % {customers}, {placed}, {promised}, {placed} + {day},
        CASE WHEN n % 300 = 0 THEN NULL ELSE {placed} + (n % 5) * {day} END, 'EUR', 1000 + n % 9000""",
    ),
    (
        12,
        """INSERT INTO orders (id, external_id, changed_at, customer_id, placed_at, shipped_at, delivered_at, currency,
        net_total) SELECT {orders} + n, 'x' || n, :lately, {asked}, :lately, :lately, :lately, 'EUR', 12000""",
    ),
    (
        TICKETS,
        """INSERT INTO ticket (id, external_id, changed_at, customer_id, topic, opened_at, closed_at)
        SELECT n, 't' || n, :now, 1 + (n * 104729) % {customers}, 'delivery', {spread},
        CASE WHEN n % 50 = 0 THEN NULL ELSE :now END""",
    ),
    (
        CALLS,
        """INSERT INTO call (id, external_id, changed_at, customer_id, direction, reason, outcome, started_at, ended_at)
        SELECT n, 'k' || n, :now, 1 + (n * 15485863) % {customers}, 'outbound', 'callback', 'dropped',
        {spread}, {spread}""",
    ),
    (
        CUSTOMERS,
        """INSERT INTO consent (customer_id, channel, purpose, verdict, given_at, source, recorded_at)
        SELECT n, 'email', 'marketing', 'granted', :start, 'bench', :start""",
    ),
    (
        MESSAGES,
        """INSERT INTO match (id, rule_id, version, occasion, subject, subject_id, customer_id, matched_at, seen_at,
        started_at, state, next_step) SELECT n, 'thank-you-voucher', 'old', 'customer/' || n || '/0', 'customer', n, n,
        :start, :start, :start, 'done', 2""",
    ),
    (
        MESSAGES,
        """INSERT INTO message (id, match_id, rule_id, version, occasion, step, customer_id, purpose, priority, channel,
        address, template, state, created_at, due_at, tries, reference) SELECT n, n, 'thank-you-voucher', 'old',
        'customer/' || n || '/0', '1', n, 'marketing', 20, 'email', '', 'thank-you-voucher', 'delivered', :start,
        :start, 1, 'R' || n""",
    ),
    (
        1,
        """INSERT INTO rule_version (rule_id, version, text, first_used_at)
        SELECT 'thank-you-voucher', 'old', 'id: gone', :start""",
    ),
)
"""How many rows, and where they come from: trade of two years, consents, and what we said to everybody before."""


def fill(engine: Engine) -> None:
    """A million customers in three zones; orders, calls, tickets and messages spread over two years."""
    run = {"start": NOW - timedelta(days=730), "now": NOW, "lately": NOW - timedelta(days=30)}
    with writing(engine) as connection:
        pg = connection.dialect.name == "postgresql"
        placed = ":start + n * interval '15 seconds'" if pg else ":start + n * 15000000"
        day = "interval '1 day'" if pg else "86400000000"
        promised = f"CAST({placed} + 4 * {day} AS DATE)"
        known = {
            "customers": CUSTOMERS,
            "orders": ORDERS,
            "asked": ASKED,
            "placed": placed,
            "day": day,
            "promised": promised if pg else f"date(({placed} + 4 * {day}) / 1000000, 'unixepoch')",
            "spread": ":start + n * interval '140 seconds'" if pg else ":start + n * 140000000",
        }
        for count, form in ROWS:
            sql = f"{form.format(**known)} FROM {numbers(connection, count)}"
            used = [name for name in run if f":{name}" in sql]
            bound = [bindparam(name, type_=UTCDateTime()) for name in used]
            connection.execute(text(sql).bindparams(*bound), {name: run[name] for name in used})
    with engine.connect() as connection:
        connection.exec_driver_sql("ANALYZE")
        connection.commit()


def app_of(engine: Engine) -> App:
    settings = Settings(
        _env_file=None,
        rules=ROOT / "rules" / "catalog",
        templates=ROOT / "messaging" / "templates",
        secret_key=SecretStr("s" * 32),
        live_from=datetime(2020, 1, 1, tzinfo=UTC),
        var=Path("var"),
    )
    return App(settings=settings, engine=engine, clock=lambda: NOW)


def test_one_customer_among_a_million(engine: Engine) -> None:
    began = time.perf_counter()
    fill(engine)
    typer.echo(
        f"\n{engine.dialect.name}: {CUSTOMERS:,} customers, {ORDERS:,} orders; {time.perf_counter() - began:.0f} s"
    )
    measured(engine)


def measured(engine: Engine) -> None:
    app = app_of(engine)
    first, told = best(lambda: explain(app, f"c{ASKED}", NOW), times=1)
    again, _ = best(lambda: explain(app, f"c{ASKED}", NOW))
    one, _ = best(lambda: explain(app, f"c{ASKED}", NOW, rule_id="thank-you-voucher"))
    person, _ = best(lambda: explain_one(app, f"c{ASKED}", NOW, "thank-you-voucher"))
    typer.echo(f"  all {len(told.rules)} rules, first time {first * 1000:.0f} ms, again {again * 1000:.0f} ms")
    typer.echo(f"  one rule {one * 1000:.0f} ms, preview --customer {person * 1000:.0f} ms")
    matched = {rule.rule_id: rule.matching for rule in told.rules}
    assert matched["thank-you-voucher"] == 1
    assert told.past
    assert again < 1, "one customer is explained in under a second"
