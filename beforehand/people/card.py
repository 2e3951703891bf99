"""How we stand with one customer: what they agreed to, what stops us, what they chose, what was said both ways."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from messaging.addresses import address_hash
from messaging.preferences import WAYS, standing_of
from models import Base
from models.vocabulary import REASON_TEXT, Channel, Purpose, Reason

TABLES = Base.metadata.tables
CUSTOMER, CONSENT, SUPPRESSION = TABLES["customer"], TABLES["consent"], TABLES["suppression"]
PREFERENCE, MESSAGE, REPLY = TABLES["preference"], TABLES["message"], TABLES["reply"]

Row = dict[str, Any]


@dataclass(frozen=True)
class Card:
    """One customer. ``may`` says by way (channel and purpose) whether we may write now, as consent stands.

    ``consents`` is the whole ledger of theirs, newest first; ``messages`` and ``replies`` are the last ones. Moments
    are UTC; a message's ``why`` tells its reason in words.
    """

    customer: Row
    may: list[Row]
    consents: list[Row]
    suppressions: list[Row]
    preference: Row | None
    messages: list[Row]
    replies: list[Row]

    def as_json(self) -> dict[str, Any]:
        """The card as JSON values."""
        return asdict(self)


def card_of(
    connection: Connection,
    customer_id: int,
    *,
    secret: bytes,
    consent_needed: Collection[Purpose],
    now: datetime,
    last: int = 10,
) -> Card:
    """Look one customer up by our own key; ``last`` messages and replies. Raises LookupError where there is none."""
    c = CUSTOMER.c
    row = connection.execute(
        select(c.external_id, c.first_name, c.last_name, c.phone, c.email, c.language, c.time_zone, c.country).where(
            c.id == customer_id
        )
    ).first()
    if row is None:
        raise LookupError(f"no customer has the key {customer_id}")
    standing = standing_of(connection, customer_id, secret=secret, consent_needed=consent_needed, now=now)
    may = [{"channel": way[0].value, "purpose": way[1].value, "yes": way in standing.allowed} for way in WAYS]
    return Card(
        customer=row._asdict(),
        may=may,
        consents=_consents(connection, customer_id),
        suppressions=_suppressions(connection, secret, row.phone, row.email),
        preference=_preference(connection, customer_id),
        messages=_messages(connection, customer_id, last),
        replies=_replies(connection, customer_id, last),
    )


def _rows(connection: Connection, asked: Any) -> list[Row]:
    return [dict(row) for row in connection.execute(asked).mappings()]


def _consents(connection: Connection, customer_id: int) -> list[Row]:
    c = CONSENT.c
    columns = (c.id, c.given_at, c.channel, c.purpose, c.verdict, c.source, c.text_version, c.recorded_at)
    return _rows(
        connection, select(*columns).where(c.customer_id == customer_id).order_by(c.given_at.desc(), c.id.desc())
    )


def _suppressions(connection: Connection, secret: bytes, phone: str | None, email: str | None) -> list[Row]:
    hashes: dict[str, str] = {}
    for channel, address in ((Channel.SMS, phone), (Channel.EMAIL, email)):
        if address:
            hashes[address_hash(secret, channel, address)] = address
    s = SUPPRESSION.c
    found = select(s.address_hash, s.channel, s.scope, s.cause, s.since, s.source).where(s.address_hash.in_(hashes))
    rows = _rows(connection, found.order_by(s.since.desc(), s.id.desc()))
    return [{"address": hashes[row.pop("address_hash")]} | row for row in rows]


def _preference(connection: Connection, customer_id: int) -> Row | None:
    rows = _rows(connection, select(PREFERENCE).where(PREFERENCE.c.customer_id == customer_id))
    return {name: value for name, value in rows[0].items() if name != "customer_id"} if rows else None


def _messages(connection: Connection, customer_id: int, last: int) -> list[Row]:
    m = MESSAGE.c
    columns = (
        m.id,
        m.created_at,
        m.rule_id,
        m.template,
        m.channel,
        m.purpose,
        m.state,
        m.reason,
        m.due_at,
        m.accepted_at,
    )
    rows = _rows(
        connection,
        select(*columns, m.ended_at, m.consent_id)
        .where(m.customer_id == customer_id)
        .order_by(m.created_at.desc(), m.id.desc())
        .limit(last),
    )
    return [row | {"why": REASON_TEXT[Reason(row["reason"])] if row["reason"] else None} for row in rows]


def _replies(connection: Connection, customer_id: int, last: int) -> list[Row]:
    r = REPLY.c
    columns: Sequence[Any] = (r.id, r.received_at, r.channel, r.said, r.text, r.message_id, r.handled_at, r.handled_by)
    newest = select(*columns).where(r.customer_id == customer_id).order_by(r.received_at.desc(), r.id.desc())
    return _rows(connection, newest.limit(last))
