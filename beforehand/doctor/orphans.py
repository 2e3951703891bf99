"""Rows that nothing will move any more, counted in one statement each."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, and_, exists, func, or_, select

from beforehand.doctor.check import Check, look, ok, wrong
from models.commerce import Voucher
from models.delivery import Attempt, Match, Message, RulePass
from models.staff import HeldRun
from models.vocabulary import AttemptState, MatchState, MessageState, WebhookState
from models.webhook import Webhook

ATTEMPT: Any = Attempt.__table__  # type: ignore[attr-defined]
HELD_RUN: Any = HeldRun.__table__  # type: ignore[attr-defined]
MATCH: Any = Match.__table__  # type: ignore[attr-defined]
MESSAGE: Any = Message.__table__  # type: ignore[attr-defined]
RULE_PASS: Any = RulePass.__table__  # type: ignore[attr-defined]
VOUCHER: Any = Voucher.__table__  # type: ignore[attr-defined]
WEBHOOK: Any = Webhook.__table__  # type: ignore[attr-defined]

LATE = timedelta(minutes=10)
"""What a running house has not put right after so long it will not."""
LONG_PASS = timedelta(hours=1)

Found = tuple[str, FromClause, ColumnElement[bool], str]

REAP = (
    "start a process with the part heartbeat: its reaper puts them right every 10 s; what may have gone is not resent"
)
REPORT = "nothing sends them; keep a copy of the database and report it"


def orphan_checks(connection: Connection, now: datetime) -> Iterator[Check]:
    """One line for each kind of orphan that there is, or one that there is none."""
    clean = True
    for what, table, where, do in (*_left_by_the_dead(now), *_broken_off(now)):
        count = connection.execute(select(func.count()).select_from(table).where(where)).scalar_one()
        if count:
            clean = False
            verdict = wrong if do == REPORT else look
            yield verdict("rows", f"{count:,} {what}", do)
    if clean:
        yield ok("rows", "no orphans")


def _left_by_the_dead(now: datetime) -> Iterator[Found]:
    a, m, w, p = ATTEMPT.c, MESSAGE.c, WEBHOOK.c, RULE_PASS.c
    open_attempt = a.state.in_((AttemptState.CLAIMED, AttemptState.IN_FLIGHT))
    yield "attempts are open, and their process is gone", ATTEMPT, and_(open_attempt, a.lease_until < now - LATE), REAP
    with_one = exists().where(a.message_id == m.id, open_attempt)
    on_the_way = m.state.in_((MessageState.CLAIMED, MessageState.IN_FLIGHT))
    yield "messages are on their way without an attempt", MESSAGE, and_(on_the_way, ~with_one), REPORT
    calling = and_(w.state == WebhookState.CALLING, w.lease_until < now - LATE)
    yield "webhooks are being called by a process that is gone", WEBHOOK, calling, "start a process with a dispatcher"
    unfinished = and_(p.finished_at.is_(None), p.started_at < now - LONG_PASS)
    yield "passes were begun and never ended", RULE_PASS, unfinished, "nothing of them was written; the next slot tries"


def _broken_off(now: datetime) -> Iterator[Found]:
    m, h, x, v = MESSAGE.c, HELD_RUN.c, MATCH.c, VOUCHER.c
    yield "messages have no match", MESSAGE, ~exists().where(x.id == m.match_id), REPORT
    empty = and_(h.ended_at.is_(None), ~exists().where(x.held_run_id == h.id))
    yield "held runs have no matches any more", HELD_RUN, empty, "refuse them: `beforehand approve ID --refuse`"
    held_by = exists().where(h.id == x.held_run_id, h.ended_at.is_(None))
    yield "matches are held by a run that has ended", MATCH, and_(x.state == MatchState.HELD, ~held_by), REPORT
    reserved = and_(v.match_id.is_not(None), v.confirmed_at.is_(None), v.voided_at.is_(None))
    waits = exists().where(x.id == v.match_id, x.state.in_((MatchState.OPEN, MatchState.HELD)))
    told = exists().where(m.match_id == v.match_id)
    old = or_(v.issued_at.is_(None), v.issued_at < now - LATE)
    what = "vouchers are reserved that no message tells of"
    yield what, VOUCHER, and_(reserved, old, ~waits, ~told), "their worth counts on the budget: have them taken back"
