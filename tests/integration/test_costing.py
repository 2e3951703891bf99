"""The cost of planned messages: exact for few, a spread sample for many; on both databases."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, Select, insert, literal, null, select

import models
from beforehand.passes import costing, rule_of
from beforehand.passes.costing import cost_of
from messaging.costs import Cost
from models.database import reading, writing
from models.terms import Money
from models.vocabulary import Channel
from tests.deciding import NOON, House

customer: Any = models.Customer.__table__  # type: ignore[attr-defined]

WORDS = "Good day, {{ customer.first_name or 'you' }}." + " All is well with your order."


@pytest.fixture
def house(engine: Engine, tmp_path: Path) -> House:
    made = House(engine, tmp_path, settings={"sms_price": Decimal("0.10"), "email_price": Decimal("0.001")})
    made.template()
    (tmp_path / "templates" / "hello" / "sms.en.txt").write_text(WORDS)
    made.rule(steps="  - {voucher: {worth: 5 EUR, valid_for: 90 days}}\n  - {send: hello, by: [sms, email]}")
    return made


def planned(channel: Channel = Channel.SMS) -> Select[Any]:
    return select(
        customer.c.id.label("customer_id"),
        customer.c.id.label("subject_id"),
        literal(channel.value).label("channel"),
        literal("hello").label("template"),
        customer.c.language,
        null().label("facts"),
    )


def cost(house: House, asked: Select[Any] | None = None, **more: Any) -> Cost:
    with reading(house.engine) as connection:
        terms = rule_of(house.app, "hello").terms
        return cost_of(house.app, connection, planned() if asked is None else asked, terms, now=NOON, **more)


def crowd(house: House, count: int) -> None:
    """Customers of whom every second one has a name so long that the text takes a segment more."""
    names = ["Ann", "A" * 100]
    rows = [
        {"external_id": f"c{n}", "changed_at": NOON, "phone": f"+4915112{n:06}", "first_name": names[n % 2]}
        for n in range(count)
    ]
    with writing(house.engine) as connection:
        connection.execute(insert(customer), rows)


def test_few_messages_are_counted_exactly(house: House) -> None:
    house.customer(first_name="Ann")
    house.customer(first_name="A" * 100)
    found = cost(house)
    (line,) = found.channels
    assert not found.is_estimate
    assert (found.of_sms, found.rendered, line.messages) == (2, 2, 2)
    assert line.units == 3
    assert found.amount == Decimal("0.30")


def test_many_are_estimated_from_a_spread_sample_and_say_so(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costing, "SAMPLE", 20)
    crowd(house, 1000)
    found = cost(house)
    assert found.is_estimate
    assert (found.of_sms, found.rendered) == (1000, 20)
    assert 1400 <= found.channels[0].units <= 1600  # every second one takes two
    assert found.amount == found.channels[0].units * Decimal("0.10")


def test_each_country_has_its_price_by_the_phone_number(house: House) -> None:
    house.settings["sms_prices"] = {"US": Decimal(1)}
    house.customer(first_name="Ann", phone="+12025550123", country="DE")
    house.customer(first_name="Bob", phone="+4915112345678", country="US")
    assert cost(house).amount == Decimal("1.10")


def test_each_country_has_its_price_in_an_estimate_too(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costing, "SAMPLE", 10)
    house.settings["sms_prices"] = {"US": Decimal(1)}
    for number in range(30):
        house.customer(first_name="Ann", phone=f"+1202555{number:04}")
        house.customer(first_name="Ann", phone=f"+49151123456{number:02}")
    found = cost(house)
    assert found.is_estimate
    assert found.amount == 30 * Decimal("1.10")


def test_every_language_is_in_the_sample(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costing, "SAMPLE", 10)
    (house.folder / "templates" / "hello" / "sms.zh.txt").write_text("{{ nobody_knows_this }}")
    crowd(house, 300)
    assert cost(house).unfilled == 0
    house.customer(language="zh", first_name="Li")
    assert cost(house).unfilled == 1


def test_what_cannot_be_filled_is_counted_and_costs_nothing(house: House) -> None:
    (house.folder / "templates" / "hello" / "sms.en.txt").write_text("Dear {{ customer.first_name }}")
    house.customer(first_name=None)
    house.customer(first_name="Ann")
    found = cost(house)
    assert (found.unfilled, found.channels[0].units, found.amount) == (1, 1, Decimal("0.10"))


def test_e_mails_and_vouchers_need_no_rendering(house: House) -> None:
    house.customer()
    found = cost(house, planned(Channel.EMAIL), vouchers=[Money(500, "EUR"), Money(500, "EUR")])
    assert (found.rendered, found.amount, found.vouchers) == (0, Decimal("0.001"), (Money(1000, "EUR"),))


def test_the_voucher_before_the_message_is_in_its_text(house: House) -> None:
    (house.folder / "templates" / "hello" / "sms.en.txt").write_text(
        "{{ voucher.worth|money }} until {{ voucher.valid_until|day }}: {{ voucher.code }}"
    )
    house.customer()
    assert cost(house).unfilled == 0


def test_nothing_planned_costs_nothing(house: House) -> None:
    found = cost(house)
    assert (found.messages, found.amount, found.is_estimate) == (0, Decimal(0), False)
