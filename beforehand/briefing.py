"""The figures of the morning brief, from our tables: what was sent, withheld, unclear, failed, waits and is due today.

Ids of rules and counts only, never a person. Plain SQL, a statement a part; ``briefing_words`` says them.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Connection, and_, case, func, or_, select

from beforehand.passes.in_force import NOTICE, RULE_PASS, RULES
from beforehand.wiring import App
from messaging import memos
from messaging.breaker import opened
from messaging.candidates import TABLES, match, message
from messaging.journal.marks import held_since
from messaging.replies.understanding import Said
from messaging.switches import set_now
from models.database import reading, writing
from models.vocabulary import AttemptState, HeldState, MatchState, MessageState, Reason

attempt, evidence, reply = TABLES["attempt"], TABLES["evidence"], TABLES["reply"]
held_run, audit, task = TABLES["held_run"], TABLES["audit"], TABLES["task"]

A_DAY = timedelta(days=1)
LONGEST = timedelta(days=31)
"""No brief reaches further back: after a long silence the days before are history."""
BEFORE = 7
"""How many periods of the same length, right before this one, it is compared with."""

ENDED = (MessageState.SUPPRESSED, MessageState.EXPIRED, MessageState.CANCELLED)
AHEAD = (MessageState.PLANNED, MessageState.QUEUED, MessageState.HELD)
GONE = (MessageState.ACCEPTED, MessageState.SENT, MessageState.DELIVERED, MessageState.UNDELIVERED)


@dataclass(frozen=True)
class OfRule:
    """One rule in the period: its passes, new occasions found, what it sent by channel, and occasions withheld."""

    rule: str
    passes: int = 0
    found: int = 0
    sent: dict[str, int] = field(default_factory=dict)
    withheld: int = 0


@dataclass(frozen=True)
class Withheld:
    """Occasions and messages that were not to go, for one reason, with the rules behind them (most first)."""

    reason: Reason
    count: int
    rules: dict[str, int]


@dataclass(frozen=True)
class Failed:
    """Messages that ended badly on a channel: ``reason`` None where they were taken and could not be delivered."""

    channel: str
    reason: Reason | None
    count: int


@dataclass(frozen=True)
class Unclear:
    """Messages of which nobody knew whether they had gone: ``new`` in the period, and what has become of those.

    ``open_now`` are all that are still looked into, by channel, the oldest since ``oldest``.
    """

    new: int = 0
    went: int = 0
    again: int = 0
    given_up: int = 0
    looked_into: int = 0
    open_now: dict[str, int] = field(default_factory=dict)
    oldest: datetime | None = None


@dataclass(frozen=True)
class Held:
    """A run that the brake has stopped: which rule, how many it would reach, where it stands, until when."""

    number: int
    rule: str
    customers: int
    state: HeldState
    expires_at: datetime


@dataclass(frozen=True)
class Rests:
    """An account or channel at fault, and what its provider says. Staff are called where it is theirs to put right."""

    name: str
    code: str


@dataclass(frozen=True)
class Called:
    """Something that staff are called for, since when."""

    topic: str
    said: str
    since: datetime


@dataclass(frozen=True)
class Hour:
    """An hour of today, in the house's zone: messages that may go from then on, and steps of rules that are due."""

    hour: int
    messages: int = 0
    steps: int = 0


@dataclass(frozen=True)
class Brief:
    """How things went from ``since`` (exclusive) to ``until``, and how they stand at ``until``.

    ``before`` is how many messages went in each of the periods of the same length before, the latest first; those
    before the first message of all are left out. ``delivered`` counts messages of which the provider said so.
    ``rules_refused`` is what is wrong with an edit of the rule files, with since when. ``decided`` counts what people
    did, by action (``stop``, ``approve`` ...). ``overdue`` messages should have gone over an hour ago.
    """

    since: datetime
    until: datetime
    zone: str
    rules: tuple[OfRule, ...] = ()
    sent: dict[str, int] = field(default_factory=dict)
    delivered: int = 0
    before: tuple[int, ...] = ()
    withheld: tuple[Withheld, ...] = ()
    failed: tuple[Failed, ...] = ()
    unclear: Unclear = field(default_factory=Unclear)
    replies: int = 0
    replies_since: datetime | None = None
    tasks: int = 0
    held: tuple[Held, ...] = ()
    held_since: datetime | None = None
    stopped: tuple[str, ...] = ()
    resting: tuple[Rests, ...] = ()
    calls: tuple[Called, ...] = ()
    rules_refused: Called | None = None
    decided: dict[str, int] = field(default_factory=dict)
    hours: tuple[Hour, ...] = ()
    overdue: int = 0

    @property
    def total(self) -> int:
        """Messages that went in the period."""
        return sum(self.sent.values())

    @property
    def usual(self) -> int | None:
        """The median of the periods before; None where there is nothing to compare with."""
        return round(median(self.before)) if self.before else None

    def as_json(self) -> dict[str, Any]:
        """The brief as JSON values, with ``total`` and ``usual``."""
        return asdict(self) | {"total": self.total, "usual": self.usual}


def brief_of(app: App, now: datetime, *, since: datetime | None = None) -> Brief:
    """The brief at ``now``. Without ``since`` it begins where the last one ended, or a day ago. Writes nothing."""
    with reading(app.engine) as connection:
        begin = since or _last(connection, now)
        found = _period(begin, now)
        return Brief(
            since=begin,
            until=now,
            zone=app.settings.time_zone,
            **_what_went(connection, begin, now),
            withheld=tuple(_withheld(connection, found)),
            failed=tuple(_failed(connection, found)),
            unclear=_unclear(connection, found),
            **_what_waits(connection, now),
            decided=_counted(connection, audit.c.action, audit, found(audit.c.at)),
            hours=tuple(_hours(connection, now, app.settings.zone)),
        )


def note_brief(app: App, brief: Brief) -> None:
    """Let the next brief begin where this one ends."""
    with writing(app.engine) as connection:
        memos.note(connection, memos.BRIEF, "", brief.until)


def _last(connection: Connection, now: datetime) -> datetime:
    before = memos.noted(connection, memos.BRIEF)
    if before is None or before[1] >= now:  # a clock that was ahead
        return now - A_DAY
    return max(before[1], now - LONGEST)


class _Within:
    """Says of a column of moments that it lies in the period."""

    def __init__(self, begin: datetime, end: datetime) -> None:
        self.begin, self.end = begin, end

    def __call__(self, column: Any) -> ColumnElement[bool]:
        return and_(column > self.begin, column <= self.end)


def _period(begin: datetime, end: datetime) -> _Within:
    return _Within(begin, end)


def _counted(connection: Connection, column: Any, table: Any, *where: ColumnElement[bool]) -> dict[str, int]:
    """Rows of a table by a column, the most frequent first."""
    rows = connection.execute(select(column, func.count()).select_from(table).where(*where).group_by(column))
    return dict(sorted(rows.tuples().all(), key=lambda pair: (-pair[1], str(pair[0]))))


def _what_went(connection: Connection, begin: datetime, now: datetime) -> dict[str, Any]:
    m, within = message.c, _period(begin, now)
    counted = select(
        m.rule_id, m.channel, func.count(), func.sum(case((m.state == MessageState.DELIVERED, 1), else_=0))
    )
    rows = connection.execute(counted.where(within(m.accepted_at)).group_by(m.rule_id, m.channel)).all()
    by_rule: dict[str, Counter[str]] = {}
    sent: Counter[str] = Counter()
    for rule_id, channel, count, _delivered in rows:
        by_rule.setdefault(rule_id, Counter())[channel] += count
        sent[channel] += count
    return {
        "sent": dict(sent.most_common()),
        "delivered": sum(row[3] for row in rows),
        "before": _before(connection, begin, now),
        "rules": tuple(_rules(connection, within, by_rule)),
    }


def _before(connection: Connection, begin: datetime, now: datetime) -> tuple[int, ...]:
    """How many went in each of the periods before, in one look at the table."""
    at, length = message.c.accepted_at, now - begin
    spans = [_period(begin - length * number, begin - length * (number - 1)) for number in range(1, BEFORE + 1)]
    sums = [func.coalesce(func.sum(case((span(at), 1), else_=0)), 0) for span in spans]
    first, *counts = connection.execute(select(func.min(at), *sums).where(at <= begin)).one()
    return tuple(count for span, count in zip(spans, counts, strict=True) if first is not None and span.end >= first)


def _rules(connection: Connection, within: _Within, sent: dict[str, Counter[str]]) -> Iterator[OfRule]:
    passes = _counted(connection, RULE_PASS.c.rule_id, RULE_PASS, within(RULE_PASS.c.finished_at))
    found = _counted(connection, match.c.rule_id, match, within(match.c.matched_at))
    withheld = _counted(connection, match.c.rule_id, match, *_withheld_matches(within))
    none: Counter[str] = Counter()
    ids = {*passes, *found, *sent, *withheld}
    for rule in sorted(ids, key=lambda one: (-sent.get(one, none).total(), -found.get(one, 0), one)):
        by_channel = dict(sent.get(rule, none).most_common())
        yield OfRule(rule, passes.get(rule, 0), found.get(rule, 0), by_channel, withheld.get(rule, 0))


def _withheld_matches(within: _Within) -> tuple[ColumnElement[bool], ...]:
    """Occasions that a gate kept back and that were still so when they were last looked at, in the period."""
    m = match.c
    return (m.state == MatchState.WITHHELD, m.reason.is_not(None), within(m.seen_at))


def _withheld(connection: Connection, within: _Within) -> Iterator[Withheld]:
    """Occasions withheld, and messages that were stopped after they had been planned."""
    m = message.c
    found: dict[Reason, Counter[str]] = {}
    stopped = (m.state.in_(ENDED), m.reason.is_not(None), within(m.ended_at))
    for table, where in ((match, _withheld_matches(within)), (message, stopped)):
        counted = select(table.c.reason, table.c.rule_id, func.count()).where(*where)
        for reason, rule_id, count in connection.execute(counted.group_by(table.c.reason, table.c.rule_id)):
            found.setdefault(Reason(reason), Counter())[rule_id] += count
    for reason, rules in sorted(found.items(), key=lambda item: (-item[1].total(), item[0])):
        yield Withheld(reason, rules.total(), dict(rules.most_common()))


def _failed(connection: Connection, within: _Within) -> Iterator[Failed]:
    m = message.c
    bad = (m.state.in_([MessageState.FAILED, MessageState.UNDELIVERED]), within(m.ended_at))
    counted = select(m.channel, m.reason, func.count()).where(*bad).group_by(m.channel, m.reason)
    for channel, reason, count in sorted(connection.execute(counted).all(), key=lambda row: (-row[2], row[0])):
        yield Failed(channel, Reason(reason) if reason else None, count)


def _unclear(connection: Connection, within: _Within) -> Unclear:
    """The tries that ended without a clear answer, and where their messages stand now."""
    a, e, m = attempt.c, evidence.c, message.c
    said = e.content["outcome"].as_string() == AttemptState.UNKNOWN.value
    unclear = or_(e.kind == "lease_over", and_(e.kind == "reply", said))
    ids = select(a.message_id).join(evidence, e.attempt_id == a.id).where(unclear, within(e.seen_at)).distinct()
    over = m.ended_at.is_not(None)
    rows = connection.execute(
        select(m.state, over.label("over"), func.count()).where(m.id.in_(ids)).group_by(m.state, over)
    ).all()
    where = {"went": 0, "again": 0, "given_up": 0, "looked_into": 0}
    for state, ended, count in rows:
        where[_became(state, bool(ended))] += count
    looked_into = (m.state == MessageState.UNKNOWN, m.ended_at.is_(None))
    oldest = connection.execute(
        select(func.min(a.armed_at)).join(message, m.id == a.message_id).where(*looked_into)
    ).scalar_one_or_none()
    open_now = _counted(connection, m.channel, message, *looked_into)
    return Unclear(new=sum(where.values()), **where, open_now=open_now, oldest=oldest)


def _became(state: str, ended: bool) -> str:
    if state in GONE:
        return "went"
    if state == MessageState.UNKNOWN:
        return "given_up" if ended else "looked_into"
    return "given_up" if ended else "again"


def _what_waits(connection: Connection, now: datetime) -> dict[str, Any]:
    """What needs a person, or tells one why nothing goes."""
    h, n, r, t = held_run.c, NOTICE.c, reply.c, task.c
    runs = connection.execute(select(held_run).where(h.ended_at.is_(None)).order_by(h.expires_at, h.id))
    notices = connection.execute(select(n.topic, n.said, n.since).order_by(n.since, n.topic)).all()
    calls = [Called(*row) for row in notices]
    unread = (r.said == Said.MAYBE_STOP, r.handled_at.is_(None))
    count, oldest = connection.execute(select(func.count(), func.min(r.received_at)).where(*unread)).one()
    late = (
        message.c.state.in_([MessageState.PLANNED, MessageState.QUEUED]),
        message.c.due_at < now - timedelta(hours=1),
    )
    return {
        "replies": count,
        "replies_since": oldest,
        "tasks": connection.execute(select(func.count()).select_from(task).where(t.done_at.is_(None))).scalar_one(),
        "held": tuple(Held(row.id, row.rule_id, row.customers, HeldState(row.state), row.expires_at) for row in runs),
        "held_since": held_since(connection),
        "stopped": tuple(set_now(connection)),
        "resting": tuple(Rests(one.name, one.code) for one in opened(connection)),
        "calls": tuple(call for call in calls if call.topic != RULES),
        "rules_refused": next((call for call in calls if call.topic == RULES), None),
        "overdue": connection.execute(select(func.count()).select_from(message).where(*late)).scalar_one(),
    }


def _hours(connection: Connection, now: datetime, zone: ZoneInfo) -> Iterator[Hour]:
    """What is due in the rest of the day, by the hour; what is due already counts with this hour."""
    end = datetime.combine(now.astimezone(zone).date() + A_DAY, datetime.min.time(), zone).astimezone(UTC)
    m, t = message.c, match.c
    waiting = _by_hour(connection, m.due_at, now, end, zone, m.state.in_(AHEAD))
    steps = _by_hour(connection, t.due_at, now, end, zone, t.state == MatchState.OPEN)
    for hour in sorted({*waiting, *steps}):
        yield Hour(hour, waiting[hour], steps[hour])


def _by_hour(
    connection: Connection, column: Any, now: datetime, end: datetime, zone: ZoneInfo, *where: ColumnElement[bool]
) -> Counter[int]:
    """Rows by the local hour of a column: the first span takes all that was due before."""
    spans = list(_spans(now, end, zone))
    sums = [
        func.coalesce(func.sum(case((and_(column >= begin, column < stop), 1), else_=0)), 0) for begin, stop in spans
    ]
    early = func.coalesce(func.sum(case((column < now, 1), else_=0)), 0)
    overdue, *counts = connection.execute(select(early, *sums).where(column < end, *where)).one()
    found: Counter[int] = Counter()
    for (begin, _), count in zip(spans, counts, strict=True):
        found[begin.astimezone(zone).hour] += count
    found[now.astimezone(zone).hour] += overdue
    return +found


def _spans(now: datetime, end: datetime, zone: ZoneInfo) -> Iterator[tuple[datetime, datetime]]:
    """From ``now`` to ``end`` in pieces that each lie in one local hour; on the day clocks go back one comes twice."""
    begin = now
    while begin < end:
        local = begin.astimezone(zone)
        into = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        stop = min(begin - into + timedelta(hours=1), end)
        yield begin, stop
        begin = stop
