"""The sample's orders: 18 months of them, and yesterday's failed depot."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

from beforehand.sample.goods import EVERYDAY, FAULTY, GOODS, LASTING, Good
from beforehand.sample.people import HISTORY, Habit, Person

KETTLE = next(good for good in GOODS if good.sku == FAULTY)
KETTLE_ON_SALE = timedelta(days=80)
"""Since when the faulty product is on sale: recent enough that nobody has sent it back for good yet."""

DAY = timedelta(days=1)


@dataclass
class Line:
    """One line of an order."""

    good: Good
    quantity: int

    @property
    def total(self) -> int:
        """In euro cents."""
        return self.good.price * self.quantity


@dataclass
class Purchase:
    """One order, still to be changed by what the sample plants."""

    person: Person
    placed_at: datetime
    promised_on: date
    shipped_at: datetime | None
    delivered_at: datetime | None
    cancelled_at: datetime | None = None
    returned_at: datetime | None = None
    lines: list[Line] = field(default_factory=list)
    number: str = ""

    @property
    def net(self) -> int:
        """The sum of the lines, in euro cents."""
        return sum(line.total for line in self.lines)

    @property
    def shipping(self) -> int:
        """In euro cents; free from 40 EUR on."""
        return 0 if self.net >= 4000 else 490

    @property
    def was_late(self) -> bool:
        """Whether it came after the promised day, by the customer's calendar."""
        if self.delivered_at is None:
            return False
        return local(self.delivered_at, self.person).date() > self.promised_on


def local(moment: datetime, person: Person) -> datetime:
    """``moment`` by the customer's own clock."""
    return moment.astimezone(ZoneInfo(person.time_zone))


def make_purchases(now: datetime, random: Random, people: list[Person]) -> list[Purchase]:
    """Every order, oldest first, numbered; with the failed depot and the faulty kettles planted among them."""
    purchases = [
        _purchase(person, placed, now, random) for person in people for placed in _placings(person, now, random)
    ]
    purchases.sort(key=lambda purchase: (purchase.placed_at, purchase.person.external_id))
    for serial, purchase in enumerate(purchases, start=100_001):
        purchase.number = f"W{serial}"
    _fail_depot(purchases, now, random, wanted=max(6, round(len(people) / 40)))
    _sell_kettles(purchases, now, random, wanted=max(6, round(len(people) / 20)))
    return purchases


def _placings(person: Person, now: datetime, random: Random) -> Iterator[datetime]:
    start = max(person.created_at, now - HISTORY)
    if person.habit is Habit.NEW:
        yield start + timedelta(minutes=random.randint(5, 50))
        return
    if person.habit in (Habit.OCCASIONAL, Habit.DORMANT):
        until = now - (DAY * 200 if person.habit is Habit.DORMANT else DAY)
        for _ in range(random.randint(1, 3) if person.habit is Habit.OCCASIONAL else 1):
            yield start + (until - start) * random.random()
        return
    until = now - DAY * random.uniform(100, 150) if person.habit is Habit.LAPSED else now - timedelta(hours=1)
    moment = start + person.interval * random.uniform(0.02, 1)
    while moment < until:
        yield moment
        moment += person.interval * random.uniform(0.85, 1.15)


def _purchase(person: Person, wished: datetime, now: datetime, random: Random) -> Purchase:
    placed = _by_day(wished, person, random)
    lead = 3 if person.country in ("GB", "US", "AE") else 5
    promised = local(placed, person).date() + DAY * random.randint(lead, lead + 1)
    arrives = promised + DAY * (random.randint(1, 4) if random.random() < 0.04 else -random.randint(0, 1))
    delivered = _at_door(arrives, person, random)
    shipped = placed + timedelta(hours=random.uniform(6, 28))
    purchase = Purchase(person, placed, promised, shipped, delivered, lines=_basket(person, random))
    _go_wrong(purchase, random)
    _cut_at(purchase, now)
    return purchase


def _by_day(moment: datetime, person: Person, random: Random) -> datetime:
    # people shop from eight to ten in the evening where they live; never later than was wished, so never after now
    there = local(moment, person)
    earliest = there.replace(hour=8, minute=0, second=0, microsecond=0)
    latest = min(there, there.replace(hour=22, minute=0, second=0, microsecond=0))
    if latest <= earliest:
        earliest, latest = earliest - DAY, earliest - timedelta(hours=10)
    picked = earliest + (latest - earliest) * random.random()
    # new customers order right after they joined: never before
    return max(picked.replace(microsecond=0).astimezone(moment.tzinfo), person.created_at)


def _at_door(day: date, person: Person, random: Random) -> datetime:
    there = datetime(day.year, day.month, day.day, random.randint(9, 18), random.randint(0, 59), tzinfo=_zone(person))
    return there.astimezone(person.created_at.tzinfo)


def _zone(person: Person) -> ZoneInfo:
    return ZoneInfo(person.time_zone)


def _basket(person: Person, random: Random) -> list[Line]:
    loyal = person.habit is Habit.LOYAL
    lines = []
    for _ in range(random.choice((2, 3)) if loyal else random.choice((1, 2, 2, 3, 3))):
        shelf = LASTING if random.random() < (0.8 if loyal else 0.08) else EVERYDAY
        lines.append(Line(random.choice(shelf), random.choices((1, 2), (5, 1))[0]))
    if loyal and sum(line.total for line in lines) < 9000:
        lines.append(Line(random.choice([good for good in LASTING if good.price >= 6000]), 1))
    return lines


def _go_wrong(purchase: Purchase, random: Random) -> None:
    luck = random.random()
    if luck < 0.02:
        purchase.cancelled_at = purchase.placed_at + timedelta(hours=random.uniform(0.2, 5))
        purchase.shipped_at = purchase.delivered_at = None
    elif luck < 0.06 and purchase.delivered_at:
        purchase.returned_at = purchase.delivered_at + DAY * random.uniform(3, 20)


def _cut_at(purchase: Purchase, now: datetime) -> None:
    # what lies after now has not happened; an order that would be overdue by that is given a later promise instead,
    # so that the only overdue orders are those of the failed depot
    for name in ("shipped_at", "delivered_at", "cancelled_at", "returned_at"):
        moment = getattr(purchase, name)
        if moment is not None:
            setattr(purchase, name, moment.replace(microsecond=0) if moment <= now else None)
    today = local(now, purchase.person).date()
    if purchase.delivered_at is None and purchase.cancelled_at is None and purchase.promised_on <= today:
        purchase.promised_on = today + DAY


def _fail_depot(purchases: list[Purchase], now: datetime, random: Random, wanted: int) -> None:
    for purchase in pick(purchases, random, wanted, lambda p: _may_be_stuck(p, now)):
        days = 2 if random.random() < 0.25 else 1
        purchase.promised_on = local(now, purchase.person).date() - DAY * days
        purchase.shipped_at = purchase.placed_at + timedelta(hours=random.randint(4, 20))
        purchase.delivered_at = purchase.returned_at = None


def _may_be_stuck(purchase: Purchase, now: datetime) -> bool:
    age = now - purchase.placed_at
    known = now - purchase.person.created_at > DAY * 150
    return (
        DAY * 3.5 < age < DAY * 8.5
        and purchase.cancelled_at is None
        and known
        and purchase.person.habit is Habit.REGULAR
    )


def _sell_kettles(purchases: list[Purchase], now: datetime, random: Random, wanted: int) -> None:
    since = now - KETTLE_ON_SALE

    def may(purchase: Purchase) -> bool:
        return since < purchase.placed_at < now - DAY * 20 and purchase.delivered_at is not None

    for purchase in pick(purchases, random, wanted, may):
        purchase.lines.append(Line(KETTLE, 1))


def pick(purchases: list[Purchase], random: Random, wanted: int, may: Callable[[Purchase], bool]) -> list[Purchase]:
    """Up to ``wanted`` random orders that ``may`` accepts, at most one a customer."""
    fit = [purchase for purchase in purchases if may(purchase)]
    random.shuffle(fit)
    one_each = {purchase.person.external_id: purchase for purchase in fit}
    return list(one_each.values())[:wanted]
