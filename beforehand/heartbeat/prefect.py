"""The heartbeat's eye on Prefect: up or down, deployments in line, dead runs, and passes that go on without it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from beforehand.heartbeat.pauses import Pauses
from flows.hands import Hands
from flows.slots import grace, slots, slug_of
from messaging.onlookers import PrefectSeen, tell
from models.terms import Terms
from models.vocabulary import RUNNING

log = logging.getLogger("beforehand.heartbeat")

JUST_BEFORE = timedelta(minutes=5)
"""Slots this long before Prefect was missed are looked at too: their run may not have started any more."""
LOOK_BACK = timedelta(hours=2)
"""No grace is longer than an hour; whoever looks every few seconds need look no further back than this."""


@dataclass(frozen=True)
class PrefectSide:
    """What is asked of Prefect. ``is_up`` is blocking; ``bring_in_line`` takes the rules in force, and whether nothing
    is known of the server's deployments, and says what it did.

    ``crash_dead_runs`` gives how many runs it marked. ``tell_rules`` shows staff the rules in force, and why an edit of
    them was refused. ``tell_events`` tells what happened, and gives how many events Prefect was found to have.
    ``keep_windows`` opens and closes the windows in which held runs are answered. ``pauses`` keep what staff paused.
    """

    is_up: Callable[[], bool]
    bring_in_line: Callable[[Mapping[str, Terms], bool], Awaitable[object]]
    crash_dead_runs: Callable[[datetime], Awaitable[int]]
    tell_rules: Callable[[Mapping[str, Terms], str], Awaitable[object]] | None = None
    tell_events: Callable[[], Awaitable[int]] | None = None
    keep_windows: Callable[[], Awaitable[object]] | None = None
    pauses: Pauses | None = None


class PrefectWatch:
    """Knows whether Prefect is up, and does what follows from it.

    ``in_doubt``: the server came up, or back, since all its deployments were last brought in line.
    """

    def __init__(self, side: PrefectSide, hands: Hands) -> None:
        self._side, self._hands = side, hands
        self.up = False
        self._down_since: datetime | None = hands.clock()
        self._out_of_line = True
        self.in_doubt = True
        self._rules: tuple[Mapping[str, Terms], str] | None = None
        self._untold = False
        self._one_at_a_time = asyncio.Lock()
        self._done_without: set[tuple[str, datetime]] = set()

    @property
    def out_of_line(self) -> bool:
        """Whether the rules, or the server, have changed since deployments were last looked at."""
        return self._out_of_line

    def rules_changed(self) -> None:
        """Let the next beat bring the deployments in line."""
        self._out_of_line = True

    def rules_to_tell(self, rules: Mapping[str, Terms], problems: str) -> None:
        """Let the next beat in which Prefect is up tell staff of the rules in force."""
        self._rules, self._untold = (rules, problems), True

    async def tell_rules(self) -> None:
        """Tell what is to be told."""
        if self.up and self._untold and self._rules and self._side.tell_rules:
            self._untold = False
            try:
                await self._side.tell_rules(*self._rules)
            except BaseException:
                self._untold = True
                raise

    async def tell_events(self) -> None:
        """Tell what happened; while Prefect is down it waits in its rows."""
        if self.up and self._side.tell_events:
            await self._side.tell_events()

    async def keep_windows(self) -> None:
        """A window for each held run that asks, while Prefect is up."""
        if self.up and self._side.keep_windows:
            await self._side.keep_windows()

    async def look_at_pauses(self) -> None:
        """Keep what staff paused, while Prefect is up: it cannot be asked later."""
        if self.up and self._side.pauses:
            await self._side.pauses.look()

    async def look(self) -> None:
        """Notice Prefect coming and going."""
        up = await asyncio.to_thread(self._side.is_up)
        if up and not self.up:
            self._down_since, self._out_of_line, self.in_doubt = None, True, True
            self._done_without.clear()
            log.info("the Prefect server is up")
        elif self.up and not up:
            self._down_since = self._hands.clock()
            log.warning("the Prefect server does not answer; passes and messages go on without it")
        self.up = up
        tell(PrefectSeen(up))

    async def bring_in_line(self) -> None:
        """Deployments for the rules in force, when either may have changed."""
        async with self._one_at_a_time:
            if not (self.up and self._out_of_line):
                return
            self._out_of_line, doubted, self.in_doubt = False, self.in_doubt, False
            try:
                done = await self._side.bring_in_line(self._hands.rules(), doubted)
            except BaseException:
                self._out_of_line = self.in_doubt = True
                raise
            self.in_doubt = self.in_doubt or (doubted and self._out_of_line)  # it was interrupted
            log.info("deployments: %s", done)

    async def crash_dead_runs(self) -> None:
        """Put right what killed processes left as Running."""
        if self.up and (count := await self._side.crash_dead_runs(self._hands.clock())):
            log.warning("%s runs of a process that is gone were marked Crashed", count)

    async def passes_without(self) -> None:
        """With Prefect down past a rule's grace, run its pass here; its slot keeps it from being done twice.

        A schedule that staff had paused stays paused.
        """
        if self._down_since is None:
            return
        now = self._hands.clock()
        since = max(self._down_since - JUST_BEFORE, now - LOOK_BACK)
        paused = await asyncio.to_thread(self._side.pauses.kept) if self._side.pauses else lambda _: frozenset[str]()
        failed: Exception | None = None
        for terms in list(self._hands.rules().values()):
            off = paused(terms.rule_id)
            crons = [cron for number, cron in enumerate(terms.cron, start=1) if slug_of(number) not in off]
            if terms.status in RUNNING and crons:
                try:
                    await self._pass_without(terms.rule_id, crons, since, now)
                except Exception as error:  # the next rule has its pass all the same
                    failed = error
        if failed:
            raise failed

    async def _pass_without(self, rule_id: str, crons: Sequence[str], since: datetime, now: datetime) -> None:
        zone = self._hands.time_zone
        past = await slots(crons, zone, after=since, until=now)
        missed = [slot for slot in past if now - slot > await grace(crons, zone, slot)]
        if not missed or (rule_id, missed[-1]) in self._done_without:
            return
        figures = await asyncio.to_thread(self._hands.run_rule, rule_id, now, missed[-1])
        self._done_without.add((rule_id, missed[-1]))
        if not figures.skipped:
            said = "%s: the pass of %s was run without Prefect, %s matched, %s planned"
            log.warning(said, rule_id, missed[-1].isoformat(), figures.matched, figures.planned)
