"""A reply that may mean STOP holds what waits, calls staff, and ends or goes on by their word."""

import threading
from datetime import datetime

import pytest
from sqlalchemy import Connection, Engine, insert, select, update

import models
from messaging import replies
from messaging.addresses import address_hash
from messaging.breaker import notice
from messaging.candidates import TABLES, message
from messaging.claims import attempt
from messaging.outbox import arm, claim
from messaging.replies import Answer, Heard, Ours, Said, hear
from messaging.told import Told, keep
from models.database import reading, writing
from models.vocabulary import Channel, MessageState, Reason
from tests.integration.out_world import NOW, POLICY, later, phone, plan_messages, rows_of

OURS = Ours("Our Shop", "+442079460000", twilio_answers=False)
MAYBE = "please stop texting me"


def say(engine: Engine, text: str, *, at: datetime = NOW, sender: str = phone(0), name: str = "") -> Answer:
    heard = Heard(Channel.SMS, name or f"{text}/{at}", sender, at, text=text)
    with writing(engine) as connection:
        return hear(connection, heard, at, POLICY, OURS)


def press(engine: Engine, key: str, attempt_id: int | None = None, message_id: int | None = None) -> Answer:
    heard = Heard(Channel.VOICE, "CA1", phone(0), NOW, key=key, attempt_id=attempt_id, message_id=message_id)
    with writing(engine) as connection:
        return hear(connection, heard, NOW, POLICY, OURS)


def states(engine: Engine) -> list[tuple[str, str | None]]:
    return [(row.state, row.reason) for row in rows_of(engine)]


def take(engine: Engine) -> dict[Reason, int]:
    with writing(engine) as connection:
        return claim(connection, NOW, limit=100, lease_seconds=60, policy=POLICY).withheld


def topics(engine: Engine) -> list[str]:
    with reading(engine) as connection:
        return list(connection.execute(select(notice.c.topic)).scalars())


def open_ones(engine: Engine) -> list[replies.OpenReply]:
    with reading(engine) as connection:
        return replies.open_replies(connection)


def test_a_phrase_holds_what_waits_and_calls_staff(engine: Engine) -> None:
    plan_messages(engine, 2)
    assert say(engine, MAYBE) == Answer(Said.MAYBE_STOP)
    assert states(engine) == [("held", "maybe_stop"), ("planned", None)]
    assert rows_of(engine)[0].ended_at is None
    assert topics(engine) == ["replies"]
    [found] = open_ones(engine)
    assert (found.text, found.customer, found.held) == (MAYBE, "c0", 1)


def test_what_is_planned_later_is_held_at_the_claim(engine: Engine) -> None:
    plan_messages(engine, 1, state="delivered")
    say(engine, MAYBE)
    with writing(engine) as connection:
        connection.execute(update(message).values(state="planned"))
    assert take(engine) == {Reason.MAYBE_STOP: 1}
    assert states(engine) == [("held", "maybe_stop")]


def release(engine: Engine, number: int) -> None:
    with writing(engine) as connection:
        replies.release(connection, number, later(hours=1), by="Ann")


def test_released_it_goes_on(engine: Engine) -> None:
    plan_messages(engine, 1)
    say(engine, MAYBE)
    release(engine, open_ones(engine)[0].id)
    assert states(engine) == [("queued", None)]
    assert (open_ones(engine), topics(engine)) == ([], [])
    assert take(engine) == {}


def test_a_second_unread_reply_still_holds(engine: Engine) -> None:
    plan_messages(engine, 1)
    say(engine, MAYBE)
    say(engine, "leave me alone", at=later(minutes=1))
    release(engine, open_ones(engine)[0].id)
    assert states(engine) == [("held", "maybe_stop")]
    assert topics(engine) == ["replies"]


@pytest.mark.parametrize(("calls", "voice"), [(False, ("queued", None)), (True, ("suppressed", "suppressed"))])
def test_taken_for_stop_it_ends(engine: Engine, calls: bool, voice: tuple[str, str | None]) -> None:
    plan_messages(engine, 1)
    plan_messages(engine, 1, channel="voice")
    one_phone(engine)
    say(engine, MAYBE)
    assert states(engine) == [("held", "maybe_stop")] * 2
    with writing(engine) as connection:
        replies.stop(connection, open_ones(engine)[0].id, later(hours=1), by="Ann", calls=calls)
    assert states(engine) == [("suppressed", "suppressed"), voice]
    assert (open_ones(engine), topics(engine)) == ([], [])
    with reading(engine) as connection:
        kept = connection.execute(select(TABLES["reply"])).one()
        sources = set(connection.execute(select(TABLES["suppression"].c.source)).scalars())
    assert (kept.handled_at, kept.handled_by, sources) == (later(hours=1), "staff: Ann", {"staff: Ann"})


def one_phone(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(update(models.Customer).values(phone=phone(0)))


def test_their_own_stop_closes_what_nobody_has_read(engine: Engine) -> None:
    plan_messages(engine, 1)
    say(engine, MAYBE)
    say(engine, "STOP", at=later(minutes=1))
    assert states(engine) == [("suppressed", "suppressed")]
    assert (open_ones(engine), topics(engine)) == ([], [])


def test_an_unknown_number_is_said_so(engine: Engine) -> None:
    with pytest.raises(replies.UnknownReply, match="no open reply 7"), writing(engine) as connection:
        replies.release(connection, 7, NOW, by="Ann")


def test_key_nine_ends_calls_and_leaves_texts(engine: Engine) -> None:
    plan_messages(engine, 1)
    plan_messages(engine, 1, channel="voice")
    one_phone(engine)
    answer = press(engine, "9")
    assert answer.said is Said.NEVER
    assert "do not call" in str(answer.text)
    assert states(engine) == [("planned", None), ("suppressed", "suppressed")]
    say(engine, "START")
    with reading(engine) as connection:
        assert list(connection.execute(select(TABLES["suppression"].c.cause)).scalars()) == ["never_call"]


def test_key_two_rings_again_once(engine: Engine) -> None:
    [call] = plan_messages(
        engine, 1, channel="voice", state="delivered", expires_at=later(minutes=10), details={"tries": 2}
    )
    assert press(engine, "2", message_id=call).text is not None
    assert press(engine, "2", message_id=call).known
    first, again = rows_of(engine)
    assert (again.step, again.state, again.due_at) == ("0.later", "planned", later(hours=2))
    assert again.expires_at == later(hours=6)
    assert (again.address, again.details, again.match_id) == (first.address, first.details, first.match_id)
    assert again.reference != first.reference


def test_key_one_is_kept_and_answered(engine: Engine) -> None:
    [call] = plan_messages(engine, 1, channel="voice", state="in_flight", language="ar")
    assert press(engine, "1", message_id=call).said is Said.CONNECT
    with reading(engine) as connection:
        kept = connection.execute(select(TABLES["reply"])).one()
    assert (kept.said, kept.text, kept.message_id, kept.provider_id) == ("connect", "1", call, "CA1/1")


def test_what_is_claimed_already_is_not_armed(engine: Engine) -> None:
    plan_messages(engine, 2)
    with writing(engine) as connection:
        claims = claim(connection, NOW, limit=100, lease_seconds=60, policy=POLICY).claims
    say(engine, "STOP")
    assert [c.address for c in arm(engine, claims, NOW)] == [phone(1)]
    assert states(engine) == [("queued", None), ("in_flight", None)]
    assert take(engine) == {Reason.SUPPRESSED: 1}


def test_the_consent_that_counts_at_the_claim_is_the_one_cited(engine: Engine) -> None:
    plan_messages(engine, 2)
    first = rows_of(engine)[0].customer_id
    with writing(engine) as connection:
        ids = [_agree(connection, first, later(days=-day)) for day in (9, 2)]
        connection.execute(update(message).where(message.c.customer_id == first).values(consent_id=ids[0]))
    take(engine)
    assert [row.consent_id for row in rows_of(engine)] == [ids[1], None]


def _agree(connection: Connection, who: int, at: datetime) -> int:
    from messaging.consents import consent, record_consent
    from models.vocabulary import ConsentVerdict

    record_consent(
        connection,
        [who],
        channel="all",
        purpose="service",
        verdict=ConsentVerdict.GRANTED,
        source="test",
        at=at,
        now=NOW,
    )
    return int(connection.execute(select(consent.c.id).order_by(consent.c.id.desc()).limit(1)).scalar_one())


def test_a_stop_that_only_twilio_has_heard_counts_from_its_callback_on_and_start_lifts_it(engine: Engine) -> None:
    plan_messages(engine, 2)
    one_phone(engine)
    first = rows_of(engine)[0].id
    keyed = address_hash(POLICY.secret, "sms", phone(0))
    with writing(engine) as connection:
        gone = {"message_id": first, "state": "accepted", "lease": "x", "provider_id": "SM1", "provider": "twilio"}
        gone["address_hash"] = keyed
        connection.execute(insert(attempt), [gone | {"lease_until": NOW, "claimed_at": NOW}])
        connection.execute(update(message).where(message.c.id == first).values(state="accepted", accepted_at=NOW))
    with writing(engine) as connection:
        said = Told("twilio", "sms", "SM1", None, MessageState.UNDELIVERED, "21610", "d", address_hash=keyed)
        assert keep(connection, said, NOW)
    assert take(engine) == {Reason.SUPPRESSED: 1}
    say(engine, "START")
    with reading(engine) as connection:
        assert connection.execute(select(TABLES["suppression"])).all() == []


def test_a_stop_waits_for_the_claim_under_way_and_that_claim_is_not_armed(engine: Engine) -> None:
    plan_messages(engine, 1)
    began, told = threading.Event(), threading.Event()

    def stop() -> None:
        began.set()
        say(engine, "STOP")
        told.set()

    other = threading.Thread(target=stop)
    with writing(engine) as connection:
        claims = claim(connection, NOW, limit=10, lease_seconds=60, policy=POLICY).claims
        other.start()
        began.wait(5)
        assert not told.wait(0.3), "it did not wait"
    other.join(10)
    assert told.is_set()
    assert arm(engine, claims, NOW) == []
    assert take(engine) == {Reason.SUPPRESSED: 1}


def test_what_an_unread_reply_holds_of_others_goes_on_with_it(engine: Engine) -> None:
    """Who wrote has another number by now, and the number another owner: nobody's message waits for ever."""
    plan_messages(engine, 2, state="delivered")
    say(engine, MAYBE)
    customer = TABLES["customer"]
    with writing(engine) as connection:
        connection.execute(update(customer).where(customer.c.phone == phone(0)).values(phone=phone(7)))
        connection.execute(update(customer).where(customer.c.phone == phone(1)).values(phone=phone(0)))
        connection.execute(update(message).values(state="planned"))
    assert take(engine) == {Reason.MAYBE_STOP: 1}
    [found] = open_ones(engine)
    with writing(engine) as connection:
        replies.release(connection, found.id, NOW, by="Ann")
    assert [state for state, _ in states(engine)] == ["claimed", "queued"]


def test_a_reply_with_signs_that_no_database_takes_is_kept(engine: Engine) -> None:
    plan_messages(engine, 1)
    assert say(engine, "please\0 stop \ud800 texting me").said is Said.MAYBE_STOP
    assert states(engine) == [("held", "maybe_stop")]
