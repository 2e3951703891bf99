"""The sample shop: a seeded, made-up population for the demo and the tests. Nobody in it is real."""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from random import Random

from beforehand.sample.accounts import make_payments, make_subscriptions
from beforehand.sample.broken import break_customers, break_lines, break_orders
from beforehand.sample.contact import Row, make_calls, make_consents, make_surveys, make_tickets
from beforehand.sample.files import write_csv, write_jsonl
from beforehand.sample.goods import GOODS
from beforehand.sample.people import Person, make_people
from beforehand.sample.trade import Purchase, make_purchases


def write(folder: Path, *, now: datetime, seed: int = 7, customers: int = 2400) -> None:
    """Write the shop's export into ``folder``: 18 months up to ``now`` (aware), the same bytes for the same arguments.

    ``examples/shop/sources.yaml`` maps the files; ``issues/kettle-rima.yaml`` declares the known issue in them.
    Raises ValueError for a naive ``now`` and for fewer than 100 customers: no rule would find anybody.
    """
    if now.tzinfo is None:
        raise ValueError("now needs a time zone, else it names no moment")
    if customers < 100:
        raise ValueError("the sample needs at least 100 customers, else there is nothing to find in it")
    folder.mkdir(parents=True, exist_ok=True)

    def dice(part: str) -> Random:
        # one stream a part: more customers or another kind of ticket does not reshuffle everything else
        return Random(f"{seed}/{part}")  # noqa: S311 - a sample, no secret

    people = make_people(now, dice("people"), customers)
    purchases = make_purchases(now, dice("purchases"), people)
    _write_trade(folder, people, purchases)
    write_csv(folder / "payments.csv", make_payments(now, dice("payments"), purchases))
    write_csv(folder / "subscriptions.csv", make_subscriptions(now, dice("subscriptions"), people))
    write_csv(folder / "tickets.csv", make_tickets(now, dice("tickets"), purchases))
    write_csv(folder / "surveys.csv", make_surveys(now, dice("surveys"), purchases))
    write_csv(folder / "consents.csv", make_consents(now, dice("consents"), people))
    write_jsonl(folder / "calls.jsonl", make_calls(now, dice("calls"), people))


def _write_trade(folder: Path, people: list[Person], purchases: list[Purchase]) -> None:
    customers = [_customer(person) for person in people]
    orders = [_order(purchase) for purchase in purchases]
    lines = list(_lines(purchases))
    break_customers(customers)
    break_orders(orders)
    break_lines(lines)
    write_csv(folder / "products.csv", ({**vars(good)} for good in GOODS))
    write_csv(folder / "customers.csv", customers)
    write_csv(folder / "orders.csv.gz", orders)
    write_csv(folder / "order_lines.csv.gz", lines)


def _customer(person: Person) -> Row:
    row = {name: value for name, value in vars(person).items() if name not in ("external_id", "habit", "interval")}
    return {"id": person.external_id, **row}


def _order(purchase: Purchase) -> Row:
    return {
        "number": purchase.number,
        "customer": purchase.person.external_id,
        "placed": purchase.placed_at,
        "promised": purchase.promised_on,
        "shipped": purchase.shipped_at,
        "delivered": purchase.delivered_at,
        "cancelled": purchase.cancelled_at,
        "returned": purchase.returned_at,
        "currency": "EUR",
        "net": purchase.net,
        "shipping": purchase.shipping,
        "gross": purchase.net + purchase.shipping,
        "channel": "app" if int(purchase.number[1:]) % 3 else "web",
    }


def _lines(purchases: list[Purchase]) -> Iterable[Row]:
    for purchase in purchases:
        for place, line in enumerate(purchase.lines, start=1):
            yield {
                "id": f"{purchase.number}-{place}",
                "order": purchase.number,
                "product": line.good.sku,
                "quantity": line.quantity,
                "currency": "EUR",
                "unit_price": line.good.price,
                "net": line.total,
            }
