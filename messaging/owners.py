"""Whether what a match is about belongs to somebody else by now: an order put right to another customer, say."""

from typing import Any

from sqlalchemy import ColumnElement, or_, select

from models import Base

OWNED = {
    word: Base.metadata.tables[name]
    for word, name in {
        "order": "orders",
        "call": "call",
        "ticket": "ticket",
        "subscription": "subscription",
        "exposure": "exposure",
    }.items()
}
"""The tables of the subjects that may change hands, by their name in the rule language."""


def changed_hands(
    subject: ColumnElement[Any] | str, subject_id: ColumnElement[Any], customer_id: ColumnElement[Any]
) -> ColumnElement[bool]:
    """A condition: the row ``subject_id`` of ``subject`` (a word, or a column of them) has another customer or none."""
    known = OWNED if not isinstance(subject, str) else {word: OWNED[word] for word in (subject,) if word in OWNED}
    elsewhere = []
    for word, table in known.items():
        here = [table.c.id == subject_id] + ([] if isinstance(subject, str) else [subject == word])
        other = select(table.c.id).where(*here, table.c.customer_id.is_distinct_from(customer_id))
        elsewhere.append(other.correlate_except(table).exists())
    return or_(False, *elsewhere)
