"""Our pages and a post room on real ports, with dispatch between them: what callback tests share."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import httpx
from pydantic import SecretStr
from sqlalchemy import Engine

from beforehand.settings import Settings
from beforehand.web.postroom.callbacks import signature
from beforehand.web.postroom.house import Pace
from beforehand.web.postroom.server import PostRoom
from beforehand.web.serving import Pages
from beforehand.wiring import App, providers
from messaging.channels import build
from messaging.channels.base import Channel as Way
from messaging.channels.callbacks import STATUS_PATH, VOICE_PATH, attempt_token
from messaging.dispatch import DispatchReport
from models.vocabulary import Channel
from tests.integration.out_world import NOW, SECRET, SENDER, send_due

PATIENCE = 60
"""Seconds for an answer: the machine may have other things to do, and this is no test of speed."""

DESK = "+442079460001"
AT_ONCE = Pace(0, 0, 0, 0, 0, callback_pauses=(0.05,))


@cache
def _client() -> httpx.Client:
    """One for all: to read the certificates takes longer than a request."""
    return httpx.Client(trust_env=False, verify=False, timeout=PATIENCE)


@dataclass(frozen=True)
class World:
    """A post room, our pages, the application behind them, and the ways out."""

    room: PostRoom
    pages: Pages
    app: App
    channels: dict[Channel, Way]

    def send(self, now: datetime = NOW) -> DispatchReport:
        """Dispatch all that is due."""
        return send_due(self.app.engine, self.channels, now)

    def url(self, path: str, attempt_id: int, more: str = "") -> str:
        """An address of ours that names an attempt."""
        return f"{self.pages.url}{path}/{attempt_token(SECRET, attempt_id)}{more}"

    def post(self, url: str, form: Mapping[str, str], *, token: str | None = None) -> httpx.Response:
        """A request as Twilio signs it; the account's id is put in."""
        said = {"AccountSid": self.room.account_sid} | dict(form)
        signed = {"X-Twilio-Signature": signature(token or self.room.auth_token, url, said)}
        return _client().post(url, data=said, headers=signed)

    def status(self, attempt_id: int, sid: str, status: str, **more: str) -> httpx.Response:
        """The status callback of a message."""
        form = {"MessageSid": sid, "MessageStatus": status} | more
        return self.post(self.url(STATUS_PATH, attempt_id), form)

    def answer(self, attempt_id: int, sid: str, key: str = "", **more: str) -> str:
        """Somebody answers a call, or presses a key; gives the script."""
        form = {"CallSid": sid, "CallStatus": "in-progress"} | ({"Digits": key} if key else {}) | more
        again = more.pop("again", "")
        form.pop("again", None)
        path = ("/key" if key or again else "") + ("?again=1" if again else "")
        answered = self.post(self.url(VOICE_PATH, attempt_id, path), form)
        assert answered.status_code == 200, answered.text
        return answered.text


@contextmanager
def world(
    engine: Engine, *, clock: Callable[[], datetime] = lambda: NOW, pace: Pace = AT_ONCE, **said: Any
) -> Iterator[World]:
    """All of it, on free ports."""
    with PostRoom(pace=pace) as room:
        settings = Settings(
            _env_file=None,
            secret_key=SecretStr(SECRET.decode()),
            twilio_account_sid=room.account_sid,
            twilio_auth_token=SecretStr(room.auth_token),
            twilio_from=SENDER,
            desks={"voice-desk": DESK},
            post_room_port=room.http_port,
            post_room_smtp_port=room.smtp_port,
            send_timeout_seconds=2,
            status_callbacks=True,
            **said,
        )
        with Pages(App(settings, engine, clock)) as pages:
            channels = build(providers(pages.app.settings, clock))
            yield World(room, pages, pages.app, channels)
