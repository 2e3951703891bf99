"""What the tests of the post room share: a quick one, the official SDK tied to it, and a listener for callbacks."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client

from beforehand.web.postroom import Pace, PostRoom

OURS = "+442079460000"
ANNA = "+4915112345678"
SARA = "+971501234567"
QUICK = Pace(
    sent=0.02,
    delivered=0.03,
    ringing=0.01,
    answered=0.02,
    completed=0.02,
    callback_pauses=(0.05, 0.1),
    callback_timeout=1,
)


class Tied(TwilioHttpClient):
    """The official SDK's own HTTP client, sent to the post room."""

    def __init__(self, base: str) -> None:
        super().__init__()
        self.base = base

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        return super().request(method, url.replace("https://api.twilio.com", self.base), *args, **kwargs)


def official(room: PostRoom, token: str | None = None) -> Client:
    """Twilio's SDK as its users use it."""
    return Client(room.account_sid, token or room.auth_token, http_client=Tied(room.http_url))


@dataclass
class Heard:
    """One request that the listener got."""

    method: str
    url: str
    form: dict[str, str]
    signature: str


class Listener:
    """Our side of the webhooks: keeps what it hears; ``answers`` is what it says, in turn, the last one for ever."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.answers: list[tuple[int, str]] = [(204, "")]
        self._changed = threading.Condition()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def wait_for(self, n: int, timeout: float = 20) -> list[Heard]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.heard) >= n, timeout), f"heard only {self.heard}"
            return list(self.heard)

    def _take(self, heard: Heard) -> tuple[int, str]:
        with self._changed:
            self.heard.append(heard)
            self._changed.notify_all()
            return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                form = dict(parse_qsl(body, keep_blank_values=True))
                url = listener.url + self.path
                heard = Heard(self.command, url, form, self.headers.get("X-Twilio-Signature", ""))
                code, text = listener._take(heard)
                self.send_response(code)
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_POST = _answer

            def log_message(self, *args: Any) -> None:
                pass

        return Handler


@contextmanager
def listening() -> Iterator[Listener]:
    """A listener on a free port."""
    listener = Listener()
    thread = threading.Thread(target=listener.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield listener
    finally:
        listener.server.shutdown()
        listener.server.server_close()
        thread.join(5)
