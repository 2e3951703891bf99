"""A database that is put back to what it was, beside a journal that goes on: what the proofs of restoring share."""

from collections import Counter
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, select
from sqlalchemy.engine import make_url

from beforehand.web.postroom.server import PostRoom
from messaging.claims import attempt, message
from messaging.journal import Journal, place_of
from models.database import connect, reading, sqlite_module
from models.housekeeping import Notice, Switch
from tests.integration.out_world import NOW, SECRET, references, rows_of, send_due, ways

PATIENCE = 20.0
"""Seconds for an answer: on a busy machine a mail that times out would go a second time by the written policy."""


def journal_of(engine: Engine, folder: Path, **more: Any) -> Journal:
    """A process's journal in ``folder`` for this database."""
    return Journal(folder, SECRET, place=place_of(SECRET, engine.url), **more)


def snapshot(engine: Engine, to: Path) -> Path:
    """A copy of a SQLite database by its backup API, while it is in use."""
    source = sqlite_module().connect(str(make_url(str(engine.url)).database))
    target = sqlite_module().connect(str(to))
    with target:
        source.backup(target)
    target.close()
    source.close()
    return to


def put_back(engine: Engine, copy: Path) -> Engine:
    """Restore the copy over the database; gives a new engine."""
    path = Path(str(make_url(str(engine.url)).database))
    engine.dispose()
    for end in ("-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)
    path.write_bytes(copy.read_bytes())
    return connect(f"sqlite:///{path}")


def send(engine: Engine, room: PostRoom, journal: Journal, now: datetime = NOW, **plan: Any) -> Any:
    """Dispatch what is due at ``now`` under a journal."""
    return send_due(engine, ways(room, timeout=PATIENCE), now, journal=journal, **({"send_timeout": PATIENCE} | plan))


def states(engine: Engine) -> Counter[str]:
    """Messages by state."""
    return Counter(row.state for row in rows_of(engine))


def reasons(engine: Engine) -> Counter[str | None]:
    """Messages by reason."""
    return Counter(row.reason for row in rows_of(engine))


def once_each(room: PostRoom, count: int) -> bool:
    """Whether the provider has each of the first ``count`` messages exactly once."""
    return references(room.ledger.entries) == sorted(f"R{n:07d}" for n in range(count))


def twice(engine: Engine, room: PostRoom) -> list[str]:
    """What the provider has more than once: its reference, and what became of each of its tries here."""
    many = Counter(references(room.ledger.entries))
    tries = select(message.c.reference, attempt.c.state, attempt.c.code).join(attempt)
    with reading(engine) as connection:
        told = connection.execute(tries.order_by(attempt.c.id)).all()
    return [
        f"{name}: {[(row.state, row.code) for row in told if row.reference == name]}"
        for name, count in many.items()
        if count > 1
    ]


def held(engine: Engine) -> bool:
    """Whether everything is held, and staff are told why."""
    with reading(engine) as connection:
        table: Any = Switch
        stopped = connection.execute(select(table.stopped_at).where(table.scope == "restore")).scalar_one_or_none()
        notice: Any = Notice
        told = connection.execute(select(notice.said).where(notice.topic == "restore")).scalar_one_or_none()
    assert (stopped is None) == (told is None)
    return stopped is not None


def stop_after(count: int) -> Callable[[str], None]:
    """A named point's listener that ends the dispatch when so many groups were recorded."""
    seen = Counter[str]()

    def at(point: str) -> None:
        seen[point] += 1
        if point == "recorded" and seen[point] >= count:
            raise EndedError

    return at


class EndedError(Exception):
    """The run ends here."""
