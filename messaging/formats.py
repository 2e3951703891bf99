"""How money, days, moments, numbers and phone numbers are written for one reader: by language, country and zone."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any
from unicodedata import bidirectional
from zoneinfo import ZoneInfo

import phonenumbers
from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_time, get_datetime_format
from babel.numbers import format_currency, format_decimal, get_currency_precision
from jinja2 import pass_context
from jinja2.exceptions import TemplateRuntimeError
from jinja2.runtime import Context
from markupsafe import Markup, escape

from messaging.values import AnyWord
from models.terms import Money

ISOLATE, END_ISOLATE = "\u2068", "\u2069"
"""FIRST STRONG ISOLATE and POP DIRECTIONAL ISOLATE (Unicode UAX 9): what is between them cannot upset the line."""


@dataclass(frozen=True)
class Formats:
    """The filters of one rendering. ``isolates``: the text runs right to left, so codes and numbers are set apart.

    ``markup``: the text is HTML. Every method takes a value that is present; None is a TemplateRuntimeError.
    """

    locale: Locale
    zone: ZoneInfo
    isolates: bool = False

    def money(self, value: Any, currency: str | None = None) -> str:
        """``Money`` (or minor units and a currency) as a person writes it: ``€50``, ``€49.90``."""
        amount = value if isinstance(value, Money) else Money(int(value), currency or "")
        if not amount.currency:
            raise TemplateRuntimeError("money needs a currency: write {{ amount|money('EUR') }}")
        digits = get_currency_precision(amount.currency)
        exact = Decimal(amount.minor).scaleb(-digits)
        if amount.minor % 10**digits:
            return str(format_currency(exact, amount.currency, locale=self.locale))
        pattern = self.locale.currency_formats["standard"].pattern.replace(".00", "")
        return str(format_currency(exact, amount.currency, pattern, locale=self.locale, currency_digits=False))

    def day(self, value: Any) -> str:
        """A calendar day: of a date as it is, of a moment in the reader's zone."""
        return str(format_date(self._local(value), "long", locale=self.locale))

    def moment(self, value: Any) -> str:
        """A day and a time, in the reader's zone."""
        local = self._local(value)
        if not isinstance(local, datetime):
            return self.day(local)
        joined = str(get_datetime_format("long", locale=self.locale))
        clock = str(format_time(local.timetz(), "short", locale=self.locale))
        return joined.replace("{1}", self.day(local)).replace("{0}", clock)

    def number(self, value: Any) -> str:
        """A number with the reader's separators."""
        return str(format_decimal(Decimal(str(value)), locale=self.locale))

    def phone(self, value: Any) -> str:
        """An E.164 number in readable groups; anything else as it is."""
        return grouped(str(value))

    def code(self, value: Any) -> str:
        """A code, an address or a link, as it is."""
        return str(value)

    def name(self, value: Any) -> str:
        """A name or a text from elsewhere, as it is; one that runs right to left by itself needs no setting apart."""
        return str(value)

    def _local(self, value: Any) -> date:
        if isinstance(value, AnyWord):
            return date(2026, 3, 3)
        if isinstance(value, str):
            value = datetime.fromisoformat(value) if len(value) > 10 else date.fromisoformat(value)
        if isinstance(value, datetime):
            known: datetime = value if value.tzinfo else value.replace(tzinfo=UTC)  # our own moments are UTC
            return known.astimezone(self.zone)
        if isinstance(value, date):
            return value
        raise TemplateRuntimeError(f"a {type(value).__name__} is no day and no moment")


@lru_cache(maxsize=1024)
def locale_of(language: str, wish: str | None = None, country: str | None = None) -> Locale:
    """The locale for a text in ``language``: with the reader's own region where one is known for that language.

    ``wish`` is the reader's BCP 47 tag, ``country`` ISO 3166; English for what Babel does not know.
    """
    base = language.split("-")[0]
    tags = [language]
    if wish and wish.split("-")[0] == base:
        tags.insert(0, wish)
    if country and "-" not in tags[0]:
        tags.insert(0, f"{base}-{country.upper()}")
    for tag in [*tags, base]:
        try:
            return Locale.parse(tag, sep="-")
        except (UnknownLocaleError, ValueError):
            continue
    return Locale("en")


@lru_cache(maxsize=1024)
def zone_of(name: str | None, default: str) -> ZoneInfo:
    """The zone of that name, or the default where it is missing or unknown."""
    try:
        return ZoneInfo(name or default)
    except (KeyError, ValueError, OSError):
        return ZoneInfo(default)


@lru_cache(maxsize=1024)
def grouped(phone: str) -> str:
    """An E.164 number in readable groups; anything else as it is."""
    try:
        parsed = phonenumbers.parse(phone)
    except phonenumbers.NumberParseException:
        return phone
    return str(phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.INTERNATIONAL))


def is_rtl(language: str) -> bool:
    """Whether the language runs right to left."""
    return str(locale_of(language).text_direction) == "rtl"


def apart(shown: str) -> Markup:
    """HTML that is set apart from the line's direction; what has no right-to-left letter (a code, a number) is ``ltr``.

    Gmail and Outlook drop ``<bdi>`` (caniemail.com, html-bdi), so the isolating characters go around it.
    """
    tag = "<bdi>" if _has_rtl(shown) else '<bdi dir="ltr">'
    return Markup(f"{ISOLATE}{tag}") + escape(shown) + Markup(f"</bdi>{END_ISOLATE}")  # noqa: S704  # our own tags


def _has_rtl(text: str) -> bool:
    return any(bidirectional(char) in ("R", "AL") for char in text)


def _is_all_rtl(text: str) -> bool:
    return _has_rtl(text) and not any(bidirectional(char) == "L" for char in text)


def _filter(method: str) -> Callable[..., str]:
    @pass_context
    def apply(context: Context, value: Any, *args: Any) -> str:
        if value is None:
            raise TemplateRuntimeError(f"there is no value to show here; ask for it with {{% if %}} before |{method}")
        formats: Formats = context["formats"]
        shown: str = getattr(formats, method)(value, *args)
        if not formats.isolates or (method == "name" and _is_all_rtl(shown)):
            return shown
        if context.eval_ctx.autoescape:
            return apart(shown)
        return f"{ISOLATE}{shown}{END_ISOLATE}"

    return apply


SENTENCE = re.compile(r".*?(?:[.!?؟](?=\s|$)|[。！？]|$)", re.DOTALL)


def first_sentence(text: str) -> str:
    """The first sentence of a text, for an SMS that has no room for more."""
    found = SENTENCE.match(text)
    return found.group() if found else text


def called(customer: Mapping[str, Any]) -> str:
    """How a person is called: by the first name; by family name and first name where both are Chinese characters."""
    first, last = customer["first_name"] or "", customer["last_name"] or ""
    chinese = all("\u4e00" <= char <= "\u9fff" for char in first + last)
    return str(last + first) if chinese else str(first)


FILTERS: Mapping[str, Callable[..., str]] = {
    "money": _filter("money"),
    "day": _filter("day"),
    "moment": _filter("moment"),
    "number": _filter("number"),
    "phone": _filter("phone"),
    "ltr": _filter("code"),
    "isolate": _filter("name"),
    "first_sentence": first_sentence,
    "called": called,
}
"""The filters that templates have. ``ltr`` is for codes and links, ``isolate`` for names of people and things."""
