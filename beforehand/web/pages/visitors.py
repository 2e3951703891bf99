"""Who opened a link: the message it came with, and the customer behind that message."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from messaging.links import Kind, Links, reference_in
from models.customer import Customer, Preference
from models.delivery import Message
from models.vocabulary import Channel, Purpose

customer = Customer.__table__  # type: ignore[attr-defined]
message = Message.__table__  # type: ignore[attr-defined]
preference = Preference.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Visitor:
    """A customer with a link from us. ``channel``, ``purpose`` and ``address`` are the message's."""

    reference: str
    customer_id: int
    match_id: int
    step: str
    channel: Channel
    purpose: Purpose
    address: str
    email: str
    phone: str
    languages: tuple[str, ...]

    def address_on(self, channel: Channel) -> str:
        """Where a channel reaches them; an empty text where nobody knows."""
        return self.email if channel is Channel.EMAIL else self.phone


def visitor_of(connection: Connection, links: Links, token: str, kind: Kind, now: datetime) -> Visitor | None:
    """The customer whose link of this kind that is; None for a link we did not sign, or whose message is gone."""
    reference = reference_in(token)
    if reference is None:
        return None
    m, c, p = message.c, customer.c, preference.c
    found = connection.execute(
        select(m.customer_id, m.match_id, m.step, m.channel, m.purpose, m.address, m.created_at)
        .add_columns(c.email, c.phone, p.language.label("chosen"), m.language.label("used"), c.language)
        .select_from(message.join(customer, c.id == m.customer_id).outerjoin(preference, p.customer_id == c.id))
        .where(m.reference == reference)
    ).one_or_none()
    if found is None or not links.holds(token, kind, found.created_at, now):
        return None
    return Visitor(
        reference=reference,
        customer_id=found.customer_id,
        match_id=found.match_id,
        step=found.step,
        channel=Channel(found.channel),
        purpose=Purpose(found.purpose),
        address=found.address or "",
        email=found.email or "",
        phone=found.phone or "",
        languages=tuple(tag for tag in (found.chosen, found.language, found.used) if tag),
    )
