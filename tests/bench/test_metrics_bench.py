"""What a scrape costs with a million messages in the outbox."""

import time
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine, String, case, cast, insert, literal, select, text

from beforehand.settings import Settings
from beforehand.sight.gauges import MOST, Gauges
from beforehand.web.staff import create_staff_app
from beforehand.wiring import App
from messaging.claims import message
from models.database import writing
from models.types import UTCDateTime
from tests.integration.out_world import NOW, later, plan_messages

MILLION = 1_000_000
DOUBLINGS = 20


def fill(engine: Engine) -> int:
    """A million messages. Of each hundred 20 are due, 20 wait, one is held, one unknown; the others are done."""
    plan_messages(engine, 1)
    m, plain = message.c, ("step", "reference", "state", "due_at", "id")
    copied = [column for column in m if column.name not in plain]
    number = m.id + select(text("max(id) FROM message")).scalar_subquery()
    kind = number % 100
    state = case((kind < 20, "queued"), (kind < 40, "planned"), (kind == 40, "held"), (kind == 41, "unknown"))
    due = case((kind < 20, literal(later(minutes=-9), UTCDateTime())), else_=literal(later(days=1), UTCDateTime()))
    shown = cast(number, String)
    rows = select(number, *copied, shown, shown, case((state.is_not(None), state), else_="delivered"), due)
    columns = ["id", *(column.name for column in copied), "step", "reference", "state", "due_at"]
    for _ in range(DOUBLINGS):
        with writing(engine) as connection:
            connection.execute(insert(message).from_select(columns, rows))
    with writing(engine) as connection:
        connection.execute(text("ANALYZE"))
        return int(connection.execute(text("SELECT count(*) FROM message")).scalar_one())


@pytest.mark.bench
def test_what_a_scrape_costs(engine: Engine, tmp_path: Path) -> None:
    assert fill(engine) >= MILLION
    app = App(Settings(_env_file=None, var=tmp_path), engine, lambda: NOW)
    gauges, took = Gauges(app, kept=0), []
    for _ in range(10):
        began = time.monotonic()
        found = {family.name: family for family in gauges.collect()}
        took.append(time.monotonic() - began)
    assert found["beforehand_messages_due"].samples[0].value == MOST
    client = TestClient(create_staff_app(app), base_url="http://127.0.0.1")
    client.get("/metrics")
    began = time.monotonic()
    client.get("/metrics")
    again = time.monotonic() - began
    first, middle = took[0], sorted(took)[5]
    told = f"first {first * 1000:.0f} ms, middle {middle * 1000:.0f} ms, the page again {again * 1000:.0f} ms"
    print(f"{engine.dialect.name}: a scrape over {MILLION:,} messages: {told}")
    assert middle < 1
