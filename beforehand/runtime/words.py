"""A word to staff when a part dies, taken back when it is well again; kept until the database takes it."""

import socket
from collections import deque
from datetime import datetime

from sqlalchemy import Engine

from beforehand.wiring import Clock
from messaging.breaker import call_staff, dismiss
from messaging.events_out import PART_DIED, happened
from models.database import writing

MOST_KEPT = 100


def topic_of(part: str, host: str | None = None) -> str:
    """The notice's topic: the part, and on which machine, since the same part of another one may be well."""
    return f"part:{part}@{host or socket.gethostname()}"


class Words:
    """What staff are told of the parts of this process. ``tell`` is quick and keeps it, ``write`` is blocking."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine, self._clock = engine, clock
        self._kept: deque[tuple[str, str, datetime]] = deque(maxlen=MOST_KEPT)

    def tell(self, part: str, why: str) -> None:
        """A part has died, and why; an empty text: it is well again."""
        self._kept.append((part, why, self._clock()))

    @property
    def waiting(self) -> bool:
        """Whether something is not written yet."""
        return bool(self._kept)

    def write(self) -> None:
        """Write down what was told since the last time, in the order in which it happened."""
        kept = list(self._kept)
        if not kept:
            return
        with writing(self._engine) as connection:
            for part, why, at in kept:
                if why:
                    said = f"the part {part} died ({why}) and is being started again; see the log"
                    call_staff(connection, topic_of(part), said, at)
                    happened(connection, PART_DIED, f"part:{part}", at, {"why": why[:200]})
                else:
                    dismiss(connection, topic_of(part))
        for _ in kept:
            self._kept.popleft()

    def forget(self, parts: list[str]) -> None:
        """Take back what an earlier process of this machine left: this one says itself how its parts are."""
        with writing(self._engine) as connection:
            for part in parts:
                dismiss(connection, topic_of(part))
