"""A database brought in line with the journals of this machine, and then released. Safe while processes run."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, func, select

from messaging.claims import attempt, message
from messaging.journal import marks, past
from messaging.journal.book import Journal
from messaging.journal.files import lines_of
from messaging.journal.keys import keys_of
from messaging.journal.lines import Entry, Key, Result, entries, owed, unreadable
from messaging.journal.putting_right import CHUNK, go_past, put_right
from models.database import reading, writing
from models.vocabulary import Channel, MessageState

Progress = Callable[[str, int, int], object]

ROUNDS = 20
"""How often the journals are read again because they grew meanwhile; while everything is held they hardly do."""


class OtherSecret(Exception):
    """A journal was written under another secret, so nothing in it can be known again."""


@dataclass(frozen=True)
class Reconciled:
    """What reconciling found and did, in attempts and messages.

    ``attempts`` the journal knew and the database did not, or not to the end; ``moved`` messages by their new state;
    ``past``: sends whose message does not exist any more. ``open_ones`` have no known outcome yet. ``unreadable`` are
    lines that a crash tore, or that broke since. ``known_until`` is the last moment that the database knew of its own;
    ``too_old``: longer ago than journals are kept.
    """

    was_held: bool
    journals: int = 0
    attempts: int = 0
    moved: Mapping[MessageState, int] = field(default_factory=dict)
    past: int = 0
    open_ones: int = 0
    unreadable: int = 0
    known_until: datetime | None = None
    too_old: bool = False
    released: bool = False


def reconcile(
    engine: Engine, journal: Journal, now: datetime, *, force: bool = False, progress: Progress = lambda *_: None
) -> Reconciled:
    """Put right what the journals know better, and release the hold. Doing it again changes nothing.

    ``force``: release it also where the journals may not reach back far enough, or none of this machine is ahead.
    Raises OtherSecret.
    """
    with writing(engine) as connection:
        was_held = journal.look(connection, now)
        known_until = _known_until(connection)
    too_old = known_until is not None and was_held and known_until < now - journal.keep
    moved: dict[MessageState, int] = defaultdict(int)
    attempts = kept = open_ones = journals = torn = 0
    released = False
    for _ in range(ROUNDS):
        numbers, found, broken = _ahead(engine, journal, now)
        torn = max(torn, broken)
        journals = max(journals, len(numbers))
        attempts += len(found)
        open_ones += sum(entry.result is None for entry in found)
        homeless = _put_right(engine, journal, found, now, progress, moved)
        with writing(engine) as connection:
            kept += past.keep(connection, homeless, now)
            go_past(connection, found)
            if too_old and not force:
                break
            marks.catch_up(connection, numbers, now)
            if journal.ahead(connection, now):
                continue  # it grew meanwhile
            released = was_held and (force or journals > 0)
            if released:  # with the marks: a crash between them would leave a hold that no journal explains
                marks.release(connection)
            break
    pay(engine, journal, now)
    return Reconciled(was_held, journals, attempts, dict(moved), kept, open_ones, torn, known_until, too_old, released)


def _known_until(connection: Connection) -> datetime | None:
    newest = select(func.max(marks.mark.c.written_at)).where(
        marks.mark.c.journal.not_in((marks.DATABASE, marks.SECRET))
    )
    found: datetime | None = connection.execute(newest).scalar_one_or_none()
    return found


def _ahead(engine: Engine, journal: Journal, now: datetime) -> tuple[dict[str, int], list[Entry], int]:
    """How far each journal that is ahead has come, what it says beyond the database, and how many lines are broken."""
    with writing(engine) as connection:
        ahead = journal.ahead(connection, now)
    for path in ahead:
        if not journal.reads(path):
            raise OtherSecret(f"{path} was written under another BEFOREHAND_SECRET_KEY: reconcile under that one")
    told = _owed(journal.owed())
    found: dict[Key, Entry] = {}
    for path, (number, _) in ahead.items():
        for entry in entries(lines_of(path), journal.secret, after=number, told_besides=told):
            found[entry.attempt_id, entry.lease] = entry
    broken = sum(unreadable(lines_of(path)) for path in ahead)
    return {path.stem: last for path, (_, last) in ahead.items()}, list(found.values()), broken


def _put_right(
    engine: Engine,
    journal: Journal,
    found: Sequence[Entry],
    now: datetime,
    progress: Progress,
    moved: dict[MessageState, int],
) -> list[Entry]:
    """Put right the messages that are there; gives the entries of those that are not."""
    homes: dict[int, list[Entry]] = defaultdict(list)
    with reading(engine) as connection:
        by_key = _messages(connection, found, journal.secret, progress)
    for entry in found:
        if entry.key in by_key:
            homes[by_key[entry.key]].append(entry)
    ids = sorted(homes)
    for start in range(0, len(ids), CHUNK):
        with writing(engine) as connection:
            some = {key: homes[key] for key in ids[start : start + CHUNK]}
            for state, count in put_right(connection, some, now).items():
                moved[state] += count
        progress("putting messages right", min(start + CHUNK, len(ids)), len(ids))
    return [entry for entry in found if entry.key not in by_key]


def _messages(connection: Connection, found: Sequence[Entry], secret: bytes, progress: Progress) -> dict[str, int]:
    """Message ids by key: looked for under their old ids first, and then among all."""
    wanted = {entry.key for entry in found}
    known: dict[str, int] = {}
    hints = sorted({entry.message_id for entry in found})
    for start in range(0, len(hints), CHUNK):
        chosen = message.c.id.in_(hints[start : start + CHUNK])
        known |= _known(connection, chosen, wanted, secret)
    if wanted <= known.keys():
        return known
    many = connection.execute(select(func.count()).select_from(message)).scalar_one()
    for done, ids in enumerate(_pages(connection), start=1):
        known |= _known(connection, message.c.id.in_(ids), wanted, secret)
        progress("looking for messages", min(done * CHUNK, many), many)
    return known


def _known(connection: Connection, chosen: Any, wanted: set[str], secret: bytes) -> dict[str, int]:
    m = message.c
    rows = connection.execute(select(m.id, m.rule_id, m.occasion, m.step, m.customer_id).where(chosen)).mappings()
    keys = keys_of(connection, [dict(row) for row in rows], secret)
    return {key: number for number, key in keys.items() if key in wanted}


def _pages(connection: Connection) -> Iterator[list[int]]:
    last = 0
    while True:
        page = select(message.c.id).where(message.c.id > last).order_by(message.c.id).limit(CHUNK)
        ids = list(connection.execute(page).scalars())
        if not ids:
            return
        yield ids
        last = ids[-1]


def _owed(paths: Sequence[Path]) -> dict[Key, Result]:
    told: dict[Key, Result] = {}
    for path in paths:
        told |= owed(lines_of(path))
    return told


def pay(engine: Engine, journal: Journal, now: datetime) -> int:
    """Bring in results that the database could not take when they came. Returns how many attempts were put right."""
    paths = journal.owed()
    if not paths:
        return 0
    told = _owed(paths)
    a = attempt.c
    with writing(engine) as connection:
        held = journal.look(connection, now)
        rows = (
            connection.execute(
                select(attempt, message.c.channel)
                .join(message, a.message_id == message.c.id)
                .where(a.id.in_([key for key, _ in told]))
            )
            .mappings()
            .all()
        )
        found: dict[int, list[Entry]] = defaultdict(list)
        for row in rows:
            if (row["id"], row["lease"]) in told and row["armed_at"] is not None:
                found[row["message_id"]].append(_entry(row, told[row["id"], row["lease"]]))
        put_right(connection, found, now, reason=None)
    if not held:  # while it is held, some belong to attempts that are not there yet
        for path in paths:
            path.unlink(missing_ok=True)
    return sum(map(len, found.values()))


def _entry(row: Any, result: Result) -> Entry:
    return Entry(
        attempt_id=row["id"],
        lease=row["lease"],
        message_id=row["message_id"],
        key="",
        address_hash=row["address_hash"] or "",
        channel=Channel(row["channel"]),
        provider=row["provider"] or "",
        armed_at=row["armed_at"],
        lease_until=row["lease_until"],
        fingerprint=row["fingerprint"] or "",
        result=result,
    )
