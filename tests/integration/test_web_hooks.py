"""Callbacks over real HTTP: the post room tells, our pages take it, and the database has it before the answer."""

import logging
import time
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from sqlalchemy import Engine, insert, select, update

from beforehand.web.hooks.twilio import LARGEST
from beforehand.web.postroom.callbacks import signature
from beforehand.web.postroom.house import Pace
from messaging.channels.callbacks import STATUS_PATH, VOICE_PATH
from messaging.claims import attempt, message
from messaging.consents import suppress
from messaging.progress import NOBODY_THERE
from messaging.receipts import receipt
from messaging.told import callback
from models.database import reading, writing
from models.housekeeping import Notice, Switch
from models.vocabulary import MessageState
from tests.delivery.pages import DESK, World, world
from tests.integration.out_world import NOW, attempts_of, later, plan_messages, rows_of

S = MessageState
SID = "SM" + "c" * 32
CALL = {"channel": "voice", "template": "dropped-callback", "details": {"connect_to": "voice-desk"}}


def wait_for(engine: Engine, state: str, seconds: float = 5) -> None:
    for _ in range(int(seconds / 0.02)):
        if [row.state for row in rows_of(engine)] == [state] * len(rows_of(engine)):
            return
        time.sleep(0.02)
    raise AssertionError([row.state for row in rows_of(engine)])


def test_a_message_moves_by_callbacks_alone(engine: Engine) -> None:
    with world(engine) as here:
        plan_messages(engine, 5)
        assert here.send().sent == 5
        wait_for(engine, S.DELIVERED)
        here.room.wait_final(5)
        answers = {told.answer for entry in here.room.entries for told in entry.callbacks}
    assert answers == {204}
    with reading(engine) as connection:
        kept = connection.execute(select(callback.c.kind, callback.c.content, callback.c.matched_at)).all()
    assert len(kept) >= 10
    assert all(row.matched_at for row in kept)
    assert not any("+44" in str(row.content) for row in kept), "no addresses on record"


def test_a_refused_one_changes_nothing_and_says_nothing(
    sqlite_engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    with world(sqlite_engine) as here:
        plan_messages(sqlite_engine, 1)
        here.room.house.pace = Pace(sent=60)
        here.send()
        (one,) = attempts_of(sqlite_engine)
        url = here.url(STATUS_PATH, one.id)
        form = {"MessageSid": one.provider_id, "MessageStatus": "delivered"}
        with caplog.at_level(logging.WARNING, "beforehand.web"):
            refused = [
                here.post(url, form, token="somebody else's"),
                here.post(url, form | {"AccountSid": "AC" + "9" * 32}),
                here.post(url[:-1] + ("0" if url[-1] != "0" else "1"), form),
                httpx.post(url, data=form, trust_env=False),
                httpx.post(url, content=b"x" * (LARGEST + 1), trust_env=False),
                httpx.post(url, json=form, trust_env=False),
            ]
        assert {(answer.status_code, answer.text) for answer in refused} == {(403, '{"detail":"Forbidden"}')}
        assert rows_of(sqlite_engine)[0].state == S.ACCEPTED
    said = [record.getMessage() for record in caplog.records if record.name == "beforehand.web"]
    assert said[0] == "refused a request to /hooks/twilio/status/{token}: signature"
    assert [line.rpartition(": ")[2] for line in said[1:3]] == ["account", "token"]
    assert "no_signature, signature, body_hash, account" in said[5]
    assert not any(one.provider_id in line or "-" in line.partition("status/")[2] for line in said)
    with reading(sqlite_engine) as connection:
        topics = connection.execute(select(Notice.__table__.c.topic)).scalars().all()  # type: ignore[attr-defined]
    assert topics == ["callbacks:signature"], "staff are called once a minute at most"


def test_the_token_before_and_what_a_proxy_says(sqlite_engine: Engine) -> None:
    with world(sqlite_engine, twilio_auth_token_before="of yesterday") as here:
        plan_messages(sqlite_engine, 1)
        here.room.house.pace = Pace(sent=60)
        here.send()
        (one,) = attempts_of(sqlite_engine)
        url = here.url(STATUS_PATH, one.id)
        form = {"MessageSid": one.provider_id, "MessageStatus": "sent"}
        assert here.post(url, form, token="of yesterday").status_code == 204
    assert rows_of(sqlite_engine)[0].state == S.SENT


def test_the_answer_comes_after_the_commit(sqlite_engine: Engine) -> None:
    with world(sqlite_engine) as here:
        plan_messages(sqlite_engine, 1)
        here.room.house.pace = Pace(sent=60)
        here.send()
        (one,) = attempts_of(sqlite_engine)
        for status, state in (("sent", S.SENT), ("undelivered", S.UNDELIVERED), ("delivered", S.DELIVERED)):
            assert here.status(one.id, one.provider_id, status).status_code == 204
            assert rows_of(sqlite_engine)[0].state == state
        assert here.status(one.id, one.provider_id, "sent").status_code == 204
        assert here.status(one.id, one.provider_id, "a word of tomorrow").status_code == 204
        assert rows_of(sqlite_engine)[0].state == S.DELIVERED


def test_a_callback_resolves_an_unknown_outcome(engine: Engine) -> None:
    with world(engine) as here:
        plan_messages(engine, 1)
        here.room.house.pace = Pace(sent=60)
        here.send()
        with writing(engine) as connection:
            connection.execute(update(attempt).values(state="unknown", provider_id=None))
            connection.execute(update(message).values(state="unknown", accepted_at=None))
        (one,) = attempts_of(engine)
        assert here.status(one.id, SID, "sent", To="+15550009999").status_code == 204
        assert rows_of(engine)[0].state == (S.UNKNOWN if one.address_hash else S.SENT), "it went to somebody else"
        assert here.status(one.id, SID, "sent", To=rows_of(engine)[0].address).status_code == 204
    assert rows_of(engine)[0].state == S.SENT


@pytest.mark.parametrize(("key", "heard"), [("1", f">{DESK}</Dial>"), ("2", "later"), ("9", "do not call you")])
def test_a_key_leads_where_it_says(engine: Engine, key: str, heard: str) -> None:
    with world(engine) as here:
        plan_messages(engine, 1, **CALL)
        here.room.house.keys[rows_of(engine)[0].address] = key
        assert here.send().sent == 1
        here.room.wait_final(1)
        (entry,) = here.room.entries
    assert heard in entry.body, (entry.body, entry.notes)
    assert entry.pressed == (key,)
    with reading(engine) as connection:
        planned = connection.execute(
            select(message.c.step, message.c.state, message.c.due_at).order_by(message.c.id)
        ).all()
    if key == "2":
        assert (planned[1].state, planned[1].due_at) == (S.PLANNED, later(hours=2))
    else:
        assert len(planned) == 1


def silent(script: str) -> bool:
    return "<Hangup" in script and "<Say" not in script


@pytest.fixture
def quiet(sqlite_engine: Engine) -> Any:
    """A world in which the post room's calls ring for a minute, so that the test answers them itself."""
    with world(sqlite_engine) as here:
        here.room.house.pace = Pace(ringing=60)
        plan_messages(sqlite_engine, 1, **CALL)
        assert here.send().sent == 1
        yield here


def test_the_script_is_said_in_the_customers_words(quiet: World, sqlite_engine: Engine) -> None:
    (one,) = attempts_of(sqlite_engine)
    said = quiet.answer(one.id, one.provider_id)
    assert "the line dropped" in said
    assert "Press 1" in said
    assert f"/voice/{one.id}-" in said
    assert rows_of(sqlite_engine)[0].state == S.SENT
    assert quiet.answer(one.id, one.provider_id) == said, "asked again, the same is said"


def test_a_second_call_of_an_attempt_is_hung_up(quiet: World, sqlite_engine: Engine) -> None:
    (one,) = attempts_of(sqlite_engine)
    assert silent(quiet.answer(one.id, "CA" + "d" * 32))
    assert "the line dropped" in quiet.answer(one.id, one.provider_id)
    with reading(sqlite_engine) as connection:
        assert "may have it twice" in connection.execute(select(Notice.__table__.c.said)).scalar_one()  # type: ignore[attr-defined]


def test_the_first_call_binds_where_our_own_answer_was_lost(quiet: World, sqlite_engine: Engine) -> None:
    with writing(sqlite_engine) as connection:
        connection.execute(update(attempt).values(state="in_flight", provider_id=None))
        connection.execute(update(message).values(state="in_flight", accepted_at=None))
    (one,) = attempts_of(sqlite_engine)
    first, second = "CA" + "1" * 32, "CA" + "2" * 32
    assert "the line dropped" in quiet.answer(one.id, first)
    assert silent(quiet.answer(one.id, second))
    assert attempts_of(sqlite_engine)[0].provider_id == first
    assert rows_of(sqlite_engine)[0].state == S.SENT


@pytest.mark.parametrize("machine", ["machine_start", "fax"])
def test_a_machine_hears_nothing_and_counts_as_nobody(quiet: World, sqlite_engine: Engine, machine: str) -> None:
    (one,) = attempts_of(sqlite_engine)
    assert silent(quiet.answer(one.id, one.provider_id, AnsweredBy=machine))
    done = {"CallSid": one.provider_id, "CallStatus": "completed", "AnsweredBy": machine}
    assert quiet.post(quiet.url(STATUS_PATH, one.id), done).status_code == 204
    assert rows_of(sqlite_engine)[0].state == S.UNDELIVERED
    with reading(sqlite_engine) as connection:
        assert set(connection.execute(select(receipt.c.code)).scalars()) & set(NOBODY_THERE)


def test_a_stop_between_dialling_and_answering_holds(quiet: World, sqlite_engine: Engine) -> None:
    (one,) = attempts_of(sqlite_engine)
    with writing(sqlite_engine) as connection:
        secret, to = quiet.app.settings.secret_key.get_secret_value().encode(), rows_of(sqlite_engine)[0].address
        suppress(connection, secret=secret, channel="voice", address=to, cause="never_call", source="test", at=NOW)
    assert silent(quiet.answer(one.id, one.provider_id))


@pytest.mark.parametrize("scope", ["all", "rule:late-order"])
def test_so_does_a_kill_switch(quiet: World, sqlite_engine: Engine, scope: str) -> None:
    (one,) = attempts_of(sqlite_engine)
    with writing(sqlite_engine) as connection:
        connection.execute(insert(Switch.__table__).values(scope=scope, stopped_at=NOW))  # type: ignore[attr-defined]
    assert silent(quiet.answer(one.id, one.provider_id))


def test_another_key_hears_it_once_more_and_then_good_bye(quiet: World, sqlite_engine: Engine) -> None:
    (one,) = attempts_of(sqlite_engine)
    quiet.answer(one.id, one.provider_id)
    once_more = quiet.answer(one.id, one.provider_id, "7")
    assert "Press 1" in once_more
    assert "/key?again=1" in once_more
    assert silent(quiet.answer(one.id, one.provider_id, "7", again="1"))
    assert DESK in quiet.answer(one.id, one.provider_id, "1", again="1"), "a right key still counts"


def test_keys_of_another_call_do_nothing(quiet: World, sqlite_engine: Engine) -> None:
    (one,) = attempts_of(sqlite_engine)
    quiet.answer(one.id, one.provider_id)
    assert silent(quiet.answer(one.id, "CA" + "d" * 32, "9"))
    with reading(sqlite_engine) as connection:
        assert connection.execute(select(message.c.id)).scalars().all() == [rows_of(sqlite_engine)[0].id]


def test_never_ends_calls_for_good(quiet: World, sqlite_engine: Engine) -> None:
    (one,) = attempts_of(sqlite_engine)
    quiet.answer(one.id, one.provider_id)
    assert "do not call you" in quiet.answer(one.id, one.provider_id, "9")
    plan_messages(sqlite_engine, 1, **CALL, address=rows_of(sqlite_engine)[0].address, rule_id="win-back")
    quiet.send(later(hours=3))
    assert rows_of(sqlite_engine)[1].reason == "suppressed"


def test_a_get_is_taken_too(quiet: World, sqlite_engine: Engine) -> None:
    (one,) = attempts_of(sqlite_engine)
    form = {"AccountSid": quiet.room.account_sid, "CallSid": one.provider_id, "CallStatus": "in-progress"}
    url = f"{quiet.url(VOICE_PATH, one.id)}?{urlencode(form)}"
    signed = {"X-Twilio-Signature": signature(quiet.room.auth_token, url, {})}
    assert "Press 1" in httpx.get(url, headers=signed, trust_env=False).text
