"""Redeeming a voucher: one conditional UPDATE decides, whoever asks at the same time; wrong codes are counted.

A code has 100 random bits, so that nobody guesses one; the limit on guesses keeps somebody who tries from being heard.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, case, func, literal, or_, select, update

from messaging.vouchers import NotACode, code_hash
from models.commerce import Voucher
from models.database import dialect_insert
from models.housekeeping import Guesses
from models.terms import Money
from models.types import UTCDateTime

voucher = Voucher.__table__  # type: ignore[attr-defined]
guesses = Guesses.__table__  # type: ignore[attr-defined]

MOST_WRONG = 10
WRONG_WITHIN = timedelta(minutes=15)
"""So many wrong codes within this time, and whoever tried them waits until it is over."""


class Refusal(StrEnum):
    """Why a voucher was not redeemed. Shown to people through :data:`REFUSAL_TEXT`."""

    NOT_A_CODE = "not_a_code"
    NOT_KNOWN = "not_known"
    REDEEMED_BEFORE = "redeemed_before"
    TAKEN_BACK = "taken_back"
    TOO_LATE = "too_late"
    TOO_MANY_GUESSES = "too_many_guesses"


REFUSAL_TEXT: dict[Refusal, str] = {
    Refusal.NOT_A_CODE: "this is not the code of a voucher",
    Refusal.NOT_KNOWN: "no voucher has this code",
    Refusal.REDEEMED_BEFORE: "this voucher has been redeemed already",
    Refusal.TAKEN_BACK: "this voucher was taken back, because nobody had been told of it",
    Refusal.TOO_LATE: "this voucher is no longer valid",
    Refusal.TOO_MANY_GUESSES: "too many wrong codes; wait a while",
}

WRONG = (Refusal.NOT_A_CODE, Refusal.NOT_KNOWN)
"""What counts as a guess. Somebody who has a real code is not guessing."""


@dataclass(frozen=True)
class Answer:
    """What became of a code. ``refusal`` None: it is redeemed, or for a mere look: it is good.

    ``again``: this very till had redeemed it under the same receipt before (it asked twice), and gets the same answer.
    ``redeemed_at`` is also told of one that was redeemed before; ``wait_until`` where too many codes were wrong.
    """

    refusal: Refusal | None = None
    worth: Money | None = None
    rule_id: str | None = None
    valid_until: datetime | None = None
    redeemed_at: datetime | None = None
    again: bool = False
    wait_until: datetime | None = None

    def as_json(self) -> dict[str, Any]:
        """As JSON values; the amount in minor units."""
        return {
            "redeemed": self.refusal is None and self.redeemed_at is not None,
            "reason": self.refusal.value if self.refusal else None,
            "said": REFUSAL_TEXT[self.refusal] if self.refusal else None,
            "worth": {"minor": self.worth.minor, "currency": self.worth.currency} if self.worth else None,
            "rule": self.rule_id,
            "valid_until": _iso(self.valid_until),
            "redeemed_at": _iso(self.redeemed_at),
            "again": self.again,
            "wait_until": _iso(self.wait_until),
        }


def redeem(connection: Connection, code: str, *, by: str, receipt: str = "", now: datetime) -> Answer:
    """Redeem the voucher that has this code, once. ``by`` is the till, ``receipt`` its own number for the purchase.

    Must run in a write transaction that is committed before anybody is told. Of any number of tills that ask at once
    one gets it. The same till with the same receipt gets the same answer again, so that it may repeat a lost request.
    """
    waits = _must_wait(connection, by, now)
    if waits:
        return Answer(Refusal.TOO_MANY_GUESSES, wait_until=waits)
    try:
        hashed = code_hash(code)
    except NotACode:
        return _guessed(connection, Refusal.NOT_A_CODE, by, now)
    taker = f"{by}/{receipt}"[:100] if receipt else by[:100]
    v = voucher.c
    good = (v.code_hash == hashed, v.redeemed_at.is_(None), v.voided_at.is_(None))
    in_time = or_(v.valid_until.is_(None), v.valid_until > now)
    told = func.coalesce(v.confirmed_at, literal(now, UTCDateTime()))  # whoever shows it has been told of it
    change = update(voucher).where(*good, in_time)
    change = change.values(redeemed_at=now, redeemed_by=taker, changed_at=now, confirmed_at=told)
    row = connection.execute(change.returning(voucher)).first()
    if row:
        return _answer(row)
    return _why_not(connection, hashed, taker if receipt else "", by, now)


def look(connection: Connection, code: str, *, by: str, now: datetime) -> Answer:
    """What a code is worth, without redeeming it. Wrong ones count as guesses; must run in a write transaction."""
    waits = _must_wait(connection, by, now)
    if waits:
        return Answer(Refusal.TOO_MANY_GUESSES, wait_until=waits)
    try:
        hashed = code_hash(code)
    except NotACode:
        return _guessed(connection, Refusal.NOT_A_CODE, by, now)
    row = connection.execute(select(voucher).where(voucher.c.code_hash == hashed)).first()
    if row and row.redeemed_at is None and row.voided_at is None and (row.valid_until is None or row.valid_until > now):
        return _answer(row)
    return _why_not(connection, hashed, "", by, now)


def _why_not(connection: Connection, hashed: str, taker: str, by: str, now: datetime) -> Answer:
    row = connection.execute(select(voucher).where(voucher.c.code_hash == hashed)).first()
    if row is None:
        return _guessed(connection, Refusal.NOT_KNOWN, by, now)
    if row.redeemed_at is not None:
        again = bool(taker) and row.redeemed_by == taker
        return _answer(row, None if again else Refusal.REDEEMED_BEFORE, again=again)
    return _answer(row, Refusal.TAKEN_BACK if row.voided_at is not None else Refusal.TOO_LATE)


def _answer(row: Row[Any], refusal: Refusal | None = None, *, again: bool = False) -> Answer:
    worth = Money(row.worth, row.currency)
    return Answer(refusal, worth, row.rule_id, row.valid_until, row.redeemed_at, again)


def _must_wait(connection: Connection, by: str, now: datetime) -> datetime | None:
    row = connection.execute(select(guesses.c.wrong, guesses.c.since).where(guesses.c.who == by[:100])).first()
    if row is None or row.wrong < MOST_WRONG or row.since <= now - WRONG_WITHIN:
        return None
    return row.since + WRONG_WITHIN  # type: ignore[no-any-return]


def _guessed(connection: Connection, refusal: Refusal, by: str, now: datetime) -> Answer:
    over = guesses.c.since <= now - WRONG_WITHIN
    counted = dialect_insert(connection, guesses).values(who=by[:100], wrong=1, since=now)
    more = {
        "wrong": case((over, 1), else_=guesses.c.wrong + 1),
        "since": case((over, literal(now, UTCDateTime())), else_=guesses.c.since),
    }
    connection.execute(counted.on_conflict_do_update(index_elements=["who"], set_=more))
    return Answer(refusal)


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
