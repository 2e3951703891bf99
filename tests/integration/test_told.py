"""What a provider tells us: kept once, matched now or later, binding an id by the signed attempt, never a step back."""

from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest
from sqlalchemy import Engine, select, update

from messaging.addresses import address_hash
from messaging.channels.base import Outcome
from messaging.claims import Claim, attempt, evidence, message
from messaging.outbox import arm, claim, reap
from messaging.recording import record
from messaging.told import Told, callback, keep, match_if_any, match_waiting
from models.database import reading, writing
from models.delivery import Receipt
from models.housekeeping import Notice
from models.vocabulary import MessageState, OutcomeClass
from tests.integration.out_world import NOW, POLICY, SECRET, attempts_of, later, plan_messages, rows_of

S = MessageState
SID, OTHER = "SM" + "a" * 32, "SM" + "b" * 32


def armed(engine: Engine, count: int = 1, **columns: Any) -> list[Claim]:
    plan_messages(engine, count, **columns)
    with writing(engine) as connection:
        claimed = claim(connection, NOW, limit=count, lease_seconds=60, policy=POLICY)
    return arm(engine, claimed.claims, NOW, lease_seconds=60, provider="twilio")


def told(one: Claim | None, state: MessageState | None, sid: str | None = SID, **other: Any) -> Told:
    given: dict[str, Any] = {
        "provider": "twilio",
        "kind": "sms",
        "provider_id": sid,
        "attempt_id": one.attempt_id if one else None,
        "state": state,
        "code": "",
        "digest": f"{sid}/{state}/{other.get('code', '')}",
    }
    return Told(**(given | other))


def tell(engine: Engine, *all_told: Told) -> list[bool]:
    kept = []
    for one in all_told:
        with writing(engine) as connection:
            kept.append(keep(connection, one, NOW))
    return kept


def accepted(sid: str = SID) -> Outcome:
    return Outcome(OutcomeClass.ACCEPTED, "201", sid)


def state_of(engine: Engine) -> tuple[str, str, str | None]:
    (row,), (one,) = rows_of(engine), attempts_of(engine)
    return row.state, one.state, one.provider_id


def kinds(engine: Engine) -> list[str]:
    with reading(engine) as connection:
        return list(connection.execute(select(evidence.c.kind).order_by(evidence.c.id)).scalars())


def test_a_callback_after_our_own_answer_moves_the_message(engine: Engine) -> None:
    (one,) = armed(engine)
    record(engine, one, accepted(), NOW)
    assert tell(engine, told(one, S.SENT), told(one, S.DELIVERED)) == [True, True]
    assert state_of(engine) == (S.DELIVERED, "accepted", SID)
    assert kinds(engine) == ["reply", "callback", "callback"]


def test_a_callback_before_our_own_answer_binds_and_our_answer_changes_nothing(engine: Engine) -> None:
    (one,) = armed(engine)
    assert tell(engine, told(one, S.DELIVERED)) == [True]
    assert state_of(engine) == (S.DELIVERED, "accepted", SID)
    accepted_at = rows_of(engine)[0].accepted_at
    assert accepted_at == NOW
    for outcome in (accepted(), Outcome(OutcomeClass.UNKNOWN, "timeout"), Outcome(OutcomeClass.NOT_ACCEPTED, "503")):
        record(engine, one, outcome, later(minutes=1))
        assert state_of(engine) == (S.DELIVERED, "accepted", SID)


def test_an_unknown_outcome_is_resolved_by_its_callback(engine: Engine) -> None:
    (one,) = armed(engine)
    record(engine, one, Outcome(OutcomeClass.UNKNOWN, "ReadTimeout"), NOW)
    assert state_of(engine) == (S.UNKNOWN, "unknown", None)
    assert tell(engine, told(one, S.ACCEPTED)) == [True]
    assert state_of(engine) == (S.ACCEPTED, "accepted", SID)


def test_so_is_one_that_a_dead_process_left(engine: Engine) -> None:
    (one,) = armed(engine)
    reap(engine, later(hours=1))
    assert state_of(engine)[0] == S.UNKNOWN
    tell(engine, told(one, S.SENT))
    assert state_of(engine) == (S.SENT, "accepted", SID)


def test_a_resend_that_waits_is_not_sent_once_the_first_try_is_proven(engine: Engine) -> None:
    (one,) = armed(engine)
    record(engine, one, Outcome(OutcomeClass.UNKNOWN, "ReadTimeout"), NOW)
    with writing(engine) as connection:
        connection.execute(update(message).values(state=S.QUEUED))
        (again,) = claim(connection, NOW, limit=1, lease_seconds=60, policy=POLICY).claims
    tell(engine, told(one, S.SENT))
    assert arm(engine, [again], NOW, lease_seconds=60, provider="twilio") == []
    assert rows_of(engine)[0].state == S.SENT


def test_saying_it_again_has_no_effect(engine: Engine) -> None:
    (one,) = armed(engine)
    record(engine, one, accepted(), NOW)
    assert tell(engine, *[told(one, S.SENT)] * 3) == [True, False, False]
    assert kinds(engine) == ["reply", "callback"]
    with reading(engine) as connection:
        assert len(connection.execute(select(Receipt.__table__)).all()) == 1  # type: ignore[attr-defined]


def test_an_id_that_nobody_knows_waits(engine: Engine) -> None:
    (one,) = armed(engine)
    assert tell(engine, told(None, S.DELIVERED), told(None, S.SENT)) == [True, True]
    assert (match_if_any(engine, NOW), state_of(engine)[0]) == (0, S.IN_FLIGHT)
    record(engine, one, accepted(), NOW)
    assert (match_if_any(engine, NOW), state_of(engine)[0]) == (2, S.DELIVERED)
    assert match_if_any(engine, NOW) == 0


def test_what_waited_for_days_is_left(engine: Engine) -> None:
    (one,) = armed(engine)
    tell(engine, told(None, S.DELIVERED))
    record(engine, one, accepted(), NOW)
    assert match_if_any(engine, NOW + timedelta(days=4)) == 0


def test_an_attempt_that_a_restored_database_forgot_waits_too(engine: Engine) -> None:
    (one,) = armed(engine)
    assert tell(engine, told(one, S.SENT, attempt_id=one.attempt_id + 1)) == [True]
    assert state_of(engine)[0] == S.IN_FLIGHT
    with writing(engine) as connection:
        assert match_waiting(connection, NOW) == 0


def test_our_own_signed_word_is_enough_where_no_provider_gives_an_id(engine: Engine) -> None:
    (one,) = armed(engine, channel="email")
    record(engine, one, Outcome(OutcomeClass.ACCEPTED, "250"), NOW)
    assert tell(engine, told(one, S.UNDELIVERED, None, kind="bounce", code="5.1.1")) == [True]
    assert state_of(engine) == (S.UNDELIVERED, "accepted", None)


def refused(engine: Engine) -> str:
    with reading(engine) as connection:
        said = list(connection.execute(select(Notice.__table__.c.said)).scalars())  # type: ignore[attr-defined]
        assert connection.execute(select(callback.c.matched_at)).scalars().all()[-1] is not None
    assert len(said) == 1
    return str(said[0])


def test_a_second_id_for_one_attempt_is_refused_and_staff_are_called(engine: Engine) -> None:
    (one,) = armed(engine)
    record(engine, one, accepted(), NOW)
    assert tell(engine, told(one, S.DELIVERED, OTHER)) == [False]
    assert state_of(engine) == (S.ACCEPTED, "accepted", SID)
    assert "may have it twice" in refused(engine)


def test_an_id_of_another_attempt_is_refused(engine: Engine) -> None:
    first, second = armed(engine, 2)
    record(engine, first, accepted(), NOW)
    assert tell(engine, told(second, S.DELIVERED)) == [False]
    assert [row.state for row in rows_of(engine)] == [S.ACCEPTED, S.IN_FLIGHT]
    assert f"belongs to attempt {first.attempt_id}" in refused(engine)


@pytest.mark.parametrize("outcome", [OutcomeClass.REFUSED, OutcomeClass.NOT_ACCEPTED])
def test_an_attempt_that_was_not_accepted_binds_nothing(engine: Engine, outcome: OutcomeClass) -> None:
    (one,) = armed(engine)
    record(engine, one, Outcome(outcome, "21211"), NOW)
    before = state_of(engine)
    assert tell(engine, told(one, S.DELIVERED)) == [False]
    assert state_of(engine) == before
    assert "no provider has taken" in refused(engine)


def test_another_person_or_another_channel_binds_nothing(engine: Engine) -> None:
    (one,) = armed(engine)
    with writing(engine) as connection:
        own = address_hash(SECRET, "sms", one.address)
        connection.execute(update(attempt).values(address_hash=own))
    other = address_hash(SECRET, "sms", "+447700900999")
    assert (
        tell(engine, told(one, S.SENT, address_hash=other), told(one, S.SENT, kind="voice", digest="v")) == [False] * 2
    )
    assert state_of(engine)[0] == S.IN_FLIGHT
    assert tell(engine, told(one, S.SENT, address_hash=own, digest="right")) == [True]
    assert state_of(engine)[0] == S.SENT


def test_every_order_of_every_subset_ends_the_same(sqlite_engine: Engine) -> None:
    """All 64 orders of all subsets of four words, told for one message each."""
    words = (S.ACCEPTED, S.SENT, S.UNDELIVERED, S.DELIVERED)
    orders = [order for size in range(5) for order in permutations(words, size)]
    claims = armed(sqlite_engine, len(orders))
    ends: dict[frozenset[MessageState], set[str]] = {}
    for one, order in zip(claims, orders, strict=True):
        sid = f"SM{one.attempt_id:032x}"
        record(sqlite_engine, one, accepted(sid), NOW)
        with writing(sqlite_engine) as connection:
            for state in order:
                code = "30008" if state is S.UNDELIVERED else ""
                assert keep(connection, told(one, state, sid, code=code), NOW)
    for row, order in zip(rows_of(sqlite_engine, [c.message_id for c in claims]), orders, strict=True):
        ends.setdefault(frozenset(order), set()).add(row.state)
    assert len(orders) == 65
    assert {len(found) for found in ends.values()} == {1}
    assert ends[frozenset(words)] == {S.DELIVERED}
