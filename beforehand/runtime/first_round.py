"""The first round: one run of every live rule through Prefect, until all that may go now has gone."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from beforehand.passes.outcome import FAILED, GONE
from beforehand.runtime.demo import Watch
from beforehand.runtime.house import House
from models.database import reading
from models.delivery import Message, RulePass
from models.terms import Terms
from models.vocabulary import Channel, MessageState, Reason, RuleStatus

message: Any = Message.__table__  # type: ignore[attr-defined]
rule_pass: Any = RulePass.__table__  # type: ignore[attr-defined]

PATIENCE = 180.0
ON_THE_WAY = (MessageState.PLANNED, MessageState.QUEUED, MessageState.CLAIMED, MessageState.IN_FLIGHT)
WRONG = (*FAILED, MessageState.UNKNOWN)


@dataclass
class RuleRound:
    """What one rule's pass came to."""

    rule_id: str
    title: str
    matched: int = 0
    planned: int = 0
    sent: int = 0
    tasks: int = 0
    waiting: int = 0
    priority: int = 0
    withheld: dict[Reason, int] = field(default_factory=dict)


@dataclass
class Round:
    """The first round in figures. ``waiting`` messages have a due time ahead; ``problems`` are sentences."""

    rules: list[RuleRound] = field(default_factory=list)
    sent: dict[tuple[str, str], int] = field(default_factory=dict)
    withheld: dict[Reason, int] = field(default_factory=dict)
    waiting: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def planned(self) -> int:
        """Messages planned by all rules."""
        return sum(rule.planned for rule in self.rules)

    @property
    def matched(self) -> int:
        """Subjects found by all rules."""
        return sum(rule.matched for rule in self.rules)


async def first_round(house: House, watch: Watch) -> Round:
    """Start a run of each live rule, wait until it has ended and what is due has left. Needs a house that is ready."""
    begun = house.app.clock()
    failed = await _runs(house, watch, begun)
    if not failed:
        failed = await _until_sent(house, watch)
    watch.mark("first round")
    with reading(house.app.engine) as connection:
        found = figures(connection, house, begun)
    if found.sent:
        watch.mark("first message")
    found.problems[:0] = failed
    return found


async def _runs(house: House, watch: Watch, begun: datetime) -> list[str]:
    from flows.deployments import ended_runs, start_runs

    live = [terms for terms in house.hands.rules().values() if terms.status is RuleStatus.LIVE]
    urgent_first = [terms.rule_id for terms in sorted(live, key=lambda terms: -terms.priority)]
    failed: dict[str, str] = {}
    sent = asyncio.create_task(_first_message(house, watch, begun))
    try:
        with house.no_new_runs():
            runs = await start_runs(urgent_first)
        watch.mark("runs asked for")
        async with asyncio.timeout(PATIENCE):
            async for rule_id, problem in ended_runs(runs):
                watch.mark("first run done")
                if problem:
                    failed[rule_id] = problem
    except TimeoutError:
        return [f"not every rule came to its end within {PATIENCE:.0f} s"]
    except Exception as error:  # the server may refuse for many reasons; the demo ends in a sentence
        return [f"the Prefect server did not take the runs ({type(error).__name__}); see prefect-server.log"]
    finally:
        sent.cancel()
    return [f"{rule_id}: {problem}" for rule_id, problem in failed.items()]


async def _first_message(house: House, watch: Watch, begun: datetime) -> None:
    gone = message.c.state.in_(GONE) & (message.c.created_at >= begun)
    while not await asyncio.to_thread(_count, house, gone):
        await asyncio.sleep(0.1)
    watch.mark("first message")


def _count(house: House, *where: Any) -> int:
    with reading(house.app.engine) as connection:
        counted = select(func.count()).select_from(message).where(*where)
        return int(connection.execute(counted).scalar_one())


async def _until_sent(house: House, watch: Watch) -> list[str]:
    for _ in range(int(PATIENCE / 0.2)):
        due = message.c.due_at <= house.app.clock()
        if not await asyncio.to_thread(_count, house, message.c.state.in_(ON_THE_WAY), due):
            return []
        await asyncio.to_thread(house.hands.dispatch)
        await asyncio.sleep(0.2)
    return ["some messages that were due have not left; see the log"]


def figures(connection: Connection, house: House, since: datetime) -> Round:
    """The round as our tables tell it: passes since ``since`` and the messages that they planned."""
    passes = connection.execute(
        select(rule_pass.c.rule_id, rule_pass.c.counts)
        .where(rule_pass.c.started_at >= since, rule_pass.c.finished_at.is_not(None))
        .order_by(rule_pass.c.id)
    )
    rules = house.hands.rules()
    found = Round(rules=[_rule_round(rules[row.rule_id], row) for row in passes])
    found.rules.sort(key=lambda one: (-one.priority, one.rule_id))
    new = message.c.created_at >= since
    sent = _by_rule(connection, new, message.c.state.in_(GONE))
    waiting = _by_rule(connection, new, message.c.state.in_(ON_THE_WAY))
    for one in found.rules:
        one.sent = sent[one.rule_id]
        one.waiting += waiting[one.rule_id]
        for reason, count in one.withheld.items():
            found.withheld[reason] = found.withheld.get(reason, 0) + count
    found.waiting = sum(one.waiting for one in found.rules)
    found.sent = _by_channel_and_language(connection, new)
    wrong = connection.execute(
        select(message.c.state, func.count()).where(new, message.c.state.in_(WRONG)).group_by(message.c.state)
    )
    found.problems = [f"{count} messages are {state}" for state, count in wrong]
    return found


def _rule_round(terms: Terms, row: Any) -> RuleRound:
    counts = row.counts or {}
    return RuleRound(
        row.rule_id,
        terms.title,
        priority=terms.priority,
        matched=counts.get("matched", 0),
        planned=counts.get("messages", 0),
        waiting=counts.get("begun", 0),
        tasks=counts.get("tasks", 0),
        withheld={Reason(reason): count for reason, count in counts.get("withheld", {}).items()},
    )


def _by_rule(connection: Connection, *where: Any) -> Counter[str]:
    counted = select(message.c.rule_id, func.count()).where(*where).group_by(message.c.rule_id)
    return Counter({row[0]: row[1] for row in connection.execute(counted)})


def _by_channel_and_language(connection: Connection, new: Any) -> dict[tuple[str, str], int]:
    counted = (
        select(message.c.channel, func.coalesce(message.c.language, "?"), func.count())
        .where(new, message.c.state.in_(GONE))
        .group_by(message.c.channel, message.c.language)
        .order_by(message.c.channel, message.c.language)
    )
    return {(Channel(channel).value, language): count for channel, language, count in connection.execute(counted)}
