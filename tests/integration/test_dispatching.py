"""The glue: settings to channels, messages to envelopes, the command line; nothing but the post room is reached."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, update
from typer.testing import CliRunner

from beforehand import dispatching
from beforehand.cli import app as command_line
from beforehand.settings import Settings
from beforehand.web.postroom.server import PostRoom
from beforehand.wiring import App, providers
from messaging.channels.mail import Mail
from messaging.channels.sms import Sms
from models.customer import Customer
from models.database import writing
from models.vocabulary import Channel, Reason
from tests.integration.out_world import NOW, later, plan_messages, rows_of

TEMPLATES = Path(__file__).resolve().parents[2] / "messaging" / "templates"


def settings_for(room: PostRoom, **more: object) -> Settings:
    said = {
        "twilio_account_sid": room.account_sid,
        "twilio_auth_token": SecretStr(room.auth_token),
        "post_room_port": room.http_port,
        "post_room_smtp_port": room.smtp_port,
        "templates": TEMPLATES,
        "time_zone": "Europe/London",
        "mail_from": "care@shop.example",
        "desks": {"voice-desk": "+442079460001"},
    }
    return Settings(_env_file=None, **(said | more))  # type: ignore[arg-type]


@pytest.fixture
def room() -> Iterator[PostRoom]:
    with PostRoom() as opened:
        yield opened


def wired(engine: Engine, settings: Settings) -> App:
    return App(settings=settings, engine=engine, clock=lambda: NOW)


def test_each_channel_in_the_customers_own_language(engine: Engine, room: PostRoom) -> None:
    for n, (channel, template) in enumerate(
        [("sms", "late-order"), ("email", "late-order"), ("voice", "dropped-callback")]
    ):
        for language in ("en", "ar-EG", "zh"):
            plan_messages(engine, 1, channel=channel, template=template, language=language, version=f"v{n}")
    with writing(engine) as connection:
        connection.execute(update(Customer).values(first_name="Samira"))
    report = dispatching.dispatch_due(wired(engine, settings_for(room)), everything=True)
    failed = [(row.channel, row.template, row.language, row.reason) for row in rows_of(engine) if row.reason]
    assert failed == []
    assert report.by_channel == dict.fromkeys(Channel, 3)
    sms = room.ledger.of("sms")
    assert {entry.language for entry in sms} == {"en", "ar", "zh"}
    assert all(entry.subject and entry.html for entry in room.ledger.of("email"))
    assert {entry.header("Content-Language") for entry in room.ledger.of("email")} == {"en", "ar", "zh"}
    assert all("<Gather" in entry.body for entry in room.ledger.of("voice"))


def test_a_template_that_is_not_there_is_a_named_reason(engine: Engine, room: PostRoom) -> None:
    plan_messages(engine, 1, template="no-such-template")
    assert dispatching.dispatch_due(wired(engine, settings_for(room))).failed == 1
    assert rows_of(engine)[0].reason == Reason.TEMPLATE_FAILED


def test_a_round_has_its_limit_and_everything_has_none(engine: Engine, room: PostRoom) -> None:
    plan_messages(engine, 25)
    app = wired(engine, settings_for(room, batch=10))
    assert dispatching.dispatch_due(app, limit=5).sent == 5
    assert dispatching.dispatch_due(app, everything=True).sent == 20


def test_stopping_lets_go_between_groups_and_gives_back_the_rest(engine: Engine, room: PostRoom) -> None:
    plan_messages(engine, 30)
    asked = iter([False, False, True])
    app = wired(engine, settings_for(room))
    report = dispatching.dispatch_due(
        App(app.settings, engine, app.clock), stopping=lambda: next(asked, True), everything=True
    )
    assert report.sent < 30
    assert {row.state for row in rows_of(engine)} <= {"accepted", "queued", "planned"}


def test_reap_and_receipts(engine: Engine, room: PostRoom) -> None:
    plan_messages(engine, 2)
    app = wired(engine, settings_for(room))
    dispatching.dispatch_due(app)
    room.wait_final(2)
    assert dispatching.poll_receipts(app, later(seconds=5)).asked == 2
    assert dispatching.reap(app, later(hours=1)) == dispatching.ReapReport(0, 0, 0, 0, 0)


LIVE = {
    "delivery": "live",
    "public_url": "https://care.example.com",
    "secret_key": SecretStr("k" * 32),
    "twilio_account_sid": "AC" + "1" * 32,
    "twilio_auth_token": SecretStr("t" * 32),
}


def test_the_post_room_is_all_that_can_be_reached_until_delivery_is_live() -> None:
    made = providers(Settings(_env_file=None, smtp_host="mail.real.example", smtp_user="x"), lambda: NOW)
    assert made.twilio.base_url == "http://127.0.0.1:8025"
    assert (made.mail.host, made.mail.port, made.mail.starttls, made.mail.user) == ("127.0.0.1", 2525, False, "")
    with pytest.raises(ValueError, match="DELIVERY is not live"):
        providers(Settings(_env_file=None, twilio_base_url="https://api.twilio.com"), lambda: NOW)


def test_live_goes_to_the_providers_with_starttls() -> None:
    made = providers(Settings(_env_file=None, smtp_host="mail.real.example", **LIVE), lambda: NOW)  # type: ignore[arg-type]
    assert made.twilio.base_url is None
    assert (made.mail.host, made.mail.starttls) == ("mail.real.example", True)
    assert made.twilio.callback is None


def test_live_and_trial_reaches_the_guest_list_only(engine: Engine, room: PostRoom) -> None:
    plan_messages(engine, 3)
    settings = settings_for(room, **LIVE | {"twilio_base_url": room.http_url, "guest_list": []})
    report = dispatching.dispatch_due(wired(engine, settings))
    assert report.withheld == {Reason.NOT_ON_GUEST_LIST: 3}
    assert not room.ledger.entries


def test_channels_are_made_once_and_by_the_settings(room: PostRoom, sqlite_engine: Engine) -> None:
    app = wired(sqlite_engine, settings_for(room))
    assert app.channels is app.channels
    assert isinstance(app.channels[Channel.SMS], Sms)
    assert isinstance(app.channels[Channel.EMAIL], Mail)


def test_the_command_line(sqlite_engine: Engine, room: PostRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    plan_messages(sqlite_engine, 3)
    plan_messages(sqlite_engine, 1, expires_at=NOW)
    settings = settings_for(room)
    environment = {
        "DATABASE_URL": str(sqlite_engine.url.render_as_string(hide_password=False)),
        "TWILIO_ACCOUNT_SID": room.account_sid,
        "TWILIO_AUTH_TOKEN": room.auth_token,
        "POST_ROOM_PORT": str(settings.post_room_port),
        "POST_ROOM_SMTP_PORT": str(settings.post_room_smtp_port),
        "TEMPLATES": str(TEMPLATES),
    }
    for name, value in environment.items():
        monkeypatch.setenv(f"BEFOREHAND_{name}", value)
    ran = CliRunner().invoke(command_line, ["dispatch", "--now", NOW.isoformat(), "--json"])
    assert ran.exit_code == 0, ran.output
    said = json.loads(ran.stdout)
    assert (said["sent"], said["withheld"], said["by_channel"]) == (3, {"too_late": 1}, {"sms": 3})
    again = CliRunner().invoke(command_line, ["dispatch", "--now", NOW.isoformat()])
    assert (again.exit_code, again.stdout) == (0, "0 sent\n")
    wrong = CliRunner().invoke(command_line, ["dispatch", "--now", "soon"])
    assert wrong.exit_code == 2
