"""The gates against a plain reading of the same rules, one customer at a time, over a made-up crowd."""

import random
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, insert

import models
from beforehand.passes import run_rule
from messaging.addresses import address_hash
from models.database import writing
from tests.deciding import NOON, House

DAY = timedelta(days=1)
CROWD = 400


@dataclass
class Person:
    """One customer of the crowd and all that the gates look at."""

    id: int
    phone: str | None
    email: str | None
    preferred: str | None
    consents: list[tuple[str, str, str, int]] = field(default_factory=list)  # channel, purpose, verdict, days ago
    barred: list[tuple[str, str]] = field(default_factory=list)  # channel, scope
    ticket_open: bool = False
    heard: list[tuple[str, str, int]] = field(default_factory=list)  # purpose, state, days ago


def crowd(seed: int) -> list[Person]:
    dice = random.Random(seed)
    people = []
    for number in range(1, CROWD + 1):
        person = Person(
            number,
            dice.choice([None, "", f"+49151{number:08}", f"+49151{number:08}"]),
            dice.choice([None, f"broken{number}", f"P{number}@example.com", f"p{number}@example.com"]),
            dice.choice([None, "sms", "email"]),
        )
        for days in dice.sample(range(-2, 30), dice.randint(0, 4)):
            channel, purpose = dice.choice(["sms", "email", "all"]), dice.choice(["service", "marketing", "all"])
            person.consents.append((channel, purpose, dice.choice(["granted", "granted", "withdrawn"]), days))
        if dice.random() < 0.2:
            person.barred.append((dice.choice(["sms", "phone", "email", "all"]), dice.choice(["all", "marketing"])))
        person.ticket_open = dice.random() < 0.2
        for _ in range(dice.randint(0, 3)):
            state = dice.choice(["delivered", "unknown", "suppressed", "failed", "in_flight"])
            person.heard.append((dice.choice(["service", "marketing"]), state, dice.randint(0, 12)))
        people.append(person)
    return people


def usable(channel: str, person: Person) -> bool:
    if channel == "sms":
        return bool(person.phone)
    return bool(person.email) and "@" in str(person.email)


def barred(channel: str, purpose: str, person: Person) -> bool:
    kinds = {"sms": {"sms", "phone", "all"}, "email": {"email", "all"}}[channel]
    address = person.phone if channel == "sms" else person.email
    return bool(address) and any(k in kinds and scope in ("all", purpose) for k, scope in person.barred)


def verdict(channel: str, purpose: str, person: Person) -> str | None:
    said = [c for c in person.consents if c[0] in (channel, "all") and c[1] in (purpose, "all") and c[3] >= 0]
    return min(said, key=lambda c: c[3])[2] if said else None


def oracle(person: Person, purpose: str, by: list[str]) -> str:
    """The channel that is used, or the reason why none is."""
    ways = by or sorted(["sms", "email"], key=lambda c: (c != person.preferred, c != "sms"))
    said = {channel: verdict(channel, purpose, person) for channel in ways}
    agreed = [c for c in ways if said[c] == "granted" or (said[c] is None and purpose == "service")]
    if not agreed:
        return "opted_out" if "withdrawn" in said.values() else "no_consent"
    left = [c for c in agreed if not barred(c, purpose, person)]
    if not left:
        return "suppressed"
    left = [c for c in left if usable(c, person)]
    if not left:
        return "unreachable"
    if purpose == "marketing" and person.ticket_open:
        return "complaint_open"
    counted = [s for p, s, days in person.heard if p == purpose and days < 7 and s not in ("suppressed", "failed")]
    return "cap" if len(counted) >= 2 else left[0]


def fill(house: House, people: list[Person]) -> None:
    rows: dict[Any, list[dict[str, Any]]] = {m: [] for m in (models.Customer, models.Consent, models.Suppression)}
    rows |= {m: [] for m in (models.Ticket, models.Match, models.Message)}
    for p in people:
        known = {"external_id": f"c{p.id}", "changed_at": NOON, "country": "DE", "time_zone": "Europe/Berlin"}
        mine = {"phone": p.phone, "email": p.email, "preferred_channel": p.preferred}
        rows[models.Customer].append({"id": p.id, **known, **mine})
        for channel, purpose, said, days in p.consents:
            entry = {"customer_id": p.id, "channel": channel, "purpose": purpose, "verdict": said}
            at = NOON - days * DAY
            rows[models.Consent].append(entry | {"given_at": at, "recorded_at": at, "source": "test"})
        for channel, scope in p.barred:
            for kind, address in (("sms", p.phone), ("email", p.email)):
                if address:
                    row = {"address_hash": address_hash(b"s" * 32, kind, address), "channel": channel, "scope": scope}
                    rows[models.Suppression].append(row | {"cause": "stop", "since": NOON})
        if p.ticket_open:
            ticket = {"external_id": f"t{p.id}", "changed_at": NOON, "customer_id": p.id, "opened_at": NOON - DAY}
            rows[models.Ticket].append(ticket)
        for turn, heard in enumerate(p.heard):
            rows[models.Match].append(_match(p, turn))
            rows[models.Message].append(_message(p, turn, *heard))
    with writing(house.engine) as connection:
        for model, values in rows.items():
            connection.execute(insert(model.__table__), values)


def _match(person: Person, turn: int) -> dict[str, Any]:
    known = {
        "id": 1_000_000 + person.id * 10 + turn,
        "rule_id": "before",
        "version": "1",
        "occasion": f"{person.id}/{turn}",
    }
    seen = {"subject": "customer", "subject_id": person.id, "customer_id": person.id, "state": "done"}
    return known | seen | {"matched_at": NOON, "seen_at": NOON, "next_step": 1}


def _message(person: Person, turn: int, purpose: str, state: str, days: int) -> dict[str, Any]:
    key = 1_000_000 + person.id * 10 + turn
    known = {"match_id": key, "rule_id": "before", "version": "1", "occasion": f"{person.id}/{turn}", "step": "0"}
    what = {"customer_id": person.id, "purpose": purpose, "priority": 99, "channel": "sms", "address": "+1"}
    at = NOON - days * DAY
    when = {"state": state, "created_at": at, "due_at": at, "tries": 0, "template": "x", "reference": str(key)}
    return known | what | when


@pytest.mark.parametrize(
    ("purpose", "by"), [("service", ["sms", "email"]), ("marketing", []), ("marketing", ["email"])]
)
def test_the_gates_decide_as_a_plain_reading_does(engine: Engine, tmp_path: Path, purpose: str, by: list[str]) -> None:
    house = House(engine, tmp_path, {"caps": {"service": "2 per 7 days", "marketing": "2 per 7 days"}})
    house.template("hello", "sms", "email")
    steps = f"  - {{send: hello, by: [{', '.join(by)}]}}" if by else "  - {send: hello, by: preferred}"
    house.rule(purpose=purpose, steps=steps)
    people = crowd(seed=len(by))
    fill(house, people)
    run_rule(house.app, "hello", NOON)
    sent = {
        who: channel
        for rule, who, channel in house.rows(models.Message, "rule_id", "customer_id", "channel")
        if rule == "hello"
    }
    matches = house.rows(models.Match, "rule_id", "customer_id", "reason")
    reasons = {who: reason for rule, who, reason in matches if rule == "hello"}
    decided = {p.id: sent.get(p.id) or reasons[p.id] for p in people}
    expected = {p.id: oracle(p, purpose, by) for p in people}
    assert decided == expected
    assert {"suppressed", "unreachable", "opted_out", "email"} <= set(expected.values())
