"""When events happened in the past: an event rule is looked at in the minutes in which its events did."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from beforehand.backtest.slots import minute_after
from messaging.candidates import TABLES
from rules.facts import Kind, Subject


def event_minutes(
    connection: Connection, events: Iterable[str], subjects: dict[str, Subject], start: datetime, end: datetime
) -> list[datetime]:
    """The full minutes of [``start``, ``end``) by which one of ``events`` had newly happened, oldest first.

    ``call.ended`` happens at ``ended_at``; a word that names no moment (``order.updated``) at any moment of its rows.
    """
    found: set[datetime] = set()
    for event in events:
        subject = next(each for each in subjects.values() if event in each.events)
        table = TABLES[subject.table]
        for name in _moments(subject, event.partition(".")[2]):
            column = table.c[name]
            times = select(column).where(column > start - timedelta(minutes=1), column < end).distinct()
            found.update(minute_after(at) for at in connection.execute(times).scalars())
    return sorted(at for at in found if start <= at < end)


def _moments(subject: Subject, word: str) -> list[str]:
    exact = subject.facts.get(f"{word}_at")
    if exact is not None:
        return [exact.column]
    kinds = [fact for fact in subject.facts.values() if fact.kind is Kind.MOMENT and not fact.attribute]
    return [fact.column for fact in kinds if not fact.planned]
