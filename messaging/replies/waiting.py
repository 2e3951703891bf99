"""What waits for an address when its owner says something: put aside, held until somebody has read, or let go again.

Claimed messages are not touched here: the arming looks again, and gives them back to the queue and to their reason.
"""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select, update

from messaging.candidates import customer, message
from messaging.taken_back import take_back
from models.vocabulary import Channel, MessageState, Reason

WAITING = (MessageState.PLANNED, MessageState.QUEUED, MessageState.HELD)


def customers_at(connection: Connection, channel: Channel, address: str) -> list[int]:
    """Everybody who has this address (in normal form) by now: a family may share one."""
    if not address:
        return []
    column = customer.c.email if channel is Channel.EMAIL else customer.c.phone
    # the second way for mail that a source wrote in capitals; phones are E.164 everywhere
    same = or_(column == address, func.lower(column) == address) if channel is Channel.EMAIL else column == address
    return list(connection.execute(select(customer.c.id).where(same).order_by(customer.c.id)).scalars())


def put_aside(connection: Connection, customers: Collection[int], channel: Channel, now: datetime) -> int:
    """End what waits for these customers on a channel. Returns how many messages that were."""
    ended = (
        update(message)
        .where(message.c.customer_id.in_(customers), message.c.channel == channel, message.c.state.in_(WAITING))
        .values(state=MessageState.SUPPRESSED, reason=Reason.SUPPRESSED, ended_at=now)
        .returning(message.c.match_id)
    )
    matches = list(connection.execute(ended).scalars())
    take_back(connection, matches, now)
    return len(matches)


def hold(connection: Connection, customers: Collection[int], channels: Collection[Channel]) -> int:
    """Hold what waits for these customers until a reply has been read. Returns how many messages that were."""
    held = (
        update(message)
        .where(
            message.c.customer_id.in_(customers),
            message.c.channel.in_(list(channels)),
            message.c.state.in_([MessageState.PLANNED, MessageState.QUEUED]),
        )
        .values(state=MessageState.HELD, reason=Reason.MAYBE_STOP)
    )
    return int(connection.execute(held).rowcount)


def let_go(connection: Connection, customers: Collection[int]) -> int:
    """Put what an unread reply held back in the queue. Returns how many messages that were."""
    free = (
        update(message)
        .where(message.c.customer_id.in_(customers), _held())
        .values(state=MessageState.QUEUED, reason=None)
    )
    return int(connection.execute(free).rowcount)


def let_everybody_go(connection: Connection) -> int:
    """Put all that unread replies held back in the queue: those who wrote may have another address by now."""
    return int(
        connection.execute(update(message).where(_held()).values(state=MessageState.QUEUED, reason=None)).rowcount
    )


def _held() -> ColumnElement[bool]:
    return and_(message.c.state == MessageState.HELD, message.c.reason == Reason.MAYBE_STOP)
