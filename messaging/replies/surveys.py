"""A number sent back to a survey is its answer."""

import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, String, cast, literal, select, update

from messaging.candidates import TABLES, message
from models.changes import touch
from models.vocabulary import Channel

survey = TABLES["survey"]

ANSWERED_WITHIN = timedelta(days=14)
"""For how long a number from a customer is taken for the answer to the last survey."""

HIGHEST = 10
ANSWER = re.compile(
    r"\W*(?P<score>\d{1,2})(?:\s*(?:(?:/|out of|of|من)\s*(?:5|10)|stars?|星|分|نجوم))?"
    r"(?=[\s.,;:!\-–—]|$)(?![.,:]\d)(?!\s+of\b)[\s.,;:!\-–—]*(?P<comment>.*)",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True)
class Score:
    """An answer: a number from 0 to 10, and what was said with it (empty: nothing)."""

    score: int
    comment: str = ""


def read_answer(text: str) -> Score | None:
    """A reply that begins with a number, in the digits of any script: ``5``, ``4/5 quick and kind``, ``٥``, ``五``."""
    plain = "".join(_digit(sign) for sign in unicodedata.normalize("NFKC", text).strip())
    found = ANSWER.fullmatch(plain)
    if not found or int(found["score"]) > HIGHEST:
        return None
    return Score(int(found["score"]), found["comment"].strip())


def _digit(sign: str) -> str:
    if sign.isascii():
        return sign
    value = unicodedata.numeric(sign, -1.0)
    return str(int(value)) if 0 <= value <= HIGHEST and value == int(value) else "" if _is_mark(sign) else sign


def _is_mark(sign: str) -> bool:
    return unicodedata.category(sign) in ("Cf", "Me", "Mn")


def take_answer(connection: Connection, customers: Collection[int], channel: Channel, text: str, now: datetime) -> bool:
    """Write a number into the newest survey that went to these customers by this channel and waits for its answer."""
    said = read_answer(text)
    if said is None or not customers:
        return False
    m, s = message.c, survey.c
    name = literal("survey/") + cast(m.match_id, String) + literal("/") + m.step
    asked = (
        select(s.id)
        .join(message, s.external_id == name)
        .where(
            m.customer_id.in_(customers),
            m.channel == channel,
            m.accepted_at > now - ANSWERED_WITHIN,
            s.answered_at.is_(None),
        )
        .order_by(m.accepted_at.desc(), m.id.desc())
        .limit(1)
    )
    key = connection.execute(asked).scalar_one_or_none()
    if key is None:
        return False
    answered = {"score": said.score, "comment": said.comment or None, "answered_at": now, "changed_at": now}
    written = update(survey).where(s.id == key, s.answered_at.is_(None)).values(answered)
    if not connection.execute(written).rowcount:
        return False
    touch(connection, ("survey.answered", "survey.updated"), now)
    return True
