"""Flow failures against one real Prefect server: doubled runs, lost ends, daylight saving, and no canary anywhere."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

import models
from beforehand.web.postroom.server import PostRoom
from tests.delivery import canaries
from tests.delivery.canaries import World
from tests.integration.test_worker import (
    LATE_ORDER,
    Application,
    application,
    ended,
    line_up,
    ran_now,
    run_now,
    server,
    worker,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")
__all__ = ["application", "server", "worker"]

CHANGES = {  # the days around a change of the clocks, spring and autumn
    "Europe/Berlin": ("2026-03-28", "2026-10-24"),
    "America/New_York": ("2026-03-07", "2026-10-31"),
    "Australia/Lord_Howe": ("2026-04-04", "2026-10-03"),
}
CRONS = ("30 2 * * *", "0 * * * *", "*/15 * * * *", "0 9 * * *")
SOME = (
    "a value error in evaluate",
    "a panic in plan",
    "rows quoted by the database",
    "a statement quoted by the database",
    "a template",
    "a channel",
    "an SMS refused",
    "a mail refused",
    "sending",
    "ingest of bad-rows",
    "ingest of lines",
    "ingest of columns",
)


@pytest.fixture
def world(sqlite_engine: Engine, tmp_path: Path) -> Iterator[World]:
    with PostRoom(numbers=["+442079460000"]) as room:
        yield World(sqlite_engine, tmp_path, room)


async def reaped(worker: Any, now: datetime | None = None) -> int:
    from flows.reaper import crash_dead_runs

    return await crash_dead_runs(worker.boot, now or datetime.now(UTC))


async def with_client(ask: Callable[[Any], Any]) -> Any:
    from prefect.client.orchestration import get_client

    async with get_client() as client:
        return await ask(client)


async def runs_of_slot(name: str, slot: datetime) -> list[Any]:
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterExpectedStartTime

    from flows.deployments import deployment_ids

    key = (await deployment_ids())[name]
    only = FlowRunFilter(expected_start_time=FlowRunFilterExpectedStartTime(after_=slot, before_=slot))
    found = await with_client(lambda client: client.read_flow_runs(flow_run_filter=only))
    return [run for run in found if run.deployment_id == key]


async def run_of_slot(name: str, slot: datetime) -> UUID:
    from prefect.states import Scheduled

    from flows.deployments import deployment_ids

    key, state = (await deployment_ids())[name], Scheduled(scheduled_time=slot)
    run = await with_client(lambda client: client.create_flow_run_from_deployment(key, state=state))
    return UUID(str(run.id))


async def test_the_same_run_started_five_times_at_once_is_one_pass(worker: Any, world: World) -> None:
    from flows.deployments import bring_in_line, wanted

    await bring_in_line(wanted(world.hands.rules(), world.hands))
    slot = datetime.now(UTC).replace(microsecond=0)
    runs = await asyncio.gather(*(run_of_slot("hello", slot) for _ in range(5)))
    states = [(await ended(run)).state for run in runs]
    assert {state.type.value for state in states} <= {"COMPLETED", "CANCELLED"}
    assert len(world.house.rows(models.RulePass, "id")) == 1
    told = Counter(entry.to for entry in world.room.ledger.entries)
    assert (len(told), set(told.values())) == (world.people, {1})


async def test_a_run_that_ended_while_prefect_was_away_does_not_stay_running(
    worker: Any, application: Application
) -> None:
    """Our process lives on, so nobody else would find it; it would hold its rule's only place for ever."""
    from prefect.states import Running

    await line_up(LATE_ORDER)
    worker.draining = True
    lost = await run_now("late-order")

    async def as_if_it_ran(client: Any) -> None:
        await client.set_flow_run_state(lost, Running(), force=True)
        await client.update_flow_run(lost, infrastructure_pid=worker.boot)

    await with_client(as_if_it_ran)
    assert await reaped(worker) == 1
    run = await with_client(lambda client: client.read_flow_run(lost))
    assert run.state.is_crashed()
    assert "Prefect was away when it ended" in run.state.message
    worker.draining = False
    assert (await ran_now("late-order")).state.is_completed()


async def test_what_the_database_cut_short_is_run_again_for_its_own_slot(worker: Any, application: Application) -> None:
    def away() -> None:
        application.meanwhile = lambda: None
        raise OperationalError("SELECT 1", {}, Exception("the server closed the connection; Zarathea"))

    application.meanwhile = away
    await line_up(replace(LATE_ORDER, cron=("0 9 * * *",)))
    slot = datetime.now(UTC).replace(microsecond=0)
    first = await ended(await run_of_slot("late-order", slot))
    assert first.state.is_failed()
    assert "the database does not answer (OperationalError at" in first.state.message
    await asyncio.gather(reaped(worker), reaped(worker))
    (again,) = [run.id for run in await runs_of_slot("late-order", slot) if run.id != first.id]
    assert (await ended(again)).state.is_completed()
    assert application.passes == [("late-order", slot), ("late-order", slot)]
    await reaped(worker)
    assert len(await runs_of_slot("late-order", slot)) == 2, "done is done"


async def test_an_error_of_the_rule_itself_and_what_is_too_late_are_not_run_again(
    worker: Any, application: Application
) -> None:
    def wrong() -> None:
        raise ValueError("no number")

    application.meanwhile = wrong
    await line_up(replace(LATE_ORDER, cron=("0 9 * * *",)))
    slot = datetime.now(UTC).replace(microsecond=0)
    assert (await ended(await run_of_slot("late-order", slot))).state.is_failed()
    await reaped(worker)
    assert len(await runs_of_slot("late-order", slot)) == 1
    application.meanwhile = lambda: (_ for _ in ()).throw(OperationalError("", {}, Exception()))
    await asyncio.sleep(1)
    later = slot + timedelta(seconds=1)
    assert (await ended(await run_of_slot("late-order", later))).state.is_failed()
    await reaped(worker, datetime.now(UTC) + timedelta(minutes=61))
    assert len(await runs_of_slot("late-order", later)) == 1


@pytest.mark.prove
@pytest.mark.parametrize("zone", CHANGES)
async def test_prefects_scheduler_and_our_slots_agree_when_the_clocks_change(
    server: str, application: Application, zone: str
) -> None:
    """What Prefect would start is what we would run without it: each slot once, a doubled hour no double."""
    import prefect.server.models.deployments as scheduler
    from prefect.server.database import provide_database_interface

    from flows.deployments import deployment_ids
    from flows.hands import held, hold
    from flows.slots import slots

    hold(replace(held(), time_zone=zone))
    rules = [replace(LATE_ORDER, rule_id=f"cron-{n}", cron=(cron,)) for n, cron in enumerate(CRONS)]
    await line_up(*rules)
    ids, db = await deployment_ids(), provide_database_interface()
    for day in CHANGES[zone]:
        begin = datetime.fromisoformat(f"{day}T12:00:00+00:00") - timedelta(hours=12)
        until, last = begin + timedelta(hours=70), begin + timedelta(hours=60)
        for rule in rules:
            ours = await slots(rule.cron, zone, after=begin, until=until)
            theirs = Counter[datetime]()
            for hour in range(60):  # it looks again and again, and so may we
                start, end = begin + timedelta(hours=hour), begin + timedelta(hours=hour + 2)
                async with db.session_context() as session:
                    runs = await scheduler._generate_scheduled_flow_runs(
                        db=db, session=session, deployment_id=ids[rule.rule_id], start_time=start, end_time=end,
                        min_time=end - start, min_runs=0, max_runs=1000,
                    )  # fmt: skip
                theirs.update({run["idempotency_key"]: run["next_scheduled_start_time"] for run in runs}.values())
                part = await slots(rule.cron, zone, after=start, until=end)
                assert part == [slot for slot in ours if start < slot <= end], "from wherever one looks"
            seen = sorted({one.astimezone(UTC) for one in theirs if begin < one < last})
            assert seen == [slot for slot in ours if slot < last], (zone, day, rule.cron)


async def test_no_personal_value_reaches_prefect_or_a_log(server: str, world: World, tmp_path: Path) -> None:
    """The small form of tests/delivery/test_prove_canaries.py."""
    from flows.ending import flush

    log = tmp_path / "logs" / "house.log"
    canaries.log_to(log)
    states = Counter([await world.run(name) for name in SOME])
    await world.beats()
    assert states["FAILED"] >= 6
    await flush()
    home = Path(server_home())
    assert "beat 'failing' failed" in log.read_text()
    assert canaries.slipped(canaries.files_in(home, log.parent) | canaries.answers(server)) == []


async def test_the_search_for_canaries_can_fail(server: str, tmp_path: Path) -> None:
    from prefect.artifacts import acreate_markdown_artifact

    await acreate_markdown_artifact("Call Zarathea", key="planted")
    found = canaries.slipped(canaries.files_in(Path(server_home())) | canaries.answers(server))
    assert {name for _, name in found} == {"first name"}
    assert {place.split()[0] for place, _ in found} > {"artifacts"}
    packed = canaries.slipped({"a": b"eyJ4IjogIlphcmF0aGVhIn0="})  # {"x": "Zarathea"}
    assert packed == [("a", "first name")]


def server_home() -> str:
    import os

    return os.environ["PREFECT_HOME"]
