"""How matches that have begun go on: waits that are over, calls that got through or not, steps that were refused."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Subquery,
    and_,
    delete,
    func,
    literal,
    not_,
    or_,
    select,
    update,
)

from messaging import guards
from messaging.candidates import (
    NOT_TOLD,
    TABLES,
    UNDECIDED,
    UNTOLD,
    candidate,
    fill_from_matches,
    match,
    message,
    open_for_decision,
    with_messages_in,
)
from messaging.guards.brake import held_run
from messaging.guards.case import Case, withhold
from messaging.guards.channels import PREFERENCE
from messaging.guards.times import later
from messaging.plan import (
    TRIES,
    insert_new,
    insert_tasks,
    insert_webhooks,
    moment,
    move_on,
    reference,
    take_run,
)
from messaging.steps import LAST_TRY, else_of, retry_of
from messaging.taken_back import take_back
from messaging.vouchers import RandomBytes
from models.terms import Send
from models.types import Json, UTCDateTime
from models.vocabulary import CallOutcome, HeldState, MatchState, MessageState, Reason

receipt = TABLES["receipt"]

LOOK_AGAIN = timedelta(hours=1)
"""How long a step that was withheld for now rests before it is decided anew."""

OUTCOME_LOOK = timedelta(minutes=1)
"""How long a match rests whose message is out, but of which nobody has said yet what became of it."""

PATIENCE = timedelta(days=3)
"""For how long a step without ``valid_for`` is decided anew before it is given up."""

OUTCOME_WITHIN = timedelta(hours=24)
"""After this an accepted message without any receipt counts as heard: some providers never say more."""

NOT_YET = (
    Reason.CAP,
    Reason.COMPLAINT_OPEN,
    Reason.NO_COMMON_HOUR,
    Reason.AT_MOST,
    Reason.BUDGET,
    Reason.CUSTOMER_BUDGET,
)
"""Reasons that may pass by themselves."""

NOBODY_THERE = (CallOutcome.VOICEMAIL.value, CallOutcome.NO_ANSWER.value, "machine", "no-answer", "busy")
"""Receipt codes of a call that was picked up by nobody, although it was put through."""


@dataclass
class Advanced:
    """What an advance did: new messages, tasks, vouchers and webhooks, stopped matches, and the withheld by reason."""

    planned: int = 0
    tasks: int = 0
    vouchers: int = 0
    webhooks: int = 0
    stopped: int = 0
    withheld: dict[Reason, int] = field(default_factory=dict)

    def count_withheld(self, more: Mapping[Reason, int]) -> None:
        """Add counts by reason."""
        for reason, count in more.items():
            self.withheld[reason] = self.withheld.get(reason, 0) + count


def due_now(now: datetime) -> ColumnElement[bool]:
    """Open matches with a due step that does not rest (a condition on ``match``)."""
    rested = or_(match.c.reason.is_(None), match.c.seen_at <= now - LOOK_AGAIN)
    return and_(match.c.state == MatchState.OPEN, match.c.due_at <= now, rested, not_(_stopped_again()))


def _stopped_again() -> ColumnElement[bool]:
    """A condition on ``match``: its run was stopped again, and no step of it is taken while a person is asked."""
    stopped = (held_run.c.id == match.c.held_run_id, held_run.c.state == HeldState.STOPPED)
    return select(held_run.c.id).where(*stopped, held_run.c.ended_at.is_(None)).correlate(match).exists()


def due_groups(now: datetime) -> Select[Any]:
    """The due steps: columns ``rule_id, version, next_step``."""
    m = match.c
    chosen = and_(due_now(now), not_(with_messages_in(UNDECIDED)))
    return select(m.rule_id, m.version, m.next_step).where(chosen).group_by(m.rule_id, m.version, m.next_step)


def decide_step(
    connection: Connection, case_: Case, chosen: ColumnElement[bool], secret: bytes, random: RandomBytes
) -> Advanced:
    """Decide the case's run for the matches that ``chosen`` selects, plan what may go and move them on."""
    done = Advanced()
    if not fill_from_matches(connection, chosen, now=case_.now, zone=case_.policy.zone):
        return done
    if case_.run.send is not None:
        _withhold_untold(connection, case_)
    guards.decide(connection, case_)
    done.count_withheld(guards.withheld(connection))
    planned = take_run(connection, case_, secret, random)
    tasks, webhooks = _rest_or_refuse(connection, case_)
    done.planned, done.vouchers = planned.messages, planned.vouchers
    done.tasks, done.webhooks = planned.tasks + tasks, planned.webhooks + webhooks
    return done


def _withhold_untold(connection: Connection, case_: Case) -> None:
    """Only those who were told of the fault are told of the cure: who missed what came before hears nothing more."""
    before = and_(message.c.match_id == candidate.c.match_id, not_(_at_step(case_.run.send_at or 0)))
    spoken = select(message.c.id).where(before).exists()
    told = select(message.c.id).where(before, message.c.state.not_in(NOT_TOLD)).exists()
    why = select(func.max(message.c.reason)).where(before).scalar_subquery()
    withhold(connection, func.coalesce(why, Reason.REFUSED.value), spoken, ~told)


def _rest_or_refuse(connection: Connection, case_: Case) -> tuple[int, int]:
    """Let what may pass rest for a while; write down what is refused for good, and take its tasks and webhooks.

    What has not begun yet (the brake had held it) is withheld as a pass would have withheld it, and nothing is taken.
    """
    _withhold_unbegun(connection, case_)
    soon_over = func.coalesce(candidate.c.expires_at, literal(case_.now + PATIENCE, UTCDateTime()))
    patient = and_(candidate.c.matched_at > case_.now - PATIENCE, soon_over > case_.now)
    rests = and_(candidate.c.reason.in_(NOT_YET), patient)
    resting = update(match).where(match.c.id == candidate.c.match_id, rests)
    connection.execute(resting.values(reason=candidate.c.reason, seen_at=case_.now))
    refused = and_(candidate.c.reason.is_not(None), not_(rests))
    if case_.run.send is not None:
        note_refused(connection, case_, case_.run.send, refused)
    lost = select(candidate.c.match_id).where(candidate.c.reason == Reason.OWNER_CHANGED)
    stop_matches(connection, match.c.id.in_(lost), Reason.OWNER_CHANGED, case_.now)
    refused = and_(refused, candidate.c.reason != Reason.OWNER_CHANGED)
    tasks = insert_tasks(connection, case_, refused)
    webhooks = insert_webhooks(connection, case_, refused)
    move_on(connection, case_, refused, to=case_.run.end)
    take_back(connection, select(candidate.c.match_id).where(candidate.c.reason.is_not(None)), case_.now)
    return tasks, webhooks


def _withhold_unbegun(connection: Connection, case_: Case) -> None:
    """Give matches that were let go and have not begun back to the passes, with their reason."""
    unbegun = and_(match.c.state == MatchState.OPEN, match.c.started_at.is_(None))
    back = update(match).where(match.c.id == candidate.c.match_id, unbegun, candidate.c.reason.is_not(None))
    given = {"state": MatchState.WITHHELD, "reason": candidate.c.reason, "seen_at": case_.now, "due_at": None}
    connection.execute(back.values(given | {"gives_up_at": None}))
    gone = select(match.c.id).where(match.c.id == candidate.c.match_id, match.c.state == MatchState.WITHHELD)
    connection.execute(delete(candidate).where(candidate.c.reason.is_not(None), gone.correlate(candidate).exists()))


def note_refused(connection: Connection, case_: Case, send: Send, refused: ColumnElement[bool]) -> None:
    """A message row that says why nothing was said: every not-sent keeps its reason in the outbox."""
    c, terms, run = candidate.c, case_.terms, case_.run
    ordinal = TRIES * (run.send_at or 0) + run.ordinal
    values: dict[str, ColumnElement[Any]] = {
        "match_id": c.match_id,
        "rule_id": literal(terms.rule_id),
        "version": literal(terms.version),
        "occasion": c.occasion,
        "step": literal(run.label),
        "customer_id": c.customer_id,
        "purpose": literal(terms.purpose.value),
        "priority": literal(terms.priority),
        "channel": literal((send.by or PREFERENCE)[0].value),
        "address": literal(""),
        "template": literal(send.template),
        "language": c.language,
        "details": literal({}, Json),
        "state": literal(MessageState.SUPPRESSED.value),
        "reason": c.reason,
        "created_at": moment(case_.now),
        "due_at": moment(case_.now),
        "ended_at": moment(case_.now),
        "tries": literal(0),
        "reference": reference(c.match_id, literal(ordinal)),
    }
    insert_new(connection, message, values, select(c.id).where(refused, c.customer_id.is_not(None)))


def due_at_step(rule_id: str, version: str, step: int, now: datetime) -> ColumnElement[bool]:
    """Matches of one rule version whose step ``step`` is due, and about which nothing is on its way."""
    m = match.c
    here = and_(m.rule_id == rule_id, m.version == version, m.next_step == step)
    return and_(here, due_now(now), not_(with_messages_in(UNDECIDED)))


def stop_matches(connection: Connection, chosen: ColumnElement[bool], reason: Reason, now: datetime) -> int:
    """End matches that have begun, for good. Returns how many.

    One that was let go and has not begun goes back to the passes, as all goes that its run still holds: nothing was
    said about its occasion.
    """
    going = and_(match.c.state == MatchState.OPEN, chosen)
    ended = {"state": MatchState.STOPPED, "reason": reason, "due_at": None, "ended_at": now}
    begun = update(match).where(going, match.c.started_at.is_not(None))
    count = int(connection.execute(begun.values(ended)).rowcount)
    given = {"state": MatchState.WITHHELD, "reason": Reason.BRAKE_REFUSED, "seen_at": now, "due_at": None}
    unbegun = update(match).where(going, match.c.started_at.is_(None))
    connection.execute(unbegun.values(given | {"gives_up_at": None}))
    return count


def rest_matches(connection: Connection, chosen: ColumnElement[bool], until: datetime) -> None:
    """Look at these matches again at ``until``."""
    connection.execute(update(match).where(chosen).values(due_at=until))


def pass_by(connection: Connection, case_: Case, chosen: ColumnElement[bool], place: int) -> int:
    """Move matches to step ``place`` where nothing is to be done on the way (a wait follows, or the end)."""
    count = fill_from_matches(connection, chosen, now=case_.now, zone=case_.policy.zone)
    if count:
        connection.execute(update(candidate).values(due_at=candidate.c.matched_at))
        move_on(connection, case_, open_for_decision(), to=place)
        take_back(connection, select(candidate.c.match_id), case_.now)
    return count


def _at_step(place: int) -> ColumnElement[bool]:
    return or_(message.c.step == str(place), message.c.step.like(f"{place}.%"))


def _latest(place: int, chosen: ColumnElement[bool]) -> Subquery:
    """The newest message of each chosen match at a step, and how many tries there were."""
    partition = {"partition_by": message.c.match_id}
    turn = func.row_number().over(**partition, order_by=message.c.id.desc())
    tries = func.count().over(**partition)
    nobody = select(receipt.c.id).where(receipt.c.message_id == message.c.id, receipt.c.code.in_(NOBODY_THERE)).exists()
    columns = (message.c.match_id, message.c.state, message.c.step, message.c.accepted_at, message.c.ended_at)
    rows = (
        select(*columns, nobody.label("nobody"), turn.label("turn"), tries.label("tries"))
        .join(match, match.c.id == message.c.match_id)
        .where(chosen, _at_step(place))
        .subquery()
    )
    return select(rows).where(rows.c.turn == 1).subquery()


@dataclass(frozen=True)
class Outcomes:
    """Conditions on ``match`` for a send that waits for its outcome; each match meets at most one of them."""

    unsent: ColumnElement[bool]
    pending: ColumnElement[bool]
    again: ColumnElement[bool]
    missed: ColumnElement[bool]
    through: ColumnElement[bool]


def outcomes(send: Send, place: int, chosen: ColumnElement[bool], now: datetime) -> Outcomes:
    """Sort the chosen matches by what became of their message at step ``place``.

    While nobody knows whether it went, it is pending; one that was given up so counts as got through: we never ring
    again where we may have rung.
    """
    last = _latest(place, chosen)
    silent = last.c.state.in_([MessageState.ACCEPTED, MessageState.SENT])
    pending = and_(silent, not_(last.c.nobody), func.coalesce(last.c.accepted_at, moment(now)) > now - OUTCOME_WITHIN)
    pending = or_(pending, and_(last.c.state == MessageState.UNKNOWN, last.c.ended_at.is_(None)))
    not_answered = or_(last.c.state == MessageState.UNDELIVERED, and_(last.c.nobody, last.c.state.not_in(NOT_TOLD)))
    refused = last.c.state.in_(UNTOLD)
    again = and_(not_answered, last.c.tries < min(send.tries, LAST_TRY))
    missed = or_(refused, and_(not_answered, last.c.tries >= min(send.tries, LAST_TRY)))

    def having(condition: ColumnElement[bool]) -> ColumnElement[bool]:
        return and_(chosen, match.c.id.in_(select(last.c.match_id).where(condition)))

    unsent = and_(chosen, match.c.id.not_in(select(last.c.match_id)))
    through = not_(or_(pending, again, missed))
    return Outcomes(unsent, having(pending), having(again), having(missed), having(through))


def rest_before_retry(connection: Connection, send: Send, place: int, chosen: ColumnElement[bool], case_: Case) -> None:
    """Put off matches whose last try failed until ``every`` has passed since; what is left in ``chosen`` may go now."""
    if send.every is None:
        return
    last = _latest(place, chosen)
    failed = func.coalesce(last.c.ended_at, last.c.accepted_at, moment(case_.now), type_=UTCDateTime())
    again_at = later(failed, send.every, case_.now)
    resting = update(match).where(match.c.id == last.c.match_id, match.c.due_at < again_at)
    connection.execute(resting.values(due_at=again_at))


def settle(
    connection: Connection, case_: Case, chosen: ColumnElement[bool], secret: bytes, random: RandomBytes
) -> list[Advanced]:
    """Go on with a send at ``case_.run.send_at`` that waits for its outcome: try again, take its ``else``, or pass."""
    run, now = case_.run, case_.now
    send, place = run.send, run.send_at or 0
    if send is None:
        return []
    rest_matches(connection, outcomes(send, place, chosen, now).pending, now + OUTCOME_LOOK)
    rest_before_retry(connection, send, place, outcomes(send, place, chosen, now).again, case_)
    done = [decide_step(connection, case_, outcomes(send, place, chosen, now).unsent, secret, random)]
    pass_by(connection, case_, outcomes(send, place, chosen, now).through, place + 1)
    missed = outcomes(send, place, chosen, now).missed
    if send.otherwise:
        other = replace(case_, run=else_of(send.otherwise, place))
        done.append(decide_step(connection, other, missed, secret, random))
    else:
        pass_by(connection, case_, missed, place + 1)
    return done + _retry(connection, case_, send, place, chosen, secret, random)


def _retry(
    connection: Connection,
    case_: Case,
    send: Send,
    place: int,
    chosen: ColumnElement[bool],
    secret: bytes,
    random: RandomBytes,
) -> list[Advanced]:
    """Each number of tries so far is a step of its own, so that each try is planned once."""
    done = []
    for attempt in range(2, min(send.tries, LAST_TRY) + 1):
        again = outcomes(send, place, chosen, case_.now).again
        last = _latest(place, chosen)
        so_many = match.c.id.in_(select(last.c.match_id).where(last.c.tries == attempt - 1))
        case_again = replace(case_, run=retry_of(send, place, attempt))
        done.append(decide_step(connection, case_again, and_(again, so_many), secret, random))
    return done
