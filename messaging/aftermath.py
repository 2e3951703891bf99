"""What a provider's code asks of the house beside its message's own state, at once or after acceptance.

The codes are the tables of :mod:`messaging.outcomes`; the policy in plain words is docs/reference/delivery.md.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from messaging import audit
from messaging.breaker import ACCOUNTS, call_staff, trip
from messaging.channels.base import Asks
from messaging.consents import suppress
from messaging.events_out import STOPPED, happened
from messaging.outcomes import after, resend_at, slower_until
from messaging.pace import slow_down
from messaging.switches import stop
from models.vocabulary import Channel, MessageState, Purpose

Word = tuple[MessageState, str]
"""One thing a provider has said of a try: the state in our vocabulary, and its code (empty without one)."""


@dataclass(frozen=True)
class Asked:
    """What one code asks for, and of whom. ``address_hash`` is the keyed hash of where the try went."""

    asks: Asks
    code: str
    channel: Channel
    rule_id: str
    address_hash: str
    source: str = "outcome"
    retry_after_seconds: float | None = None


def follow(connection: Connection, asked: Sequence[Asked], now: datetime) -> None:
    """Suppress addresses, stop rules and slow senders down as codes ask for. The same again has no effect.

    Breakers learn by themselves from the outcomes of tries (:func:`messaging.breaker.learn`).
    """
    _suppress(connection, [one for one in asked if one.asks.suppress or one.asks.bad_address], now)
    blocked = {one.rule_id: one for one in asked if one.asks.blocked}
    for rule_id in sorted(blocked):
        stop_rule(connection, rule_id, blocked[rule_id].code, now)
    resting = {one.channel: slower_until(one.code, one.retry_after_seconds, now) for one in asked if one.asks.slow}
    for channel in sorted(resting):
        slow_down(connection, channel.value, resting[channel])


def _suppress(connection: Connection, asked: Sequence[Asked], now: datetime) -> None:
    for one in asked:
        if one.address_hash:
            suppress(
                connection,
                channel=one.channel,
                cause=f"provider_{one.code}",
                address_hash=one.address_hash,
                source=one.source,
                at=now,
            )


def stop_rule(connection: Connection, rule_id: str, code: str, now: datetime) -> None:
    """Set the kill switch of a rule whose messages are blocked on the way, and call staff; ``resume`` takes it back."""
    scope = f"rule:{rule_id}"
    by = f"provider {code}"
    if stop(connection, scope, by, now):
        happened(connection, STOPPED, scope, now)
        audit.write(connection, by=by, action="stop", about=scope, now=now)
    call_staff(connection, scope, f"the rule {rule_id} is stopped: its messages are blocked on the way ({code})", now)


def open_breakers(connection: Connection, asked: Sequence[Asked], now: datetime) -> None:
    """Open the breakers of accounts that are told to be at fault after they had accepted."""
    for account, code in sorted({ACCOUNTS[one.channel]: one.code for one in asked if one.asks.stops}.items()):
        trip(connection, account, code, now)


@dataclass(frozen=True)
class Sent:
    """A message that the provider has accepted: what the policy of resends looks at."""

    channel: Channel
    purpose: Purpose
    resends: int
    expires_at: datetime | None


@dataclass(frozen=True)
class Becomes:
    """Where all that was said of a try leaves its message. ``again_at``: it is sent again then (state QUEUED)."""

    state: MessageState
    again_at: datetime | None = None
    bad_address: bool = False


def becomes(words: Collection[Word], sent: Sent, now: datetime) -> Becomes:
    """Where the words on the newest try leave its message. Pure, and blind to the order of the words.

    Delivered is the most that can be known. Then a code that ends it, then one that lets it be sent again, then
    undelivered without a known code, then sent.
    """
    said = {state for state, _ in words}
    if MessageState.DELIVERED in said:
        return Becomes(MessageState.DELIVERED)
    if MessageState.UNDELIVERED not in said:
        return Becomes(MessageState.SENT if MessageState.SENT in said else MessageState.ACCEPTED)
    known = [after(sent.channel, code) for state, code in words if state is MessageState.UNDELIVERED]
    if any(one.bad_address for one in known):
        return Becomes(MessageState.UNDELIVERED, bad_address=True)
    waiting = [one for one in known if one.waits]
    if waiting and not any(one.suppress or one.blocked or one.stops for one in known):
        dues = [resend_at(one, sent.resends, sent.purpose, now, sent.expires_at) for one in waiting]
        if None not in dues:
            return Becomes(MessageState.QUEUED, again_at=max(due for due in dues if due))
    return Becomes(MessageState.UNDELIVERED)
