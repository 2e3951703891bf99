"""Vouchers are reserved when they are planned. Those that a message told of are confirmed; those that nobody was told
of are taken back: they are good no more, and their budget is free again.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, String, and_, cast, literal, not_, or_, select, update

from messaging.candidates import NOT_TOLD, TABLES, UNTOLD, match, message
from messaging.sent import maybe_told
from models.vocabulary import MatchState, MessageState

voucher = TABLES["voucher"]

MOST = 500

LATE = timedelta(days=3)
"""For how long after a voucher was taken back a late answer may bring it back: as long as callbacks are kept."""

SHOWN = (MessageState.ACCEPTED, MessageState.SENT, MessageState.DELIVERED)
"""States of a message that a provider took: the customer may know the code."""


def take_back(connection: Connection, matches: Sequence[int] | Select[Any], now: datetime) -> int:
    """End the vouchers of ``matches`` (ids, or a select of them) that no message showed or may still show.

    Redeemed ones stay. Returns how many were taken back.
    """
    if isinstance(matches, Select):
        return _take_back(connection, voucher.c.match_id.in_(matches), now)
    some = [matches[start : start + MOST] for start in range(0, len(matches), MOST)]
    return sum(_take_back(connection, voucher.c.match_id.in_(ids), now) for ids in some)


def _take_back(connection: Connection, chosen: ColumnElement[bool], now: datetime) -> int:
    good = and_(voucher.c.redeemed_at.is_(None), voucher.c.voided_at.is_(None))
    ended = update(voucher).where(chosen, good, _untold(), _says_no_more())
    until = {"promised_until": voucher.c.valid_until, "valid_until": now}
    return int(connection.execute(ended.values(voided_at=now, **until)).rowcount)


def _message(*where: ColumnElement[bool]) -> ColumnElement[bool]:
    return (
        select(message.c.id).where(message.c.match_id == voucher.c.match_id, *where).correlate(voucher, match).exists()
    )


def _untold() -> ColumnElement[bool]:
    """There were messages that would have shown it, and each of them ended untold, and no try of them may be known."""
    since = message.c.created_at >= voucher.c.issued_at
    return and_(_message(since), not_(_message(since, or_(message.c.state.not_in(UNTOLD), maybe_told()))))


def _says_no_more() -> ColumnElement[bool]:
    """The match is over; or it has left that step, and nobody is told of a later one who was told of none before."""
    place = cast(match.c.next_step, String)
    waits_there = _message(or_(message.c.step == place, message.c.step.like(place + literal(".%"))))
    told = _message(or_(message.c.state.not_in(NOT_TOLD), maybe_told()))
    silent = or_(match.c.state != MatchState.OPEN, and_(not_(waits_there), not_(told)))
    return select(match.c.id).where(match.c.id == voucher.c.match_id, silent).correlate(voucher).exists()


def confirm(connection: Connection, now: datetime) -> int:
    """Confirm the vouchers that were only reserved, and whose message a provider has taken since. Returns how many.

    One that was taken back meanwhile is good again: the provider's answer came late, and the customer has the code.
    """
    v = voucher.c
    shown = _message(message.c.created_at >= v.issued_at, message.c.state.in_(SHOWN))
    reserved = and_(v.confirmed_at.is_(None), v.voided_at.is_(None), v.match_id.is_not(None))
    confirmed = connection.execute(update(voucher).where(reserved, shown).values(confirmed_at=now)).rowcount
    ended = and_(v.voided_at > now - LATE, v.promised_until.is_not(None), v.redeemed_at.is_(None))
    anew = {"confirmed_at": now, "voided_at": None, "valid_until": v.promised_until, "promised_until": None}
    return int(confirmed + connection.execute(update(voucher).where(ended, shown).values(anew)).rowcount)
