"""Consent and silence: the append-only ledger, the addresses we must not use, and the lock that makes a STOP final.

Whoever withdraws (a STOP, an unsubscribe, a callback that says so) calls :func:`silence` first and commits; every
claim and every arming calls :func:`heed` first. So each claim is either committed before the withdrawal, or sees it.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy import Connection, delete, insert, text

from messaging.addresses import EMAIL
from messaging.addresses import address_hash as hash_of
from messaging.onlookers import Suppressed, Withdrawn, tell_once_committed
from models.customer import Consent, Suppression
from models.database import dialect_insert
from models.housekeeping import Lease
from models.vocabulary import Channel, ConsentVerdict, Purpose

consent = Consent.__table__  # type: ignore[attr-defined]
suppression = Suppression.__table__  # type: ignore[attr-defined]
lease = Lease.__table__  # type: ignore[attr-defined]

EVERY = "all"
"""The word for every channel or purpose in a suppression or a consent entry."""

STOP_CAUSE = "stop"
"""The cause of a suppression that a customer's own STOP made, and that START lifts."""

PROVIDERS_STOP = "21610"
"""Twilio's code for a person who has said STOP to it: whoever learns of it withdraws, by :func:`silence`."""

NEVER_CALL_CAUSE = "never_call"
"""The cause of a suppression that key 9 in a call made; START by SMS lifts no calls."""

ERASING = "erase consents"
"""While this row is in ``lease``, the database lets entries of the ledger be deleted (migration 0004)."""

SILENCE = 0x5349_4C45_4E43_45
"""The number of the advisory lock on PostgreSQL."""


def silence(connection: Connection) -> None:
    """Wait for the claims and armings under way, and keep new ones out until this transaction has ended.

    The first statement of a transaction that withdraws. SQLite's BEGIN IMMEDIATE lets one writer in anyway.
    """
    _lock(connection, "pg_advisory_xact_lock")


def heed(connection: Connection) -> None:
    """Wait for a withdrawal under way, so that what is read after this knows of it. Claims do not hinder one another.

    The first statement of a claim or an arming, before any row is locked.
    """
    _lock(connection, "pg_advisory_xact_lock_shared")


def _lock(connection: Connection, function: str) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT {function}(:key)"), {"key": SILENCE})


def record_consent(
    connection: Connection,
    customer_ids: Collection[int],
    *,
    channel: str,
    purpose: str,
    verdict: ConsentVerdict,
    source: str,
    text_version: str | None = None,
    at: datetime,
    now: datetime,
) -> None:
    """Append to the ledger that these customers agreed or withdrew at ``at``; nothing is ever changed in it.

    ``channel`` and ``purpose`` are a Channel and a Purpose or :data:`EVERY`; ``source`` says where it was said
    (``sms``, ``preferences``, ``cli:NAME``), ``text_version`` which text they saw. The same entry again has no effect.
    Raises ValueError for another word.
    """
    said = {"verdict": verdict, "source": source, "text_version": text_version, "at": at, "now": now}
    record_ways(connection, customer_ids, [(channel, purpose)], **said)  # type: ignore[arg-type]


def record_ways(
    connection: Connection,
    customer_ids: Collection[int],
    ways: Collection[tuple[str, str]],
    *,
    verdict: ConsentVerdict,
    source: str,
    text_version: str | None = None,
    at: datetime,
    now: datetime,
) -> None:
    """:func:`record_consent` for several ways (channel and purpose) in one statement."""
    row = {
        "verdict": verdict.value,
        "given_at": at,
        "source": source[:200],
        "text_version": text_version,
        "recorded_at": now,
    }
    for channel, purpose in ways:
        _check_words(channel, purpose)
    rows = [
        row | {"customer_id": key, "channel": str(channel), "purpose": str(purpose)}
        for key in sorted(set(customer_ids))
        for channel, purpose in ways
    ]
    if rows:
        connection.execute(dialect_insert(connection, consent).on_conflict_do_nothing(), rows)
    if rows and verdict is ConsentVerdict.WITHDRAWN:
        tell_once_committed(connection, Withdrawn(sorted({str(channel) for channel, _ in ways})))


@contextmanager
def erasing(connection: Connection, at: datetime) -> Iterator[None]:
    """Let this transaction delete from the ledger: only for the erasure of a person. Nobody else sees it open."""
    connection.execute(insert(lease).values(duty=ERASING, holder="erasure", until=at))
    yield
    connection.execute(delete(lease).where(lease.c.duty == ERASING))


def _check_words(channel: str, purpose: str) -> None:
    if channel != EVERY:
        Channel(channel)
    if purpose != EVERY:
        Purpose(purpose)


def suppress(
    connection: Connection,
    *,
    channel: str,
    cause: str,
    at: datetime,
    secret: bytes = b"",
    address: str = "",
    address_hash: str = "",
    scope: str = EVERY,
    source: str | None = None,
) -> str:
    """Never use this address on ``channel`` (a Channel, ``phone`` or :data:`EVERY`) for ``scope`` (a Purpose or all).

    Say the ``address`` with the ``secret``, or its ``address_hash``. Each cause is kept on its own, so that lifting one
    leaves the others. The same again has no effect. Returns the hash.
    """
    hashed = address_hash or _hash(secret, channel, address)
    row = {
        "address_hash": hashed,
        "channel": str(channel),
        "scope": str(scope),
        "cause": cause[:40],
        "since": at,
        "source": source,
    }
    put = dialect_insert(connection, suppression).values(row).on_conflict_do_nothing()
    if connection.execute(put.returning(suppression.c.cause)).first() is not None:
        tell_once_committed(connection, Suppressed(cause[:40]))
    return hashed


def lift(
    connection: Connection,
    *,
    channel: str,
    secret: bytes = b"",
    address: str = "",
    address_hash: str = "",
    causes: Sequence[str] = (STOP_CAUSE,),
) -> int:
    """Take back what a STOP made on ``channel``; other causes (bounces, complaints) stay. Returns how many went."""
    hashed = address_hash or _hash(secret, channel, address)
    s = suppression.c
    ours = delete(suppression).where(s.address_hash == hashed, s.channel == str(channel), s.cause.in_(causes))
    return int(connection.execute(ours).rowcount)


def _hash(secret: bytes, channel: str, address: str) -> str:
    if not address or not secret:
        raise ValueError("an address with the secret, or its hash, must be given")
    known = Channel.EMAIL if channel == EMAIL or (channel == EVERY and "@" in address) else Channel.SMS
    return hash_of(secret, known, address)
