"""Prefect as we use it, against one real server: the worker's contract, deployments, schedules, dead runs, the UI."""

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
import pytest_asyncio
from dateutil.relativedelta import relativedelta

from beforehand.passes.outcome import Outcome
from beforehand.runtime.child import PrefectChild
from beforehand.runtime.ports import free_port
from flows.environment import prefect_environment, put_in_place
from models.terms import OncePer, Send, Terms
from models.vocabulary import Channel, Purpose, Reason, RuleStatus

pytestmark = pytest.mark.asyncio(loop_scope="module")

LATE_ORDER = Terms(
    rule_id="late-order",
    version="a" * 64,
    title="Say sorry for a late order",
    status=RuleStatus.LIVE,
    purpose=Purpose.SERVICE,
    priority=80,
    subject="order",
    steps=(Send("late-order", by=(Channel.SMS,)),),
    once=OncePer("order"),
    owner="delivery-care@example.com",
    why="A delay we mention first costs one message.",
    cron=("*/15 * * * *",),
    valid_for=relativedelta(hours=12),
)
EVENT_RULE = replace(LATE_ORDER, rule_id="dropped-callback", cron=(), events=("call.ended",))


@dataclass
class Pass:
    """A pass as ``passes.run_rule`` reports it."""

    matched: int = 42
    customers: int = 40
    planned: int = 39
    withheld: Mapping[Reason, int] = field(default_factory=lambda: {Reason.OPTED_OUT: 3})
    tasks: int = 0
    skipped: bool = False


@dataclass
class Dispatched:
    sent: int = 0
    failed: int = 0
    unknown: int = 0
    withheld: Mapping[Reason, int] = field(default_factory=dict)


class Application:
    """The plain functions behind the flows, as small as they can be; it keeps what it was asked."""

    def __init__(self) -> None:
        self.passes: list[tuple[str, datetime | None]] = []
        self.to_send = 0
        self.meanwhile: Callable[[], None] = lambda: None

    def run_rule(self, rule_id: str, now: datetime, slot: datetime | None) -> Pass:
        self.passes.append((rule_id, slot))
        self.meanwhile()
        self.to_send = 39
        return Pass()

    def became(self, rule_id: str, since: datetime) -> Outcome:
        return Outcome(sent=30, waiting=9) if self.passes else Outcome()

    def dispatch(self) -> Dispatched:
        sent, self.to_send = self.to_send, 0
        return Dispatched(sent=sent)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """A Prefect server of our own, and this process set to speak to it."""
    folder = tmp_path_factory.mktemp("prefect")
    environment = prefect_environment(folder, free_port("127.0.0.1", 4700 + os.getpid() % 1000))
    before = dict(os.environ)
    put_in_place(environment)
    child = PrefectChild(environment, folder / "server.log")
    await child.start()
    import prefect.context

    prefect.context.refresh_global_settings_context()
    assert await child.until_healthy(90), (folder / "server.log").read_text()[-2000:]
    yield child.api
    from flows.ending import flush

    await flush()
    await child.stop()
    os.environ.clear()
    os.environ.update(before)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worker(server: str) -> AsyncIterator[Any]:
    """Our worker, polling."""
    from flows.boot import new_boot
    from flows.deployments import bring_in_line
    from flows.worker import InProcess

    await bring_in_line([])
    one = InProcess(new_boot(), watch_seconds=0.3)
    working = asyncio.create_task(one.start(printer=lambda *_: None))
    yield one
    await one.drain(5)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)


@pytest.fixture
def application() -> Application:
    """An application in the hands of the flows."""
    from flows.hands import Hands, hold

    app = Application()
    hold(
        Hands(
            clock=lambda: datetime.now(UTC),
            time_zone="Europe/Berlin",
            rules_folder=Path("rules/catalog"),
            post_room="http://127.0.0.1:8025",
            rules=lambda: {"late-order": LATE_ORDER, "dropped-callback": EVENT_RULE},
            run_rule=app.run_rule,
            dispatch=app.dispatch,
            became=app.became,
            ingest=lambda _: {"orders": {"read": 3, "new": 2, "rejected": 1}},
        )
    )
    return app


async def line_up(*rules: Terms) -> Any:
    from flows.deployments import bring_in_line, wanted
    from flows.hands import held

    return await bring_in_line(wanted({terms.rule_id: terms for terms in rules}, held()))


async def run_now(name: str) -> UUID:
    from flows.deployments import deployment_ids, start_run

    return await start_run((await deployment_ids())[name])


async def ran_now(name: str) -> Any:
    """One run to its end. Prefect gives a slot back a little after the run before it has ended, so ask again then."""
    for _ in range(20):
        run = await ended(await run_now(name))
        if "concurrency limit" not in (run.state.message or ""):
            return run
        await asyncio.sleep(0.5)
    raise AssertionError("the slot of the run before was never given back")


async def until(look: Callable[[], Awaitable[Any]], seconds: float = 20) -> Any:
    for _ in range(int(seconds / 0.2)):
        found = await look()
        if found:
            return found
        await asyncio.sleep(0.2)
    raise AssertionError(f"nothing came within {seconds} s")


async def ended(run_id: UUID) -> Any:
    from prefect.client.orchestration import get_client

    async with get_client() as client:

        async def look() -> Any:
            run = await client.read_flow_run(run_id)
            return run if run.state and run.state.is_final() else None

        return await until(look)


async def schedules_of(name: str) -> list[Any]:
    from prefect.client.orchestration import get_client

    from flows.deployments import deployment_ids

    async with get_client() as client:
        return list((await client.read_deployment((await deployment_ids())[name])).schedules)


async def test_staff_see_why_an_edit_of_the_rules_was_refused(server: str) -> None:
    from flows.notices import RULES_KEY, tell_rules

    wrong = "late-order.yaml:9:3: unknown key 'evry'"
    for problems, words in ((wrong, "stay in force"), ("", "| late-order | live |")):
        await tell_rules({"late-order": LATE_ORDER}, problems)
        async with httpx.AsyncClient(trust_env=False) as client:
            shown = (await client.get(f"{server}/artifacts/{RULES_KEY}/latest")).json()
        assert (shown["type"], words in shown["data"], problems in shown["data"]) == ("markdown", True, True)
    assert "stay in force" not in shown["data"]


async def test_a_run_of_a_rule_is_a_pass_that_reads_well(worker: Any, application: Application) -> None:
    """The contract with Prefect: our worker takes a run of a deployment, and its flow names, tags and reports it."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

    await line_up(LATE_ORDER)
    run = await ran_now("late-order")
    assert run.state.is_completed()
    assert run.name == "late-order · 42 matched"
    assert run.state.message == "late-order · 42 matched, 39 planned, 30 sent"
    assert {"rule:late-order", "purpose:service"} <= set(run.tags)
    assert run.parameters == {"rule_id": "late-order"}
    assert run.infrastructure_pid == worker.boot
    assert application.passes == [("late-order", run.expected_start_time)]
    async with get_client() as client:
        (artifact,) = await client.read_artifacts(
            artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
        )
    for word in ("matched", "the customer has opted out", "planned", "sent", "failed", "waiting"):
        assert word in str(artifact.data)
    for word in ("A delay we mention first", "delivery-care@example.com", "late-order.yaml", "http://127.0.0.1:8025"):
        assert word in artifact.description


async def test_a_run_leaves_the_signals_to_whoever_stops_the_house(worker: Any, application: Application) -> None:
    """Prefect's engine would take SIGTERM for the time of a run, and raise out of the house's own event loop."""
    before, during = signal.getsignal(signal.SIGTERM), []
    application.meanwhile = lambda: during.append(signal.getsignal(signal.SIGTERM))
    await line_up(LATE_ORDER)
    await ran_now("late-order")
    application.meanwhile = lambda: None
    assert during == [before]


async def test_ingest_and_dispatch_can_be_run_by_hand(worker: Any, application: Application) -> None:
    from flows.deployments import bring_in_line, wanted
    from flows.hands import held

    application.to_send = 7
    await bring_in_line(wanted({}, held(), sources="examples/shop/sources.yaml"))
    ingest, dispatch = await run_now("ingest"), await run_now("dispatch")
    assert (await ended(ingest)).state.message == "2 new, 1 rejected"
    assert (await ended(dispatch)).state.message == "7 sent, 0 failed, 0 unknown"


async def test_a_cron_deployment_gets_scheduled_runs_within_15_seconds(server: str, application: Application) -> None:
    """The set of versions that pip takes by itself is silently broken here: healthy, and no run is ever scheduled."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateName

    await line_up(replace(LATE_ORDER, rule_id="at-nine", cron=("0 9 * * *", "30 17 * * 1-5")))
    scheduled = FlowRunFilter(state=FlowRunFilterState(name=FlowRunFilterStateName(any_=["Scheduled"])))
    async with get_client() as client:

        async def look() -> Any:
            return [run for run in await client.read_flow_runs(flow_run_filter=scheduled) if run.auto_scheduled]

        runs = await until(look, seconds=15)
    from zoneinfo import ZoneInfo

    berlin = {run.expected_start_time.astimezone(ZoneInfo("Europe/Berlin")).strftime("%H:%M") for run in runs}
    assert berlin <= {"09:00", "17:30"}
    assert "09:00" in berlin


async def test_a_pause_by_staff_survives_an_edit_of_the_rule(server: str, application: Application) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.schedules import CronSchedule

    from flows.deployments import deployment_ids

    await line_up(LATE_ORDER)
    (schedule,) = await schedules_of("late-order")
    by_hand = DeploymentScheduleCreate(schedule=CronSchedule(cron="0 3 * * *", timezone="UTC"), slug=None)
    async with get_client() as client:
        deployment = (await deployment_ids())["late-order"]
        await client.update_deployment_schedule(deployment, schedule.id, active=False)
        await client.create_deployment_schedules(deployment, [by_hand])
    assert (await line_up(LATE_ORDER)).same == ["late-order", "dispatch", "ingest"]
    edited = replace(LATE_ORDER, version="b" * 64, cron=("0 * * * *", "0 9 * * 1"))
    assert (await line_up(edited)).changed == ["late-order"]
    now = {one.slug: (one.schedule.cron, one.active) for one in await schedules_of("late-order")}
    assert now == {"rule-1": ("0 * * * *", False), "rule-2": ("0 9 * * 1", True), None: ("0 3 * * *", True)}
    assert (await deployment_ids())["late-order"] == deployment
    assert (await line_up(replace(edited, version="c" * 64, cron=()))).changed == ["late-order"]
    assert [one.slug for one in await schedules_of("late-order")] == [None]


async def test_only_live_rules_have_a_deployment(server: str, application: Application) -> None:
    first = await line_up(LATE_ORDER, EVENT_RULE)
    assert "dropped-callback" in first.created + first.changed + first.same
    assert await schedules_of("dropped-callback") == []
    second = await line_up(LATE_ORDER, replace(EVENT_RULE, status=RuleStatus.RETIRED))
    assert second.removed == ["dropped-callback"]
    assert "late-order" in second.same


async def test_a_rule_runs_once_at_a_time(worker: Any, application: Application) -> None:
    go = threading.Event()
    application.meanwhile = lambda: void(go.wait(10))
    await line_up(LATE_ORDER)
    first = await run_now("late-order")
    await until(lambda: passes_begun(application, 1))
    second = await ended(await run_now("late-order"))
    go.set()
    assert second.state.is_cancelled()
    assert (await ended(first)).state.is_completed()
    assert len(application.passes) == 1


async def test_an_error_is_said_without_data(worker: Any, application: Application) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId

    def fall() -> None:
        raise ValueError("anna@example.com is not a number")

    application.meanwhile = fall
    await line_up(LATE_ORDER)
    run = await ran_now("late-order")
    assert run.state.is_failed()
    assert "late-order: ValueError at tests/integration/test_worker.py:" in run.state.message
    async with get_client() as client:
        only = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id]))

        async def look() -> Any:
            said = "\n".join(entry.message for entry in await client.read_logs(log_filter=only))
            return said if "FlowError" in said else None

        said = await until(look)
    assert "anna@" not in said + str(run.state)


async def test_a_person_can_cancel_a_run(worker: Any, application: Application) -> None:
    from prefect.client.orchestration import get_client
    from prefect.states import Cancelling

    go = threading.Event()
    application.meanwhile = lambda: void(go.wait(10))
    await line_up(LATE_ORDER)
    run_id = await run_now("late-order")
    await until(lambda: passes_begun(application, 1))
    async with get_client() as client:
        await client.set_flow_run_state(run_id, Cancelling(), force=True)

        async def is_cancelled() -> bool:
            # Prefect's engine says Crashed for the moment between the stop and our word on it.
            state = (await client.read_flow_run(run_id)).state
            return state is not None and state.name == "Cancelled"

        await until(is_cancelled)
    go.set()
    application.meanwhile = lambda: None
    assert (await ran_now("late-order")).state.is_completed(), "the worker goes on"


async def test_a_paused_flow_does_not_end_the_worker(
    worker: Any, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect import flow
    from prefect.client.orchestration import get_client
    from prefect.flow_runs import suspend_flow_run

    from flows import worker as module

    @flow(name="dispatch")
    async def waits_for_a_person() -> None:
        await suspend_flow_run(timeout=60)

    await line_up(LATE_ORDER)
    monkeypatch.setitem(module.FLOWS, "dispatch", waits_for_a_person)
    run_id = await run_now("dispatch")
    async with get_client() as client:

        async def look() -> Any:
            run = await client.read_flow_run(run_id)
            return run.state if run.state and run.state.is_paused() else None

        assert (await until(look)).name == "Suspended"
    assert (await ran_now("late-order")).state.is_completed()


async def test_runs_of_a_dead_process_are_marked_crashed(worker: Any, application: Application) -> None:
    from prefect.client.orchestration import get_client
    from prefect.states import Running

    from flows.reaper import crash_dead_runs

    go = threading.Event()
    application.meanwhile = lambda: void(go.wait(10))
    await line_up(LATE_ORDER, EVENT_RULE)
    mine = await run_now("late-order")
    await until(lambda: passes_begun(application, 1))
    worker.draining = True
    zombie = await run_now("dropped-callback")
    async with get_client() as client:
        await client.set_flow_run_state(zombie, Running(), force=True)
        await client.update_flow_run(zombie, infrastructure_pid=worker.boot.replace(str(os.getpid()), "4194303"))
        assert await crash_dead_runs(worker.boot, datetime.now(UTC)) == 1
        assert (await client.read_flow_run(zombie)).state.is_crashed()  # type: ignore[union-attr]
        worker.draining = False
        go.set()
        assert (await ended(mine)).state.is_completed(), "a living run is left alone"


async def test_a_late_run_skips_itself_and_says_so(worker: Any, application: Application) -> None:
    from prefect.client.schemas.objects import FlowRun

    from flows.evaluate import lateness
    from flows.hands import held
    from flows.shown import late_name

    now = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
    hands = replace(held(), clock=lambda: now)
    hourly = replace(LATE_ORDER, cron=("0 * * * *",))

    def run(late: timedelta, *, by_clock: bool = True) -> FlowRun:
        return FlowRun.model_construct(expected_start_time=now - late, auto_scheduled=by_clock)

    assert await lateness(run(timedelta(minutes=14)), LATE_ORDER, hands) is None
    assert await lateness(run(timedelta(minutes=16)), LATE_ORDER, hands) == timedelta(minutes=16)
    assert await lateness(run(timedelta(minutes=59)), hourly, hands) is None
    assert await lateness(run(timedelta(hours=2)), hourly, hands) == timedelta(hours=2)
    assert await lateness(run(timedelta(hours=2), by_clock=False), hourly, hands) is None
    assert late_name("late-order", timedelta(minutes=135)) == "late-order · skipped, 2 h late"


async def test_the_ui_may_call_nobody_outside(server: str) -> None:
    async with httpx.AsyncClient(base_url=server.removesuffix("/api"), trust_env=False) as client:
        page = await client.get("/v2/")
        settings = (await client.get("/ui-settings")).json()
    policy = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
    allowed = policy["connect-src"].split()
    assert all(word == "'self'" or "127.0.0.1:" in word or "localhost:" in word for word in allowed)
    assert policy["default-src"] == "'self'"
    assert settings["api_url"] == server


async def passes_begun(application: Application, count: int) -> bool:
    return len(application.passes) >= count


def void(_: object) -> None:
    """Forget a value."""
