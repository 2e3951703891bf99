"""kill -9 of worker, Prefect server and database in the middle of each flow: nothing is left wrong, and it shows."""

import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import Engine, func, select

from beforehand.web.postroom.server import PostRoom
from messaging.outbox import reap
from messaging.unknown import settle
from models.customer import Customer
from models.database import connect, migrate, reading
from models.delivery import Message, RulePass
from tests.deciding import House
from tests.delivery.clusters import Cluster, new_parent, new_primary
from tests.delivery.night import Night, Server, noon_now
from tests.integration.out_world import ways

pytestmark = pytest.mark.asyncio(loop_scope="module")

PEOPLE = 20
RUNS = {"evaluate": "hello", "dispatch": "dispatch", "ingest": "ingest"}
SOURCES = """
sources:
  people: people.csv
load:
  - into: customers
    from: people
    key: id
    fields: {first_name: name, phone: phone, country: country, time_zone: zone}
"""


def table(model: Any) -> Any:
    return model.__table__


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    one = Server(tmp_path_factory.mktemp("prefect"))
    await one.start()
    yield one
    await one.child.stop()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    parent = new_parent()
    one = new_primary(parent, "night")
    yield one
    one.stop()
    shutil.rmtree(parent, ignore_errors=True)


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A fresh database: a SQLite file, or one of a cluster that can be killed."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'ours.db'}"
    else:
        cluster: Cluster = request.getfixturevalue("cluster")
        name = f"night{time.monotonic_ns()}"
        cluster.ask(f"CREATE DATABASE {name}")
        url = cluster.url.replace("/postgres?", f"/{name}?")
    engine = connect(url)
    migrate(engine)
    yield engine
    engine.dispose()


@pytest_asyncio.fixture(loop_scope="module")
async def night(place: Engine, tmp_path: Path, server: Server) -> AsyncIterator[Night]:
    house = House(place, tmp_path)
    house.rule(when='{cron: "0 0 1 1 *"}')
    folder = tmp_path / "templates" / "hello"
    house.template("hello", "sms")
    (folder / "sms.en.txt").write_text("Good day. ({{ message.reference }})\n")
    with PostRoom(numbers=["+442079460000"]) as room:
        settings = {"BEFOREHAND_BRAKE": "100", "BEFOREHAND_QUIET_LAWS": ""}
        one = Night(tmp_path, place, room, server, settings)
        yield one
        one.close()
    for name, key in one.deployments().items():  # the next test begins with none
        assert name
        one.forget(key)


def people(night: Night, count: int = PEOPLE) -> None:
    house = House(night.engine, night.folder)
    for _ in range(count):
        house.customer(time_zone=noon_now(), email=None)


def sources(night: Night) -> None:
    lines = [f"c{n},P{n},+4915112{n:05},DE,{noon_now()}" for n in range(PEOPLE)]
    (night.folder / "people.csv").write_text("id,name,phone,country,zone\n" + "\n".join(lines) + "\n")
    (night.folder / "sources.yaml").write_text(SOURCES)
    night.mapping = str(night.folder / "sources.yaml")


def counted(night: Night, model: Any, *where: Any) -> int:
    with reading(night.engine) as connection:
        return int(connection.execute(select(func.count()).select_from(table(model)).where(*where)).scalar_one())


def told(night: Night) -> Counter[str]:
    """How often each number got something, by the post room's ledger."""
    return Counter(entry.to for entry in night.room.ledger.entries if not entry.inbound)


def prepare(night: Night, flow: str) -> None:
    """What there is to do for the flow that is to be killed."""
    if flow == "ingest":
        sources(night)
        return
    people(night)
    if flow == "dispatch":
        from beforehand.passes import run_rule

        run_rule(House(night.engine, night.folder).app, "hello", datetime.now(UTC))


async def whole(night: Night, flow: str) -> None:
    """In the end all is there once, and no trace of the crash is left in our tables."""
    if flow == "ingest":
        await night.until(lambda: counted(night, Customer) == PEOPLE)
        return
    await night.until(lambda: len(told(night)) == PEOPLE)
    assert set(told(night).values()) == {1}, "somebody was told twice"
    assert counted(night, Message) == PEOPLE
    assert counted(night, RulePass, table(RulePass).c.finished_at.is_(None)) == 0, "passes are whole or not at all"


def unknown_found_out(night: Night) -> None:
    """By a clock that is ahead the evidence is asked for: what was in the air when all died is found, not sent anew."""
    now, channels = datetime.now(UTC) + timedelta(hours=1), ways(night.room, timeout=10)
    reap(night.engine, now)
    settle(night.engine, channels, now, send_timeout=2, settle_after=timedelta(minutes=15))
    c = table(Message).c
    gone = counted(night, Message, c.state.in_(["accepted", "sent", "delivered"]))
    assert gone == PEOPLE
    assert set(told(night).values()) == {1}


async def visible(night: Night, flow: str, since: float, seconds: float = 60) -> tuple[dict[str, Any], float]:
    """The first run of the flow, once it is ended in Prefect, and how long that took."""

    def look() -> Any:
        run = (night.runs(RUNS[flow]) or [None])[0]
        return run if run and run["state_type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") else None

    run = await night.until(look, seconds)
    return run, time.monotonic() - since


async def works_again(night: Night, flow: str) -> None:
    """The dead run holds nothing: the next one that is asked for ends well."""
    key = str(await night.run(RUNS[flow]))

    def look() -> Any:
        return next((r for r in night.runs(RUNS[flow]) if r["id"] == key and r["state_type"] == "COMPLETED"), None)

    await night.until(look)


CELLS = [
    pytest.param(place, flow, victim, id=f"{victim}-in-{flow}-{place}")
    for place in ("sqlite", "postgresql")
    for flow in RUNS
    for victim in ("worker", "server", "database")
    if (place, victim) != ("sqlite", "database")  # the file has no process but the worker
]


@pytest.mark.prove
@pytest.mark.parametrize(("place", "flow", "victim"), CELLS, indirect=["place"])
async def test_prove_flow_crashes(night: Night, flow: str, victim: str, request: pytest.FixtureRequest) -> None:
    prepare(night, flow)
    night.start_house(flow)
    await night.run(RUNS[flow])
    await night.in_the_middle()
    since = time.monotonic()
    if victim == "worker":
        night.kill_house()
        night.start_house()
    elif victim == "server":
        await night.server.kill()
        night.go_on()
        await night.server.start()
    else:
        cluster: Cluster = request.getfixturevalue("cluster")
        cluster.kill()
        night.go_on()
        time.sleep(3)
        cluster.start()
        night.engine.dispose()
    run, took = await visible(night, flow, since)
    assert took < 60, "seen as what it was within a minute of the kill, restarts included"
    await whole(night, flow)
    await works_again(night, flow)
    if flow == "dispatch":
        unknown_found_out(night)
    print(
        f"\nPROOF {victim} killed in {flow} on {night.engine.dialect.name}: {run['state_name']} after {took:.0f} s; "
        f"{run['state']['message']!r}"
    )
