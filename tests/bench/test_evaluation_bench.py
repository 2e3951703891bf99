"""How long it takes to ask everybody, and how the compiled form compares with a correlated EXISTS of the same."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import typer
from sqlalchemy import Connection, Engine, bindparam, exists, func, or_, select, text

import models
from beforehand import ROOT
from models.database import reading, writing
from models.types import UTCDateTime
from rules.evaluate import matching
from rules.loader import load_folder, load_text

NOW = datetime(2026, 3, 10, 9, tzinfo=UTC)
CUSTOMERS, ORDERS, TICKETS = 100_000, 1_000_000, 50_000

pytestmark = pytest.mark.bench


def numbers(connection: Connection, count: int) -> str:
    """A derived table of 1 to count, in the dialect at hand."""
    if connection.dialect.name == "postgresql":
        return f"(SELECT generate_series(1, {count}::bigint) AS n) AS numbers"
    counted = f"c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {count})"
    return f"(WITH RECURSIVE {counted} SELECT n FROM c) AS numbers"


def fill(engine: Engine) -> None:
    """Customers in three zones; orders over two years, one in 300 not delivered; tickets, one in 10 open."""
    with writing(engine) as connection:
        pg = connection.dialect.name == "postgresql"
        start = NOW - timedelta(days=730)
        second = ":start + n * interval '60 seconds'" if pg else ":start + n * 60000000"
        day, hour = ("interval '1 day'", "interval '1 hour'") if pg else ("86400000000", "3600000000")
        promised = (
            f"CAST({second} + 4 * {day} AS DATE)" if pg else f"date(({second} + 4 * {day}) / 1000000, 'unixepoch')"
        )
        run = {"start": start, "now": NOW}
        bound = [bindparam("start", type_=UTCDateTime()), bindparam("now", type_=UTCDateTime())]
        zones = "CASE n % 3 WHEN 0 THEN 'Europe/Berlin' WHEN 1 THEN 'America/New_York' ELSE 'Asia/Shanghai' END"
        for sql in (
            f"INSERT INTO customer (id, external_id, changed_at, time_zone, created_at, bucket)"
            f" SELECT n, 'c' || n, :now, {zones}, :start, n % 10000 FROM {numbers(connection, CUSTOMERS)}",
            f"INSERT INTO orders (id, external_id, changed_at, customer_id, placed_at, promised_on, shipped_at,"
            f" delivered_at, currency, net_total) SELECT n, 'o' || n, :now, 1 + (n * 7919) % {CUSTOMERS}, {second},"
            f" {promised}, {second} + {day}, CASE WHEN n % 300 = 0 THEN NULL ELSE {second} + (n % 5) * {day} END,"
            f" 'EUR', 1000 + n % 9000 FROM {numbers(connection, ORDERS)}",
            f"INSERT INTO ticket (id, external_id, changed_at, customer_id, topic, opened_at, closed_at)"
            f" SELECT n, 't' || n, :now, 1 + (n * 104729) % {CUSTOMERS}, 'delivery', :start + n * {hour} / 10,"
            f" CASE WHEN n % 10 = 0 THEN NULL ELSE :now END FROM {numbers(connection, TICKETS)}",
        ):
            used = [each for each in bound if f":{each.key}" in sql]
            connection.execute(text(sql).bindparams(*used), {each.key: run[each.key] for each in used})
    with engine.connect() as connection:
        connection.exec_driver_sql("ANALYZE")
        connection.commit()


def best(call: Callable[[], Any], times: int = 3) -> tuple[float, Any]:
    """The shortest of several runs, in seconds, and what came of it."""
    took, result = [], None
    for _ in range(times):
        began = time.perf_counter()
        result = call()
        took.append(time.perf_counter() - began)
    return min(took), result


RARE = """\
id: rare
title: Customers who wait for something
purpose: service
for_each: customer
if: {waits: {orders: {any: {promised_on: {before: 2026-03-10}, delivered_at: missing}}}}
then: [{send: late-order}]
"""


def correlated_rare(connection: Connection) -> int:
    """The question of RARE, asked customer by customer with EXISTS under the table."""
    customer, order = models.Customer, models.Order
    open_one = or_(order.delivered_at.is_(None), order.delivered_at > NOW)
    waits = exists().where(order.customer_id == customer.id, order.promised_on < NOW.date(), open_one)
    return len(connection.execute(select(customer.id).where(waits)).all())


def correlated(connection: Connection) -> int:
    """The question of thank-you-voucher, asked customer by customer with EXISTS and counts under the table."""
    customer, order, ticket = models.Customer, models.Order, models.Ticket
    count = (
        select(func.count(order.id))
        .where(
            order.customer_id == customer.id, order.placed_at > NOW - timedelta(days=365), order.cancelled_at.is_(None)
        )
        .scalar_subquery()
    )
    spent = (
        select(func.coalesce(func.sum(order.net_total), 0))
        .where(order.customer_id == customer.id, order.placed_at > NOW - timedelta(days=365))
        .scalar_subquery()
    )
    thanked = exists().where(
        models.Voucher.customer_id == customer.id, models.Voucher.issued_at > NOW - timedelta(days=180)
    )
    in_trouble = exists().where(ticket.customer_id == customer.id, ticket.closed_at.is_(None))
    late = exists().where(
        order.customer_id == customer.id, order.promised_on < NOW.date(), order.delivered_at.is_(None)
    )
    loyal = select(customer.id).where(count >= 10, spent >= 100_000, ~in_trouble, ~late, ~thanked)
    return len(connection.execute(loyal).all())


def test_asking_everybody(engine: Engine) -> None:
    fill(engine)
    name = engine.dialect.name
    rules = load_folder(ROOT / "rules" / "catalog").rules
    typer.echo(f"\n{name}: {CUSTOMERS:,} customers, {ORDERS:,} orders, {TICKETS:,} tickets")
    with reading(engine) as connection:
        for rule in rules.values():
            took, rows = best(lambda rule=rule: connection.execute(matching(rule, now=NOW, zone="UTC")).all())
            typer.echo(f"  {rule.id:24} {took * 1000:8.0f} ms  {len(rows):7,} matched")
        ours, _ = best(lambda: connection.execute(matching(rules["thank-you-voucher"], now=NOW, zone="UTC")).all())
        theirs, _ = best(lambda: correlated(connection), times=1)
        rare = load_text(RARE, "rare")
        our_rare, _ = best(lambda: connection.execute(matching(rare, now=NOW, zone="UTC")).all())
        their_rare, _ = best(lambda: correlated_rare(connection), times=1)
    typer.echo(f"  thank-you-voucher as correlated counts: {theirs * 1000:.0f} ms, {theirs / ours:.1f} times as long")
    times = f"{their_rare / our_rare:.1f} times as long"
    typer.echo(f"  any late order: {our_rare * 1000:.0f} ms; as EXISTS {their_rare * 1000:.0f} ms, {times}")
    assert their_rare > our_rare, "a rare condition must not be asked customer by customer"
