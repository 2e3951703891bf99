"""What a template may name: the customer, the subject, the brand, the voucher, for a whole batch at a time.

A batch takes a fixed number of queries, however many messages it has: one per table that its subjects need.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Table, select

import models
from messaging.links import Links
from messaging.samples import ALWAYS, SAMPLES, at
from messaging.values import AnyWord
from messaging.vouchers import voucher_code
from models.terms import Money

HIDDEN_CODE = "XXXXX-XXXXX-XXXXX-XXXXX"
"""Stands for a voucher's code wherever no real one may be shown."""

Row = dict[str, Any]
Context = dict[str, Any]


@dataclass(frozen=True)
class Brand:
    """Who speaks: ``phone`` is E.164, ``address`` postal, ``url`` where customers find us.

    ``links`` signs what customers open; without it a message has none.
    """

    name: str
    phone: str
    address: str
    url: str
    links: Links | None = None


@dataclass(frozen=True)
class Item:
    """One message that is, or would be: what it is about, and for whom.

    ``subject`` is a rule's ``for_each`` and ``subject_id`` its row. ``worth`` is the voucher's, None without one.
    """

    customer_id: int
    subject: str
    subject_id: int
    facts: Mapping[str, Any] = field(default_factory=dict)
    purpose: str = "service"
    reference: str = "PREVIEW0"
    made_at: datetime | None = None
    worth: Money | None = None
    valid_until: datetime | None = None
    code: str = HIDDEN_CODE
    survey: str | None = None


@dataclass(frozen=True)
class _Kind:
    """A table as templates see it: its columns by name, and the linked rows that come along by their own names."""

    table: Table
    columns: tuple[str, ...]
    links: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # name in the template: (kind, key column)


def _table(model: Any) -> Table:
    table: Table = model.__table__
    return table


_ORDER = ("number", "placed_at", "promised_on", "shipped_at", "delivered_at", "cancelled_at", "returned_at")
_KINDS: Mapping[str, _Kind] = {
    "customer": _Kind(
        _table(models.Customer),
        ("first_name", "last_name", "language", "time_zone", "country", "tier", "birthday", "created_at", "attributes"),
    ),
    "order": _Kind(
        _table(models.Order), (*_ORDER, "currency", "net_total", "shipping_total", "gross_total", "sales_channel")
    ),
    "order_line": _Kind(_table(models.OrderLine), ("quantity", "currency", "unit_price", "net_total", "returned_at")),
    "product": _Kind(_table(models.Product), ("name", "category", "supplier")),
    "call": _Kind(
        _table(models.Call), ("direction", "reason", "outcome", "started_at", "ended_at", "agent", "queue", "priority")
    ),
    "ticket": _Kind(
        _table(models.Ticket),
        ("topic", "priority", "channel", "opened_at", "answered_at", "resolved_at", "closed_at", "satisfaction"),
        {"order": ("order", "order_id")},
    ),
    "subscription": _Kind(
        _table(models.Subscription),
        ("plan", "started_at", "renews_at", "paused_at", "cancelled_at", "ended_at", "currency", "price"),
    ),
    "event": _Kind(_table(models.Event), ("name", "happened_at", "properties")),
    "issue": _Kind(_table(models.KnownIssue), ("title", "severity", "advice", "texts", "declared_at", "closed_at")),
    "exposure": _Kind(
        _table(models.Exposure),
        ("found_at",),
        {
            "issue": ("issue", "issue_id"),
            "product": ("product", "product_id"),
            "order": ("order", "order_id"),
            "order_line": ("order_line", "order_line_id"),
        },
    ),
}
_MONEY = frozenset({"net_total", "shipping_total", "gross_total", "unit_price", "price"})


def contexts(connection: Connection, message_ids: Sequence[int], *, brand: Brand, secret: bytes) -> dict[int, Context]:
    """The contexts of planned messages, by message id; ids that are no messages are left out.

    ``secret`` derives the codes of vouchers, which are stored nowhere.
    """
    message, match = _table(models.Message), _table(models.Match)
    statement = (
        select(message, match.c.subject, match.c.subject_id, match.c.facts)
        .join(match, match.c.id == message.c.match_id)
        .where(message.c.id.in_(message_ids))
        .order_by(message.c.id)
    )
    rows = [dict(row) for row in connection.execute(statement).mappings()]
    match_ids = [row["match_id"] for row in rows]
    vouchers = _vouchers(connection, match_ids, secret)
    surveys = _surveys(connection, match_ids)
    items = [_item(row, vouchers.get(row["match_id"], {}), surveys.get(row["match_id"])) for row in rows]
    return dict(zip((row["id"] for row in rows), contexts_for(connection, items, brand=brand), strict=True))


def contexts_for(connection: Connection, items: Sequence[Item], *, brand: Brand) -> list[Context]:
    """The contexts of messages that need not exist yet, in the order of ``items``; a preview hides voucher codes.

    Each has ``customer``, ``facts``, ``brand``, ``message``, ``links``, ``voucher``, ``survey`` and the subject by its
    name with what belongs to it (an exposure: ``issue``, ``product``, ``order``, ``order_line``). What is not known is
    None. The links of a message that does not exist yet open nothing.
    """
    wanted: dict[str, set[int]] = {"customer": {item.customer_id for item in items}}
    for item in items:
        wanted.setdefault(item.subject, set()).add(item.subject_id)
    found = {kind: _rows(connection, kind, ids) for kind, ids in wanted.items()}
    linked = _linked(connection, found)
    return [_context(item, found, linked, brand) for item in items]


def sample_context(
    subject: str | None = None,
    *,
    language: str = "en",
    purpose: str = "service",
    sparse: bool = False,
    voucher: bool = True,
) -> Context:
    """A made-up context for trial renderings: of one subject, or of all at once.

    ``sparse`` leaves out all that a source may not know: names, numbers, dates. ``voucher`` False: no voucher step.
    """
    names = _names(subject) if subject else set(_KINDS)
    shown = {name: _sample(SAMPLES[name], sparse=sparse) for name in names | {"customer"}}
    shown["customer"]["language"] = language
    unknown = _may_be_missing(subject) if subject and sparse else ()
    return {
        **shown,
        **dict.fromkeys(unknown),
        "facts": AnyWord(),
        "brand": {
            "name": "Beforehand Shop",
            "phone": "+442079460000",
            "address": "Beforehand Shop, 1 Sample Street, London",
            "url": "https://shop.example",
        },
        "message": {"reference": "7K2M9QXC", "purpose": purpose},
        "links": {
            name: f"https://shop.example/{path}/ab{'c' * 16}7K2M9QXC"
            for name, path in (("unsubscribe", "s"), ("preferences", "p"), ("survey", "a"))
        },
        "voucher": {"code": HIDDEN_CODE, "worth": Money(5000, "EUR"), "valid_until": at(6, 8)} if voucher else None,
        "survey": {"name": "contact"},
    }


def _names(subject: str) -> set[str]:
    return {subject, *_KINDS[subject].links}


def _may_be_missing(subject: str) -> list[str]:
    kind = _KINDS[subject]
    return [name for name, (_kind, key) in kind.links.items() if kind.table.c[key].nullable]


def _item(row: Row, voucher: Row, survey: str | None) -> Item:
    return Item(
        customer_id=row["customer_id"],
        subject=row["subject"],
        subject_id=row["subject_id"],
        facts=row["facts"] or {},
        purpose=row["purpose"],
        reference=row["reference"],
        made_at=row["created_at"],
        survey=survey or (row["details"] or {}).get("survey"),
        **voucher,
    )


def _vouchers(connection: Connection, match_ids: Sequence[int], secret: bytes) -> dict[int, Row]:
    voucher = _table(models.Voucher)
    rows = connection.execute(select(voucher).where(voucher.c.match_id.in_(match_ids))).mappings()
    return {
        row["match_id"]: {
            "worth": Money(row["worth"], row["currency"]),
            "valid_until": row["valid_until"],
            "code": voucher_code(secret, row["salt"]) if row["salt"] else HIDDEN_CODE,
        }
        for row in rows
    }


def _surveys(connection: Connection, match_ids: Sequence[int]) -> dict[int, str]:
    survey = _table(models.Survey)
    statement = select(survey.c.match_id, survey.c.kind).where(survey.c.match_id.in_(match_ids)).order_by(survey.c.id)
    return {row.match_id: row.kind for row in connection.execute(statement) if row.kind}


def _rows(connection: Connection, kind: str, ids: Iterable[int | None]) -> dict[int, Row]:
    """One query: the rows of a kind by id, with the keys of their links."""
    shape = _KINDS[kind]
    known = sorted({key for key in ids if key is not None})
    keys = [key for _name, key in shape.links.values()]
    columns = [shape.table.c[name] for name in dict.fromkeys(("id", *shape.columns, *keys))]
    found = connection.execute(select(*columns).where(shape.table.c.id.in_(known))).mappings()
    return {row["id"]: _with_money(dict(row)) for row in found}


def _linked(connection: Connection, found: Mapping[str, Mapping[int, Row]]) -> dict[str, dict[int, Row]]:
    """The rows that the subjects point to: one query a table."""
    wanted: dict[str, set[int]] = {}
    for kind, rows in found.items():
        for target, key in _KINDS[kind].links.values():
            wanted.setdefault(target, set()).update(row[key] for row in rows.values() if row[key] is not None)
    return {kind: _rows(connection, kind, ids) for kind, ids in wanted.items()}


def _with_money(row: Row) -> Row:
    currency = row.get("currency")
    for name in _MONEY & row.keys():
        row[name] = Money(row[name], currency) if row[name] is not None and currency else None
    return row


def _context(
    item: Item, found: Mapping[str, Mapping[int, Row]], linked: Mapping[str, Mapping[int, Row]], brand: Brand
) -> Context:
    subject = found[item.subject].get(item.subject_id, {})
    voucher = {"code": item.code, "worth": item.worth, "valid_until": item.valid_until} if item.worth else None
    return {
        **{name: linked[kind].get(subject.get(key) or 0) for name, (kind, key) in _KINDS[item.subject].links.items()},
        item.subject: subject,
        "customer": found["customer"].get(item.customer_id, {}),
        "facts": item.facts,
        "brand": {"name": brand.name, "phone": brand.phone, "address": brand.address, "url": brand.url},
        "message": {"reference": item.reference, "purpose": item.purpose},
        "links": brand.links.of_message(item.reference, item.made_at, survey=item.survey is not None)
        if brand.links
        else None,
        "voucher": voucher,
        "survey": {"name": item.survey} if item.survey else None,
    }


def _sample(sample: Row, *, sparse: bool) -> Row:
    return {key: (None if sparse and key not in ALWAYS else value) for key, value in sample.items()}
