"""What providers' words mean, when a try is made again, and what becomes of a message: all pure."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.aftermath import Sent, becomes
from messaging.channels.base import Outcome, Sighting
from messaging.channels.callbacks import attempt_of, attempt_token, status_url
from messaging.claims import Claim
from messaging.outcomes import (
    MAIL_AFTER,
    RETRY_WAITS,
    SENDER_CODES,
    SMTP_ENHANCED,
    SMTP_REPLIES,
    TWILIO_AFTER,
    TWILIO_CALL_STATUSES,
    TWILIO_CODES,
    TWILIO_MESSAGE_STATUSES,
    TWILIO_STATUSES,
    After,
    Verdict,
    after,
    of_smtp,
    of_twilio,
    resend_at,
    retry_at,
    slower_until,
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


def codes_that(**asks: bool) -> set[int]:
    (name,) = asks
    return {code for code, verdict in TWILIO_CODES.items() if getattr(verdict, name)}


def test_what_codes_of_the_create_calls_ask_for() -> None:
    assert codes_that(suppress=True) == {21610}
    assert codes_that(bad_address=True) == {21211, 21214, 21217, 21265, 21612, 21614, 21635}
    assert codes_that(slow=True) == {20429, 21611, 22005}
    assert codes_that(blocked=True) == {30007}
    assert {10001, 20003, 20005, 21606} <= codes_that(stops=True)
    assert {str(code) for code in codes_that(stops=True)} >= SENDER_CODES
    assert of_twilio(401, 20003).stops
    assert of_twilio(403, 20404).stops
    assert of_twilio(429, None).slow


@pytest.mark.parametrize("table", [TWILIO_CODES, TWILIO_STATUSES, SMTP_REPLIES, SMTP_ENHANCED])
def test_what_a_class_may_ask_for(table: Mapping[object, Verdict]) -> None:
    for code, verdict in table.items():
        if verdict.stops or verdict.slow:
            assert verdict.kind is NOT_ACCEPTED, f"{code}: the message is not at fault and must not be lost"
        if verdict.bad_address or verdict.suppress or verdict.blocked:
            assert verdict.kind is REFUSED, f"{code}: trying again does not help"


def after_that(**asks: bool) -> set[int]:
    (name,) = asks
    return {code for code, later in TWILIO_AFTER.items() if getattr(later, name)}


def test_what_codes_after_acceptance_ask_for() -> None:
    """The table of the issue."""
    assert len(TWILIO_AFTER[30003].waits) == 2
    assert after_that(bad_address=True) == {30005, 30006}
    assert {30004, 30007} <= after_that(blocked=True)
    assert (len(TWILIO_AFTER[30008].waits), TWILIO_AFTER[30008].purposes) == (1, frozenset({Purpose.SERVICE}))
    assert {30001, 30036} <= after_that(slow=True)
    assert all(TWILIO_AFTER[code].waits for code in after_that(slow=True))
    assert after_that(suppress=True) == {21610}


@pytest.mark.parametrize("code", ["", "undelivered", "99999", "３０００６", "-30006", "30006 "])
def test_a_word_that_no_table_knows_asks_nothing(code: str) -> None:
    assert after(Channel.SMS, code) == After()
    assert after(Channel.EMAIL, code) == After()


def test_bounces_are_read_by_their_enhanced_code() -> None:
    assert after(Channel.EMAIL, "5.1.1").bad_address
    assert after(Channel.EMAIL, "5.7.26").blocked
    assert after(Channel.EMAIL, "5.2.2").waits
    assert after(Channel.SMS, "5.1.1") == After()


@pytest.mark.parametrize(
    ("phase", "reply", "enhanced", "expected"),
    [
        ("rcpt", 550, "5.1.1", Verdict(REFUSED, bad_address=True)),
        ("rcpt", 550, "5.1.10", Verdict(REFUSED, bad_address=True)),
        ("rcpt", 554, "5.7.1", Verdict(REFUSED, blocked=True)),
        ("dot", 550, "5.7.350", Verdict(REFUSED, blocked=True)),
        ("mail", 550, "5.7.1", Verdict(NOT_ACCEPTED, stops=True)),
        ("mail", 530, "5.7.0", Verdict(NOT_ACCEPTED, stops=True)),
        ("rcpt", 535, "5.7.8", Verdict(REFUSED)),
        ("rcpt", 552, "5.2.2", Verdict(NOT_ACCEPTED)),
        ("rcpt", 552, "", Verdict(NOT_ACCEPTED)),
        ("dot", 552, "5.3.4", Verdict(REFUSED)),
        ("rcpt", 452, "4.2.2", Verdict(NOT_ACCEPTED)),
        ("rcpt", 451, "4.7.1", Verdict(NOT_ACCEPTED)),
        ("rcpt", 450, "5.1.1", Verdict(NOT_ACCEPTED)),
        ("rcpt", 550, "4.1.1", Verdict(REFUSED)),
        ("rcpt", 550, "", Verdict(REFUSED)),
        ("connect", 554, "5.7.1", Verdict(NOT_ACCEPTED, stops=True)),
        ("dot", 250, "2.0.0", Verdict(ACCEPTED)),
    ],
)
def test_enhanced_codes_decide_where_they_say_more(phase: str, reply: int, enhanced: str, expected: Verdict) -> None:
    assert of_smtp(phase, reply, enhanced) == expected


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


def test_mail_goes_by_the_schedule_of_rfc_5321() -> None:
    """4.5.4.1: 30 minutes at least, two tries in the first hour, then every two or three hours, for four days."""
    waits = RETRY_WAITS[Channel.EMAIL]
    assert min(waits) == timedelta(minutes=30)
    assert waits[0] < timedelta(hours=1) < waits[0] + waits[1]
    assert {timedelta(hours=2), timedelta(hours=3)} == set(waits[1:])
    assert timedelta(days=4) < sum(waits, timedelta()) < timedelta(days=5)


def test_retry_after_is_obeyed_where_it_is_longer_and_not_for_days() -> None:
    assert retry_at(1, not_accepted(retry_after_seconds=90), NOW) == NOW + timedelta(seconds=90)
    assert retry_at(1, not_accepted(retry_after_seconds=1), NOW) == NOW + timedelta(seconds=30)
    assert retry_at(1, not_accepted(retry_after_seconds=9e99), NOW) == NOW + timedelta(hours=6)


def test_a_fault_of_the_account_uses_up_no_try() -> None:
    assert retry_at(99, not_accepted(stops=True), NOW) == NOW + timedelta(minutes=1)


SECONDS = st.none() | st.floats(0, 1e12)
OUTCOMES = st.builds(Outcome, st.sampled_from(OutcomeClass), retry_after_seconds=SECONDS, stops=st.booleans())


@given(
    attempt=st.integers(1, 60),
    outcome=OUTCOMES,
    channel=st.sampled_from(Channel),
    jitter=st.floats(0, 1),
    until=st.none() | st.integers(-100, 10**6).map(lambda seconds: NOW + timedelta(seconds=seconds)),
)
def test_a_next_try_keeps_its_promises(
    attempt: int, outcome: Outcome, channel: Channel, jitter: float, until: datetime | None
) -> None:
    due = retry_at(attempt, outcome, NOW, channel, jitter=jitter, until=until)
    bare = retry_at(attempt, outcome, NOW, channel)
    if due is None:
        assert bare is None or (until is not None and until <= bare + (bare - NOW) / 2)
        return
    assert outcome.kind is NOT_ACCEPTED
    assert bare is not None
    assert bare <= due <= bare + (bare - NOW) / 2, "a jitter makes a wait longer, by half of it at most"
    assert until is None or due < until
    assert (due - NOW).total_seconds() >= min(outcome.retry_after_seconds or 0, 6 * 3600) - 1e-6
    if channel is Channel.EMAIL:
        assert due == bare
    assert retry_at(attempt, outcome, NOW, channel, jitter=jitter, until=until) == due


@given(number=st.integers(1, 3), first=st.floats(0, 1), second=st.floats(0, 1), channel=st.sampled_from(Channel))
def test_later_tries_wait_longer_whatever_the_dice_say(
    number: int, first: float, second: float, channel: Channel
) -> None:
    sooner = retry_at(number, not_accepted(), NOW, channel, jitter=first)
    later = retry_at(number + 1, not_accepted(), NOW, channel, jitter=second)
    assert sooner is not None
    assert later is not None
    assert sooner <= later


@given(
    later=st.sampled_from([*TWILIO_AFTER.values(), *MAIL_AFTER.values(), After()]),
    resends=st.integers(0, 9),
    purpose=st.sampled_from(Purpose),
    minutes=st.none() | st.integers(-10, 10_000),
)
def test_sending_again_keeps_its_promises(later: After, resends: int, purpose: Purpose, minutes: int | None) -> None:
    until = None if minutes is None else NOW + timedelta(minutes=minutes)
    due = resend_at(later, resends, purpose, NOW, until)
    if due is None:
        return
    assert resends < len(later.waits) <= 4
    assert purpose in later.purposes
    assert due >= NOW + timedelta(minutes=10)
    assert until is None or due < until


WORDS = st.tuples(
    st.sampled_from([MessageState.SENT, MessageState.UNDELIVERED, MessageState.DELIVERED, MessageState.ACCEPTED]),
    st.sampled_from(["", "undelivered", *map(str, TWILIO_AFTER)]),
)


@given(st.lists(WORDS, max_size=5), st.integers(0, 3))
def test_what_was_said_never_leads_a_step_back(words: list[tuple[MessageState, str]], resends: int) -> None:
    sent = Sent(Channel.SMS, Purpose.SERVICE, resends, None)
    if any(state is MessageState.DELIVERED for state, _ in words):
        assert becomes(words, sent, NOW).state is MessageState.DELIVERED
    final = [*words, (MessageState.UNDELIVERED, "30006")]
    assert becomes(final, sent, NOW).state in (MessageState.UNDELIVERED, MessageState.DELIVERED)
    goes = becomes(words, sent, NOW)
    assert (goes.state is MessageState.QUEUED) == (goes.again_at is not None)


@pytest.mark.parametrize(
    ("code", "asked", "expected"),
    [("20429", None, 30), ("21611", None, 600), ("30001", None, 600), ("20429", 7, 7), ("429", 9e99, 6 * 3600)],
)
def test_how_long_a_sender_rests(code: str, asked: float | None, expected: int) -> None:
    assert slower_until(code, asked, NOW) == NOW + timedelta(seconds=expected)


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
