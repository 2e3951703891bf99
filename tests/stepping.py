"""A real house stepped through the past on a simulated clock: what a replay must equal.

Everything is the real thing (passes, event rules, advance, claim, arm, record), committed minute by minute; only the
clock, the providers and the coming in of events and consents are played here.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, and_, delete, func, insert, or_, select, union_all

from beforehand.dispatching import dispatch_due
from beforehand.passes import advance, event_rules_due, rules_of, run_rule
from beforehand.wiring import App
from flows.slots import slots
from messaging.channels.base import Envelope, Outcome, Sighting
from messaging.receipts import apply
from models import Base
from models.database import reading, writing
from models.vocabulary import Channel, MatchState, MessageState, OutcomeClass
from rules.loader import Rule

TABLES = Base.metadata.tables
MINUTE = timedelta(minutes=1)
HAPPENED = {
    "call.ended": ("call", ["ended_at"]),
    "survey.answered": ("survey", ["answered_at"]),
    "ticket.closed": ("ticket", ["closed_at"]),
    "ticket.opened": ("ticket", ["opened_at"]),
    "issue.declared": ("known_issue", ["declared_at"]),
    "issue.changed": ("known_issue", ["declared_at", "closed_at"]),
    "order.delivered": ("orders", ["delivered_at"]),
}
"""The tables behind events, and the columns in which one shows."""


@dataclass
class Everything:
    """A provider that takes all, and keeps the ids of what it has to say was delivered."""

    name: Channel
    provider: str = "played"
    parallel: int = 1
    taken: list[str] = field(default_factory=list)

    def send(self, envelope: Envelope) -> Outcome:
        self.taken.append(f"played-{envelope.attempt_id}")
        return Outcome(OutcomeClass.ACCEPTED, provider_id=self.taken[-1])

    def fingerprint(self, envelope: Envelope) -> str:
        return str(envelope.attempt_id)

    def look(self, provider_ids: Sequence[str]) -> list[Sighting]:
        return []

    def find(self, *_args: object) -> None:
        return None

    def close(self) -> None:
        return None


@dataclass
class Stepped:
    """The house at its clock. ``hidden`` are ledger rows that come when their time does."""

    app: App
    rules: dict[str, Rule]
    hidden: list[tuple[datetime, Any, dict[str, Any]]] = field(default_factory=list)

    def through(self, start: datetime, end: datetime) -> None:
        """Every minute from ``start`` (inclusive) to ``end`` (exclusive)."""
        self.app.__dict__["channels"] = {name: Everything(name) for name in Channel}
        self._hide(start)
        due = {rule.id: set(self._slots(rule, start, end)) for rule in self.rules.values()}
        order = sorted(self.rules.values(), key=lambda rule: (-rule.terms.priority, rule.id))
        happened = self._events(start - MINUTE, end)
        at = start
        while at < end:
            self._reveal(at)
            news = {event for event, times in happened.items() if at in times}
            self._note(at, news)
            for rule in order:
                if at in due[rule.id]:
                    run_rule(self.app, rule.id, at, slot=at)
            for rule_id in event_rules_due(self.app, at) if news else ():
                if rule_id in self.rules:
                    run_rule(self.app, rule_id, at, slot=at)
            self._settle(at)
            at += MINUTE

    def _slots(self, rule: Rule, start: datetime, end: datetime) -> list[datetime]:
        found = slots(rule.terms.cron, self.app.settings.time_zone, after=start - MINUTE / 60, until=end)
        return [slot for slot in asyncio.run(found) if slot < end]

    def _settle(self, now: datetime) -> None:
        """Advance and dispatch until nothing moves; all that goes out is delivered at once."""
        for _ in range(30):
            if not self._anything_due(now):
                return
            report = advance(self.app, now)
            assert report.problems == []
            sent = dispatch_due(self.app, now, everything=True)
            for way in self.app.channels.values():
                assert isinstance(way, Everything)
                seen = [Sighting(key, MessageState.DELIVERED) for key in way.taken]
                way.taken.clear()
                if seen:
                    with writing(self.app.engine) as connection:
                        apply(connection, seen, now)
            if not report.steps and not sent.sent and not sent.withheld and not sent.failed:
                return

    def _anything_due(self, now: datetime) -> bool:
        match, message = TABLES["match"], TABLES["message"]
        steps = select(match.c.id).where(match.c.state == MatchState.OPEN, match.c.due_at <= now)
        states = [MessageState.PLANNED, MessageState.QUEUED]
        messages = select(message.c.id).where(message.c.state.in_(states), message.c.due_at <= now)
        with reading(self.app.engine) as connection:
            return any(connection.execute(rows.limit(1)).first() is not None for rows in (steps, messages))

    def _hide(self, start: datetime) -> None:
        """Take out of the ledger what had not been said by ``start``, and forget which events there were."""
        with writing(self.app.engine) as connection:
            for name, column in (("consent", "given_at"), ("suppression", "since")):
                table = TABLES[name]
                rows = connection.execute(select(table).where(table.c[column] > start)).mappings().all()
                self.hidden += [(row[column], table, dict(row)) for row in rows]
                connection.execute(delete(table).where(table.c[column] > start))
            connection.execute(delete(TABLES["change"]))
        self.hidden.sort(key=lambda each: each[0], reverse=True)

    def _reveal(self, now: datetime) -> None:
        while self.hidden and self.hidden[-1][0] <= now:
            _at, table, row = self.hidden.pop()
            with writing(self.app.engine) as connection:
                connection.execute(insert(table).values(row))

    def reveal_all(self) -> None:
        """Bring in the rest of the ledger, as a replay finds it."""
        self._reveal(datetime.max.replace(tzinfo=UTC))

    def _events(self, start: datetime, end: datetime) -> dict[str, set[datetime]]:
        """The moments of each event that a rule listens to, cut to the second minute that shows them."""
        wanted = {event for rule in self.rules.values() for event in rule.terms.events}
        found: dict[str, set[datetime]] = {}
        with reading(self.app.engine) as connection:
            for event in wanted:
                name, columns = HAPPENED[event]
                every = [select(TABLES[name].c[column].label("at")) for column in columns]
                times = union_all(*every).subquery()
                rows = select(times.c.at).where(times.c.at > start, times.c.at < end)
                found[event] = {_shown_at(at) for at in connection.execute(rows).scalars()}
        return found

    def _note(self, now: datetime, events: set[str]) -> None:
        change = TABLES["change"]
        if events:
            with writing(self.app.engine) as connection:
                connection.execute(delete(change).where(change.c.event.in_(events)))
                connection.execute(insert(change), [{"event": event, "changed_at": now} for event in events])


def _shown_at(at: datetime) -> datetime:
    floor = at.replace(second=0, microsecond=0)
    return floor if floor == at else floor + MINUTE


def stepped(app: App, start: datetime, end: datetime, *names: str) -> dict[str, Rule]:
    """Step the house through a period with these rules (all of the folder without any)."""
    rules = {rule_id: rule for rule_id, rule in rules_of(app).rules.items() if not names or rule_id in names}
    house = Stepped(app, rules)
    house.through(start, end)
    house.reveal_all()
    return rules


Outcomes = dict[str, set[tuple[Any, ...]]]


def outcomes(connection: Connection, rule_id: str, start: datetime, above: int = 0) -> Outcomes:
    """What a rule has planned since ``start``, whoever did it; ``above``: messages with an id over this."""
    return {name: {tuple(row) for row in connection.execute(rows)} for name, rows in _asked(rule_id, start, above)}


def _asked(rule_id: str, start: datetime, above: int) -> Iterator[tuple[str, Select[Any]]]:
    match, message, task = TABLES["match"], TABLES["message"], TABLES["task"]
    voucher, survey = TABLES["voucher"], TABLES["survey"]
    mine = and_(match.c.rule_id == rule_id, or_(match.c.started_at.is_(None), match.c.started_at >= start))
    ids = select(match.c.id).where(mine)
    m = message.c
    yield (
        "messages",
        select(m.occasion, m.step, m.channel, m.template, m.created_at, m.due_at, m.state, m.reason).where(
            m.rule_id == rule_id, m.match_id.in_(ids), m.id > above
        ),
    )
    yield (
        "matches",
        select(
            match.c.occasion,
            match.c.state,
            match.c.reason,
            match.c.matched_at,
            match.c.started_at,
            match.c.subject_id,
            match.c.next_step,
        ).where(mine),
    )
    yield (
        "tasks",
        select(match.c.occasion, task.c.step, task.c.created_at)
        .join(match, match.c.id == task.c.match_id)
        .where(match.c.id.in_(ids)),
    )
    yield (
        "vouchers",
        select(match.c.occasion, voucher.c.worth, voucher.c.issued_at, voucher.c.valid_until)
        .join(match, match.c.id == voucher.c.match_id)
        .where(match.c.id.in_(ids)),
    )
    yield (
        "surveys",
        select(match.c.occasion, survey.c.kind, survey.c.asked_at)
        .join(match, match.c.id == survey.c.match_id)
        .where(match.c.id.in_(ids)),
    )


def count(connection: Connection, name: str) -> int:
    """Rows of a table."""
    return int(connection.execute(select(func.count()).select_from(TABLES[name])).scalar_one())
