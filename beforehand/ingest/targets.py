"""The tables that a mapping file can fill: fields, kinds, links and the events that rules hear of."""

from dataclasses import dataclass, field
from typing import cast

from sqlalchemy import Table

from models import (
    Call,
    Consent,
    Customer,
    Event,
    KnownIssue,
    Order,
    OrderLine,
    Payment,
    Product,
    Subscription,
    Survey,
    Ticket,
    Voucher,
)
from models.vocabulary import CallDirection, CallOutcome, Channel, ConsentVerdict, Purpose, Severity, TicketPriority


@dataclass(frozen=True)
class Field:
    """One field: how its text is read, and whether a row without it is of no use. ``words``: the only values."""

    kind: str
    required: bool = False
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Target:
    """A table: its name in mapping files, fields, links (name to whether it must be known), extra JSON, events."""

    name: str
    subject: str
    table: Table
    fields: dict[str, Field]
    links: dict[str, bool] = field(default_factory=dict)
    extra: str = ""
    keyed: bool = True
    events: tuple[str, ...] = ()

    @property
    def lenient(self) -> bool:
        """Whether a bad value only empties the field: a person must not be lost because of one."""
        return self.name == "customers"


TEXT, TIME, DAY, MONEY, WHOLE = (Field(kind) for kind in ("text", "time", "day", "money", "integer"))
CURRENCY = Field("currency")
SUBJECTS = {"customer": "customers", "order": "orders", "product": "products", "ticket": "tickets"}


def _words(words: type, *, required: bool = False) -> Field:
    return Field("word", required=required, words=tuple(cast("list[str]", [str(word.value) for word in words])))  # type: ignore[attr-defined]


def _texts(*names: str) -> dict[str, Field]:
    return dict.fromkeys(names, TEXT)


def _times(*names: str) -> dict[str, Field]:
    return dict.fromkeys(names, TIME)


def _money(*names: str) -> dict[str, Field]:
    return {"currency": CURRENCY, **dict.fromkeys(names, MONEY)}


def _table(model: type) -> Table:
    return cast(Table, model.__table__)  # type: ignore[attr-defined]


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target(
            "customers",
            "customer",
            _table(Customer),
            {
                **_texts("first_name", "last_name", "tier"),
                "email": Field("email"),
                "phone": Field("phone"),
                "language": Field("language"),
                "time_zone": Field("zone"),
                "country": Field("country"),
                "preferred_channel": _words(Channel),
                "birthday": DAY,
                "created_at": TIME,
            },
            extra="attributes",
        ),
        Target("products", "product", _table(Product), _texts("name", "category", "supplier")),
        Target(
            "orders",
            "order",
            _table(Order),
            {
                **_texts("number", "sales_channel"),
                **_times("placed_at", "shipped_at", "delivered_at", "cancelled_at", "returned_at"),
                "promised_on": DAY,
                **_money("net_total", "shipping_total", "gross_total"),
            },
            links={"customer": False},
            events=("order.placed", "order.shipped", "order.delivered", "order.cancelled"),
        ),
        Target(
            "lines",
            "line",
            _table(OrderLine),
            {"quantity": WHOLE, "returned_at": TIME, **_money("unit_price", "net_total")},
            links={"order": True, "product": False},
        ),
        Target(
            "tickets",
            "ticket",
            _table(Ticket),
            {
                **_texts("topic", "channel"),
                "priority": _words(TicketPriority),
                **_times("opened_at", "answered_at", "resolved_at", "closed_at", "reopened_at"),
                "reopen_count": WHOLE,
                "satisfaction": WHOLE,
            },
            links={"customer": False, "order": False},
            events=("ticket.opened", "ticket.closed"),
        ),
        Target(
            "calls",
            "call",
            _table(Call),
            {
                "direction": _words(CallDirection),
                "outcome": _words(CallOutcome),
                **_times("started_at", "ended_at"),
                **_texts("reason", "agent", "queue", "priority"),
                "phone": Field("phone"),
            },
            links={"customer": False},
            events=("call.ended",),
        ),
        Target(
            "surveys",
            "survey",
            _table(Survey),
            {**_texts("kind", "comment"), **_times("asked_at", "answered_at"), "score": WHOLE},
            links={"customer": False, "order": False, "ticket": False},
            events=("survey.answered",),
        ),
        Target(
            "payments",
            "payment",
            _table(Payment),
            {**_texts("method"), **_times("due_at", "paid_at", "failed_at", "refunded_at"), **_money("amount")},
            links={"customer": False, "order": False},
        ),
        Target(
            "subscriptions",
            "subscription",
            _table(Subscription),
            {
                **_texts("plan"),
                **_times("started_at", "renews_at", "paused_at", "cancelled_at", "ended_at"),
                **_money("price"),
            },
            links={"customer": False},
        ),
        Target(
            "vouchers",
            "voucher",
            _table(Voucher),
            {
                "currency": Field("currency", required=True),
                "worth": Field("money", required=True),
                **_times("issued_at", "valid_until", "redeemed_at"),
            },
            links={"customer": True},
        ),
        Target(
            "issues",
            "issue",
            _table(KnownIssue),
            {
                "title": Field("text", required=True),
                "severity": _words(Severity, required=True),
                "advice": TEXT,
                **_times("declared_at", "closed_at"),
            },
            events=("issue.declared", "issue.changed"),
        ),
        Target(
            "events",
            "event",
            _table(Event),
            {"name": Field("text", required=True), "happened_at": TIME},
            links={"customer": False},
            extra="properties",
            events=("event.happened",),
        ),
        Target(
            "consents",
            "consent",
            _table(Consent),
            {
                "channel": _words(Channel, required=True),
                "purpose": _words(Purpose, required=True),
                "verdict": _words(ConsentVerdict, required=True),
                "given_at": Field("time", required=True),
                "source": Field("text", required=True),
                "text_version": TEXT,
            },
            links={"customer": True},
            keyed=False,
        ),
    )
}
"""By the name used in mapping files, in the order in which they are loaded (what is linked to comes first)."""
