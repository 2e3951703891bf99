"""Customers write and ring: each reply takes effect once, before Twilio hears that we took it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, insert, select, update
from twilio.request_validator import RequestValidator

import models
from beforehand.settings import Settings
from beforehand.web.app import create_app
from beforehand.wiring import App
from messaging.candidates import TABLES, message
from models.database import reading, writing
from tests.integration.out_world import NOW, later, phone, plan_messages, rows_of

PUBLIC = "http://127.0.0.1:8000"
TOKEN = "a token for tests"
OURS = "+442079460000"


@dataclass
class Line:
    """A customer's phone, as Twilio speaks for it."""

    client: TestClient
    settings: Settings
    count: int = 0

    def post(self, path: str, **fields: str) -> str:
        fields = {"AccountSid": self.settings.twilio_account_sid, "To": OURS} | fields
        signed = RequestValidator(TOKEN).compute_signature(f"{PUBLIC}{path}", fields)
        answer = self.client.post(path, data=fields, headers={"X-Twilio-Signature": signed})
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith("application/xml")
        return str(answer.text)

    def text(self, body: str, sender: str = phone(0), **fields: str) -> str:
        self.count += 1
        return self.post(
            "/hooks/twilio/sms", **{"From": sender, "Body": body, "MessageSid": f"SM{self.count}"} | fields
        )


@dataclass
class Clock:
    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def app(engine: Engine, clock: Clock) -> App:
    said: dict[str, Any] = {"twilio_auth_token": TOKEN, "twilio_answers_stop": False}
    desks = {"voice-desk": "+442079460123"}
    return App(Settings(_env_file=None, **said, desks=desks), engine, clock)


@pytest.fixture
def line(app: App) -> Iterator[Line]:
    with TestClient(create_app(app), base_url=PUBLIC) as client:
        yield Line(client, app.settings)


def table(engine: Engine, name: str) -> list[Any]:
    with reading(engine) as connection:
        return list(connection.execute(select(TABLES[name]).order_by(*TABLES[name].primary_key)).all())


def states(engine: Engine) -> list[tuple[str, str | None]]:
    return [(row.state, row.reason) for row in rows_of(engine)]


def test_stop_ends_every_text_to_that_number_and_no_other(engine: Engine, line: Line) -> None:
    plan_messages(engine, 2)
    first = rows_of(engine)[0].customer_id
    with writing(engine) as connection:  # a second person with the same phone
        connection.execute(
            update(models.Customer).where(models.Customer.id == rows_of(engine)[1].customer_id).values(phone=phone(0))
        )
    plan_messages(engine, 1)
    plan_messages(engine, 1, channel="voice")
    answer = line.text("Stop.")
    assert "START" in answer
    assert "<Message>" in answer
    assert states(engine) == [("suppressed", "suppressed")] * 2 + [("planned", None)] * 2
    withdrawn = {(row.customer_id, row.channel, row.purpose, row.verdict) for row in table(engine, "consent")}
    both = {first, rows_of(engine)[1].customer_id}
    assert withdrawn == {
        (who, way, why, "withdrawn") for who in both for way in ("sms", "voice") for why in ("marketing", "survey")
    }
    assert [(row.said, row.customer_id) for row in table(engine, "reply")] == [("stop", first)]


def test_the_same_message_again_has_no_effect_and_no_answer(engine: Engine, line: Line) -> None:
    plan_messages(engine, 1)
    assert "<Message>" in line.text("STOP", MessageSid="SMsame")
    line.text("START")
    assert "<Message>" not in line.text("STOP", MessageSid="SMsame")
    assert table(engine, "suppression") == []
    assert len(table(engine, "reply")) == 2


def test_one_confirmation_however_often_they_say_it(engine: Engine, line: Line) -> None:
    plan_messages(engine, 1)
    assert "<Message>" in line.text("stop")
    assert "<Message>" not in line.text("STOP!!")
    assert len(table(engine, "suppression")) == 1


@pytest.mark.parametrize(
    ("word", "answered"), [("STOP", False), ("stop", False), ("HELP", False), ("توقف", True), ("Stop!", True)]
)
def test_what_twilio_answers_itself_we_do_not_answer_too(engine: Engine, app: App, word: str, answered: bool) -> None:
    settings = app.settings.model_copy(update={"twilio_answers_stop": True})
    with TestClient(create_app(replace(app, settings=settings)), base_url=PUBLIC) as client:
        assert ("<Message>" in Line(client, settings).text(word)) is answered


def test_advanced_opt_out_has_acted_and_answered_already(engine: Engine, line: Line) -> None:
    plan_messages(engine, 1)
    assert "<Message>" not in line.text("basta", OptOutType="STOP")
    assert [row.cause for row in table(engine, "suppression")] == ["stop"]


@pytest.mark.parametrize(
    ("language", "said"), [("ar", "لن تصلك"), ("zh-CN", "不会再给您发短信"), ("en-GB", "no more texts")]
)
def test_the_confirmation_is_in_the_customers_language(engine: Engine, line: Line, language: str, said: str) -> None:
    plan_messages(engine, 1)
    with writing(engine) as connection:
        connection.execute(update(models.Customer).values(language=language))
    assert said in line.text("STOP")


def test_a_strangers_stop_counts_and_is_answered_in_its_own_language(engine: Engine, line: Line) -> None:
    assert "不会再给您发短信" in line.text("退订", "+447700999999")
    assert [(row.customer_id, row.said) for row in table(engine, "reply")] == [(None, "stop")]
    assert len(table(engine, "suppression")) == 1


def test_start_brings_back_what_a_stop_ended_and_says_so_once(engine: Engine, line: Line) -> None:
    plan_messages(engine, 1)
    line.text("STOP")
    assert "<Message>" in line.text("Start")
    assert "<Message>" not in line.text("start")
    assert table(engine, "suppression") == []
    newest = {(row.channel, row.purpose): row.verdict for row in table(engine, "consent")}
    assert set(newest.values()) == {"withdrawn"}, "START is no consent to marketing"


def test_yes_is_start_only_after_a_stop(engine: Engine, line: Line) -> None:
    line.text("yes")
    line.text("STOP")
    line.text("Yes")
    assert [row.said for row in table(engine, "reply")] == ["other", "stop", "start"]
    assert table(engine, "suppression") == []


def test_start_does_not_lift_a_dead_number(engine: Engine, line: Line) -> None:
    line.text("STOP")
    [stopped] = table(engine, "suppression")
    with writing(engine) as connection:
        row = {"address_hash": stopped.address_hash, "channel": "sms", "scope": "all", "since": NOW}
        connection.execute(
            insert(TABLES["suppression"]), [row | {"cause": "provider_30005"}, row | {"cause": "provider_21610"}]
        )
    assert "<Message>" not in line.text("START")
    assert [row.cause for row in table(engine, "suppression")] == ["provider_30005"]


def test_help_says_who_we_are_how_to_reach_us_and_how_to_stop(engine: Engine, line: Line) -> None:
    answer = line.text("HELP")
    assert all(word in answer for word in ("Beforehand Shop", "+44 20 7946 0000", "STOP"))
    assert table(engine, "suppression") == []


def test_a_request_that_is_not_twilios_changes_nothing(engine: Engine, line: Line) -> None:
    said = {"AccountSid": line.settings.twilio_account_sid, "From": phone(0), "Body": "STOP", "MessageSid": "SM1"}
    answer = line.client.post("/hooks/twilio/sms", data=said, headers={"X-Twilio-Signature": "no"})
    assert answer.status_code == 403
    assert table(engine, "reply") == []


def ask(engine: Engine, *, accepted: datetime = NOW) -> None:
    """A survey that went out by SMS."""
    plan_messages(engine, 1, details={"survey": "contact"}, purpose="survey")
    row = rows_of(engine)[-1]
    with writing(engine) as connection:
        done = update(message).where(message.c.id == row.id).values(state="delivered", accepted_at=accepted)
        connection.execute(done)
        name = f"survey/{row.match_id}/{row.step}"
        asked = {
            "external_id": name,
            "changed_at": NOW,
            "customer_id": row.customer_id,
            "match_id": row.match_id,
            "kind": "contact",
        }
        connection.execute(insert(models.Survey), [asked | {"asked_at": accepted}])


@pytest.mark.parametrize(
    ("text", "score", "comment"),
    [
        ("5", 5, None),
        ("٤", 4, None),
        ("３ 谢谢", 3, "谢谢"),
        ("4/5, quick and kind", 4, "quick and kind"),
        ("2️⃣", 2, None),
        ("五", 5, None),
    ],
)
def test_a_number_answers_the_survey(
    engine: Engine, line: Line, clock: Clock, text: str, score: int, comment: str | None
) -> None:
    ask(engine)
    clock.now = later(hours=3)
    line.text(text)
    [answered] = table(engine, "survey")
    assert (answered.score, answered.comment, answered.answered_at) == (score, comment, clock.now)
    assert answered.changed_at == clock.now
    assert [row.said for row in table(engine, "reply")] == ["answer"]
    assert {row.event for row in table(engine, "change")} >= {"survey.answered"}


@pytest.mark.parametrize("text", ["55", "2 of my items are missing", "4.5", "+44 7700 900123", "thanks", "11"])
def test_what_is_no_answer_stays_a_reply(engine: Engine, line: Line, text: str) -> None:
    ask(engine)
    line.text(text)
    assert [row.answered_at for row in table(engine, "survey")] == [None]
    assert [row.said for row in table(engine, "reply")] == ["other"]


def test_an_answer_counts_once_and_only_for_a_while(engine: Engine, line: Line) -> None:
    ask(engine)
    line.text("5")
    line.text("1")
    assert [row.score for row in table(engine, "survey")] == [5]
    with writing(engine) as connection:
        connection.execute(update(models.Survey).values(answered_at=None, score=None))
        connection.execute(update(message).values(accepted_at=later(days=-20)))
    line.text("3")
    assert [row.score for row in table(engine, "survey")] == [None]


def test_who_rings_back_is_connected_and_rules_see_it(engine: Engine, line: Line, clock: Clock) -> None:
    plan_messages(engine, 1)
    said = {"From": phone(0), "CallSid": "CA1"}
    answer = line.post("/hooks/twilio/call", **said)
    ended = f'action="{PUBLIC}/hooks/twilio/call/ended"'
    assert all(word in answer for word in ("Beforehand Shop", "+442079460123", ended))
    line.post("/hooks/twilio/call", **said)
    clock.now = later(minutes=4)
    line.post("/hooks/twilio/call/ended", **said, DialCallStatus="completed")
    clock.now = later(minutes=5)
    line.post("/hooks/twilio/call/ended", **said, CallStatus="completed")
    [call] = table(engine, "call")
    assert (call.direction, call.outcome, call.customer_id) == ("inbound", "completed", rows_of(engine)[0].customer_id)
    assert (call.started_at, call.ended_at) == (NOW, later(minutes=4))
    assert {row.event for row in table(engine, "change")} >= {"call.ended", "call.updated"}


def test_who_finds_nobody_free_hears_so(engine: Engine, line: Line) -> None:
    said = {"From": phone(0), "CallSid": "CA1"}
    line.post("/hooks/twilio/call", **said)
    line.post("/hooks/twilio/call/ended", **said, CallStatus="completed")
    assert "nobody is free" in line.post("/hooks/twilio/call/ended", **said, DialCallStatus="no-answer")
    [call] = table(engine, "call")
    assert (call.outcome, call.ended_at) == ("no_answer", NOW)


def test_without_a_desk_they_hear_which_number_to_ring(engine: Engine, app: App) -> None:
    settings = app.settings.model_copy(update={"desks": {}})
    with TestClient(create_app(replace(app, settings=settings)), base_url=PUBLIC) as client:
        answer = Line(client, settings).post("/hooks/twilio/call", From=phone(0), CallSid="CA1")
    assert "+44 20 7946 0000" in answer
    assert "<Dial" not in answer
