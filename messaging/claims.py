"""Around the claim: what was claimed, what was not and why, where each message may stand; how claims are taken back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, select, update

from models.delivery import Attempt, Evidence, Message
from models.vocabulary import AttemptState, Channel, MessageState, Purpose, Reason

message = Message.__table__  # type: ignore[attr-defined]
attempt = Attempt.__table__  # type: ignore[attr-defined]
evidence = Evidence.__table__  # type: ignore[attr-defined]

CLAIMABLE = (MessageState.PLANNED, MessageState.QUEUED)


@dataclass(frozen=True)
class Claim:
    """The right to try one message once, until ``lease_until``. ``number`` is which try it is, from 1.

    ``due_at`` is since when it could have gone.
    """

    attempt_id: int
    message_id: int
    number: int
    lease: str
    lease_until: datetime
    channel: Channel
    address: str
    address_hash: str
    purpose: Purpose
    rule_id: str
    version: str
    occasion: str
    step: str
    match_id: int
    customer_id: int
    template: str
    language: str | None
    reference: str
    details: Mapping[str, Any]
    expires_at: datetime | None
    due_at: datetime | None = None


@dataclass(frozen=True)
class Claimed:
    """What one claim brought: how many due messages it looked at, and why some were not given out."""

    claims: list[Claim] = field(default_factory=list)
    withheld: dict[Reason, int] = field(default_factory=dict)
    looked: int = 0


def claim_of(row: Mapping[Any, Any], token: str, until: datetime, address_hash: str) -> Claim:
    """A claim from a row with the message's columns, ``attempt_id`` and the attempt's ``number``."""
    return Claim(
        attempt_id=row["attempt_id"],
        message_id=row["id"],
        number=row["number"],
        lease=token,
        lease_until=until,
        channel=Channel(row["channel"]),
        address=row["address"],
        address_hash=address_hash,
        purpose=Purpose(row["purpose"]),
        rule_id=row["rule_id"],
        version=row["version"],
        occasion=row["occasion"],
        step=row["step"],
        match_id=row["match_id"],
        customer_id=row["customer_id"],
        template=row["template"],
        language=row["language"],
        reference=row["reference"],
        details=row["details"] or {},
        expires_at=row["expires_at"],
        due_at=row["due_at"],
    )


def return_claims(connection: Connection, of: ColumnElement[bool], now: datetime) -> None:
    """Take back the claims of the messages that ``of`` selects: what was not armed yet will not be.

    The messages stay CLAIMED for the caller to move on, in the same transaction: attempts before messages, as
    everywhere.
    """
    claimed = select(message.c.id).where(of, message.c.state == MessageState.CLAIMED)
    mine = update(attempt).where(attempt.c.state == AttemptState.CLAIMED, attempt.c.message_id.in_(claimed))
    connection.execute(mine.values(state=AttemptState.RETURNED, ended_at=now))
