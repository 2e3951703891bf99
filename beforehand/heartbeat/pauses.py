"""What staff paused in Prefect, kept in a row each, so that a pause holds while Prefect is away, too."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from sqlalchemy import Engine, delete, select

from beforehand.wiring import Clock
from messaging.memos import memo, note
from models.database import reading, writing

TOPIC = "paused:"
LONGEST_TOPIC = 100
SHARE = 50
"""A look may take one part in so many of the time: with two hundred rules it costs Prefect's server two seconds."""

Paused = Mapping[str, frozenset[str]]
"""The paused schedules of each rule that has some, by their slugs."""


@dataclass
class Pauses:
    """The pauses of schedules, as ``ask`` found them in Prefect last; ``ticks`` are seconds that only go forward."""

    engine: Engine
    clock: Clock
    ask: Callable[[], Awaitable[Paused]]
    ticks: Callable[[], float] = time.monotonic
    _rests_until: float = field(default=0.0, init=False)
    _known: Paused | None = field(default=None, init=False)

    async def look(self) -> None:
        """Ask Prefect, and keep what it says where that is new."""
        began = self.ticks()
        if began < self._rests_until:
            return
        found = await self.ask()
        took = self.ticks() - began
        self._rests_until = began + SHARE * took
        if found != self._known:
            await asyncio.to_thread(self._keep, found)
            self._known = found

    def kept(self) -> Callable[[str], frozenset[str]]:
        """Gives of a rule which of its schedules are paused, by what was kept last. Blocking."""
        with reading(self.engine) as connection:
            rows = connection.execute(select(memo.c.topic, memo.c.said).where(memo.c.topic.like(f"{TOPIC}%")))
            found = {row.topic: frozenset(row.said.split()) for row in rows}
        return lambda rule_id: found.get(_topic(rule_id), frozenset())

    def _keep(self, found: Paused) -> None:
        now = self.clock()
        with writing(self.engine) as connection:
            connection.execute(delete(memo).where(memo.c.topic.like(f"{TOPIC}%")))
            for rule_id, slugs in found.items():
                note(connection, _topic(rule_id), " ".join(sorted(slugs)), now)


def _topic(rule_id: str) -> str:
    return f"{TOPIC}{rule_id}"[:LONGEST_TOPIC]
