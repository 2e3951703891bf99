"""The walk through the past: passes at the rule's slots, and between them what falls due, in the order of the house."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Connection, FromClause, Select, and_, func, or_, select

from beforehand.backtest.sending import send_due
from beforehand.backtest.standins import feed, times_of_others
from beforehand.passes.advancing import UNTIL_LOOK, advance_on
from beforehand.passes.deciding import pass_on
from beforehand.wiring import App
from messaging import progress
from messaging.candidates import UNDECIDED, match, message, with_messages_in
from messaging.claims import CLAIMABLE
from messaging.progress import LOOK_AGAIN
from models.terms import Wait
from models.vocabulary import MatchState
from rules.evaluate import known
from rules.loader import Rule

Progress = Callable[[int, int], None]
"""Told after each slot how many are done, and of how many."""

STUCK = timedelta(minutes=1)
"""When a step is looked at again that was due and did not move."""

ROUNDS = 50
"""How often the steps of one moment are taken again; each round gets every match one step further."""


class Watch(Protocol):
    """Says whom a pass at a slot decides on."""

    def found(self, number: int, now: datetime) -> Select[Any] | None:
        """The subjects that stand at slot ``number``, or None where a pass could change nothing."""

    def written(self, number: int) -> None:
        """Told when rows were planned, sent or brought in since the last slot; ``number`` is the next slot."""


@dataclass
class Walk:
    """One replay under way. ``above``: ids of messages up to this are real ones. ``looks`` counts the passes.

    ``live_from`` takes the place of the moment from which the rule says it may act.
    """

    connection: Connection
    app: App
    rule: Rule
    start: datetime
    end: datetime
    slots: Sequence[datetime]
    watch: Watch
    above: int
    live_from: datetime | None = None
    looks: int = 0
    problems: set[str] = field(default_factory=set)
    _others: list[datetime] = field(default_factory=list)
    _fed: datetime | None = None
    _due: datetime | None = None
    _taken: datetime | None = None

    def run(self, told: Progress | None = None) -> None:
        """Walk from slot to slot, and through all that falls due in between, up to the end."""
        self._others = times_of_others(self.connection, self.rule.id, self.start, self.end)
        self._fed = self.start
        for number, slot in enumerate(self.slots):
            self._until(slot, number)
            self._pass(number, slot)
            if told is not None:
                told(number + 1, len(self.slots))
        self._until(self.end, len(self.slots))

    def _until(self, end: datetime, number: int) -> None:
        """Take what falls due before ``end``, moment by moment."""
        while self._due is not None:
            at = self._due if self._taken is None or self._due > self._taken else self._taken + STUCK
            if at >= end:
                break
            self._feed(at, number)
            self._take(at, number)

    def _pass(self, number: int, slot: datetime) -> None:
        self._feed(slot, number, before_me=True)
        found = self.watch.found(number, slot)
        if found is not None:
            self.looks += 1
            pass_on(self.connection, self.app, self.rule, slot, found=found, live_from=self.live_from, brakes=False)
            self._changed(number + 1)
        self._feed(slot, number + 1)
        if self._due is not None and self._due <= slot:
            self._take(slot, number + 1)

    def _feed(self, until: datetime, number: int, *, before_me: bool = False) -> None:
        """Bring in what others said by ``until``; ``before_me``: of those at that very moment, the more urgent."""
        if self._others and self._others[0] <= until:
            urgent = self._goes_first if before_me else None
            feed(self.connection, self.rule.id, self.start, self._fed, until, also=urgent)
            self._fed = until
            self._others = [at for at in self._others if at > until or (before_me and at == until)]
            self.watch.written(number)

    def _goes_first(self, rows: FromClause) -> ColumnElement[bool]:
        terms = self.rule.terms
        same = and_(rows.c.priority == terms.priority, rows.c.rule_id < terms.rule_id)
        return or_(rows.c.priority > terms.priority, same)

    def _take(self, now: datetime, number: int) -> None:
        """Steps and messages that are due now, until nothing is."""
        self._taken = now
        for _ in range(ROUNDS):
            report = advance_on(self.connection, self.app, now, versions=self._version)
            self.problems.update(report.problems)
            sent = send_due(self.connection, self.app, now, above=self.above, versions=self._version)
            if report.steps:
                self._rest_until_it_comes(now)
            if not sent and not report.steps:
                break
        self._changed(number)

    def _changed(self, number: int) -> None:
        self.watch.written(number)
        self._due = self._next_due()

    def _version(self, _app: App, _connection: Connection, _rule_id: str, _version: str) -> Rule:
        return self.rule

    def _next_due(self) -> datetime | None:
        """The next moment at which a step or a message falls due."""
        m = match.c
        mine = (m.rule_id == self.rule.id, m.state == MatchState.OPEN, ~with_messages_in(UNDECIDED))
        going = select(func.min(m.due_at)).where(*mine, m.reason.is_(None))
        resting = select(m.due_at, m.seen_at).where(*mine, m.reason.is_not(None)).distinct()
        waiting = select(func.min(message.c.due_at)).where(message.c.id > self.above, message.c.state.in_(CLAIMABLE))
        found = [self.connection.execute(each).scalar() for each in (going, waiting)]
        found += [max(due, seen + LOOK_AGAIN) for due, seen in self.connection.execute(resting)]
        return min((at for at in found if at is not None), default=None)

    def _rest_until_it_comes(self, now: datetime) -> None:
        """A match that awaits a moment is asked every minute; here it rests until the minute in which it comes."""
        for place, step in enumerate(self.rule.terms.steps):
            if not isinstance(step, Wait) or step.until is None or step.stop_if is not None:
                continue
            here = and_(match.c.rule_id == self.rule.id, match.c.state == MatchState.OPEN, match.c.next_step == place)
            here = and_(here, match.c.due_at == now + UNTIL_LOOK)
            self._rest(step.until, here, now)

    def _rest(self, until: str, here: ColumnElement[bool], now: datetime) -> None:
        """Put off the matches ``here`` to the look at which their moment has come, or at which they give up."""
        ids = select(match.c.subject_id).where(here)
        comes = known(self.rule, until, ids=ids, zone=self.app.settings.time_zone).subquery()
        soon = select(comes.c.subject_id, comes.c.at).where(comes.c.at < self.end).subquery()
        for at in self.connection.execute(select(soon.c.at).distinct()).scalars().all():
            those = match.c.subject_id.in_(select(soon.c.subject_id).where(soon.c.at == at))
            progress.rest_matches(self.connection, and_(here, those), _look(now, at))
        never = match.c.subject_id.not_in(select(soon.c.subject_id))
        progress.rest_matches(self.connection, and_(here, never), self.end)
        patient = and_(match.c.rule_id == self.rule.id, match.c.state == MatchState.OPEN, match.c.due_at > now)
        ends = select(match.c.gives_up_at).where(patient, match.c.due_at > match.c.gives_up_at).distinct()
        for at in self.connection.execute(ends).scalars().all():
            late = and_(patient, match.c.gives_up_at == at, match.c.due_at > _look(now, at))
            progress.rest_matches(self.connection, late, _look(now, at))


def _look(now: datetime, at: datetime) -> datetime:
    """The first look at or after ``at`` of a match that is looked at every so often from ``now`` on."""
    return now + max(-((now - at) // UNTIL_LOOK), 1) * UNTIL_LOOK
