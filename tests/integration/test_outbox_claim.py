"""The claim: what is due goes out in order and once; what may not go gets its named reason."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, delete, insert, update

from messaging.addresses import address_hash
from messaging.claims import Claimed, message
from messaging.outbox import arm, claim, give_back, reap
from messaging.policy import Policy
from messaging.quiet import read_quiet_hours
from models.customer import Consent, Customer, Suppression
from models.database import writing
from models.housekeeping import Lease, Switch
from models.vocabulary import AttemptState, Channel, MessageState, Purpose, Reason
from tests.integration.out_world import NOW, POLICY, SECRET, attempts_of, later, phone, plan_messages, rows_of

ASKS = Policy(secret=SECRET)
"""A policy that needs a recorded yes for surveys and marketing."""


def take(engine: Engine, now: datetime = NOW, policy: Policy = POLICY, **more: Any) -> Claimed:
    with writing(engine) as connection:
        return claim(connection, now, **({"limit": 100, "lease_seconds": 60, "policy": policy} | more))


def put(engine: Engine, model: Any, **values: Any) -> None:
    with writing(engine) as connection:
        connection.execute(insert(model), [values])


def consents(engine: Engine, verdict: str, *, days: int = 0, channel: str = "sms", purpose: str = "service") -> None:
    put(
        engine, Consent, customer_id=rows_of(engine)[0].customer_id, channel=channel, purpose=purpose, verdict=verdict,
        given_at=later(days=days), recorded_at=NOW, source="test",
    )  # fmt: skip


def state_of(engine: Engine) -> tuple[str, str | None]:
    row = rows_of(engine)[0]
    return row.state, row.reason


def test_a_claim_takes_what_is_due_with_an_attempt_and_a_lease(engine: Engine) -> None:
    ids = plan_messages(engine, 3)
    plan_messages(engine, 2, due_at=later(seconds=1))
    claimed = take(engine)
    assert sorted(c.message_id for c in claimed.claims) == ids
    assert [row.state for row in rows_of(engine)] == ["claimed"] * 3 + ["planned"] * 2
    attempts = attempts_of(engine)
    assert [(a.state, a.number, a.lease_until) for a in attempts] == [("claimed", 1, later(seconds=60))] * 3
    assert {a.lease for a in attempts} == {c.lease for c in claimed.claims}


def test_what_is_claimed_is_not_claimed_again(engine: Engine) -> None:
    plan_messages(engine, 5)
    assert len(take(engine).claims) == 5
    assert take(engine) == Claimed()


def test_the_more_urgent_goes_first_and_the_limit_holds(engine: Engine) -> None:
    plan_messages(engine, 3, priority=10)
    urgent = plan_messages(engine, 2, priority=90)
    old = plan_messages(engine, 1, priority=10, due_at=later(hours=-1))
    assert {c.message_id for c in take(engine, limit=3).claims} == {*urgent, *old}


def test_only_the_channels_asked_for(engine: Engine) -> None:
    plan_messages(engine, 2, channel="sms")
    plan_messages(engine, 2, channel="email")
    assert {c.channel for c in take(engine, channels=[Channel.EMAIL]).claims} == {Channel.EMAIL}


def test_too_late_is_expired(engine: Engine) -> None:
    plan_messages(engine, 1, expires_at=NOW)
    assert take(engine).withheld == {Reason.TOO_LATE: 1}
    assert state_of(engine) == ("expired", "too_late")
    assert rows_of(engine)[0].ended_at == NOW


@pytest.mark.parametrize(
    ("channel", "scope", "spelling", "barred"),
    [
        ("sms", "all", phone(0), True),
        ("sms", "service", phone(0), True),
        ("all", "all", phone(0), True),
        ("phone", "all", phone(0), True),
        ("sms", "all", phone(0).replace("+44", "+44 "), True),
        ("sms", "marketing", phone(0), False),
        ("voice", "all", phone(0), False),
        ("sms", "all", phone(1), False),
    ],
)
def test_a_suppressed_address(engine: Engine, channel: str, scope: str, spelling: str, barred: bool) -> None:
    plan_messages(engine, 1)
    hashed = address_hash(SECRET, "sms", spelling)
    put(engine, Suppression, address_hash=hashed, channel=channel, scope=scope, cause="stop", since=NOW)
    assert take(engine).withheld == ({Reason.SUPPRESSED: 1} if barred else {})
    assert state_of(engine) == (("suppressed", "suppressed") if barred else ("claimed", None))


def test_an_opt_out_since_planning(engine: Engine) -> None:
    plan_messages(engine, 1)
    consents(engine, "granted", days=-2)
    consents(engine, "withdrawn", days=-1)
    consents(engine, "granted", days=0, channel="voice")
    assert take(engine).withheld == {Reason.OPTED_OUT: 1}
    assert state_of(engine) == ("suppressed", "opted_out")


def test_the_newest_word_counts(engine: Engine) -> None:
    plan_messages(engine, 1)
    consents(engine, "withdrawn", days=-2)
    consents(engine, "granted", days=-1)
    assert len(take(engine).claims) == 1


@pytest.mark.parametrize("purpose", ["marketing", "survey"])
def test_a_purpose_that_needs_a_yes(engine: Engine, purpose: str) -> None:
    plan_messages(engine, 1, purpose=purpose)
    consents(engine, "granted", purpose="service")
    assert take(engine, policy=ASKS).withheld == {Reason.NO_CONSENT: 1}
    assert state_of(engine) == ("suppressed", "no_consent")


def test_a_recorded_yes_is_enough(engine: Engine) -> None:
    plan_messages(engine, 1, purpose="marketing")
    consents(engine, "granted", purpose="marketing")
    assert len(take(engine, policy=ASKS).claims) == 1


def test_trial_mode_reaches_the_guest_list_only(engine: Engine) -> None:
    plan_messages(engine, 2)
    plan_messages(engine, 1, channel="email", address="Guest@Kunde.example")
    policy = replace(POLICY, guests=frozenset({phone(1).replace("+44", "+44 "), "guest@kunde.example"}))
    claimed = take(engine, policy=policy)
    assert {c.address for c in claimed.claims} == {phone(1), "Guest@Kunde.example"}
    assert claimed.withheld == {Reason.NOT_ON_GUEST_LIST: 1}
    assert state_of(engine) == ("suppressed", "not_on_guest_list")


def test_an_empty_guest_list_reaches_nobody(engine: Engine) -> None:
    plan_messages(engine, 2)
    assert take(engine, policy=replace(POLICY, guests=frozenset())).claims == []


QUIET = replace(POLICY, quiet={Purpose.SERVICE: read_quiet_hours("22:00-07:00")})


def test_in_quiet_hours_a_message_goes_back_to_the_queue_for_the_morning(engine: Engine) -> None:
    plan_messages(engine, 1, due_at=later(hours=11))
    assert take(engine, later(hours=11), QUIET).withheld == {Reason.QUIET_HOURS: 1}
    row = rows_of(engine)[0]
    assert (row.state, row.reason, row.due_at, row.ended_at) == ("queued", "quiet_hours", later(hours=19), None)
    assert take(engine, later(hours=18, minutes=59), QUIET) == Claimed()
    assert len(take(engine, later(hours=19), QUIET).claims) == 1
    assert rows_of(engine)[0].reason is None


def test_quiet_is_where_the_customer_lives(engine: Engine) -> None:
    plan_messages(engine, 1)
    with writing(engine) as connection:
        connection.execute(update(Customer).values(time_zone="Asia/Tokyo"))
    take(engine, later(hours=2), QUIET)
    assert rows_of(engine)[0].due_at == later(hours=10)


def test_a_morning_that_comes_too_late_ends_it_now(engine: Engine) -> None:
    plan_messages(engine, 1, due_at=later(hours=11), expires_at=later(hours=19))
    assert take(engine, later(hours=11), QUIET).withheld == {Reason.TOO_LATE: 1}
    assert state_of(engine) == ("expired", "too_late")


@pytest.mark.parametrize(
    ("scope", "held"),
    [("all", True), ("rule:late-order", True), ("channel:sms", True), ("rule:other", False), ("channel:voice", False)],
)
def test_a_kill_switch_keeps_messages_where_they_are(engine: Engine, scope: str, held: bool) -> None:
    plan_messages(engine, 2)
    put(engine, Switch, scope=scope, stopped_at=NOW)
    claimed = take(engine)
    assert claimed.withheld == ({Reason.KILL_SWITCH: 2} if held else {})
    assert state_of(engine) == (("planned", "kill_switch") if held else ("claimed", None))
    with writing(engine) as connection:
        connection.execute(update(Switch).values(stopped_at=None))
    assert len(take(engine).claims) == (2 if held else 0)
    assert state_of(engine) == ("claimed", None)


def test_a_kill_switch_between_claim_and_arm_is_heard(engine: Engine) -> None:
    plan_messages(engine, 2)
    claims = take(engine).claims
    put(engine, Switch, scope="all", stopped_at=NOW)
    assert arm(engine, claims, NOW) == []
    assert [row.state for row in rows_of(engine)] == ["queued"] * 2
    assert [a.state for a in attempts_of(engine)] == ["returned"] * 2


def test_the_rules_own_stop_condition_is_asked_about_just_these(engine: Engine) -> None:
    ids = plan_messages(engine, 3)
    plan_messages(engine, 1, due_at=later(hours=1))
    asked: list[Sequence[int]] = []

    def stops(connection: Connection, now: datetime, keys: Sequence[int]) -> dict[Reason, int]:
        asked.append(sorted(keys))
        stop = update(message).where(message.c.id == ids[0])
        connection.execute(stop.values(state=MessageState.CANCELLED, reason=Reason.STOPPED, ended_at=now))
        return {Reason.STOPPED: 1}

    claimed = take(engine, stops=stops)
    assert asked == [ids]
    assert sorted(c.message_id for c in claimed.claims) == ids[1:]
    assert claimed.withheld == {Reason.STOPPED: 1}


def test_a_channel_at_rest_is_left_alone_until_then(engine: Engine) -> None:
    plan_messages(engine, 1)
    put(engine, Lease, duty="pause:sms", holder="20003", until=later(seconds=60))
    assert take(engine).claims == []
    assert len(take(engine, later(seconds=60)).claims) == 1


def test_only_the_holder_of_the_lease_can_arm_and_only_once(engine: Engine) -> None:
    plan_messages(engine, 2)
    first, second = take(engine).claims
    assert arm(engine, [replace(first, lease="stolen"), second], NOW) == [
        replace(second, lease_until=later(seconds=60))
    ]
    assert arm(engine, [second], NOW) == []
    assert [a.state for a in attempts_of(engine)] == ["claimed", "in_flight"]
    assert [row.tries for row in rows_of(engine)] == [0, 1]


def test_a_lease_that_is_over_cannot_be_armed(engine: Engine) -> None:
    plan_messages(engine, 1)
    claims = take(engine).claims
    assert arm(engine, claims, later(seconds=60)) == []
    assert state_of(engine) == ("queued", None)


def test_what_has_come_too_late_cannot_be_armed(engine: Engine) -> None:
    plan_messages(engine, 1, expires_at=later(seconds=5))
    assert arm(engine, take(engine).claims, later(seconds=5)) == []
    assert take(engine, later(seconds=5)).withheld == {Reason.TOO_LATE: 1}


def test_a_claim_given_back_is_free_again(engine: Engine) -> None:
    plan_messages(engine, 2)
    give_back(engine, take(engine).claims, NOW)
    assert len(take(engine).claims) == 2
    assert [a.state for a in attempts_of(engine)] == ["returned"] * 2 + ["claimed"] * 2


def test_the_reaper_returns_the_claimed_and_never_the_armed(engine: Engine) -> None:
    claimed, armed = plan_messages(engine, 2)
    claims = take(engine).claims
    arm(engine, [c for c in claims if c.message_id == armed], NOW)
    assert reap(engine, later(seconds=59)).unknown == 0
    report = reap(engine, later(seconds=60))
    assert (report.returned, report.unknown) == (1, 1)
    assert [row.state for row in rows_of(engine, [claimed, armed])] == ["queued", "unknown"]
    assert [a.state for a in attempts_of(engine)] == [AttemptState.RETURNED, AttemptState.UNKNOWN]
    assert reap(engine, later(days=30)).unknown == 0
    assert rows_of(engine, [armed])[0].state == "unknown", "time alone brings nothing back"


def test_one_open_attempt_a_message_is_what_the_database_itself_holds(engine: Engine) -> None:
    plan_messages(engine, 1)
    take(engine)
    with writing(engine) as connection:
        connection.execute(update(message).values(state="queued"))
    with pytest.raises(Exception, match=r"(?i)unique"):
        take(engine)


def test_a_thousand_due_messages_are_claimed_quickly(engine: Engine) -> None:
    plan_messages(engine, 1000)
    assert len(take(engine, limit=1000).claims) == 1000
    with writing(engine) as connection:
        connection.execute(delete(Lease))
    assert take(engine, later(minutes=-1) + timedelta(days=1)) == Claimed()
