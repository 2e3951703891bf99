"""What providers' words mean, when a try is made again, and what becomes of a message: all pure."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from messaging.channels.base import Outcome, Sighting
from messaging.channels.callbacks import attempt_of, attempt_token, status_url
from messaging.claims import Claim
from messaging.outcomes import (
    RETRY_WAITS,
    TWILIO_CALL_STATUSES,
    TWILIO_CODES,
    TWILIO_MESSAGE_STATUSES,
    Verdict,
    of_smtp,
    of_twilio,
    retry_at,
)
from messaging.recording import DEADLINE, Next, Standing, next_state
from messaging.unknown import Decision, Unknown, decide
from models.vocabulary import AttemptState, Channel, MessageState, OutcomeClass, Purpose, Reason

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
ACCEPTED, NOT_ACCEPTED, REFUSED, UNKNOWN = (
    OutcomeClass.ACCEPTED,
    OutcomeClass.NOT_ACCEPTED,
    OutcomeClass.REFUSED,
    OutcomeClass.UNKNOWN,
)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, 21211, REFUSED),
        (400, 21614, REFUSED),
        (400, 21610, REFUSED),
        (400, 99999, REFUSED),
        (400, None, UNKNOWN),
        (401, 20003, NOT_ACCEPTED),
        (401, None, UNKNOWN),
        (404, 20404, NOT_ACCEPTED),
        (408, None, UNKNOWN),
        (429, 20429, NOT_ACCEPTED),
        (429, None, NOT_ACCEPTED),
        (500, None, UNKNOWN),
        (500, 20500, UNKNOWN),
        (502, None, UNKNOWN),
        (503, 21211, UNKNOWN),
        (302, None, UNKNOWN),
    ],
)
def test_twilio_answers(status: int, code: int | None, kind: OutcomeClass) -> None:
    assert of_twilio(status, code).kind is kind


def test_only_a_stop_suppresses_and_only_the_account_stops_the_batch() -> None:
    assert [code for code, verdict in TWILIO_CODES.items() if verdict.suppress] == [21610]
    assert of_twilio(401, 20003).stops
    assert not of_twilio(429, 20429).stops
    assert all(verdict.kind is NOT_ACCEPTED for verdict in TWILIO_CODES.values() if verdict.stops)


@pytest.mark.parametrize(
    ("phase", "reply", "kind"),
    [
        ("connect", 554, NOT_ACCEPTED),
        ("login", 535, NOT_ACCEPTED),
        ("mail", 451, NOT_ACCEPTED),
        ("mail", 550, REFUSED),
        ("mail", 530, NOT_ACCEPTED),
        ("rcpt", 450, NOT_ACCEPTED),
        ("rcpt", 550, REFUSED),
        ("data", 503, REFUSED),
        ("body", -1, NOT_ACCEPTED),
        ("dot", 250, ACCEPTED),
        ("dot", 452, NOT_ACCEPTED),
        ("dot", 554, REFUSED),
        ("dot", -1, UNKNOWN),
        ("dot", 354, UNKNOWN),
    ],
)
def test_smtp_replies(phase: str, reply: int, kind: OutcomeClass) -> None:
    assert of_smtp(phase, reply).kind is kind


def test_a_wrong_login_stops_the_batch_and_a_wrong_mailbox_does_not() -> None:
    assert of_smtp("login", 535) == Verdict(NOT_ACCEPTED, stops=True)
    assert of_smtp("rcpt", 550) == Verdict(REFUSED)


def test_every_status_of_twilios_own_description_is_known(shared_data: Path) -> None:
    described = json.loads((shared_data / "specs/twilio/twilio_api_v2010.json").read_text())["components"]["schemas"]
    inbound = {"receiving", "received"}
    assert set(described["message_enum_status"]["enum"]) - inbound == set(TWILIO_MESSAGE_STATUSES)
    assert set(described["call_enum_status"]["enum"]) <= set(TWILIO_CALL_STATUSES)


def not_accepted(**more: object) -> Outcome:
    return Outcome(NOT_ACCEPTED, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("channel", list(Channel))
def test_waits_grow_and_end(channel: Channel) -> None:
    waits = [retry_at(number, not_accepted(), NOW, channel) for number in range(1, len(RETRY_WAITS[channel]) + 2)]
    assert waits[-1] is None
    known = [wait for wait in waits if wait]
    assert known == sorted(known)
    assert known[0] > NOW


def test_retry_after_is_obeyed_where_it_is_longer_and_not_for_days() -> None:
    assert retry_at(1, not_accepted(retry_after_seconds=90), NOW) == NOW + timedelta(seconds=90)
    assert retry_at(1, not_accepted(retry_after_seconds=1), NOW) == NOW + timedelta(seconds=30)
    assert retry_at(1, not_accepted(retry_after_seconds=9e9), NOW) == NOW + timedelta(hours=6)


def test_a_fault_of_the_account_uses_up_no_try() -> None:
    assert retry_at(99, not_accepted(stops=True), NOW) == NOW + timedelta(minutes=1)


@pytest.mark.parametrize("kind", [ACCEPTED, REFUSED, UNKNOWN])
def test_only_what_was_not_accepted_is_tried_again(kind: OutcomeClass) -> None:
    assert retry_at(1, Outcome(kind), NOW) is None


def claim(number: int = 1, expires_at: datetime | None = None) -> Claim:
    return Claim(
        attempt_id=1, message_id=1, number=number, lease="x", lease_until=NOW, channel=Channel.SMS, address="+44",
        address_hash="h", purpose=Purpose.SERVICE, rule_id="r", version="v", occasion="o", step="0", match_id=1,
        customer_id=1, template="t", language=None, reference="R", details={}, expires_at=expires_at,
    )  # fmt: skip


def standing(attempt: AttemptState, message: MessageState, tries: int = 1) -> Standing:
    return Standing(attempt, message, tries, NOW)


FLYING = standing(AttemptState.IN_FLIGHT, MessageState.IN_FLIGHT)


def test_a_result_in_time() -> None:
    assert next_state(claim(), Outcome(ACCEPTED), FLYING, NOW) == Next(MessageState.ACCEPTED)
    assert next_state(claim(), Outcome(UNKNOWN), FLYING, NOW) == Next(MessageState.UNKNOWN)
    assert next_state(claim(), Outcome(REFUSED), FLYING, NOW) == Next(MessageState.FAILED, Reason.REFUSED)
    again = next_state(claim(), not_accepted(), FLYING, NOW)
    assert again == Next(MessageState.QUEUED, due_at=NOW + timedelta(seconds=30))
    assert next_state(claim(5), not_accepted(), FLYING, NOW) == Next(MessageState.FAILED, Reason.GAVE_UP)


def test_a_next_try_after_the_deadline_is_too_late() -> None:
    soon = claim(expires_at=NOW + timedelta(seconds=29))
    assert next_state(soon, not_accepted(), FLYING, NOW) == Next(MessageState.EXPIRED, Reason.TOO_LATE)


def test_a_try_that_missed_its_own_deadline_goes_at_once() -> None:
    assert next_state(claim(), not_accepted(code=DEADLINE), FLYING, NOW) == Next(MessageState.QUEUED, due_at=NOW)


@pytest.mark.parametrize("state", [MessageState.UNKNOWN, MessageState.QUEUED, MessageState.CLAIMED])
def test_an_acceptance_after_the_reaper_stops_the_resend(state: MessageState) -> None:
    late = standing(AttemptState.UNKNOWN, state)
    assert next_state(claim(), Outcome(ACCEPTED), late, NOW) == Next(MessageState.ACCEPTED)


@pytest.mark.parametrize("state", [MessageState.ACCEPTED, MessageState.DELIVERED, MessageState.UNDELIVERED])
def test_a_late_acceptance_takes_back_nothing_that_is_known(state: MessageState) -> None:
    late = standing(AttemptState.UNKNOWN, state, tries=2)
    assert next_state(claim(), Outcome(ACCEPTED), late, NOW) is None


@pytest.mark.parametrize("state", [MessageState.IN_FLIGHT, MessageState.DELIVERED, MessageState.FAILED])
def test_a_late_refusal_never_takes_a_message_from_another_try(state: MessageState) -> None:
    late = standing(AttemptState.UNKNOWN, state, tries=2)
    assert next_state(claim(), not_accepted(), late, NOW) is None


def unknown(channel: Channel, purpose: Purpose = Purpose.SERVICE, *, unknowns: int = 1, age: int = 60) -> Unknown:
    armed = NOW - timedelta(minutes=age)
    return Unknown(1, 1, channel, "+44", purpose, None, armed, armed, "f", unknowns)


@pytest.mark.parametrize(
    ("what", "seen", "becomes"),
    [
        (unknown(Channel.SMS), [], Decision(MessageState.QUEUED)),
        (unknown(Channel.SMS, unknowns=2), [], Decision(MessageState.FAILED, Reason.GAVE_UP)),
        (unknown(Channel.SMS, Purpose.MARKETING), [], Decision(MessageState.FAILED, Reason.GAVE_UP)),
        (unknown(Channel.SMS, Purpose.SURVEY), [], Decision(MessageState.FAILED, Reason.GAVE_UP)),
        (unknown(Channel.SMS), None, None),
        (unknown(Channel.SMS, age=60 * 25), None, Decision(MessageState.UNKNOWN, Reason.GAVE_UP)),
        (unknown(Channel.VOICE), [], Decision(MessageState.FAILED, Reason.GAVE_UP)),
        (unknown(Channel.VOICE), None, None),
        (unknown(Channel.EMAIL), None, Decision(MessageState.QUEUED)),
        (unknown(Channel.EMAIL, unknowns=2), None, Decision(MessageState.UNKNOWN, Reason.GAVE_UP)),
        (unknown(Channel.EMAIL, Purpose.MARKETING), None, Decision(MessageState.UNKNOWN, Reason.GAVE_UP)),
    ],
)
def test_the_table_of_unknown_outcomes(what: Unknown, seen: list[Sighting] | None, becomes: Decision | None) -> None:
    assert decide(what, seen, NOW) == becomes


def test_what_the_listing_shows_is_accepted() -> None:
    seen = Sighting("SM1", MessageState.SENT)
    for channel in Channel:
        decided = decide(unknown(channel, Purpose.MARKETING), [seen], NOW)
        assert decided == Decision(MessageState.ACCEPTED, sighting=seen)


def test_a_callback_names_an_attempt_and_nobody_else_can() -> None:
    token = attempt_token(b"key", 17)
    assert attempt_of(b"key", token) == 17
    assert status_url("https://shop.example/", b"key", 17) == f"https://shop.example/hooks/twilio/status/{token}"
    for forged in ("17", "17-", token.replace("17", "18", 1), token + "0", "x-" + token, "", "١٧-" + token[3:]):
        assert attempt_of(b"key", forged) is None
    assert attempt_of(b"other", token) is None
