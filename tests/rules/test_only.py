"""Asking about a few subjects: the same answers as asking about all, without looking at all."""

from datetime import UTC, datetime, timedelta
from itertools import combinations

import pytest
from sqlalchemy import Engine, insert, select

import models
from models.database import reading, writing
from rules.evaluate import matching
from tests.rules.build import rule_of

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
CONDITIONS = {
    "customer": [
        "{orders: {count: {at_least: 2}, within: 90 days}}",
        "{orders: {none: {cancelled_at: present}}}",
        "{orders: {any: {lines: {any: {quantity: {at_least: 3}}}}}}",
        "{orders: {any: {placed_at: {before: this.created_at}}}}",
        "{any_of: [{orders.lines: {sum: {of: quantity, at_least: 5}}}, {tickets: {any: {}, since: this.created_at}}]}",
        "{orders: {latest: {cancelled_at: missing}}}",
    ],
    "order": [
        "{customer.orders: {count: {at_least: 2}}}",
        "{lines: {any: {order.customer.orders: {count: {at_least: 2}}}}}",
        "{customer.tickets: {none: {}, since: this.placed_at}}",
    ],
}
CASES = [(subject, condition) for subject, conditions in CONDITIONS.items() for condition in conditions]


def fill(engine: Engine) -> None:
    with writing(engine) as connection:
        for customer in range(1, 5):
            row = {"id": customer, "external_id": f"c{customer}", "changed_at": NOW, "bucket": 0}
            born = NOW - timedelta(days=15 * customer)
            connection.execute(insert(models.Customer).values(**row, created_at=born))
            for number in range(customer):
                order = 10 * customer + number
                row = {"id": order, "external_id": f"o{order}", "changed_at": NOW, "customer_id": customer}
                gone = NOW if order % 4 == 0 else None
                placed = NOW - timedelta(days=25 * number + 5)
                connection.execute(insert(models.Order).values(**row, placed_at=placed, cancelled_at=gone))
                line = {"id": order, "external_id": f"l{order}", "changed_at": NOW, "order_id": order}
                connection.execute(insert(models.OrderLine).values(**line, quantity=1 + order % 3))
            if customer % 2:
                row = {"id": customer, "external_id": f"t{customer}", "changed_at": NOW, "customer_id": customer}
                connection.execute(insert(models.Ticket).values(**row, opened_at=NOW - timedelta(days=3)))


@pytest.mark.parametrize(("subject", "condition"), CASES)
def test_a_question_about_few_is_answered_as_the_question_about_all(
    engine: Engine, subject: str, condition: str
) -> None:
    fill(engine)
    rule = rule_of(f"it: {condition}", subject=subject)
    table = models.Base.metadata.tables[rule.subject.table]
    with reading(engine) as connection:
        everybody = sorted(connection.execute(select(table.c.id)).scalars())
        of_all = connection.execute(matching(rule, now=NOW, zone="UTC")).all()
        for few in combinations(everybody, 2):
            only = select(table.c.id).where(table.c.id.in_(few))
            found = connection.execute(matching(rule, now=NOW, zone="UTC", only=only)).all()
            assert sorted(map(str, found)) == sorted(str(row) for row in of_all if row.subject_id in few)
    assert 0 < len(of_all) < len(everybody)
