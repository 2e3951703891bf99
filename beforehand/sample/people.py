"""The sample's customers, and how each of them buys."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from itertools import count
from random import Random
from typing import TypeVar

from beforehand.sample.names import FAMILY, GIVEN
from beforehand.sample.places import PLACES, Place, phone_of

Kind = TypeVar("Kind")

HISTORY = timedelta(days=548)
"""How far back the sample's orders go: 18 months."""


class Habit(StrEnum):
    """How a customer buys. Each of the shipped rules finds its subjects among some of these."""

    LOYAL = "loyal"  # often and for much: the thank-you voucher
    REGULAR = "regular"  # every month or so, small things
    LAPSED = "lapsed"  # was regular, stopped some months ago: win-back
    NEW = "new"  # in the first weeks: the care call
    OCCASIONAL = "occasional"
    DORMANT = "dormant"


SHARES = {
    Habit.LOYAL: 0.025,
    Habit.LAPSED: 0.035,
    Habit.NEW: 0.04,
    Habit.OCCASIONAL: 0.26,
    Habit.DORMANT: 0.05,
}
"""What is left over is regular."""


@dataclass(frozen=True)
class Person:
    """One customer. ``interval`` is the usual time between two orders; only some habits have one."""

    external_id: str
    first_name: str
    last_name: str
    email: str
    phone: str
    language: str
    time_zone: str
    country: str
    tier: str
    preferred_channel: str
    birthday: date | None
    created_at: datetime
    habit: Habit
    interval: timedelta


def make_people(now: datetime, random: Random, customers: int) -> list[Person]:
    """``customers`` people in six countries; ids are C00001 and on, in order of creation."""
    habits = _dealt(dict(SHARES), Habit.REGULAR, customers, random)
    places = _dealt({place: place.share for place in PLACES[1:]}, PLACES[0], customers, random)
    born = sorted((_created(habit, now, random), number) for number, habit in enumerate(habits))
    serials = {place.country: count(1) for place in PLACES}
    return [
        _person(f"C{rank:05}", created, habits[number], places[number], next(serials[places[number].country]), random)
        for rank, (created, number) in enumerate(born, start=1)
    ]


def _dealt(shares: dict[Kind, float], rest: Kind, total: int, random: Random) -> list[Kind]:
    # exact counts in random order, so that the figures of a small sample are as steady as those of a large one
    dealt = [kind for kind, share in shares.items() for _ in range(max(1, round(share * total)))][:total]
    dealt += [rest] * (total - len(dealt))
    random.shuffle(dealt)
    return dealt


def _created(habit: Habit, now: datetime, random: Random) -> datetime:
    if habit is Habit.NEW:
        return now - timedelta(days=random.uniform(3, 30))
    earliest = {Habit.LOYAL: 420, Habit.LAPSED: 400, Habit.DORMANT: 300}.get(habit, 60)
    return now - timedelta(days=random.triangular(earliest, 1500, earliest + 200))


def _person(key: str, created: datetime, habit: Habit, place: Place, serial: int, random: Random) -> Person:
    tags, weights = zip(*place.languages, strict=True)
    language = random.choices(tags, weights)[0]
    script = language.partition("-")[0]
    given, family = random.choice(GIVEN[script]), random.choice(FAMILY[script])
    domain = random.choice(("example.com", "example.net", "example.org"))
    tier = "gold" if habit is Habit.LOYAL else random.choices(("standard", "silver"), (5, 1))[0]
    return Person(
        external_id=key,
        first_name=given[0],
        last_name=family[0],
        email="" if random.random() < 0.04 else f"{given[1]}.{family[1]}.{key[1:].lstrip('0')}@{domain}",
        phone="" if random.random() < 0.04 else phone_of(place.country, serial, random),
        language=language,
        time_zone=random.choice(place.zones),
        country=place.country,
        tier=tier,
        preferred_channel=random.choices(("sms", "email", "voice", ""), (40, 35, 5, 20))[0],
        birthday=_birthday(created, random),
        created_at=created.replace(microsecond=0),
        habit=habit,
        interval=timedelta(days=_pace(habit, random)),
    )


def _pace(habit: Habit, random: Random) -> float:
    return random.uniform(20, 27) if habit in (Habit.LOYAL, Habit.LAPSED) else random.uniform(22, 45)


def _birthday(created: datetime, random: Random) -> date | None:
    if random.random() < 0.2:
        return None
    return created.date() - timedelta(days=random.randint(19 * 365, 75 * 365))
