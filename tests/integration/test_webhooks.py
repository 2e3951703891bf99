"""Webhook steps from the rule to the wire: planned once, signed, tried again under the same id, every end named."""

import json
import logging
import threading
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError
from sqlalchemy import Engine
from standardwebhooks import Webhook

import models
from beforehand.dispatching import call_webhooks
from beforehand.passes import advance, preview_rule, run_rule
from beforehand.settings import Settings
from beforehand.wiring import App, wires
from messaging.webhooks.body import headers
from messaging.webhooks.queue import WAITS
from messaging.webhooks.wire import is_public
from models.vocabulary import WebhookState
from tests.deciding import NOON, House

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
CALL = """  - webhook: crm
    with: {country: country, told: "by us", points: 3}
  - {send: hello, by: [sms]}
"""


@dataclass
class Receiver:
    """A real HTTP server that answers as it is told and keeps what it got."""

    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/in"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    kept = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            kept.got.append(({key.lower(): value for key, value in self.headers.items()}, body))
            status, more = kept.answers.pop(0) if kept.answers else (200, {})
            self.send_response(status)
            for name, value in more.items():
                self.send_header(name, value)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    kept.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield kept
    server.shutdown()
    server.server_close()


@dataclass
class Calling:
    """A house whose endpoint crm is the receiver."""

    house: House
    app: App

    def run(self, at: datetime = NOON) -> None:
        run_rule(self.app, "hello", at)

    def call(self, at: datetime = NOON) -> dict[WebhookState, int]:
        return dict(call_webhooks(self.app, at).states)

    def row(self) -> Any:
        (row,) = self.house.rows(models.Webhook)
        return row


LIVE: dict[str, Any] = {
    "delivery": "live",
    "public_url": "https://care.example.com",
    "trial": False,
    "twilio_account_sid": "AC" + "1" * 32,
    "twilio_auth_token": SecretStr("t" * 32),
    "webhook_secrets": {"crm": SECRET},
    "webhooks_inside": ["crm"],
}


def calling(engine: Engine, folder: Path, url: str, steps: str = CALL, **more: Any) -> Calling:
    settings = {**LIVE, "webhooks": {"crm": url}} | more
    house = House(engine, folder, settings)
    house.template()
    house.rule(steps=steps)
    house.customer(first_name="Ada")
    return Calling(house, house.app)


def test_the_signature_is_that_of_the_specification() -> None:
    # The vector of the specification's own test suite (libraries/javascript/src/webhook.test.ts).
    made = headers(
        SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", '{"test": 2432232314}', datetime.fromtimestamp(1614265330, UTC)
    )
    assert made["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert (made["webhook-id"], made["webhook-timestamp"]) == ("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330")


def test_an_endpoint_gets_one_signed_call_that_says_what_was_asked(
    engine: Engine, tmp_path: Path, receiver: Receiver
) -> None:
    place = calling(engine, tmp_path, receiver.url)
    place.run()
    assert place.call() == {WebhookState.DELIVERED: 1}
    assert place.call(NOON + timedelta(days=1)) == {}
    ((sent, body),) = receiver.got
    key, at = sent["webhook-id"], datetime.fromtimestamp(int(sent["webhook-timestamp"]), UTC)
    assert sent["webhook-signature"] == Webhook(SECRET).sign(key, at, body.decode())
    assert at == NOON
    said = json.loads(body)
    assert said["type"] == "beforehand.step"
    assert datetime.fromisoformat(said["timestamp"]) == NOON
    row = place.row()
    assert said["data"] == {
        "rule": "hello",
        "version": row.version,
        "occasion": row.occasion,
        "step": "0",
        "subject": "customer",
        "subject_id": row.subject_key,
        "customer_id": row.customer_key,
        "facts": {"country": "DE", "points": 3, "told": "by us"},
    }
    assert b"Ada" not in body
    assert b"+49" not in body
    assert (row.state, row.code, row.tries) == ("delivered", "http_200", 1)
    assert len(place.house.rows(models.Message)) == 1, "the step behind it did not wait"


def test_a_failure_is_tried_again_under_the_same_id_and_with_the_same_body(
    engine: Engine, tmp_path: Path, receiver: Receiver
) -> None:
    place = calling(engine, tmp_path, receiver.url)
    receiver.answers = [(500, {}), (302, {"location": receiver.url}), (200, {})]
    place.run()
    assert place.call() == {WebhookState.PLANNED: 1}
    place.house.set(models.Customer, country="FR")
    assert place.call(NOON + timedelta(seconds=4)) == {}, "not before its time"
    assert place.call(NOON + WAITS[0]) == {WebhookState.PLANNED: 1}
    assert place.row().code == "http_302"
    assert len(receiver.got) == 2, "a redirect is not followed"
    assert place.call(NOON + WAITS[0] + WAITS[1]) == {WebhookState.DELIVERED: 1}
    assert len({sent["webhook-id"] for sent, _ in receiver.got}) == 1
    assert len({body for _, body in receiver.got}) == 1
    assert len({sent["webhook-signature"] for sent, _ in receiver.got}) == 3, "each try is signed with its own moment"


def test_after_the_last_try_it_gives_up(engine: Engine, tmp_path: Path, receiver: Receiver) -> None:
    place = calling(engine, tmp_path, receiver.url)
    receiver.answers = [(503, {})] * 20
    place.run()
    at = NOON
    for wait in WAITS:
        assert place.call(at) == {WebhookState.PLANNED: 1}
        at += wait
    assert place.call(at) == {WebhookState.GAVE_UP: 1}
    assert place.call(at + timedelta(days=30)) == {}
    assert place.row().ended_at == at


def test_the_address_may_hold_a_token_and_is_never_logged(
    engine: Engine, tmp_path: Path, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    place = calling(engine, tmp_path, f"{receiver.url}?token=hush")
    place.run()
    assert place.call() == {WebhookState.DELIVERED: 1}
    assert "hush" not in caplog.text


def test_410_ends_it(engine: Engine, tmp_path: Path, receiver: Receiver) -> None:
    place = calling(engine, tmp_path, receiver.url)
    receiver.answers = [(410, {})]
    place.run()
    assert place.call() == {WebhookState.GONE: 1}
    assert place.call(NOON + timedelta(days=30)) == {}


@pytest.mark.parametrize("said", ["3600", "Tue, 10 Mar 2026 13:00:00 GMT"])
def test_retry_after_is_obeyed_by_the_whole_endpoint(
    engine: Engine, tmp_path: Path, receiver: Receiver, said: str
) -> None:
    place = calling(engine, tmp_path, receiver.url)
    receiver.answers = [(429, {"retry-after": said})]
    place.run()
    place.call()
    place.house.customer()
    place.run(NOON + timedelta(minutes=1))
    assert place.call(NOON + timedelta(minutes=59)) == {}, "the new one rests too"
    assert place.call(NOON + timedelta(hours=1)) == {WebhookState.DELIVERED: 2}


def test_a_killed_process_loses_nothing(engine: Engine, tmp_path: Path, receiver: Receiver) -> None:
    place = calling(engine, tmp_path, receiver.url)
    place.run()
    place.house.set(models.Webhook, state="calling", lease="dead", lease_until=NOON + timedelta(minutes=1), tries=1)
    assert place.call() == {}
    assert place.call(NOON + timedelta(minutes=1)) == {WebhookState.DELIVERED: 1}


def test_a_dead_endpoint_and_one_that_never_answers(engine: Engine, tmp_path: Path, receiver: Receiver) -> None:
    place = calling(engine, tmp_path, "http://127.0.0.1:1/in")
    place.run()
    assert place.call() == {WebhookState.PLANNED: 1}
    assert place.row().code == "no_connection"


def test_a_slow_endpoint_is_let_go_in_time(engine: Engine, tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/in"
        place = calling(engine, tmp_path, url, webhook_timeout_seconds=0.3)
        place.run()
        place.call()
    assert place.row().code == "timeout"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_a_private_address_is_refused_unless_allowed(
    engine: Engine, tmp_path: Path, receiver: Receiver, host: str
) -> None:
    place = calling(engine, tmp_path, f"https://{host}:{receiver.port}/in", webhooks_inside=[])
    place.run()
    assert place.call() == {WebhookState.PLANNED: 1}
    assert place.row().code == "private_address"
    assert receiver.got == []


PRIVATE = """127.0.0.1 10.1.2.3 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 0.0.0.0 224.0.0.1 255.255.255.255
::1 :: fe80::1 fe80::1%eth0 fc00::1 ff02::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 64:ff9b::a00:1 2002:7f00:1:: 2001:db8::1
::127.0.0.1 ::ffff:0:127.0.0.1 64:ff9b:1::7f00:1 fec0::1 5f00::1 192.0.0.8 192.88.99.1"""


@pytest.mark.parametrize("address", PRIVATE.split())
def test_addresses_inside(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "64:ff9b::5db8:d70e"])
def test_addresses_of_the_world(address: str) -> None:
    assert is_public(address)


def test_in_trial_mode_nothing_leaves(engine: Engine, tmp_path: Path, receiver: Receiver) -> None:
    place = calling(engine, tmp_path, receiver.url, trial=True)
    place.run()
    assert place.call() == ({WebhookState.WITHHELD: 1} if place.house.rows(models.Webhook) else {})
    assert receiver.got == []


def test_an_endpoint_that_the_settings_do_not_name_any_more_is_told(
    engine: Engine, tmp_path: Path, receiver: Receiver
) -> None:
    place = calling(engine, tmp_path, receiver.url)
    place.run()
    place.house.settings |= {"webhooks": {}, "webhook_secrets": {}, "webhooks_inside": []}
    gone = Calling(place.house, place.house.app)
    assert gone.call() == {WebhookState.PLANNED: 1}
    assert gone.row().code == "no_such_endpoint"


@pytest.mark.parametrize("scope", ["all", "rule:hello", "webhook:crm"])
def test_a_kill_switch_stops_it_and_loses_nothing(
    engine: Engine, tmp_path: Path, receiver: Receiver, scope: str
) -> None:
    place = calling(engine, tmp_path, receiver.url)
    place.run()
    table = models.Switch.__table__  # type: ignore[attr-defined]
    with engine.begin() as connection:
        connection.execute(table.insert().values(scope=scope, stopped_at=NOON, by="test"))
    assert place.call() == {}
    with engine.begin() as connection:
        connection.execute(table.delete())
    assert place.call() == {WebhookState.DELIVERED: 1}


@pytest.mark.parametrize("waits", ["planned", "was_calling", "no_endpoint"])
def test_what_waits_of_a_retired_rule_is_cancelled(
    engine: Engine, tmp_path: Path, receiver: Receiver, waits: str
) -> None:
    place = calling(engine, tmp_path, receiver.url)
    place.run()
    if waits == "was_calling":
        lost = {"state": WebhookState.CALLING, "lease": "x", "lease_until": NOON, "tries": 1}
        place.house.set(models.Webhook, **lost)
    if waits == "no_endpoint":
        place.house.settings |= {"webhooks": {}, "webhook_secrets": {}, "webhooks_inside": []}
    steps = CALL if waits != "no_endpoint" else "  - {send: hello, by: [sms]}"
    place.house.rule(steps=steps, status="retired")
    place.app = place.house.app
    assert place.call(NOON + timedelta(minutes=1)) == {WebhookState.CANCELLED: 1}
    assert not receiver.got
    row = place.row()
    assert (row.state, row.code, row.lease, row.lease_until) == ("cancelled", "rule_retired", None, None)
    assert row.ended_at == NOON + timedelta(minutes=1)


@pytest.mark.parametrize("status", ["draft", "shadow", "retired"])
def test_only_a_live_rule_calls(engine: Engine, tmp_path: Path, receiver: Receiver, status: str) -> None:
    place = calling(engine, tmp_path, receiver.url)
    place.house.rule(status=status, steps=CALL)
    place.run()
    assert place.house.rows(models.Webhook) == []
    assert place.call() == {}


def test_webhooks_are_counted_before_and_after(engine: Engine, tmp_path: Path, receiver: Receiver) -> None:
    place = calling(engine, tmp_path, receiver.url, steps=CALL + "  - wait: 1 day\n  - webhook: crm\n")
    assert preview_rule(place.app, "hello", NOON).webhooks == 1
    assert run_rule(place.app, "hello", NOON).webhooks == 1
    place.house.set(models.Message, state="delivered")
    assert advance(place.app, NOON + timedelta(days=1)).webhooks == 1
    assert [row.step for row in place.house.rows(models.Webhook)] == ["0", "3"]
    assert advance(place.app, NOON + timedelta(days=1)).webhooks == 0


def test_with_the_post_room_it_goes_there_and_nowhere_else(tmp_path: Path, sqlite_engine: Engine) -> None:
    from beforehand.web.postroom.server import PostRoom

    with PostRoom() as room:
        house = House(
            sqlite_engine, tmp_path, {"webhooks": {"crm": "https://crm.example"}, "post_room_port": room.http_port}
        )
        house.template()
        house.rule(steps=CALL)
        house.customer()
        run_rule(house.app, "hello", NOON)
        assert dict(call_webhooks(house.app, NOON).states) == {WebhookState.DELIVERED: 1}
        (entry,) = room.ledger.of("webhook")
    assert json.loads(entry.options["raw"])["data"]["rule"] == "hello"
    secret = wires(house.app.settings).endpoints["crm"].secret
    assert entry.header("webhook-signature") == Webhook(secret).sign(
        entry.header("webhook-id"), NOON, entry.options["raw"]
    )


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"webhooks": {"crm": "http://crm.example"}}, "must begin with https"),
    ({"webhooks": {"crm": "https://u:p@crm.example"}}, "takes no login"),
    ({"webhooks": {"C R M": "https://crm.example"}}, "small letters"),
    ({"webhooks": {"crm": "https://crm.example"}, "webhook_secrets": {"crm": "whsec_c2hvcnQ="}}, "24 to 64 bytes"),
    ({"webhook_secrets": {"crm": SECRET}}, "names no endpoint 'crm'"),
    ({"webhooks_inside": ["crm"]}, "names no endpoint 'crm'"),
    ({**LIVE, "webhooks": {"crm": "https://x.example"}, "webhook_secrets": {}, "secret_key": "s" * 32}, "no secret"),
]


@pytest.mark.parametrize(("said", "expected"), WRONG)
def test_settings_that_cannot_be_are_refused(said: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        Settings(_env_file=None, **said)


def test_a_secret_is_not_shown() -> None:
    shown = Settings(_env_file=None, webhooks={"crm": "https://x.example"}, webhook_secrets={"crm": SECRET})
    assert SECRET not in repr(shown)
    assert len(b64decode(SECRET.removeprefix("whsec_"))) == 24
