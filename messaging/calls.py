"""A call that is answered: whose it is, whether we may still speak, and the claim whose words are said."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, select

from messaging.claims import Claim, attempt, claim_of, message
from messaging.policy import Policy
from messaging.recheck import objection
from messaging.switches import stopped
from messaging.told import Told, keep
from models.vocabulary import Channel, MessageState, Reason


class Line(StrEnum):
    """Who is on the line."""

    OURS = "ours"  # the one call of its attempt, answered by somebody: we speak
    SECOND = "second"  # another call of that attempt, or of none: nobody shall hear us twice
    MACHINE = "machine"  # an answering machine took it
    SILENT = "silent"  # we must not speak (any more)


@dataclass(frozen=True)
class PickedUp:
    """Who is on the line; ``claim`` where we may speak, ``reason`` where we must not."""

    line: Line
    claim: Claim | None = None
    reason: Reason | None = None


def pick_up(
    connection: Connection, told: Told, now: datetime, policy: Policy, *, halted: Collection[str] = ()
) -> PickedUp:
    """A call was answered. The first call of an attempt binds its id by compare-and-set; a second one is not ours.

    ``told`` is the request for the script: SENT for a person, UNDELIVERED for a machine. Asked again for the same call,
    the answer is the same. Must run in a write transaction. ``halted`` are the scopes that the stop file names.
    """
    keep(connection, told, now)
    claim = on_the_line(connection, told.attempt_id, told.provider_id)
    if claim is None:
        return PickedUp(Line.SECOND)
    if told.state is MessageState.UNDELIVERED:
        return PickedUp(Line.MACHINE)
    if (reason := must_not_speak(connection, claim.message_id, now, policy, halted=halted)) is not None:
        return PickedUp(Line.SILENT, reason=reason)
    return PickedUp(Line.OURS, claim)


def on_the_line(connection: Connection, attempt_id: int | None, provider_id: str | None) -> Claim | None:
    """The claim of an attempt whose call has this id; None where it has another one, or none."""
    a = attempt.c
    row = (
        connection.execute(
            select(message, a.id.label("attempt_id"), a.number, a.lease, a.lease_until, a.address_hash)
            .join(attempt, a.message_id == message.c.id)
            .where(a.id == attempt_id, a.provider_id == provider_id, message.c.channel == Channel.VOICE)
        )
        .mappings()
        .first()
    )
    return None if row is None else claim_of(row, row["lease"], row["lease_until"], row["address_hash"] or "")


def must_not_speak(
    connection: Connection, message_id: int, now: datetime, policy: Policy, *, halted: Collection[str] = ()
) -> Reason | None:
    """Why we must not speak to this message's customer any more: a kill switch, a STOP; None: we may."""
    m = message.c
    off = select(stopped(connection, m.rule_id, "channel", m.channel, halted=halted)).where(m.id == message_id)
    if connection.execute(off).scalar():
        return Reason.KILL_SWITCH
    return objection(connection, message_id, now, policy)
