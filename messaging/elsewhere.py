"""The rule's other channel: a message whose address was bad is said by the next channel that may and can reach them.

It is planned by the machinery of every other step (candidates, gates, plan) as a message of its own, ``1.other2``, so
that it is planned once. It keeps the first one's send-by. Nothing is planned where the match has spoken since.
"""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, func, or_, select, update

from messaging import guards
from messaging.candidates import candidate, fill_from_matches, match, message
from messaging.guards.case import Case
from messaging.plan import take_other
from messaging.progress import Advanced, note_refused
from messaging.steps import CHANNELS
from messaging.taken_back import take_back
from models.vocabulary import MatchState, MessageState, Reason

LOOKS_BACK = timedelta(days=3)
"""A message that ended longer ago is left as it is."""


def pending(now: datetime) -> ColumnElement[bool]:
    """Messages whose address was bad, and of whose match nothing was said or planned since."""
    m, newer, own = message.c, message.alias("newer"), match.alias("own_match")
    said_since = exists().where(newer.c.match_id == m.match_id, newer.c.id > m.id).correlate(message)
    stopped = exists().where(own.c.id == m.match_id, own.c.state == MatchState.STOPPED).correlate(message)
    return and_(
        m.reason == Reason.BAD_ADDRESS.value,
        m.state.in_([MessageState.FAILED, MessageState.UNDELIVERED]),
        m.ended_at > now - LOOKS_BACK,
        or_(m.expires_at.is_(None), m.expires_at > now),
        m.step.not_like(f"%.other{CHANNELS}"),
        ~stopped,
        ~said_since,
    )


def groups(now: datetime) -> Select[Any]:
    """Where another channel is to be found: columns ``rule_id, version, step``."""
    m = message.c
    found = select(m.rule_id, m.version, m.step).where(pending(now))
    return found.distinct().order_by(m.rule_id, m.version, m.step)


def plan_elsewhere(connection: Connection, case_: Case, step: str, secret: bytes) -> Advanced:
    """Decide the case's run, which is ``steps.other_of`` for the messages at ``step``, and plan what may go.

    Whoever cannot be reached otherwise keeps a row that says why; matches stay where they are.
    """
    done, send = Advanced(), case_.run.send
    mine = and_(message.c.rule_id == case_.terms.rule_id, message.c.version == case_.terms.version)
    chosen = match.c.id.in_(select(message.c.match_id).where(mine, message.c.step == step, pending(case_.now)))
    if send is None or not fill_from_matches(connection, chosen, now=case_.now, zone=case_.policy.zone):
        return done
    before = (message.c.match_id == candidate.c.match_id) & (message.c.step == step)
    connection.execute(update(candidate).values(matched_at=_of(before, message.c.created_at)))
    guards.decide(connection, case_)
    ends = func.coalesce(_of(before, message.c.expires_at), candidate.c.expires_at, type_=candidate.c.expires_at.type)
    connection.execute(update(candidate).values(expires_at=ends))
    done.count_withheld(guards.withheld(connection))
    done.planned = take_other(connection, case_, secret, _of(before, message.c.details))
    note_refused(connection, case_, send, candidate.c.reason.is_not(None))
    take_back(connection, select(candidate.c.match_id).where(candidate.c.reason.is_not(None)), case_.now)
    return done


def give_up(connection: Connection, now: datetime) -> int:
    """Take back the vouchers of messages that met a bad address and that no other channel will say. Returns how many.

    That is so where it is too late by now, or the match or its rule has ended.
    """
    lately = message.c.ended_at > now - LOOKS_BACK - timedelta(days=1)
    met = select(message.c.match_id).where(message.c.reason == Reason.BAD_ADDRESS.value, lately, ~pending(now))
    return take_back(connection, met, now)


def _of(before: ColumnElement[bool], column: ColumnElement[Any]) -> ColumnElement[Any]:
    """What the message before has in a column."""
    return select(column).where(before).correlate(candidate).scalar_subquery()
