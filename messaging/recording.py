"""The result transaction: what a try led to, with its evidence, the message's next state, and what the house learns."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Table, bindparam, func, insert, select, update

from messaging import breaker
from messaging.aftermath import Asked, follow
from messaging.candidates import UNTOLD
from messaging.channels.base import Outcome
from messaging.claims import Claim, attempt, evidence, message
from messaging.consents import silence
from messaging.events_out import happened_unknown
from messaging.journal import Journal, Restored
from messaging.outcomes import retry_at
from messaging.points import At, Point, nowhere
from messaging.stop_file import KILL_SWITCH
from messaging.taken_back import take_back
from models.database import dialect_insert, writing
from models.vocabulary import AttemptState, MessageState, OutcomeClass, Reason

_log = logging.getLogger(__name__)

OPEN_TO_RESULTS = (AttemptState.IN_FLIGHT, AttemptState.UNKNOWN)
"""A result that comes after the reaper gave the attempt up is still the better knowledge."""

KNOWN = (MessageState.ACCEPTED, MessageState.SENT, MessageState.DELIVERED, MessageState.UNDELIVERED)
"""The provider has it, as we know: no word on a try takes that back."""

DEADLINE = "deadline"
"""The code of a try that was armed, looked at its deadline, and was never put on the wire."""

NOT_MADE = (DEADLINE, KILL_SWITCH)
"""Codes of tries that were armed and then not made: certainly not sent, and no try used."""


Jitter = Callable[[], float]


def no_jitter() -> float:
    """Waits exactly as the tables have them."""
    return 0.0


@dataclass(frozen=True)
class Standing:
    """Where an attempt and its message stand when a result comes in."""

    attempt: AttemptState
    message: MessageState
    tries: int
    due_at: datetime


@dataclass(frozen=True)
class Next:
    """Where a message goes after a result."""

    state: MessageState
    reason: Reason | None = None
    due_at: datetime | None = None


def record(engine: Engine, claim: Claim, outcome: Outcome, now: datetime) -> None:
    """Commit what one armed try led to."""
    record_all(engine, [(claim, outcome)], now)


def record_all(
    engine: Engine,
    results: Sequence[tuple[Claim, Outcome]],
    now: datetime,
    *,
    jitter: Jitter = no_jitter,
    at: At = nowhere,
    journal: Journal | None = None,
) -> Counter[MessageState]:
    """Commit what armed tries led to: attempts, evidence, messages, suppressions and rests, in one transaction.

    Returns how many messages went to which state. With a ``journal``: raises Restored where the database has lost one
    of these attempts, or anything else that this process has written; nothing is written then.
    """
    if not results:
        return Counter()
    with writing(engine) as connection:
        if any(outcome.suppress for _, outcome in results):
            silence(connection)
        standing = _standing(connection, results)
        if journal and not _all_there(connection, results):
            raise Restored
        known = _unbound(connection, [pair for pair in results if pair[0].attempt_id in standing])
        _write_attempts(connection, known, now)
        moved = _write_messages(connection, known, standing, now, jitter)
        if moved.keys() & set(UNTOLD):
            # where the address is bad, the rule's other channel may still show the voucher
            take_back(connection, [claim.match_id for claim, outcome in results if not outcome.bad_address], now)
        if MessageState.UNKNOWN in moved:
            happened_unknown(connection, _newly_unknown(known, standing), now)
        _write_evidence(connection, results, now)
        follow(connection, [_asked(claim, outcome) for claim, outcome in results], now)
        breaker.learn(connection, [(claim.channel, outcome) for claim, outcome in results], now)
        number = journal.step(connection, now, arming=False) if journal else None
        at(Point.RECORDING)
    if journal and number:
        journal.done(number, results, now)
    return moved


def next_state(claim: Claim, outcome: Outcome, at: Standing, now: datetime, *, jitter: float = 0.0) -> Next | None:
    """Where the message goes, or None: it stays. Pure; ``jitter`` is a random number from 0 to 1."""
    late = at.attempt is AttemptState.UNKNOWN
    if outcome.kind is OutcomeClass.ACCEPTED:
        # whatever was concluded meanwhile; a resend that is queued or claimed is not armed then, as its message moved
        return None if at.message in KNOWN else Next(MessageState.ACCEPTED)
    if not late and at.message is not MessageState.IN_FLIGHT:
        return None  # a receipt or an earlier try has said more by now
    if late and (at.message is not MessageState.UNKNOWN or at.tries != 1):
        return None  # another try is on its way or as unknown as this one was
    if outcome.kind is OutcomeClass.UNKNOWN:
        return Next(MessageState.UNKNOWN)
    if outcome.kind is OutcomeClass.REFUSED:
        return Next(MessageState.FAILED, Reason.BAD_ADDRESS if outcome.bad_address else Reason.REFUSED)
    return _try_again(claim, outcome, now, jitter)


def uses_no_try(outcome: Outcome) -> bool:
    """Whether the fault was not the message's: an outage must not use up its tries."""
    return outcome.kind is OutcomeClass.NOT_ACCEPTED and (outcome.stops or outcome.code in NOT_MADE)


def _try_again(claim: Claim, outcome: Outcome, now: datetime, jitter: float) -> Next:
    if outcome.code in NOT_MADE:
        due = now if claim.expires_at is None or now < claim.expires_at else None
    else:
        due = retry_at(claim.number, outcome, now, claim.channel, jitter=jitter, until=claim.expires_at)
    if due is not None:
        return Next(MessageState.QUEUED, Reason.KILL_SWITCH if outcome.code == KILL_SWITCH else None, due)
    if outcome.code in NOT_MADE or retry_at(claim.number, outcome, now, claim.channel, jitter=jitter):
        return Next(MessageState.EXPIRED, Reason.TOO_LATE)
    return Next(MessageState.FAILED, Reason.GAVE_UP)


def _standing(connection: Connection, results: Sequence[tuple[Claim, Outcome]]) -> dict[int, Standing]:
    a, m = attempt.c, message.c
    rows = connection.execute(
        select(a.id, a.lease, a.state, m.state, m.tries, m.due_at)
        .join(message, m.id == a.message_id)
        .where(a.id.in_([claim.attempt_id for claim, _ in results]))
        .order_by(a.id)
        .with_for_update()
    ).all()
    leases = {claim.attempt_id: claim.lease for claim, _ in results}
    found = {}
    for key, lease, state, message_state, tries, due_at in rows:
        if lease == leases[key] and state in OPEN_TO_RESULTS:
            found[key] = Standing(AttemptState(state), MessageState(message_state), tries, due_at)
        else:
            _log.info("attempt %s has an outcome already; this one is kept as evidence only", key)
    return found


def _all_there(connection: Connection, results: Sequence[tuple[Claim, Outcome]]) -> bool:
    """Whether the database still has these attempts; by their leases, as a restored one gives its ids out anew."""
    ids, leases = [claim.attempt_id for claim, _ in results], {claim.lease for claim, _ in results}
    found = select(func.count()).where(attempt.c.id.in_(ids), attempt.c.lease.in_(leases))
    return connection.execute(found).scalar_one() == len(set(ids))


def _unbound(connection: Connection, results: list[tuple[Claim, Outcome]]) -> list[tuple[Claim, Outcome, str | None]]:
    """Results with the provider's id, None where another attempt has that id: an id is bound once."""
    ids = [outcome.provider_id for _, outcome in results if outcome.provider_id]
    bound = set(connection.execute(select(attempt.c.provider_id).where(attempt.c.provider_id.in_(ids))).scalars())
    known = []
    for claim, outcome in results:
        name = outcome.provider_id if outcome.provider_id not in bound else None
        bound |= {name}
        known.append((claim, outcome, name))
    return known


def _write_attempts(connection: Connection, known: list[tuple[Claim, Outcome, str | None]], now: datetime) -> None:
    a = attempt.c
    change = (
        update(attempt)
        .where(a.id == bindparam("key"))  # locked and looked at in _standing
        .values(
            state=bindparam("kind"),
            outcome=bindparam("kind"),
            code=bindparam("said"),
            provider_id=bindparam("name"),
            ended_at=now,
        )
    )
    rows = [
        {"key": claim.attempt_id, "kind": outcome.kind.value, "said": storable(outcome.code)[:40], "name": name}
        for claim, outcome, name in known
    ]
    if rows:
        connection.execute(change, rows)


def _write_messages(
    connection: Connection,
    known: list[tuple[Claim, Outcome, str | None]],
    standing: Mapping[int, Standing],
    now: datetime,
    jitter: Jitter,
) -> Counter[MessageState]:
    rows = []
    for claim, outcome, _ in known:
        at = standing[claim.attempt_id]
        goes = next_state(claim, outcome, at, now, jitter=jitter())
        if goes:
            rows.append(_message_row(claim.message_id, at, goes, now) | {"used": at.tries - uses_no_try(outcome)})
    if not rows:
        return Counter()
    m = message.c
    change = (
        update(message)
        .where(m.id == bindparam("key"), m.state == bindparam("was"))
        .values(
            state=bindparam("goes"),
            reason=bindparam("why"),
            due_at=bindparam("due"),
            accepted_at=bindparam("accepted"),
            ended_at=bindparam("ended"),
            tries=bindparam("used"),
        )
    )
    connection.execute(change, rows)
    return Counter(MessageState(row["goes"]) for row in rows)


def _newly_unknown(known: list[tuple[Claim, Outcome, str | None]], standing: Mapping[int, Standing]) -> list[int]:
    """The messages of tries without a clear answer, of which that was not known before."""
    flying = MessageState.IN_FLIGHT
    unknown = [claim for claim, outcome, _ in known if outcome.kind is OutcomeClass.UNKNOWN]
    return [claim.message_id for claim in unknown if standing[claim.attempt_id].message is flying]


def _message_row(key: int, at: Standing, goes: Next, now: datetime) -> dict[str, Any]:
    ends = goes.state in (MessageState.FAILED, MessageState.EXPIRED)
    return {
        "key": key,
        "was": at.message.value,
        "goes": goes.state.value,
        "why": goes.reason.value if goes.reason else None,
        "due": goes.due_at or at.due_at,
        "accepted": now if goes.state is MessageState.ACCEPTED else None,
        "ended": now if ends else None,
    }


def _write_evidence(connection: Connection, results: Sequence[tuple[Claim, Outcome]], now: datetime) -> None:
    rows = [
        {
            "attempt_id": claim.attempt_id,
            "kind": "reply",
            "seen_at": now,
            "content": storable(
                {"outcome": outcome.kind.value, "code": outcome.code, "id": outcome.provider_id} | dict(outcome.content)
            ),
        }
        for claim, outcome in results
    ]
    connection.execute(insert(evidence), rows)


def storable(said: Any) -> Any:
    """What a provider said without signs that a database refuses: a result must not be lost to a NUL in a reply."""
    match said:
        case str():
            return said.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
        case Mapping():
            return {storable(key): storable(value) for key, value in said.items()}
        case list() | tuple():
            return [storable(value) for value in said]
    return said


def _asked(claim: Claim, outcome: Outcome) -> Asked:
    return Asked(
        asks=outcome,
        code=outcome.code,
        channel=claim.channel,
        rule_id=claim.rule_id,
        address_hash=claim.address_hash,
        retry_after_seconds=outcome.retry_after_seconds,
    )


def insert_new(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, leaving out those that are there already."""
    if rows:
        connection.execute(dialect_insert(connection, table).on_conflict_do_nothing(), list(rows))
