"""A made-up row of each kind, for trial renderings of templates."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from messaging.values import AnyWord
from models.terms import Money


def at(month: int, day: int, hour: int = 9) -> datetime:
    """A moment in 2026, half past the hour, UTC."""
    return datetime(2026, month, day, hour, 30, tzinfo=UTC)


ALWAYS = frozenset({"id", "title", "severity", "found_at", "quantity"})
"""Columns that a source always knows."""

SAMPLES: Mapping[str, dict[str, Any]] = {
    "customer": {
        "id": 5,
        "first_name": "Maria",
        "last_name": "Weber",
        "language": "en",
        "time_zone": "Europe/Berlin",
        "country": "DE",
        "tier": "gold",
        "birthday": date(1990, 5, 17),
        "created_at": at(1, 4),
        "attributes": {},
    },
    "order": {
        "id": 17,
        "number": "A-10017",
        "placed_at": at(3, 2),
        "promised_on": date(2026, 3, 9),
        "shipped_at": at(3, 5),
        "delivered_at": at(3, 12),
        "cancelled_at": None,
        "returned_at": None,
        "currency": "EUR",
        "net_total": Money(4990, "EUR"),
        "shipping_total": Money(490, "EUR"),
        "gross_total": Money(5938, "EUR"),
        "sales_channel": "web",
    },
    "order_line": {
        "id": 31,
        "quantity": 1,
        "currency": "EUR",
        "unit_price": Money(4990, "EUR"),
        "net_total": Money(4990, "EUR"),
        "returned_at": None,
    },
    "product": {"id": 9, "name": "Kettle Aurora 2", "category": "kitchen", "supplier": "Aurora"},
    "call": {
        "id": 3,
        "direction": "outbound",
        "reason": "callback",
        "outcome": "dropped",
        "started_at": at(3, 10),
        "ended_at": at(3, 10),
        "agent": "Sam",
        "queue": "orders",
        "priority": "normal",
    },
    "ticket": {
        "id": 4,
        "topic": "delivery",
        "priority": "normal",
        "channel": "email",
        "opened_at": at(3, 9),
        "answered_at": at(3, 9),
        "resolved_at": at(3, 10),
        "closed_at": at(3, 10),
        "satisfaction": 4,
    },
    "subscription": {
        "id": 6,
        "plan": "Coffee monthly",
        "started_at": at(1, 1),
        "renews_at": at(4, 1),
        "paused_at": None,
        "cancelled_at": None,
        "ended_at": None,
        "currency": "EUR",
        "price": Money(1490, "EUR"),
    },
    "event": {"id": 8, "name": "app.opened", "happened_at": at(3, 10), "properties": AnyWord()},
    "issue": {
        "id": 2,
        "title": "The lid can come off while pouring",
        "severity": "high",
        "advice": "Please fill it only half. We are sending you a new lid, free of charge.",
        "texts": {
            "ar": {"title": "قد ينفك الغطاء عند الصب", "advice": "نرجو ملء نصفها فقط. نرسل إليك غطاء جديدا مجانا."},
            "zh": {"title": "倒水时盖子可能脱落", "advice": "请只装一半水。我们会免费为您寄送新盖子。"},
        },
        "declared_at": at(3, 8),
        "closed_at": at(3, 20),
    },
    "exposure": {"id": 12, "found_at": at(3, 8)},
}
