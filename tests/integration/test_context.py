"""Contexts: every subject, a fixed number of queries, vouchers and surveys, nothing but plain values."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, select

import models
from messaging.context import HIDDEN_CODE, Brand, Item, contexts, contexts_for, sample_context
from messaging.links import Kind, LinkKey, Links
from messaging.vouchers import voucher_code
from models.database import reading, writing
from models.terms import Money

NOW = datetime(2026, 3, 10, 9, 0, tzinfo=UTC)
LINKS = Links("https://shop.example", (LinkKey(b"k" * 32),))
BRAND = Brand(name="Shop", phone="+442079460000", address="1 Street", url="https://shop.example", links=LINKS)
SECRET = b"s" * 32
MANY = 40


def put(connection: Connection, model: Any, **values: Any) -> None:
    facts = {"external_id": f"{model.__tablename__}-{values['id']}", "changed_at": NOW}
    known = {key: value for key, value in {**facts, **values}.items() if key in model.__table__.c}
    connection.execute(model.__table__.insert().values(**known))


def fill(connection: Connection, number: int) -> None:
    """One customer with one row of everything, all with the id ``number``."""
    mine = {"id": number, "customer_id": number}
    put(connection, models.Customer, id=number, first_name=f"Maria{number}", language="en", country="DE", bucket=1)
    put(connection, models.Product, id=number, name="Kettle")
    put(
        connection, models.Order, **mine, number=f"A{number}", promised_on=date(2026, 3, 9),
        placed_at=NOW, currency="EUR", net_total=4990,
    )  # fmt: skip
    put(connection, models.OrderLine, id=number, order_id=number, product_id=number, quantity=2)
    put(connection, models.Call, **mine, direction="outbound", outcome="dropped", ended_at=NOW)
    put(connection, models.Ticket, **mine, topic="delivery", order_id=number if number % 2 else None)
    put(connection, models.Subscription, **mine, plan="Coffee", currency="EUR", price=1490)
    put(connection, models.Event, **mine, name="app.opened", properties={"page": "home"})
    put(connection, models.KnownIssue, id=number, title="Loose lid", severity="high", texts={"ar": {"title": "الغطاء"}})
    put(
        connection, models.Exposure, **mine, issue_id=number, order_id=number, order_line_id=number,
        product_id=number, found_at=NOW,
    )  # fmt: skip


def plan(connection: Connection, number: int, subject: str) -> None:
    """A match on that subject and its message, with a voucher and a survey."""
    put(
        connection, models.Match, id=number, rule_id="r", version="v", occasion=f"{subject}/{number}", subject=subject,
        subject_id=number, customer_id=number, facts={"loyal": {"orders": 12}}, matched_at=NOW, seen_at=NOW,
        state="open",
    )  # fmt: skip
    put(
        connection, models.Message, id=1000 + number, match_id=number, rule_id="r", version="v",
        occasion=f"{subject}/{number}", step="0", customer_id=number, purpose="marketing", channel="sms",
        address="+4915112345678", template="t", state="planned", created_at=NOW, due_at=NOW, reference=f"REF{number}",
    )  # fmt: skip
    put(
        connection, models.Voucher, id=number, customer_id=number, match_id=number, salt=f"salt{number}",
        code_hash=f"hash{number}", currency="EUR", worth=5000, valid_until=NOW,
    )  # fmt: skip
    put(connection, models.Survey, id=number, customer_id=number, match_id=number, kind="contact")


@contextmanager
def counted(engine: Engine) -> Iterator[list[str]]:
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.lstrip().upper().startswith("SELECT"):
            statements.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    yield statements
    event.remove(engine, "before_cursor_execute", note)


SUBJECTS = ["customer", "order", "call", "ticket", "subscription", "exposure", "event"]


@pytest.fixture
def filled(engine: Engine) -> Engine:
    with writing(engine) as connection:
        for number in range(1, MANY + 1):
            fill(connection, number)
            plan(connection, number, SUBJECTS[number % len(SUBJECTS)])
    return engine


@pytest.mark.parametrize("subject", SUBJECTS)
def test_each_subject_has_the_names_of_its_sample(filled: Engine, subject: str) -> None:
    """The sample is what `check` trusts: it must promise exactly what a real message has."""
    with reading(filled) as connection:
        (found,) = contexts_for(connection, [Item(customer_id=3, subject=subject, subject_id=3)], brand=BRAND)
    sample = sample_context(subject)
    assert found.keys() == sample.keys()
    for name in found.keys() - {"facts", "voucher", "survey"}:
        assert sample[name].keys() <= found[name].keys(), name


def test_an_exposure_brings_what_belongs_to_it(filled: Engine) -> None:
    with reading(filled) as connection:
        (found,) = contexts_for(connection, [Item(customer_id=5, subject="exposure", subject_id=5)], brand=BRAND)
    assert found["issue"]["title"] == "Loose lid"
    assert found["issue"]["texts"] == {"ar": {"title": "الغطاء"}}
    assert found["product"]["name"] == "Kettle"
    assert found["order"]["number"] == "A5"
    assert found["order"]["promised_on"] == date(2026, 3, 9)
    assert found["order"]["net_total"] == Money(4990, "EUR")
    assert found["order_line"]["quantity"] == 2
    assert found["order"]["delivered_at"] is None


def test_a_ticket_without_an_order_has_none(filled: Engine) -> None:
    items = [Item(customer_id=number, subject="ticket", subject_id=number) for number in (3, 4)]
    with reading(filled) as connection:
        with_order, without = contexts_for(connection, items, brand=BRAND)
    assert with_order["order"]["number"] == "A3"
    assert without["order"] is None


def test_a_preview_hides_the_code(filled: Engine) -> None:
    item = Item(customer_id=1, subject="customer", subject_id=1, worth=Money(5000, "EUR"), valid_until=NOW)
    with reading(filled) as connection:
        found, bare = contexts_for(connection, [item, Item(1, "customer", 1)], brand=BRAND)
    assert found["voucher"] == {"code": HIDDEN_CODE, "worth": Money(5000, "EUR"), "valid_until": NOW}
    assert bare["voucher"] is None
    assert bare["survey"] is bare["links"]["survey"] is None


def test_messages_carry_their_voucher_survey_facts_and_reference(filled: Engine) -> None:
    with reading(filled) as connection:
        found = contexts(connection, [1003, 1001, 999_999], brand=BRAND, secret=SECRET)
        made = select(models.Message.__table__.c.created_at).where(models.Message.__table__.c.id == 1003)  # type: ignore[attr-defined]
        made_at = connection.execute(made).scalar_one()
    assert sorted(found) == [1001, 1003]
    three = found[1003]
    assert three["voucher"]["code"] == voucher_code(SECRET, "salt3") != found[1001]["voucher"]["code"]
    assert three["voucher"]["worth"] == Money(5000, "EUR")
    assert three["voucher"]["valid_until"] == NOW
    assert three["survey"] == {"name": "contact"}
    assert three["message"] == {"reference": "REF3", "purpose": "marketing"}
    assert three["facts"] == {"loyal": {"orders": 12}}
    assert three["customer"]["first_name"] == "Maria3"
    assert three["brand"]["name"] == "Shop"
    assert three["links"]["preferences"] == LINKS.url(Kind.PREFERENCES, "REF3", made_at)
    assert three["links"]["survey"] == LINKS.url(Kind.ANSWER, "REF3", made_at)


def test_a_batch_takes_no_more_queries_than_its_tables(filled: Engine) -> None:
    """Seven kinds of subject, few messages or many: the same number of queries."""
    counts = []
    for last in (len(SUBJECTS), MANY):
        with reading(filled) as connection, counted(filled) as statements:
            found = contexts(connection, range(1001, 1001 + last), brand=BRAND, secret=SECRET)
        assert len(found) == last
        counts.append(len(statements))
    assert counts[0] == counts[1] <= 14


def test_nobody_to_speak_to_takes_no_harm(engine: Engine) -> None:
    with reading(engine) as connection:
        assert contexts(connection, [], brand=BRAND, secret=SECRET) == {}
        assert contexts_for(connection, [], brand=BRAND) == []
