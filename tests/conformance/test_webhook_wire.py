"""The wire of webhooks over TLS: to the address that was looked at, under the name that the certificate must bear."""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from messaging.webhooks.wire import Answer, Endpoint, post
from tests.conformance.certificates import certificate_in, serving

NOW = datetime(2026, 3, 10, 9, tzinfo=UTC)


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[tuple[int, Path, list[dict[str, str]]]]:
    """A server with a certificate for localhost: its port, the certificate to trust, the headers it got."""
    certificate = certificate_in(tmp_path)
    got: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            got.append({key.lower(): value for key, value in self.headers.items()})
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.socket = serving(certificate).wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1], certificate, got
    server.shutdown()
    server.server_close()


def tried(url: str, context: ssl.SSLContext | bool = True, *, inside: bool = True) -> Answer:
    async def once() -> Answer:
        async with httpx.AsyncClient(trust_env=False, follow_redirects=False, verify=context) as client:
            endpoint = Endpoint("crm", url, "", inside=inside)
            return await post(client, endpoint, "{}", {"x-test": "1"}, NOW, timeout=5)

    return asyncio.run(once())


def test_the_certificate_is_checked_against_the_name_though_the_address_is_called(
    secured: tuple[int, Path, list[dict[str, str]]],
) -> None:
    port, trusted, got = secured
    context = ssl.create_default_context(cafile=str(trusted))
    assert tried(f"https://localhost:{port}/in?a=b", context) == Answer("http_204")
    assert got[0]["host"] == f"localhost:{port}"
    assert tried(f"https://127.0.0.1:{port}/in", context).code == "no_connection", "another name than the certificate's"
    assert tried(f"https://localhost:{port}/in").code == "no_connection", "a certificate that nobody trusts"
    assert len(got) == 1


@pytest.mark.parametrize("host", ["no-such-host.invalid", "999.1.1.1"])
def test_a_name_that_leads_nowhere(host: str) -> None:
    assert tried(f"https://{host}/in").code in ("no_such_host", "timeout", "InvalidURL")


@pytest.mark.parametrize(
    "url", ["http://localhost:1/", "http://127.1:1/", "http://0x7f000001:1/", "http://[::ffff:7f00:1]:1/"]
)
def test_no_spelling_of_an_inner_address_gets_by(url: str) -> None:
    assert tried(url, inside=False).code in ("private_address", "no_such_host")
