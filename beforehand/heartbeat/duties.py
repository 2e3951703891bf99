"""The duties of the heartbeat (DESIGN section 7), each a plain function of the application behind an async face."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from beforehand.heartbeat.beats import Beat
from beforehand.heartbeat.book import RuleBook
from beforehand.heartbeat.prefect import PrefectWatch
from flows.hands import Hands
from rules.loader import RuleSet

log = logging.getLogger("beforehand.heartbeat")

MOST_BATCHES = 20
"""Batches in one beat, so that a long queue does not keep the other beats from the database."""

FAILED_PASS_RESTS = timedelta(minutes=1)
"""How long an event rule rests whose pass failed: a pass over all customers every two seconds would stop the house."""

Resting = dict[str, tuple[datetime, Exception]]
"""Event rules that failed: until when each rests, and its error."""


@dataclass(frozen=True)
class Work:
    """The application's functions that only the heartbeat calls. All take the moment; all are blocking.

    ``write_down`` takes the rules in force and what is wrong with an edit that was refused.
    """

    advance: Callable[[datetime], object]
    event_rules_due: Callable[[datetime], list[str]]
    reap: Callable[[datetime], object]
    poll_receipts: Callable[[datetime], object]
    read_mail: Callable[[], object] = lambda: None
    write_down: Callable[[RuleSet, str, datetime], object] = lambda _loaded, _problems, _now: None
    watch_held_runs: Callable[[datetime], object] = lambda _now: None


def watching(book: RuleBook, prefect: PrefectWatch, *, uses_prefect: bool = True) -> list[Beat]:
    """The beats of every process: it looks after its own copy of the rules, and whether Prefect is up."""

    async def look() -> None:
        if await asyncio.to_thread(book.look):
            prefect.rules_changed()

    beats = [Beat("look", 2, look, alone=False)]
    return [*beats, Beat("prefect", 5, prefect.look, alone=False)] if uses_prefect else beats


def duties(hands: Hands, work: Work, book: RuleBook, prefect: PrefectWatch) -> list[Beat]:
    """The beats of the process that holds the lease, with how often they come."""

    told: set[str] = set()
    written: list[tuple[RuleSet, str]] = []
    resting: Resting = {}

    async def steps() -> None:
        await asyncio.to_thread(take_steps, hands, work, told)

    async def events() -> None:
        await asyncio.to_thread(run_event_rules, hands, work, resting)

    async def reap() -> None:
        await asyncio.to_thread(work.reap, hands.clock())

    async def mail() -> None:
        await asyncio.to_thread(work.read_mail)

    async def held_runs() -> None:
        await asyncio.to_thread(work.watch_held_runs, hands.clock())

    async def receipts() -> None:
        await asyncio.to_thread(work.poll_receipts, hands.clock())

    async def rules() -> None:
        standing = (book.rules, book.problems)
        if written != [standing]:
            await asyncio.to_thread(work.write_down, *standing, hands.clock())
            written[:] = [standing]
            prefect.rules_to_tell(book.terms(), book.problems)

    return [
        Beat("steps", 2, steps),
        Beat("events", 2, events),
        Beat("rules", 2, rules),
        Beat("deployments", 1, prefect.bring_in_line),
        Beat("notices", 2, prefect.tell_rules),
        Beat("events out", 2, prefect.tell_events),
        Beat("windows", 5, prefect.keep_windows),
        Beat("reap", 10, reap),
        Beat("fall back", 10, prefect.passes_without),
        Beat("pauses", 30, prefect.look_at_pauses),
        Beat("held runs", 5, held_runs),
        Beat("mail", 5, mail),
        Beat("receipts", 30, receipts),
        Beat("dead runs", 15, prefect.crash_dead_runs, alone=False),
    ]


def send_due(hands: Hands) -> int:
    """Dispatch batch after batch, up to MOST_BATCHES; gives how many messages moved."""
    moved = 0
    for _ in range(MOST_BATCHES):
        report = hands.dispatch()
        batch = report.sent + report.failed + report.unknown
        if not batch:
            break
        moved += batch
    return moved


def take_steps(hands: Hands, work: Work, told: set[str]) -> None:
    """Take the steps that are due, and say what cannot be taken; ``told`` keeps what was said of it before."""
    report = work.advance(hands.clock())
    problems = set(getattr(report, "problems", ()))
    for problem in sorted(problems - told):
        log.error("a waiting step cannot be taken and stays where it is: %s", problem)
    told.clear()
    told.update(problems)


def run_event_rules(hands: Hands, work: Work, resting: Resting | None = None) -> None:
    """A pass of each rule whose event has happened since its last one; one that fails does not keep the others.

    ``resting`` keeps the rules that failed lately: they are tried again after a minute, not at every beat.
    """
    failed: Exception | None = None
    rests = {} if resting is None else resting
    for rule_id in work.event_rules_due(hands.clock()):
        until, before = rests.get(rule_id, (None, None))
        if until is not None and before is not None and hands.clock() < until:
            failed = before
            continue
        try:
            figures = hands.run_rule(rule_id, hands.clock(), None)
        except Exception as error:
            failed = error
            rests[rule_id] = (hands.clock() + FAILED_PASS_RESTS, error)
            continue
        rests.pop(rule_id, None)
        if figures.matched:
            log.info("%s: %s matched, %s planned", rule_id, figures.matched, figures.planned)
    if failed:
        raise failed
