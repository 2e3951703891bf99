"""Whom the question is about: by external id, e-mail address, phone number, or one of the customer's own rows."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, Table, func, or_, select

from messaging.candidates import TABLES, customer
from models.places import closest
from rules.facts import Subject

NEAR = 200
"""So many ids that begin alike are looked at for the one that was meant."""


class UnknownCustomer(LookupError):
    """Nobody is known by that word, or several are; the text says so, with an id that is alike if there is one."""


@dataclass(frozen=True)
class Person:
    """A customer. ``subject`` and ``subject_id`` are set where the question named one row (``order/1001``)."""

    id: int
    external_id: str
    name: str
    zone: str
    subject: str = ""
    subject_id: int | None = None


def person_of(connection: Connection, said: str, subjects: dict[str, Subject], zone: str) -> Person:
    """Find the customer. ``zone`` stands in where their own is not known. Raises UnknownCustomer."""
    said = said.strip()
    c = customer.c
    rows = connection.execute(select(customer).where(c.external_id == said)).all()
    if not rows:
        rows = connection.execute(_by_address(said)).all()
    if len(rows) > 1:
        ids = ", ".join(row.external_id for row in rows[:5])
        raise UnknownCustomer(f"several customers have that address: {ids}; name one of them by this id")
    if rows:
        return _person(rows[0], zone)
    return _by_row(connection, said, subjects, zone)


def _by_address(said: str) -> Select[Any]:
    c = customer.c
    phone = "".join(char for char in said if char.isdigit() or char == "+")
    same = [c.email == said, c.email == said.lower()]
    if phone.startswith("+"):
        same.append(c.phone == phone)
    return select(customer).where(or_(*same)).order_by(c.id).limit(6)


def _person(row: Row[Any], zone: str, **about: Any) -> Person:
    name = " ".join(part for part in (row.first_name, row.last_name) if part)
    return Person(row.id, row.external_id, name, row.time_zone or zone, **about)


def _by_row(connection: Connection, said: str, subjects: dict[str, Subject], zone: str) -> Person:
    """``order/1001``: the customer behind one row."""
    kind, _, key = said.partition("/")
    if not key or kind not in subjects or kind == "customer" or not subjects[kind].for_each:
        raise UnknownCustomer(f"there is no customer '{said}'{_near(connection, said)}")
    table = TABLES[subjects[kind].table]
    found = connection.execute(select(table.c.id, table.c.customer_id).where(*_named(table, key))).first()
    if found is None:
        raise UnknownCustomer(f"there is no {kind} '{key}'")
    if found.customer_id is None:
        raise UnknownCustomer(f"nobody is known behind {kind} '{key}'")
    row = connection.execute(select(customer).where(customer.c.id == found.customer_id)).one()
    return _person(row, zone, subject=kind, subject_id=found.id)


def _named(table: Table, key: str) -> list[Any]:
    if "external_id" in table.c:
        return [table.c.external_id == key]
    return [table.c.id == (int(key) if key.isdecimal() and len(key) < 19 else -1)]


def _near(connection: Connection, said: str) -> str:
    """The id most like ``said``, among those that begin alike."""
    c = customer.c.external_id
    for length in sorted({len(said) - 1, len(said) - 2, len(said) // 2}, reverse=True):
        start = said[: max(length, 1)]
        alike = select(c).where(c >= start).order_by(c).limit(NEAR)
        near = closest(said, connection.execute(alike).scalars())
        if near:
            return f"; did you mean {near}?"
    if connection.execute(select(func.count()).select_from(select(customer.c.id).limit(1).subquery())).scalar_one():
        return "; expected an external id, an e-mail address, a phone number or a row such as order/1001"
    return "; there are no customers yet (beforehand ingest brings them in)"


def own_subjects(subject: Subject, person: Person) -> Select[Any]:
    """The ids of the person's rows of one kind; of the one row that was asked about, where it is of that kind."""
    table = TABLES[subject.table]
    own = table.c.id if subject.name == "customer" else table.c.customer_id
    mine = select(table.c.id).where(own == person.id)
    return mine if subject.name != person.subject else mine.where(table.c.id == person.subject_id)
