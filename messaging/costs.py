"""What messages and vouchers cost: prices as set, segments and countries as counted, money as exact decimals.

Prices are what the operator's provider charges; none is built in, and an unknown price is said, never guessed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import Any

import phonenumbers
from babel.numbers import format_currency, get_currency_precision
from phonenumbers import NumberParseException

from models.terms import Money
from models.vocabulary import Channel

UNITS = {Channel.SMS: "segment", Channel.VOICE: "call", Channel.EMAIL: "e-mail"}
"""What a channel's price is for one of."""


@dataclass(frozen=True)
class Prices:
    """What the providers charge, in units of ``currency`` (ISO 4217): per SMS segment, per call, per e-mail.

    ``sms_by_country`` goes before ``sms``, by the country of the phone number (ISO 3166). None: nobody has set it.
    """

    currency: str
    sms: Decimal | None = None
    call: Decimal | None = None
    email: Decimal | None = None
    sms_by_country: Mapping[str, Decimal] = field(default_factory=dict)

    def of(self, channel: Channel, country: str | None = None) -> Decimal | None:
        """The price of one unit on a channel, or None where it is not set."""
        if channel is Channel.SMS:
            return self.sms_by_country.get(country or "", self.sms)
        return self.call if channel is Channel.VOICE else self.email


@dataclass(frozen=True)
class Counted:
    """Messages of one kind: ``each`` is the mean of their units (segments, calls, e-mails), exact or from a sample."""

    channel: Channel
    messages: int
    each: Decimal = Decimal(1)
    country: str | None = None


@dataclass(frozen=True)
class ChannelCost:
    """What goes by one channel: ``units`` (SMS segments, calls, e-mails) and ``amount``, without the ``unpriced``."""

    channel: Channel
    messages: int
    units: int
    amount: Decimal
    unpriced: int = 0

    def as_json(self) -> dict[str, Any]:
        """The line as JSON values; the amount as text, so that no digit is lost."""
        return {
            "channel": self.channel.value,
            "messages": self.messages,
            "units": self.units,
            "unit": UNITS[self.channel],
            "amount": _digits(self.amount) if self.unpriced < self.messages else None,
            "unpriced": self.unpriced,
        }


@dataclass(frozen=True)
class Cost:
    """What a set of messages and its vouchers would cost.

    ``rendered`` of the ``of_sms`` texts were filled to count their segments; fewer than all: the figure is an estimate.
    ``unfilled`` are those among them that no template could fill. ``vouchers`` is their whole worth, a sum a currency.
    """

    currency: str
    channels: tuple[ChannelCost, ...] = ()
    vouchers: tuple[Money, ...] = ()
    of_sms: int = 0
    rendered: int = 0
    unfilled: int = 0

    @property
    def is_estimate(self) -> bool:
        """Whether the segments come from a sample of the texts."""
        return self.rendered < self.of_sms

    @property
    def messages(self) -> int:
        """How many messages were counted."""
        return sum(line.messages for line in self.channels)

    @property
    def amount(self) -> Decimal | None:
        """What the messages with a price cost; None where there are messages and none of them has one."""
        priced = [line.amount for line in self.channels if line.unpriced < line.messages]
        return sum(priced, Decimal(0)) if priced or not self.channels else None

    @property
    def unpriced(self) -> dict[Channel, int]:
        """Messages whose price nobody has set, by channel."""
        return {line.channel: line.unpriced for line in self.channels if line.unpriced}

    def as_json(self) -> dict[str, Any]:
        """The cost as JSON values; amounts as text in units of the currency, vouchers in minor units."""
        return {
            "currency": self.currency,
            "amount": None if self.amount is None else _digits(self.amount),
            "messages": self.messages,
            "channels": [line.as_json() for line in self.channels],
            "vouchers": [{"worth": money.minor, "currency": money.currency} for money in self.vouchers],
            "estimate": self.is_estimate,
            "sms": self.of_sms,
            "rendered": self.rendered,
            "unfilled": self.unfilled,
            "unpriced": {channel.value: count for channel, count in self.unpriced.items()},
        }


def add_up(counted: Iterable[Counted], prices: Prices) -> tuple[ChannelCost, ...]:
    """One line a channel, in the order of the channels; amounts are exact, units are rounded to whole ones."""
    lines: dict[Channel, list[Counted]] = {}
    for part in counted:
        lines.setdefault(part.channel, []).append(part)
    return tuple(_line(channel, lines[channel], prices) for channel in Channel if channel in lines)


def _line(channel: Channel, parts: list[Counted], prices: Prices) -> ChannelCost:
    amount, unpriced = Decimal(0), 0
    for part in parts:
        price = prices.of(channel, part.country)
        if price is None:
            unpriced += part.messages
        else:
            amount += price * part.each * part.messages
    units = sum((part.each * part.messages for part in parts), Decimal(0))
    return ChannelCost(channel, sum(part.messages for part in parts), round(units), amount, unpriced)


def worth(vouchers: Iterable[Money]) -> tuple[Money, ...]:
    """The vouchers' whole worth: one sum a currency, in the order of the alphabet."""
    sums: dict[str, int] = {}
    for money in vouchers:
        sums[money.currency] = sums.get(money.currency, 0) + money.minor
    return tuple(Money(sums[currency], currency) for currency in sorted(sums) if sums[currency])


@lru_cache(maxsize=65_536)
def country_of(phone: str | None) -> str | None:
    """The country of a phone number in E.164 (ISO 3166), by libphonenumber; None where nobody can tell.

    Where several share a calling code and the number is none that is given out, the first of them by size.
    """
    try:
        number = phonenumbers.parse(phone or "", None)
    except NumberParseException:
        return None
    found = phonenumbers.region_code_for_number(number)
    return found or phonenumbers.region_code_for_country_code(number.country_code or 0)


def _digits(amount: Decimal) -> str:
    """An amount as plain digits, to the millionth."""
    return format(round(amount, 6).normalize(), "f")


def shown(amount: Decimal, currency: str) -> str:
    """An amount as staff read it: ``€1,234.50``; what rounds to nothing keeps the digits that say something."""
    digits = int(get_currency_precision(currency))
    smallest = Decimal(1).scaleb(-digits)
    if amount and abs(amount) < smallest:
        return str(format_currency(amount, currency, "¤#,##0.######", locale="en", currency_digits=False))
    return str(format_currency(amount, currency, locale="en"))


def shown_money(money: Money) -> str:
    """Money as staff read it: ``€50.00``."""
    return shown(Decimal(money.minor).scaleb(-int(get_currency_precision(money.currency))), money.currency)
