"""The replies that somebody has to read: what they may mean, what waits for them, and what staff decide."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, or_, select, update

from messaging.candidates import TABLES, customer, message
from messaging.consents import NEVER_CALL_CAUSE, silence
from messaging.replies import hearing
from messaging.replies.understanding import Said
from messaging.replies.waiting import customers_at, let_go
from models.vocabulary import Channel, MessageState, Reason

reply = TABLES["reply"]


class UnknownReply(LookupError):
    """No open reply has that number."""


@dataclass(frozen=True)
class OpenReply:
    """A reply that may mean STOP. ``customer`` is the outside id, None where nobody is known behind the address.

    ``answers`` is the template of the message that it answers; ``held`` is how many messages wait for it.
    """

    id: int
    channel: str
    received_at: datetime
    text: str
    customer: str | None
    name: str | None
    answers: str | None
    held: int


def open_replies(connection: Connection) -> list[OpenReply]:
    """The replies that nobody has read yet, oldest first."""
    rows = connection.execute(_unread().order_by(reply.c.received_at, reply.c.id)).all()
    held = _held(connection, [row.customer_id for row in rows if row.customer_id is not None])
    return [_open(row, held) for row in rows]


def _unread() -> Any:
    r, c, m = reply.c, customer.c, message.c
    joined = reply.outerjoin(customer, c.id == r.customer_id).outerjoin(message, m.id == r.message_id)
    columns = (r.id, r.channel, r.received_at, r.text, r.customer_id, r.address_hash)
    shown = select(*columns, c.external_id, c.first_name, c.last_name, c.phone, c.email, m.template)
    return shown.select_from(joined).where(r.said == Said.MAYBE_STOP, r.handled_at.is_(None))


def _held(connection: Connection, customers: Collection[int]) -> dict[int, int]:
    """How many messages wait, by customer; those of others who share the address count with them."""
    m = message.c
    other = customer.alias("other")
    same = or_(other.c.id == customer.c.id, other.c.phone == customer.c.phone)
    counted = (
        select(customer.c.id, func.count(m.id))
        .join(other, same)
        .join(message, m.customer_id == other.c.id)
        .where(customer.c.id.in_(customers), m.state == MessageState.HELD, m.reason == Reason.MAYBE_STOP)
        .group_by(customer.c.id)
    )
    return dict(connection.execute(counted).tuples().all())


def _open(row: Row[Any], held: dict[int, int]) -> OpenReply:
    name = " ".join(part for part in (row.first_name, row.last_name) if part)
    return OpenReply(
        id=row.id,
        channel=row.channel,
        received_at=row.received_at,
        text=row.text or "",
        customer=row.external_id,
        name=name or None,
        answers=row.template,
        held=held.get(row.customer_id, 0),
    )


def stop(connection: Connection, number: int, now: datetime, *, by: str, calls: bool = False) -> OpenReply:
    """Take an open reply for STOP; with ``calls`` no call goes there any more either. Raises UnknownReply.

    Must run in a write transaction, as its first statement.
    """
    silence(connection)
    row = _row(connection, number)
    sender = _sender(connection, row)
    channel, source = Channel(row.channel), f"staff: {by}"
    hearing.stop(connection, channel, sender, now, source=source)
    if calls:
        hearing.stop(connection, Channel.VOICE, sender, now, source=source, cause=NEVER_CALL_CAUSE)
    return _open(row, {})


def release(connection: Connection, number: int, now: datetime, *, by: str) -> OpenReply:
    """An open reply was no STOP: what it held goes on. Raises UnknownReply."""
    row = _row(connection, number)
    connection.execute(update(reply).where(reply.c.id == number).values(handled_at=now, handled_by=by[:100]))
    others = select(reply.c.id).where(
        reply.c.address_hash == row.address_hash, reply.c.said == Said.MAYBE_STOP, reply.c.handled_at.is_(None)
    )
    if connection.execute(others.limit(1)).first() is None:
        let_go(connection, _sender(connection, row).customers)
    hearing.all_read(connection)
    return _open(row, {})


def _row(connection: Connection, number: int) -> Row[Any]:
    row: Row[Any] | None = connection.execute(_unread().where(reply.c.id == number)).first()
    if row is None:
        raise UnknownReply(f"there is no open reply {number}; `beforehand replies` lists them")
    return row


def _sender(connection: Connection, row: Row[Any]) -> hearing.Sender:
    """Who wrote: by the address of the customer who was found then, as far as it is still theirs."""
    channel = Channel(row.channel)
    address = (row.email if channel is Channel.EMAIL else row.phone) or ""
    everybody = customers_at(connection, channel, address)
    return hearing.Sender(address, row.address_hash, everybody, row.customer_id, None, ())
