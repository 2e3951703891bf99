"""The sample's payments and subscriptions."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random

from beforehand.sample.contact import Row
from beforehand.sample.people import Habit, Person
from beforehand.sample.trade import DAY, Purchase

PLANS = (("coffee club", 1990), ("coffee club large", 3490), ("tea club", 1490))


def make_payments(now: datetime, random: Random, purchases: list[Purchase]) -> Iterator[Row]:
    """One payment an order: most are paid at once, invoices within two weeks, a few fail first."""
    for purchase in purchases:
        method = random.choices(("card", "wallet", "invoice"), (6, 3, 1))[0]
        due = purchase.placed_at + (DAY * 14 if method == "invoice" else timedelta())
        paid = purchase.placed_at + (DAY * random.uniform(1, 13) if method == "invoice" else timedelta(minutes=2))
        failed = purchase.placed_at + timedelta(minutes=1) if random.random() < 0.01 else None
        refunded = purchase.cancelled_at or purchase.returned_at
        yield {
            "id": purchase.number.replace("W", "P"),
            "customer": purchase.person.external_id,
            "order": purchase.number,
            "method": method,
            "due": due.replace(microsecond=0),
            "paid": paid.replace(microsecond=0) if paid <= now and not failed else None,
            "failed": failed,
            "refunded": refunded,
            "currency": "EUR",
            "amount": purchase.net + purchase.shipping,
        }


def make_subscriptions(now: datetime, random: Random, people: list[Person]) -> Iterator[Row]:
    """A coffee or tea club for one regular customer in eight; some paused, some ended."""
    serial = 0
    for person in people:
        if person.habit not in (Habit.REGULAR, Habit.LOYAL) or random.random() > 0.125:
            continue
        serial += 1
        plan, price = random.choice(PLANS)
        started = person.created_at + (now - person.created_at) * random.uniform(0, 0.8)
        ended = started + (now - started) * random.random() if random.random() < 0.2 else None
        yield {
            "id": f"B{serial:05}",
            "customer": person.external_id,
            "plan": plan,
            "started": started.replace(microsecond=0),
            "renews": None if ended else (now + DAY * random.randint(1, 30)).replace(microsecond=0),
            "paused": (now - DAY * random.randint(2, 30)).replace(microsecond=0) if random.random() < 0.08 else None,
            "cancelled": ended.replace(microsecond=0) if ended else None,
            "ended": ended.replace(microsecond=0) if ended else None,
            "currency": "EUR",
            "price": price,
        }
