"""What the sample's customers say and do: calls, tickets, surveys; and what they agreed to."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random

from beforehand.sample.people import HISTORY, Habit, Person
from beforehand.sample.trade import DAY, Purchase, local, pick

Row = dict[str, object]

TOPICS = ("delivery", "product", "invoice", "return", "account")
AGENTS = ("ava", "ben", "carol", "dmitri", "esra", "farah")
ANSWERED = "ANSWERED"


def _seconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)


def make_calls(now: datetime, random: Random, people: list[Person]) -> list[Row]:
    """Calls of the whole history, and a dozen callbacks that dropped in the last 25 minutes (two were made good)."""
    reachable = [person for person in people if person.phone]
    rows: list[Row] = []
    for _ in range(round(len(people) * 1.6)):
        person = random.choice(reachable)
        began = max(person.created_at, now - HISTORY)
        ended = began + (now - DAY - began) * random.random()
        rows += _old_call(person, ended, random)
    awake = [person for person in reachable if 9 <= local(now, person).hour < 20 and person.habit is Habit.REGULAR]
    for serial, person in enumerate(random.sample(awake, min(12, len(awake)))):
        ended = now - timedelta(minutes=random.uniform(2, 25))
        rows.append(_call(person, "out", "callback", random.choice(("DROPPED", "NO ANSWER")), ended, 40, random))
        if serial < 2:
            rows.append(_call(person, "in", "question", ANSWERED, ended + timedelta(seconds=90), 60, random))
    rows.sort(key=lambda row: (row["ended"], row["phone"]))
    return [{"id": f"K{serial:06}", **row} for serial, row in enumerate(rows, start=1)]


def _old_call(person: Person, ended: datetime, random: Random) -> Iterator[Row]:
    if random.random() < 0.7:
        reason = random.choice(("order", "question", "complaint", "return"))
        outcome = random.choices((ANSWERED, "ABANDONED", "VOICEMAIL"), (85, 10, 5))[0]
        yield _call(person, "in", reason, outcome, ended, random.randint(30, 900), random)
        return
    outcome = random.choices((ANSWERED, "NO ANSWER", "BUSY", "DROPPED"), (70, 15, 5, 10))[0]
    yield _call(person, "out", "callback", outcome, ended, random.randint(20, 400), random)
    if outcome != ANSWERED:  # the second try got through: only the last minutes' callbacks are still open
        yield _call(person, "out", "callback", ANSWERED, ended + timedelta(minutes=25), 300, random)


def _call(person: Person, way: str, reason: str, outcome: str, ended: datetime, seconds: int, random: Random) -> Row:
    return {
        "phone": person.phone,
        "direction": way,
        "reason": reason,
        "outcome": outcome,
        "started": _seconds(ended - timedelta(seconds=seconds)),
        "ended": _seconds(ended),
        "agent": random.choice(AGENTS),
        "queue": "care" if reason in ("callback", "complaint") else "sales",
        "priority": "high" if reason == "complaint" else "normal",
    }


def make_tickets(now: datetime, random: Random, purchases: list[Purchase]) -> list[Row]:
    """Tickets: closed ones of the whole history, about 40 closed since yesterday, and about 50 still open."""
    size = len({purchase.person.external_id for purchase in purchases})
    stuck = [purchase for purchase in purchases if is_stuck(purchase, now)]
    rows = []
    for purchase in pick(purchases, random, size // 2, lambda p: was_delivered(p, now - DAY * 12)):
        opened = (purchase.delivered_at or now) + DAY * random.uniform(0.1, 5)
        rows.append(_ticket(purchase, opened, opened + timedelta(hours=random.uniform(1, 90)), random))
    for purchase in pick(purchases, random, size // 60, lambda p: was_delivered(p, now - DAY * 4)):
        closed = now - timedelta(hours=random.uniform(0.5, 22))
        rows.append(_ticket(purchase, closed - timedelta(hours=random.uniform(2, 60)), closed, random))
    open_ones = pick(purchases, random, size // 60, lambda p: was_delivered(p, now - DAY * 4))
    for purchase in open_ones + random.sample(stuck, len(stuck) // 8):
        rows.append(_ticket(purchase, now - DAY * random.uniform(0.05, 1.5), None, random))
    rows.sort(key=lambda row: (str(row["opened"]), str(row["order"])))
    return [{"id": f"T{serial:06}", **row} for serial, row in enumerate(rows, start=1)]


def is_stuck(purchase: Purchase, now: datetime) -> bool:
    """Whether the order lies in the failed depot: sent, promised for a day that is over, not there."""
    if purchase.shipped_at is None or purchase.delivered_at is not None:
        return False
    return purchase.promised_on < local(now, purchase.person).date()


def was_delivered(purchase: Purchase, before: datetime) -> bool:
    """Whether the order was with the customer before that moment."""
    return purchase.delivered_at is not None and purchase.delivered_at < before


def _ticket(purchase: Purchase, opened: datetime, closed: datetime | None, random: Random) -> Row:
    answered = opened + timedelta(minutes=random.randint(8, 110))
    late = purchase.was_late or purchase.delivered_at is None
    return {
        "customer": purchase.person.external_id,
        "order": purchase.number,
        "topic": "delivery" if late else random.choice(TOPICS[1:]),
        "priority": random.choices(("low", "normal", "high", "urgent"), (3, 10, 3, 1))[0],
        "channel": random.choice(("email", "phone", "chat")),
        "opened": _seconds(opened),
        "answered": _seconds(answered) if closed else None,
        "closed": _seconds(closed) if closed else None,
        "satisfaction": random.choices((None, 5, 4, 3, 2, 1), (60, 20, 12, 4, 2, 2))[0] if closed else None,
    }


def make_surveys(now: datetime, random: Random, purchases: list[Purchase]) -> list[Row]:
    """Surveys after a delivery; about a dozen late deliveries were rated 1 or 2 in the last two days."""
    rows = []
    sour = pick(purchases, random, max(6, len(purchases) // 1500), lambda p: _fresh(p, now) and p.was_late)
    for purchase in sour:
        answered = now - timedelta(hours=random.uniform(1, 40))
        rows.append(_survey(purchase, answered - timedelta(hours=3), answered, random.choice((1, 2))))
    taken = {purchase.number for purchase in sour}
    for purchase in purchases:
        if purchase.delivered_at is None or purchase.number in taken or random.random() > 0.25:
            continue
        asked = purchase.delivered_at + DAY * random.uniform(1, 3)
        if asked > now - DAY * 3:  # too fresh to have been asked
            continue
        weights = (20, 25, 25, 20, 10) if purchase.was_late else (1, 2, 7, 30, 60)
        score = random.choices((1, 2, 3, 4, 5), weights)[0] if random.random() < 0.6 else None
        rows.append(_survey(purchase, asked, asked + timedelta(hours=random.uniform(0.5, 40)), score))
    rows.sort(key=lambda row: (str(row["asked"]), str(row["order"])))
    return [{"id": f"S{serial:06}", **row} for serial, row in enumerate(rows, start=1)]


def _fresh(purchase: Purchase, now: datetime) -> bool:
    delivered = purchase.delivered_at
    return delivered is not None and now - DAY * 12 < delivered < now - DAY * 2


def _survey(purchase: Purchase, asked: datetime, answered: datetime, score: int | None) -> Row:
    return {
        "customer": purchase.person.external_id,
        "order": purchase.number,
        "kind": "delivery",
        "asked": _seconds(asked),
        "answered": _seconds(answered) if score else None,
        "score": score,
    }


def make_consents(now: datetime, random: Random, people: list[Person]) -> Iterator[Row]:
    """The consent ledger: most agreed, some never did, some took it back; a few want no texts at all."""
    for person in people:
        for purpose, likely in (("marketing", 0.78), ("survey", 0.88)):
            if random.random() > likely:
                continue
            for channel in ("sms", "email", "voice"):
                yield _consent(person, channel, purpose, "granted", person.created_at)
                if random.random() < 0.05:
                    since = person.created_at + (now - person.created_at) * random.random()
                    yield _consent(person, channel, purpose, "withdrawn", since)
        if random.random() < 0.02:
            since = person.created_at + (now - person.created_at) * random.random()
            yield _consent(person, "sms", "service", "withdrawn", since)


def _consent(person: Person, channel: str, purpose: str, verdict: str, given: datetime) -> Row:
    return {
        "customer": person.external_id,
        "channel": channel,
        "purpose": purpose,
        "verdict": verdict,
        "given": _seconds(given),
        "source": "sign-up form" if verdict == "granted" else "account page",
        "text_version": "2024-11" if verdict == "granted" else "",
    }
