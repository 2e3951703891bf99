"""A trace from event to receipt, although hours and processes lie between: made from rows, with ids that are derived.

The trace's id is a keyed hash of rule and occasion, so every process joins it without having been told of it, and it
tells nothing to whoever lacks the key. Spans carry ids, words of ours and classes of codes, never a person.
"""

import hmac
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, and_, func, select

from beforehand.sight.classes import code_class
from messaging.candidates import TABLES
from messaging.channels.base import Outcome
from messaging.claims import Claim, attempt, message
from messaging.onlookers import Receipted
from models.vocabulary import MessageState, OutcomeClass

match, rule_pass = TABLES["match"], TABLES["rule_pass"]

OCCASION, EVENT, SLOT, DECIDE, WAIT, SEND, RECEIPT = "occasion", "event", "slot", "decide", "wait", "send", "receipt"

PASS_AGO = timedelta(days=1)
"""A pass runs at most so long after its slot."""


Try = tuple[Claim, Outcome]


@dataclass(frozen=True)
class Span:
    """One stretch of a trace. ``key`` is what its id is derived from, ``parent`` that of the span around it.

    An empty ``parent`` makes it the root. ``wrong``: it did not lead to what it was meant to.
    """

    key: str
    parent: str
    name: str
    start: datetime
    end: datetime
    attributes: Mapping[str, str | int] = field(default_factory=dict)
    wrong: bool = False


class Ids:
    """Ids that only who has the ``secret`` can derive."""

    def __init__(self, secret: bytes) -> None:
        self._key = hmac.digest(secret, b"trace ids", "sha256")

    def trace(self, rule_id: str, occasion: str) -> int:
        """The trace of an occasion: 128 bits, never 0."""
        return self._number(f"trace\n{rule_id}\n{occasion}", 16)

    def span(self, trace: int, key: str) -> int:
        """A span of a trace: 64 bits, never 0."""
        return self._number(f"span\n{trace:032x}\n{key}", 8)

    def _number(self, said: str, size: int) -> int:
        return int.from_bytes(hmac.digest(self._key, said.encode(), "sha256")[:size], "big") or 1


def of_tries(connection: Connection, provider: str, tries: Mapping[int, Try]) -> Iterator[tuple[int, Span]]:
    """The spans of tries that were recorded (by attempt id, as is ``tries``), each with its attempt id.

    What came before the first try of a
    match's first message comes with it: the event, the decision, the root.
    """
    a, m = attempt.c, message.c
    earlier, sibling = attempt.alias(), message.alias()
    before = select(func.max(earlier.c.ended_at)).where(
        earlier.c.message_id == m.id, earlier.c.id < a.id, earlier.c.armed_at.is_not(None)
    )
    first = select(func.min(sibling.c.id)).where(sibling.c.match_id == m.match_id)
    rows = connection.execute(
        select(
            a.id,
            a.claimed_at,
            a.ended_at,
            m.created_at,
            m.match_id,
            match.c.matched_at,
            before.scalar_subquery().label("before"),
            (first.scalar_subquery() == m.id).label("is_first"),
        )
        .join(message, m.id == a.message_id)
        .join(match, match.c.id == m.match_id)
        .where(a.id.in_(list(tries)))
    ).all()
    firsts = [(tries[row.id][0].rule_id, row.matched_at) for row in rows if row.is_first and row.before is None]
    begins = _begins(connection, firsts)
    for row in rows:
        claim, outcome = tries[row.id]
        spans = list(_try(row, claim, provider, outcome))
        if row.before is None:
            begun = begins.get((claim.rule_id, row.matched_at)) if row.is_first else None
            spans += _before(row, claim, begun)
        yield from ((row.id, span) for span in spans)


def send_key(attempt_id: int, lease: str) -> str:
    """What the id of a try's span is derived from; the lease, as a restored database gives its ids out anew."""
    return f"{SEND}/{attempt_id}/{lease}"


def _try(row: Row[Any], claim: Claim, provider: str, outcome: Outcome) -> Iterator[Span]:
    mine = {"beforehand.message": claim.message_id, "beforehand.channel": claim.channel.value}
    told: dict[str, str | int] = mine | {
        "beforehand.attempt": claim.attempt_id,
        "beforehand.provider": provider,
        "beforehand.outcome": outcome.kind.value,
        "beforehand.code": code_class(outcome.code),
    }
    end = row.ended_at or row.claimed_at
    wrong = outcome.kind is not OutcomeClass.ACCEPTED
    key = send_key(claim.attempt_id, claim.lease)
    yield Span(f"{WAIT}/{key}", OCCASION, WAIT, row.before or row.created_at, row.claimed_at, mine)
    yield Span(key, OCCASION, SEND, row.claimed_at, end, told, wrong)


def _before(row: Row[Any], claim: Claim, begun: "_Begun | None") -> Iterator[Span]:
    """What came before the first try of a message; with ``begun`` also the event or slot, and the root of it all."""
    rule = {"beforehand.rule": claim.rule_id, "beforehand.version": claim.version, "beforehand.match": row.match_id}
    told = rule | {"beforehand.step": claim.step}
    yield Span(f"{DECIDE}/{claim.step}/{claim.message_id}", OCCASION, DECIDE, row.matched_at, row.created_at, told)
    if begun is None:
        return
    start = min(begun.at, row.matched_at)
    what = {"beforehand.event": begun.event} if begun.event else {}
    yield Span(EVENT, OCCASION, EVENT if begun.event else SLOT, start, row.matched_at, what)
    yield Span(OCCASION, "", OCCASION, start, row.ended_at or row.claimed_at, rule)


@dataclass(frozen=True)
class _Begun:
    """What set a pass off: an event of the rule's, or its slot where ``event`` is empty."""

    at: datetime
    event: str = ""


def _begins(connection: Connection, passes: Collection[tuple[str, datetime]]) -> dict[tuple[str, datetime], _Begun]:
    """What set off the passes of these rules at these moments; where none is on record, the moment itself."""
    found = {(rule_id, at): _Begun(at) for rule_id, at in passes}
    if not passes:
        return found
    p, moments = rule_pass.c, {at for _, at in passes}
    lately = and_(p.slot > min(moments) - PASS_AGO, p.slot <= max(moments), p.started_at.in_(moments))
    rows = select(p.rule_id, p.slot, p.started_at, p.counts).where(p.rule_id.in_({rule for rule, _ in passes}), lately)
    for row in connection.execute(rows):
        found[row.rule_id, row.started_at] = _begun(row)
    return found


def _begun(row: Row[Any]) -> _Begun:
    changes = {event: datetime.fromisoformat(at) for event, at in ((row.counts or {}).get("changes") or {}).items()}
    past = [(at, event) for event, at in changes.items() if at <= row.started_at]
    at, event = max(past, default=(row.slot, ""))
    return _Begun(at, event)


def of_receipts(
    connection: Connection, receipts: Sequence[Receipted], now: datetime
) -> Iterator[tuple[str, str, Span]]:
    """The spans of receipts, each behind its rule and occasion."""
    a, m = attempt.c, message.c
    rows = connection.execute(
        select(a.id, a.lease, a.provider, a.ended_at, m.rule_id, m.occasion)
        .join(message, m.id == a.message_id)
        .where(a.id.in_({one.attempt_id for one in receipts}))
    )
    tries = {row.id: row for row in rows}
    for one in receipts:
        if (row := tries.get(one.attempt_id)) is not None:
            yield row.rule_id, row.occasion, _receipt(one, row, now)


def _receipt(one: Receipted, row: Row[Any], now: datetime) -> Span:
    told: dict[str, str | int] = {
        "beforehand.message": one.message_id,
        "beforehand.attempt": one.attempt_id,
        "beforehand.channel": one.channel.value,
        "beforehand.provider": row.provider or "",
        "beforehand.state": one.state.value,
        "beforehand.code": code_class(one.code),
    }
    send = send_key(one.attempt_id, row.lease)
    start = min(row.ended_at or now, now)
    wrong = one.state is MessageState.UNDELIVERED
    return Span(f"{RECEIPT}/{send}/{one.state.value}/{one.code}", send, RECEIPT, start, now, told, wrong)
