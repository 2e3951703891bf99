"""Twelve mistakes that everybody makes once, over one population: each a right rule, and what goes wrong with it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import insert, select, update

from messaging.candidates import TABLES
from models.database import writing
from tests.deciding import House

FIRST = datetime(2026, 3, 3, 10, 0, tzinfo=UTC)
"""The first ordinary pass, a Tuesday; one a day follows, then the mistake."""

PASSES = 6
WRONG_AT = FIRST + timedelta(days=PASSES)
PEOPLE = 2000
DAY = timedelta(days=1)


def fill(house: House) -> None:
    """A shop of 2,000 customers with some 8,000 rows that belong to them; always the same."""
    with writing(house.engine) as connection:
        for name, rows in (
            ("customer", _customers()),
            ("orders", _orders()),
            ("call", _calls()),
            ("ticket", _tickets()),
        ):
            found = [{"external_id": f"{name}-{n}", "changed_at": FIRST} | row for n, row in enumerate(rows, 1)]
            connection.execute(insert(TABLES[name]), found)
    vips = house.folder / "rules" / "lists" / "vip.csv"
    vips.parent.mkdir(parents=True)
    vips.write_text("\n".join(f"customer-{n}" for n in range(1, 31)) + "\n")


def _customers() -> Iterator[dict[str, Any]]:
    for n in range(1, PEOPLE + 1):
        gold, tin = n % 40 == 0, n % 5 in (1, 2)
        yield {
            "phone": f"+49151{n:08}",
            "email": f"c{n}@example.com",
            "country": "AT" if n % 5 == 0 else "DE",
            "tier": "gold" if gold else "tin" if tin else None,
        }


def _orders() -> Iterator[dict[str, Any]]:
    """Two that are long over, and one promised around these days; one in fourteen of those never came."""
    for n in range(1, PEOPLE + 1):
        if n % 100 == 7:
            continue
        for days in (n % 400 + 20, n % 60 + 20):
            yield _order(n, FIRST - days * DAY, late=False)
        yield _order(n, FIRST + (n % 12 - 8) * DAY, late=n % 14 == 0)


def _order(n: int, placed: datetime, *, late: bool) -> dict[str, Any]:
    promised = placed + 5 * DAY
    return {
        "customer_id": n,
        "placed_at": placed - timedelta(minutes=n % 600),
        "promised_on": promised.date(),
        "delivered_at": None if late else promised.replace(hour=15),
        "currency": "EUR",
        "net_total": 2000 + n % 50 * 100,
    }


def _calls() -> Iterator[dict[str, Any]]:
    for n in range(1, 801):
        ended = FIRST + (n % 40 - 33) * DAY - timedelta(minutes=n)
        yield {
            "customer_id": n,
            "direction": "outbound",
            "outcome": ("dropped", "completed")[n // 40 % 2],
            "ended_at": ended,
        }


def _tickets() -> Iterator[dict[str, Any]]:
    for n in range(2, PEOPLE + 1, 2):
        opened = FIRST + (n // 2 % 20 - 13) * DAY - timedelta(minutes=n % 500)
        yield {
            "customer_id": n,
            "satisfaction": 1 + n % 10 // 2,
            "opened_at": opened,
            "closed_at": opened + timedelta(hours=2),
        }


Damage = Callable[[House], None]


@dataclass(frozen=True)
class Mistake:
    """A rule as it was meant, its ``subject`` and conditions, and what goes wrong: another text, or ``damage``."""

    name: str
    right: str
    wrong: str = ""
    subject: str = "customer"
    damage: Damage = lambda _house: None

    def write(self, house: House, conditions: str) -> None:
        """Write the rule's file with these conditions."""
        house.rule(self.name, subject=self.subject, limits=f"{{once_per: {self.subject}}}")
        path = house.folder / "rules" / f"{self.name}.yaml"
        lines = path.read_text().splitlines()
        start, end = lines.index("if:"), lines.index("then:")
        path.write_text("\n".join([*lines[:start], *conditions.strip().splitlines(), *lines[end:]]) + "\n")

    def happen(self, house: House) -> None:
        """Make the mistake."""
        self.damage(house)
        if self.wrong:
            self.write(house, self.wrong)


LATE = "if: {late: {promised_on: {before: today}, delivered_at: missing}}"


def _far_zone(house: House) -> None:
    house.settings["time_zone"] = "Pacific/Kiritimati"


def _twice_and_more(house: House) -> None:
    """An import that joins orders with their lines, and so brings each order of yesterday once a line."""
    orders = TABLES["orders"]
    mine = (orders.c.promised_on == WRONG_AT.date() - DAY, orders.c.delivered_at.is_(None))
    with writing(house.engine) as connection:
        rows = [dict(row) for row in connection.execute(select(orders).where(*mine)).mappings()]
        again = [
            {key: value for key, value in row.items() if key != "id"} | {"external_id": f"{row['external_id']}/{line}"}
            for row in rows
            for line in range(20)
        ]
        connection.execute(insert(orders), again)


def _without_a_column(house: House) -> None:
    """An old file comes in again, in which nothing of the last weeks has been delivered yet."""
    orders = TABLES["orders"]
    since = orders.c.promised_on > date(2026, 2, 10)
    with writing(house.engine) as connection:
        connection.execute(update(orders).where(since).values(delivered_at=None))


def _everybody_listed(house: House) -> None:
    vips = house.folder / "rules" / "lists" / "vip.csv"
    vips.write_text("\n".join(f"customer-{n}" for n in range(1, PEOPLE + 1)) + "\n")


MISTAKES = (
    Mistake(
        "inverted-test",
        LATE,
        "if: {late: {promised_on: {before: today}, delivered_at: present}}",
        subject="order",
    ),
    Mistake("null-for-a-match", "if: {gold: {tier: gold}}", "if: {gold: {tier: {is_not: tin}}}"),
    Mistake(
        "empty-filter",
        "if: {late: {orders: {any: {promised_on: {before: today}, delivered_at: missing}}}}",
        "if: {late: {orders: {any: {}}}}",
    ),
    Mistake("wrong-zone", LATE, subject="order", damage=_far_zone),
    Mistake("join-that-multiplies", LATE, subject="order", damage=_twice_and_more),
    Mistake(
        "unit-error",
        "if: {dropped: {outcome: dropped, ended_at: {within: 24 hours}}}",
        "if: {dropped: {outcome: dropped, ended_at: {within: 24 days}}}",
        subject="call",
    ),
    Mistake(
        "or-for-and",
        "if: {near: {country: AT}, gold: {tier: gold}}",
        "if: {near: {any_of: [{country: AT}, {tier: gold}]}}",
    ),
    Mistake(
        "missing-unless",
        "if: {reachable: {phone: present}}\nunless: {ordered: {orders: {any: {}}}}",
        "if: {reachable: {phone: present}}",
    ),
    Mistake(
        "lost-within",
        "if: {spent: {orders: {any: {net_total: {at_least: 60 EUR}}, within: 24 hours}}}",
        "if: {spent: {orders: {any: {net_total: {at_least: 60 EUR}}}}}",
    ),
    Mistake("stale-import", LATE, subject="order", damage=_without_a_column),
    Mistake("wrong-list", "if: {listed: {external_id: {in: lists/vip.csv}}}", damage=_everybody_listed),
    Mistake(
        "wrong-direction",
        "if: {unhappy: {satisfaction: {at_most: 1}, opened_at: {within: 7 days}}}",
        "if: {unhappy: {satisfaction: {at_least: 1}, opened_at: {within: 7 days}}}",
        subject="ticket",
    ),
)
