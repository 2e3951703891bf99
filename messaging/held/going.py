"""How a held run goes on and ends: what is let go, what is held back again, what nothing becomes of any more.

Each function is a few set-based statements, however large the run is, and runs in the transaction that moves the run's
row. Matches are let go by becoming OPEN: the ordinary advance then takes their first step, through all of its gates.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    and_,
    case,
    false,
    func,
    literal,
    not_,
    or_,
    select,
    update,
)

from messaging.candidates import TABLES, UNDECIDED, match, message
from messaging.claims import return_claims
from messaging.guards.brake import REFUSED, held_run, rule_pass
from messaging.taken_back import take_back
from models.types import UTCDateTime
from models.vocabulary import HeldState, MatchState, MessageState, Reason, WebhookState

GOLDEN = 2_654_435_769
"""2**32 divided by the golden ratio: the fractions of id x golden ratio spread evenly (Knuth, TAOCP 3, 6.4)."""

webhook = TABLES["webhook"]

TO_CALL = (WebhookState.PLANNED, WebhookState.CALLING)
"""States of a webhook that nobody has taken."""

NOT_LEFT = (MessageState.PLANNED, MessageState.QUEUED)
"""States of a message that is certainly with nobody but us, and held by nothing else."""

NOT_ARMED = (*NOT_LEFT, MessageState.CLAIMED)
"""The same, and what a dispatcher has taken: until it is armed it has certainly not left."""

TAKEN = (MessageState.ACCEPTED, MessageState.SENT, MessageState.DELIVERED, MessageState.UNDELIVERED)
"""States of a message that a provider took."""


def of_run(run_id: int) -> ColumnElement[bool]:
    """A condition on ``match``: on the list of this run."""
    mine: ColumnElement[bool] = match.c.held_run_id == run_id
    return mine


def messages_of(run_id: int) -> ColumnElement[bool]:
    """A condition on ``message``: of a match on the list of this run."""
    mine: ColumnElement[bool] = message.c.match_id.in_(select(match.c.id).where(of_run(run_id)))
    return mine


def _count(connection: Connection, *where: ColumnElement[bool]) -> int:
    return int(connection.execute(select(func.count()).select_from(match).where(*where)).scalar_one())


def count_held(connection: Connection, run_id: int) -> int:
    """How many of the run are held: not let go yet."""
    return _count(connection, of_run(run_id), match.c.state == MatchState.HELD)


def not_taken(run_id: int, waits: int) -> ColumnElement[bool]:
    """A condition on ``match``: let go, and its first speaking step is not decided; ``waits`` come before that."""
    before = or_(match.c.started_at.is_(None), match.c.next_step < waits)
    return and_(of_run(run_id), match.c.state == MatchState.OPEN, match.c.reason.is_(None), before)


def count_not_taken(connection: Connection, run_id: int, waits: int, due_by: datetime | None = None) -> int:
    """How many have been let go and not been decided; ``due_by``: only those whose wait is over by then."""
    due = [match.c.due_at <= due_by] if due_by else []
    return _count(connection, not_taken(run_id, waits), *due)


def let_go(connection: Connection, run_id: int, now: datetime, *, most: int | None = None, waits: int = 0) -> int:
    """Let ``most`` of the held matches go (None: all), spread over the run and always the same. Returns how many.

    A rule that begins with ``waits`` has begun with it: the wait counts from when the match was found.
    """
    held = and_(of_run(run_id), match.c.state == MatchState.HELD)
    if most is not None:
        spread = match.c.id * literal(GOLDEN, BigInteger()) % literal(2**32, BigInteger())
        held = match.c.id.in_(select(match.c.id).where(held).order_by(spread, match.c.id).limit(most))
    values: dict[str, Any] = {"state": MatchState.OPEN, "reason": None}
    if waits:
        values["started_at"] = now
    return int(connection.execute(update(match).where(held).values(values)).rowcount)


def stop_going(connection: Connection, run_id: int, now: datetime) -> int:
    """Hold back what has been let go and not been taken, and what has not left. Returns how many matches that were."""
    return_claims(connection, messages_of(run_id), now)
    begun_nothing = and_(of_run(run_id), match.c.state == MatchState.OPEN, match.c.started_at.is_(None))
    back = update(match).where(begun_nothing).values(state=MatchState.HELD, reason=Reason.BRAKE)
    count = int(connection.execute(back).rowcount)
    held = update(message).where(messages_of(run_id), message.c.state.in_(NOT_ARMED))
    connection.execute(held.values(state=MessageState.HELD, reason=Reason.BRAKE))
    return count


def go_on(connection: Connection, run_id: int) -> int:
    """Put what was held back in the queue, where it stood. Returns how many messages that were."""
    tried = case((message.c.tries > 0, literal(MessageState.QUEUED.value)), else_=literal(MessageState.PLANNED.value))
    free = update(message).where(messages_of(run_id), held_messages())
    return int(connection.execute(free.values(state=tried, reason=None)).rowcount)


def held_messages() -> ColumnElement[bool]:
    """A condition on ``message``: planned already, and held back by the brake."""
    return and_(message.c.state == MessageState.HELD, message.c.reason == Reason.BRAKE)


def count_held_messages(connection: Connection, run_id: int) -> int:
    """How many messages of the run the brake holds back."""
    counted = select(func.count()).select_from(message).where(messages_of(run_id), held_messages())
    return int(connection.execute(counted).scalar_one())


def end_all(connection: Connection, run_id: int, now: datetime) -> int:
    """Nothing more of the run goes: what has not begun is withheld, what has begun ends. Returns how many were held.

    It is refused for as long as it goes on matching from here on: ``seen_at`` becomes ``now``, or the moment of the
    rule's last pass, where that was by a clock which is ahead of this one.
    """
    return_claims(connection, messages_of(run_id), now)
    held = update(match).where(of_run(run_id), match.c.state == MatchState.HELD)
    withheld = {
        "state": MatchState.WITHHELD,
        "reason": Reason.BRAKE_REFUSED,
        "seen_at": _since(connection, run_id, now),
        "due_at": None,
        "gives_up_at": None,
    }
    count = int(connection.execute(held.values(withheld)).rowcount)
    unbegun = update(match).where(of_run(run_id), match.c.state == MatchState.OPEN, match.c.started_at.is_(None))
    connection.execute(unbegun.values(withheld))
    waiting = message.c.state.in_((*NOT_ARMED, MessageState.HELD))
    cancelled = {"state": MessageState.CANCELLED, "reason": Reason.BRAKE_REFUSED, "ended_at": now}
    connection.execute(update(message).where(messages_of(run_id), waiting).values(cancelled))
    begun = update(match).where(of_run(run_id), match.c.state == MatchState.OPEN)
    over = {"state": MatchState.STOPPED, "reason": Reason.BRAKE_REFUSED, "due_at": None, "ended_at": now}
    connection.execute(begun.values(over))
    take_back(connection, select(match.c.id).where(of_run(run_id)), now)
    _call_no_more(connection, run_id, now)
    return count


def _since(connection: Connection, run_id: int, now: datetime) -> datetime:
    of_rule = rule_pass.join(held_run, held_run.c.rule_id == rule_pass.c.rule_id)
    last = select(func.max(rule_pass.c.started_at)).select_from(of_rule)
    last = last.where(held_run.c.id == run_id, rule_pass.c.finished_at.is_not(None))
    passed: datetime | None = connection.execute(last).scalar_one()
    return max(passed, now) if passed else now


def _call_no_more(connection: Connection, run_id: int, now: datetime) -> None:
    """Cancel the run's webhooks that were not taken; one that is being called at this moment is not tried again."""
    w = webhook.c
    mine = (w.match_id.in_(select(match.c.id).where(of_run(run_id))), w.state.in_(TO_CALL))
    values = {"state": WebhookState.CANCELLED, "code": Reason.BRAKE_REFUSED.value, "ended_at": now}
    connection.execute(update(webhook).where(*mine).values(**values, lease=None, lease_until=None))


def anything_left(connection: Connection, run_id: int) -> bool:
    """Whether anything of the run can still become of an answer: nothing can where others have ended all of it."""
    going_on = and_(of_run(run_id), match.c.state.in_((MatchState.HELD, MatchState.OPEN)))
    held = and_(messages_of(run_id), message.c.state.in_((*NOT_LEFT, MessageState.HELD)))
    some = [select(match.c.id).where(going_on), select(message.c.id).where(held)]
    return any(connection.execute(asked.limit(1)).first() is not None for asked in some)


def of_stopped(match_id: ColumnElement[Any]) -> ColumnElement[bool]:
    """A condition on a row that names its match: of a run that has been stopped again, so that a person is asked."""
    stopped = select(match.c.id).join(held_run, held_run.c.id == match.c.held_run_id)
    stopped = stopped.where(held_run.c.state == HeldState.STOPPED, held_run.c.ended_at.is_(None))
    return stopped.where(match.c.id == match_id).exists()


def hold_stopped(connection: Connection, message_ids: Sequence[int]) -> int:
    """Hold back those of these messages whose run has been stopped again. Returns how many.

    The claim asks it: what a provider gave back, or a later step, must not slip out while a person is asked.
    """
    mine = (message.c.id.in_(message_ids), of_stopped(message.c.match_id), message.c.state.in_(NOT_LEFT))
    held = update(message).where(*mine).values(state=MessageState.HELD, reason=Reason.BRAKE)
    return int(connection.execute(held).rowcount)


def cancel_refused(connection: Connection, message_ids: Sequence[int], now: datetime) -> int:
    """Cancel those of these messages that were on the wire when their run was refused, and came back. Returns how many.

    What was planned after that is of another run, or of none.
    """
    ended = select(match.c.id).join(held_run, held_run.c.id == match.c.held_run_id)
    ended = ended.where(
        match.c.id == message.c.match_id, held_run.c.state.in_(REFUSED), message.c.created_at <= held_run.c.ended_at
    )
    mine = (message.c.id.in_(message_ids), message.c.state.in_(NOT_LEFT), ended.correlate(message).exists())
    values = {"state": MessageState.CANCELLED, "reason": Reason.BRAKE_REFUSED, "ended_at": now}
    return int(connection.execute(update(message).where(*mine).values(values)).rowcount)


def going_with(connection: Connection, message_ids: Sequence[int]) -> list[int]:
    """The runs that go, and that some of these messages are of."""
    mine = select(match.c.held_run_id).join(message, message.c.match_id == match.c.id)
    mine = mine.where(message.c.id.in_(message_ids), match.c.held_run_id.is_not(None))
    goes = (held_run.c.id.in_(mine), held_run.c.state.in_((HeldState.CANARY, HeldState.GOING)))
    return list(connection.execute(select(held_run.c.id).where(*goes)).scalars())


def rest(connection: Connection, message_ids: Sequence[int], run_id: int, until: datetime) -> int:
    """Let those of these messages that are of a run rest, until somebody has looked at it. Returns how many."""
    mine = (message.c.id.in_(message_ids), messages_of(run_id), message.c.state.in_(NOT_LEFT))
    return int(connection.execute(update(message).where(*mine).values(due_at=until)).rowcount)


def count_begun(connection: Connection, run_id: int) -> int:
    """How many of the run have begun: what it reached, once it is over."""
    # cancel writes the moment on what had not begun, too, so that its occasion counts as used
    by_cancel = and_(match.c.reason == Reason.CANCELLED_BY_STAFF, match.c.started_at == match.c.ended_at)
    unbegun = func.coalesce(by_cancel, false())
    return _count(connection, of_run(run_id), match.c.started_at.is_not(None), not_(unbegun))


def count_undecided(connection: Connection, run_id: int) -> int:
    """How many messages of the run are still with us or on the wire, or may yet turn out to have gone."""
    open_ = or_(
        message.c.state.in_(UNDECIDED), and_(message.c.state == MessageState.UNKNOWN, message.c.ended_at.is_(None))
    )
    counted = select(func.count()).select_from(message).where(messages_of(run_id), open_)
    return int(connection.execute(counted).scalar_one())


def count_going(connection: Connection, run_id: int) -> int:
    """How many messages of the run are about to go for the first time, are on the wire, or are held by the brake.

    One that comes back to be tried again, or that another reason holds, is not: it may wait for days, or for ever.
    """
    m = message.c
    first = or_(m.tries == 0, m.state == MessageState.IN_FLIGHT)
    mine = (messages_of(run_id), m.state.in_(UNDECIDED), m.state != MessageState.HELD, first)
    counted = select(func.count()).select_from(message)
    counted = counted.where(or_(and_(*mine), and_(messages_of(run_id), held_messages())))
    return int(connection.execute(counted).scalar_one())


@dataclass(frozen=True)
class Heard:
    """What is known of the messages of a run: how many were ``taken`` by a provider, and when the ``last`` of them was.

    ``lost`` is of how many nobody will ever know.
    """

    taken: int
    lost: int
    last: datetime | None


def heard_of(connection: Connection, run_id: int, since: datetime) -> Heard:
    """What is known of a run's messages; ``lost`` counts those given up at ``since`` or later."""
    m = message.c
    taken = or_(m.accepted_at.is_not(None), m.state.in_(TAKEN))
    lost = and_(m.state == MessageState.UNKNOWN, m.ended_at >= since)
    counts = [func.coalesce(func.sum(case((one, 1), else_=0)), 0) for one in (taken, lost)]
    latest = func.max(m.accepted_at, type_=UTCDateTime())
    row = connection.execute(select(*counts, latest).where(messages_of(run_id))).one()
    return Heard(int(row[0]), int(row[1]), row[2])
