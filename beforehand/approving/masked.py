"""Sample texts without the person: a window outside our database may show them."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from messaging.values import AnyWord

HIDDEN = "•••"
"""Stands where a customer's own name, number or address would be."""

KEPT = frozenset({"id", "language", "time_zone", "country", "tier", "created_at"})
"""What a text may show of a customer without saying who it is."""

NUMBERS = frozenset({"number", "agent", "name"})
"""Columns of the other rows that name one order or one person; a product's name is no person's."""

MAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
PHONE = re.compile(r"\+\d[\d ()/.-]{5,}\d|(?<![\w:/-])(?<!\d[.,])\d{7,}(?![\w:/-]|[.,]\d)")


def masked(context: Mapping[str, Any]) -> dict[str, Any]:
    """A context of :mod:`messaging.context` in which the customer is nobody, and no row can be told by its number."""
    customer = {name: value if name in KEPT else None for name, value in context["customer"].items()}
    shown = {name: _row(name, value) for name, value in context.items() if isinstance(value, Mapping)}
    own = {"customer": customer | {"attributes": AnyWord()}, "brand": context["brand"], "links": context.get("links")}
    return {**context, **shown, **own}


def _row(kind: str, row: Mapping[str, Any]) -> dict[str, Any]:
    if kind in ("product", "issue", "brand", "links", "voucher", "message"):
        return dict(row)
    said = {name: HIDDEN if name in NUMBERS and value is not None else value for name, value in row.items()}
    return said | ({"properties": AnyWord()} if "properties" in row else {})


def scrubbed(text: str, hidden: Iterable[Any], keep: Iterable[str]) -> str:
    """A filled text in which none of the customer's own words is left, and no address or number but those in ``keep``.

    Whatever a template took them from (facts, a free text), they do not get out.
    """
    for word in sorted({str(word) for word in hidden if word and len(str(word)) > 1}, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", HIDDEN, text)
    known = set(keep)

    def hide(found: re.Match[str]) -> str:
        return found.group() if found.group() in known else HIDDEN

    return PHONE.sub(hide, MAIL.sub(hide, text))
