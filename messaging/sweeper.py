"""The sweeper: messages that waited until they were of no use end as expired, whether or not anybody claims them."""

from datetime import datetime

from sqlalchemy import ColumnElement, Engine, and_, select, update

from messaging.claims import message
from messaging.taken_back import take_back
from models.database import reading, writing
from models.vocabulary import MessageState, Reason

WAITING = (MessageState.PLANNED, MessageState.HELD, MessageState.QUEUED)
"""States of a message that is certainly with nobody but us."""

MOST = 5000


def sweep(engine: Engine, now: datetime, *, most: int = MOST) -> int:
    """End up to ``most`` waiting messages whose send-by is over, with their vouchers. Returns how many.

    A held message, or one behind a kill switch, is never claimed and so would wait for ever. Opens no write transaction
    where there is nothing to do.
    """
    with reading(engine) as connection:
        if connection.execute(select(message.c.id).where(_over(now)).limit(1)).first() is None:
            return 0
    with writing(engine) as connection:
        oldest = select(message.c.id).where(_over(now)).order_by(message.c.expires_at).limit(most)
        ended = update(message).where(message.c.id.in_(oldest.with_for_update(skip_locked=True)))
        values = {"state": MessageState.EXPIRED, "reason": Reason.TOO_LATE, "ended_at": now}
        matches = connection.execute(ended.values(values).returning(message.c.match_id)).scalars().all()
        take_back(connection, matches, now)
    return len(matches)


def _over(now: datetime) -> ColumnElement[bool]:
    # spelled as the index has it, so that PostgreSQL sees that it fits
    return and_(message.c.state.in_(WAITING), message.c.expires_at <= now)
