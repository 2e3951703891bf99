"""Checks of values that libraries know one at a time: phones, e-mails, languages, zones, countries.

Each distinct value is looked at once.
"""

from collections.abc import Callable
from functools import lru_cache

import phonenumbers
import polars as pl
from babel import Locale, UnknownLocaleError
from babel.numbers import get_currency_precision, list_currencies
from email_validator import EmailNotValidError, validate_email

from models.types import time_zones

Checked = tuple[str | None, str | None]
"""The value in its normal form, or None and the reason."""


@lru_cache(maxsize=100_000)
def phone(value: str, region: str | None) -> Checked:
    """A phone number in E.164. A number without a country code is read as one of ``region``."""
    try:
        number = phonenumbers.parse(value, region)
    except phonenumbers.NumberParseException as wrong:
        if wrong.error_type == phonenumbers.NumberParseException.INVALID_COUNTRY_CODE and not region:
            return None, "the phone number has no country code; say 'region' in the mapping"
        return None, "this is not a phone number"
    if not phonenumbers.is_possible_number(number):
        return None, "the phone number is too short or too long"
    if not phonenumbers.is_valid_number(number):
        return None, "no such phone number can exist; is the region right?"
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164), None


@lru_cache(maxsize=100_000)
def email(value: str, _region: str | None = None) -> Checked:
    """An e-mail address in its normal form; whether it can be delivered is not asked."""
    try:
        return validate_email(value, check_deliverability=False).normalized, None
    except EmailNotValidError:
        return None, "this is not an e-mail address"


@lru_cache(maxsize=10_000)
def language(value: str, _region: str | None = None) -> Checked:
    """A BCP 47 language tag: ``pt_br`` becomes ``pt-BR``."""
    try:
        return str(Locale.parse(value.replace("_", "-"), sep="-")).replace("_", "-"), None
    except (UnknownLocaleError, ValueError):
        return None, "this is not a language; expected BCP 47, for example en or pt-BR"


def zone(value: str, _region: str | None = None) -> Checked:
    """An IANA time zone."""
    if value in time_zones():
        return value, None
    return None, "this is not a time zone; expected an IANA name, for example Europe/Berlin"


@lru_cache(maxsize=1)
def _countries() -> dict[str, str]:
    names = Locale("en").territories
    codes = {code: str(name) for code, name in names.items() if len(code) == 2 and code.isalpha()}
    codes.pop("ZZ", None)
    return {**{name.casefold(): code for code, name in codes.items()}, **{code.casefold(): code for code in codes}}


def country(value: str, _region: str | None = None) -> Checked:
    """An ISO 3166 alpha-2 code; English names of countries are understood."""
    code = _countries().get(value.casefold())
    return (code, None) if code else (None, "this is not a country; expected ISO 3166, for example DE, or its name")


@lru_cache(maxsize=1)
def _currencies() -> frozenset[str]:
    return frozenset(list_currencies())


def currency(value: str, _region: str | None = None) -> Checked:
    """An ISO 4217 currency code."""
    code = value.upper()
    return (code, None) if code in _currencies() else (None, "this is not a currency; expected ISO 4217, such as EUR")


def digits(code: str) -> int:
    """How many decimal digits the minor unit of a currency has (EUR 2, JPY 0)."""
    return get_currency_precision(code)


CHECKS: dict[str, Callable[[str, str | None], Checked]] = {
    "phone": phone,
    "email": email,
    "language": language,
    "zone": zone,
    "country": country,
    "currency": currency,
}


def check(kind: str, text: pl.Series, region: str | None) -> tuple[pl.Series, list[tuple[pl.Series, str]]]:
    """Check a column: the normal forms, and for each reason which rows it concerns."""
    distinct = text.drop_nulls().unique()
    answers = [CHECKS[kind](value, region) for value in distinct]
    good = pl.Series([answer[0] for answer in answers], dtype=pl.String)
    values = text.replace_strict(distinct, good, default=None, return_dtype=pl.String) if len(distinct) else text
    bad = []
    for reason in dict.fromkeys(answer[1] for answer in answers if answer[1]):
        refused = [value for value, (_, said) in zip(distinct, answers, strict=True) if said == reason]
        bad.append((text.is_in(refused).fill_null(False), reason))
    return values, bad
