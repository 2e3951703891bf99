"""What messages cost: exact decimals, prices by country, and a price that nobody has set is said, not guessed."""

from decimal import Decimal

import pytest
from pydantic import ValidationError

from beforehand.settings import Settings
from messaging.costs import Cost, Counted, Prices, add_up, country_of, shown, shown_money, worth
from models.terms import Money
from models.vocabulary import Channel

PRICES = Prices("EUR", sms=Decimal("0.07"), call=Decimal("0.1"), sms_by_country={"US": Decimal("0.0079")})


def test_amounts_are_exact_and_go_by_segment_and_country() -> None:
    parts = [
        Counted(Channel.SMS, 3, Decimal(2), "DE"),
        Counted(Channel.SMS, 10, Decimal("1.5"), "US"),
        Counted(Channel.VOICE, 4),
    ]
    sms, calls = add_up(parts, PRICES)
    assert (sms.messages, sms.units, sms.amount) == (13, 21, Decimal("0.5385"))
    assert (calls.messages, calls.units, calls.amount) == (4, 4, Decimal("0.4"))
    assert Cost("EUR", (sms, calls)).amount == Decimal("0.9385")


def test_a_price_that_nobody_has_set_is_said() -> None:
    lines = add_up([Counted(Channel.EMAIL, 5), Counted(Channel.VOICE, 1)], PRICES)
    cost = Cost("EUR", lines)
    assert cost.unpriced == {Channel.EMAIL: 5}
    assert cost.amount == Decimal("0.1")
    assert Cost("EUR", add_up([Counted(Channel.EMAIL, 5)], PRICES)).amount is None
    assert cost.as_json()["unpriced"] == {"email": 5}
    assert [line["amount"] for line in cost.as_json()["channels"]] == ["0.1", None]


def test_only_the_country_with_a_price_of_its_own_is_priced() -> None:
    prices = Prices("EUR", sms_by_country={"US": Decimal(1)})
    (line,) = add_up([Counted(Channel.SMS, 2, country="US"), Counted(Channel.SMS, 3, country="DE")], prices)
    assert (line.amount, line.unpriced, line.messages) == (Decimal(2), 3, 5)


def test_no_messages_cost_nothing() -> None:
    assert Cost("EUR").amount == 0


def test_vouchers_add_up_by_currency() -> None:
    assert worth([Money(50, "USD"), Money(5000, "EUR"), Money(1, "EUR"), Money(0, "GBP")]) == (
        Money(5001, "EUR"),
        Money(50, "USD"),
    )


@pytest.mark.parametrize(
    ("phone", "country"),
    [
        ("+4915112345678", "DE"),
        ("+12025550123", "US"),
        ("+14165550123", "CA"),
        ("+447781123456", "GG"),
        ("+447700900123", "GB"),
        ("not a number", None),
        (None, None),
    ],
)
def test_the_country_of_a_number(phone: str | None, country: str | None) -> None:
    assert country_of(phone) == country


def test_amounts_are_shown_as_people_write_them() -> None:
    assert shown(Decimal("1234.567"), "EUR") == "€1,234.57"
    assert shown(Decimal("0.0075"), "EUR") == "€0.0075"
    assert shown(Decimal(0), "EUR") == "€0.00"
    assert shown_money(Money(5000, "JPY")) == "¥5,000"


def test_prices_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEFOREHAND_SMS_PRICE", "")
    monkeypatch.setenv("BEFOREHAND_SMS_PRICES", '{"DE": 0.075}')
    read = Settings(_env_file=None)
    assert read.sms_price is None
    assert read.sms_prices == {"DE": Decimal("0.075")}


@pytest.mark.parametrize("said", ['{"UK": 1}', '{"de": 1}', '{"DE": -1}', '{"DE": "NaN"}'])
def test_a_price_that_cannot_be_is_refused(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEFOREHAND_SMS_PRICES", said)
    with pytest.raises(ValidationError):
        Settings(_env_file=None)
