"""Who got what: the messages of a rule that went out or may have, one after the other, however many there are."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    Select,
    String,
    and_,
    case,
    cast,
    func,
    literal,
    not_,
    null,
    or_,
    select,
    type_coerce,
)

from messaging.candidates import TABLES, customer, match, outside_key, table_of
from messaging.claims import attempt, evidence, message
from models.vocabulary import AttemptState, Channel, MessageState

receipt = TABLES["receipt"]

TOLD = (
    MessageState.ACCEPTED,
    MessageState.SENT,
    MessageState.DELIVERED,
    MessageState.UNKNOWN,
    MessageState.IN_FLIGHT,
)
"""States of a message whose customer was told, or may have been."""

LEFT = (*TOLD, MessageState.UNDELIVERED)
"""States of a message that left us, whether or not it came through."""

LISTED = (Channel.SMS, Channel.VOICE)
"""Channels whose provider keeps a listing: what is not there never was. A mail server keeps none."""

AT_ONCE = 5000


def maybe_told() -> ColumnElement[bool]:
    """A condition on ``message``: an earlier try may have arrived, whatever became of the message since.

    Nobody knows how that try ended, the provider's listing did not show that it never had it, and no receipt says that
    it failed.
    """
    a, becomes = attempt.c, type_coerce(evidence.c.content, JSON)["becomes"].as_string()
    looked = [evidence.c.attempt_id == a.id, evidence.c.kind == "listing", becomes != MessageState.UNKNOWN.value]
    absent = and_(message.c.channel.in_(LISTED), select(evidence.c.id).where(*looked).correlate(attempt).exists())
    said = [receipt.c.message_id == a.message_id, receipt.c.attempt_id == a.id]
    failed = select(receipt.c.id).where(*said, receipt.c.state == MessageState.UNDELIVERED).correlate(attempt).exists()
    mine = [a.message_id == message.c.id, a.state == AttemptState.UNKNOWN, not_(absent), not_(failed)]
    # most messages were never tried without an answer, and are not looked for among the tries
    return and_(message.c.tries > 0, select(a.id).where(*mine).correlate(message).exists())


def _told() -> ColumnElement[bool]:
    return or_(message.c.state.in_(TOLD), maybe_told())


@dataclass(frozen=True)
class Sent:
    """One message that left: to whom (``customer`` as the source names them), about what, how, when, and its state.

    ``state`` is ``unknown`` also where only an earlier try may have arrived, whatever became of the message since.
    ``provider_id`` is the provider's, None where it has told us none. ``at`` is when the provider took it, else when it
    was last tried.
    """

    customer: str
    subject: str
    channel: str
    template: str
    at: datetime | None
    state: str
    provider_id: str | None
    version: str


def sent(connection: Connection, rule_id: str, version: str | None = None) -> Iterator[Sent]:
    """The messages of a rule (or of one version) that went or may have gone, the oldest first; read as they are taken.

    One UNDELIVERED is among them, with its state; one that was refused, cancelled or came too late is not, unless an
    earlier try of it may have arrived.
    """
    m, newest = message.c, _newest_try()
    told_state = case((m.state.in_(TOLD), m.state), (maybe_told(), literal(MessageState.UNKNOWN.value)), else_=m.state)
    statement = (
        select(customer.c.external_id, match.c.subject, _subject_key(connection, rule_id).label("key"))
        .add_columns(m.channel, m.template, func.coalesce(m.accepted_at, newest.c.armed_at).label("at"), told_state)
        .add_columns(newest.c.provider_id, m.version)
        .join_from(message, match, match.c.id == m.match_id)
        .join(customer, customer.c.id == m.customer_id)
        .outerjoin(newest, newest.c.id == _newest_id())
        .where(m.rule_id == rule_id, or_(m.state.in_(LEFT), maybe_told()), *([m.version == version] if version else []))
        .order_by(m.id)
    )
    for row in connection.execute(statement, execution_options={"yield_per": AT_ONCE}):
        yield Sent(row[0], f"{row.subject}/{row.key}", *row[3:])


def _newest_try() -> Any:
    return attempt.alias("newest_try")


def _newest_id() -> ColumnElement[int]:
    """The try that says most: the newest that was armed."""
    mine = [attempt.c.message_id == message.c.id, attempt.c.armed_at.is_not(None)]
    return select(func.max(attempt.c.id)).where(*mine).correlate(message).scalar_subquery()


def _subject_key(connection: Connection, rule_id: str) -> ColumnElement[Any]:
    """What the source calls the subject of a match, whichever kinds the rule has looked at."""
    kinds = connection.execute(select(match.c.subject).where(match.c.rule_id == rule_id).distinct()).scalars().all()
    whens = []
    for kind in kinds:
        table = table_of(kind).alias(f"subject_{kind}")
        key: Select[Any] = select(cast(outside_key(table), String)).where(table.c.id == match.c.subject_id)
        whens.append((match.c.subject == kind, key.correlate(match).scalar_subquery()))
    return case(*whens, else_=null()) if whens else null()


def told_by(rule_id: str, version: str) -> Select[Any]:
    """Whom that version told or may have told, each customer once: ``subject_id, customer_id, facts, preferred``.

    The newest message to each counts; ``preferred`` is the channel that it went by.
    """
    m = message.c
    last = select(func.max(m.id)).where(m.rule_id == rule_id, m.version == version, _told())
    newest = last.group_by(m.customer_id).scalar_subquery()
    found = select(match.c.subject_id, m.customer_id, match.c.facts, m.channel.label("preferred"))
    return found.join_from(message, match, match.c.id == m.match_id).where(m.id.in_(newest))


def subjects_of(connection: Connection, rule_id: str, version: str) -> list[str]:
    """The kinds of subjects that the version's told messages are about; one, but for an edit that kept its hash."""
    m = message.c
    rows = select(match.c.subject).join(message, m.match_id == match.c.id)
    mine = rows.where(m.rule_id == rule_id, m.version == version, _told())
    return list(connection.execute(mine.distinct().order_by(match.c.subject)).scalars())
