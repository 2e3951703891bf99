"""The staff pages' server: health of a process without web, on this machine's own names only."""

import socket

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from beforehand.parts import STUCK_AFTER, Parts, PartState
from beforehand.settings import Settings
from beforehand.web.app import create_app
from beforehand.web.staff import StaffPages, create_staff_app
from beforehand.wiring import App, wall_clock
from models.database import connect

HERE = "http://127.0.0.1"


class Ticks:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


@pytest.fixture
def app(sqlite_engine: Engine, ticks: Ticks) -> App:
    return App(Settings(_env_file=None, delivery="post_room"), sqlite_engine, wall_clock, parts=Parts(ticks))


@pytest.fixture
def staff(app: App) -> TestClient:
    return TestClient(create_staff_app(app), base_url=HERE)


def parts_of(app: App) -> Parts:
    assert app.parts is not None
    return app.parts


def test_ready_only_while_every_part_is_well(app: App, staff: TestClient) -> None:
    parts = parts_of(app)
    parts.note("worker", PartState.STARTING)
    assert (staff.get("/readyz").status_code, staff.get("/readyz").json()["status"]) == (503, "not well: worker")
    parts.note("worker", PartState.WELL)
    assert staff.get("/readyz").status_code == 200
    parts.note("worker", PartState.DOWN, "it ended (OSError)")
    told = staff.get("/readyz").json()
    assert told["parts"]["worker"] == {"state": "down", "said": "it ended (OSError)", "deaths": 1}
    parts.note("worker", PartState.STOPPED)
    assert staff.get("/readyz").status_code == 200


def test_the_pages_for_customers_are_ready_while_another_part_is_down(app: App) -> None:
    parts_of(app).note("prefect", PartState.DOWN, "killed by a signal")
    answer = TestClient(create_app(app), base_url=app.settings.public_url).get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "parts": {"prefect": "down"}})


def test_not_ready_without_a_database(app: App) -> None:
    away = connect("postgresql://nobody@127.0.0.1:1/none?connect_timeout=2")
    client = TestClient(create_staff_app(App(app.settings, away, wall_clock, parts=Parts())), base_url=HERE)
    assert client.get("/readyz").status_code == 503
    assert client.get("/healthz").status_code == 200


def test_alive_until_the_loop_is_stuck(app: App, staff: TestClient, ticks: Ticks) -> None:
    assert staff.get("/healthz").status_code == 200
    ticks.now += STUCK_AFTER + 1
    assert staff.get("/healthz").status_code == 503
    parts_of(app).tick()
    assert staff.get("/healthz").status_code == 200


@pytest.mark.parametrize("name", ["evil.example", "127.0.0.1.evil.example", ""])
def test_other_names_are_refused(staff: TestClient, name: str) -> None:
    assert staff.get("/healthz", headers={"host": name}).status_code == 400


def test_every_answer_has_the_security_headers(staff: TestClient) -> None:
    for path in ("/healthz", "/nowhere"):
        assert "frame-ancestors 'none'" in staff.get(path).headers["content-security-policy"]


def test_it_listens_on_this_machine_only_and_leaves_no_port_behind(app: App) -> None:
    with StaffPages(app) as pages:
        assert pages.url == f"http://127.0.0.1:{pages.port}"
        assert httpx.get(f"{pages.url}/readyz", trust_env=False).status_code == 200
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", pages.port)) != 0
