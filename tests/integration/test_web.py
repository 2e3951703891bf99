"""Our pages as a server: who may ask, how much, what every answer carries, and whether we can work."""

from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest
from fastapi import APIRouter, Request
from fastapi.testclient import TestClient
from sqlalchemy import Engine, text

from beforehand.settings import Settings
from beforehand.web import app as web
from beforehand.web.guard import LARGEST_BODY
from beforehand.web.postroom.server import PostRoom
from beforehand.web.serving import Pages
from beforehand.wiring import App, wall_clock
from models.database import connect, migrate

PUBLIC = "https://care.shop.example"


def settings(**said: object) -> Settings:
    return Settings(_env_file=None, public_url=PUBLIC, **said)  # type: ignore[arg-type]


@pytest.fixture
def house(engine: Engine) -> App:
    return App(settings(), engine, wall_clock)


@pytest.fixture
def client(house: App, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    def echo(_: App) -> APIRouter:
        routes = APIRouter()

        @routes.post("/echo")
        async def size(request: Request) -> int:
            return len(await request.body())

        @routes.get("/broken")
        def broken() -> None:
            raise RuntimeError("a secret")

        return routes

    monkeypatch.setattr(web, "ROUTERS", (*web.ROUTERS, echo))
    with TestClient(web.create_app(house), base_url=PUBLIC, raise_server_exceptions=False) as opened:
        yield opened


def test_alive_and_ready(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").status_code == 200


def test_not_ready_with_an_old_schema(sqlite_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> None:
    old = connect(f"sqlite:///{tmp_path_factory.mktemp('old') / 'old.db'}")
    migrate(old, revision="0001")
    client = TestClient(web.create_app(App(settings(), old, wall_clock)), base_url=PUBLIC)
    answer = client.get("/readyz")
    assert (answer.status_code, "schema" in answer.json()["status"]) == (503, True)


def test_not_ready_without_a_database(house: App) -> None:
    away = connect("postgresql://nobody@127.0.0.1:1/none?connect_timeout=2")
    client = TestClient(web.create_app(replace(house, engine=away)), base_url=PUBLIC)
    assert client.get("/readyz").status_code == 503
    assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize("host", ["care.shop.example", "127.0.0.1:8000", "localhost", "care.shop.example:443"])
def test_names_of_ours(client: TestClient, host: str) -> None:
    assert client.get("/healthz", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "care.shop.example.evil.example", "", "www.care.shop.example"])
def test_other_names_are_refused(client: TestClient, host: str) -> None:
    answer = client.get("/healthz", headers={"host": host}, follow_redirects=False)
    assert answer.status_code == 400


def test_a_listening_address_is_ours_and_a_wildcard_is_no_name(house: App) -> None:
    assert "10.1.2.3" in web.trusted_hosts(settings(host="10.1.2.3"))
    assert "0.0.0.0" not in web.trusted_hosts(settings(host="0.0.0.0"))


@pytest.mark.parametrize("path", ["/healthz", "/nowhere", "/docs", "/openapi.json", "/redoc"])
def test_every_answer_has_the_security_headers(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == (200 if path == "/healthz" else 404)
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


def test_a_refused_host_has_them_too(client: TestClient) -> None:
    assert "content-security-policy" in client.get("/healthz", headers={"host": "evil.example"}).headers


def test_an_error_says_nothing_of_itself(client: TestClient) -> None:
    answer = client.get("/broken")
    assert (answer.status_code, "secret" in answer.text) == (500, False)


def test_a_body_may_be_large_but_not_too_large(client: TestClient) -> None:
    assert client.post("/echo", content=b"x" * LARGEST_BODY).json() == LARGEST_BODY
    assert client.post("/echo", content=b"x" * (LARGEST_BODY + 1)).status_code == 413


def test_a_body_without_a_length_is_counted(client: TestClient) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(LARGEST_BODY // 65536 + 1):
            yield b"x" * 65536

    assert client.post("/echo", content=chunks()).status_code == 413


def test_a_real_server_on_a_free_port_ends(house: App) -> None:
    with Pages(house) as pages:
        assert pages.app.settings.public_url == pages.url
        answer = httpx.get(f"{pages.url}/healthz", trust_env=False)
        assert answer.status_code == 200
        assert "server" not in answer.headers
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{pages.url}/healthz", trust_env=False)


def test_a_taken_port_is_told_at_once(house: App) -> None:
    with PostRoom() as room, pytest.raises(OSError, match="in use"):
        Pages(house, room.http_port)


def test_a_database_that_goes_away_is_said_without_anybodys_data(
    house: App, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def asks(app: App) -> APIRouter:
        routes = APIRouter()

        @routes.get("/ask/{who}")
        def ask(who: str) -> None:
            with app.engine.connect() as connection:
                connection.execute(text("SELECT * FROM nowhere WHERE a = :who"), {"who": who})

        return routes

    monkeypatch.setattr(web, "ROUTERS", (asks,))
    answer = TestClient(web.create_app(house), base_url=PUBLIC).get("/ask/anna@kunde.example")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "GET /ask/{who} was not done: " in caplog.text
    assert "anna" not in caplog.text + answer.text


def test_an_address_of_ipv6(sqlite_engine: Engine) -> None:
    with Pages(App(settings(host="::1"), sqlite_engine, wall_clock)) as pages:
        assert pages.url.startswith("http://[::1]:")
        assert httpx.get(f"{pages.url}/healthz", trust_env=False).status_code == 200
