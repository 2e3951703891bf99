"""Prefect as we use it, against one real server: the worker's contract, deployments, schedules, dead runs, the UI."""

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import Engine

from beforehand.runtime.child import PrefectChild
from beforehand.runtime.ports import free_port
from flows.environment import prefect_environment, put_in_place
from messaging import events_out
from models.database import reading, writing
from models.vocabulary import RuleStatus
from tests.integration.prefect_world import (
    EVENT_RULE,
    LATE_ORDER,
    NOON,
    Application,
    artifacts_of,
    ended,
    hands_of,
    line_up,
    passes_begun,
    ran_now,
    run_now,
    schedules_of,
    until,
    void,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


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
    from flows.hands import hold

    app = Application()
    hold(hands_of(app))
    return app


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
    await line_up(LATE_ORDER)
    run = await ran_now("late-order")
    assert run.state.is_completed()
    assert run.name == "late-order · 42 matched"
    assert run.state.message == "late-order · 42 matched, 39 planned, 30 sent"
    assert {"rule:late-order", "purpose:service"} <= set(run.tags)
    assert run.parameters == {"rule_id": "late-order"}
    assert run.infrastructure_pid == worker.boot
    assert application.passes == [("late-order", run.expected_start_time)]
    shown = await artifacts_of(run.id)
    artifact = shown["late-order"]
    assert "http://127.0.0.1:8001/" in shown["console"].data
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
            found = await client.read_flow_runs(flow_run_filter=scheduled)
            return [run for run in found if run.auto_scheduled and "rule:at-nine" in run.tags]

        runs = await until(look, seconds=15)
    from zoneinfo import ZoneInfo

    berlin = {run.expected_start_time.astimezone(ZoneInfo("Europe/Berlin")).strftime("%H:%M") for run in runs}
    assert berlin <= {"09:00", "17:30"}
    assert "09:00" in berlin


async def test_a_pause_by_staff_survives_an_edit_of_the_rule(server: str, application: Application) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.schedules import CronSchedule

    from flows.deployments import deployment_ids, paused_schedules

    await line_up(LATE_ORDER)
    (schedule,) = await schedules_of("late-order")
    by_hand = DeploymentScheduleCreate(schedule=CronSchedule(cron="0 3 * * *", timezone="UTC"), slug=None)
    async with get_client() as client:
        deployment = (await deployment_ids())["late-order"]
        await client.update_deployment_schedule(deployment, schedule.id, active=False)
        await client.create_deployment_schedules(deployment, [by_hand])
    assert (await paused_schedules())["late-order"] == {"rule-1"}
    again = await line_up(LATE_ORDER)
    assert ("late-order" in again.same, again.changed) == (True, [])
    edited = replace(LATE_ORDER, version="b" * 64, cron=("0 * * * *", "0 9 * * 1"))
    assert (await line_up(edited)).changed == ["late-order"]
    now = {one.slug: (one.schedule.cron, one.active) for one in await schedules_of("late-order")}
    assert now == {"rule-1": ("0 * * * *", False), "rule-2": ("0 9 * * 1", True), None: ("0 3 * * *", True)}
    assert (await deployment_ids())["late-order"] == deployment
    assert (await line_up(replace(edited, version="c" * 64, cron=()))).changed == ["late-order"]
    assert [one.slug for one in await schedules_of("late-order")] == [None]
    assert "late-order" not in await paused_schedules(), "staff's own schedule is none of the rule's"
    await line_up(LATE_ORDER)
    async with get_client() as client:
        await client.pause_deployment(deployment)
    assert (await paused_schedules())["late-order"] == {"rule-1"}
    async with get_client() as client:
        await client.resume_deployment(deployment)
    assert "late-order" not in await paused_schedules()


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
        elsewhere = f"elsewhere-{worker.boot}"
        await client.update_flow_run(zombie, infrastructure_pid=elsewhere)
        seen = {worker.boot, elsewhere}
        assert await crash_dead_runs(worker.boot, datetime.now(UTC), seen) == 0, "it lives, whatever Prefect thinks"
        gone = worker.boot.replace(str(os.getpid()), "4194303")
        await client.update_flow_run(zombie, infrastructure_pid=gone)
        assert await crash_dead_runs(worker.boot, datetime.now(UTC), {*seen, gone}) == 1, "no process of this machine"
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


async def test_edits_go_first_then_what_is_new_by_priority_and_what_was_left_is_done_next(
    server: str, application: Application
) -> None:
    from flows.deployments import bring_in_line, wanted
    from flows.hands import held

    new = [replace(LATE_ORDER, rule_id=f"new-{number}", priority=number) for number in range(1, 9)]
    gone = replace(LATE_ORDER, rule_id="gone")
    await line_up(LATE_ORDER, gone)
    edited = replace(LATE_ORDER, version="d" * 64, title="Edited")
    wishes = wanted({terms.rule_id: terms for terms in [edited, *new]}, held())
    looks = iter([False] * 4)
    first = await bring_in_line(wishes, stopping=lambda: next(looks, True))
    assert (first.changed, first.removed, sorted(first.created)) == (["late-order"], ["gone"], ["new-7", "new-8"])
    assert first.left == [f"new-{number}" for number in range(6, 0, -1)]
    second = await bring_in_line(wishes)
    assert (len(second.created), second.changed, second.left) == (6, [], [])


async def test_what_is_marked_as_in_line_is_not_read_again_and_what_was_touched_is(
    server: str, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.client.orchestration import get_client

    from flows import deployments, mark
    from flows.hands import held

    other = replace(LATE_ORDER, rule_id="other")
    await line_up(LATE_ORDER, other)
    with monkeypatch.context() as patch:
        patch.setattr(deployments, "_ours", None)
        assert {"late-order", "other"} <= set((await line_up(LATE_ORDER, other)).same)
    async with get_client() as client:
        await client.delete_deployment((await deployments.deployment_ids())["other"])
    assert (await line_up(LATE_ORDER, other)).created == ["other"], "one that somebody took away comes again"

    edited = {terms.rule_id: replace(terms, version="e" * 64) for terms in (LATE_ORDER, other)}
    looks = iter([False])
    half = await deployments.bring_in_line(deployments.wanted(edited, held()), stopping=lambda: next(looks, True))
    assert (len(half.changed), len(half.left)) == (1, 1), "as where the house ends in between"
    assert (await line_up(LATE_ORDER, other)).changed == half.changed, "and the edit is taken back meanwhile"

    wishes = deployments.wanted(edited, held())
    async with get_client() as client:
        mine, theirs = await mark.lift(client), await mark.lift(client)
        await mark.set_down(client, mine, wishes)
        assert not await mark.is_set(client, wishes), "another process is still changing them"
        await mark.set_down(client, theirs, wishes)
        assert await mark.is_set(client, wishes)
    await line_up(LATE_ORDER)


async def test_heavy_runs_go_one_after_the_other_and_keep_no_rule_waiting(
    worker: Any, application: Application
) -> None:
    from prefect.client.orchestration import get_client

    go = threading.Event()
    application.meanwhile = lambda: void(go.wait(20))
    await line_up(LATE_ORDER)
    ingest = await run_now("ingest", sources="shop.yaml")
    await until(lambda: heavy_begun(application, "ingest"))
    backtest = await run_now("backtest", rule_id="late-order", begin="2026-03-01", end="2026-03-08")
    async with get_client() as client:

        async def waits() -> bool:
            state = (await client.read_flow_run(backtest)).state
            return state is not None and state.name == "AwaitingConcurrencySlot"

        await until(waits)
    application.meanwhile = lambda: None
    assert (await ran_now("late-order")).state.is_completed(), "the places of the worker are free"
    assert application.heavy == ["ingest"]
    go.set()
    assert (await ended(ingest)).name == "ingest · 2 new, 1 rejected"
    async with get_client() as client:
        await client.set_flow_run_state(backtest, scheduled_now(), force=True)  # Prefect itself asks again after 30 s
    run = await ended(backtest)
    assert (run.name, application.heavy) == ("backtest late-order · 7 occasions, 5 messages", ["ingest", "backtest"])
    shown = await artifacts_of(backtest)
    assert shown["backtest-late-order-progress"].data == 100.0
    assert "the customer has heard enough from us lately | 2" in shown["backtest-late-order"].data
    assert "1 Mar 2026" in shown["backtest-late-order-days"].data


async def test_a_backtest_that_makes_no_sense_says_why(worker: Any, application: Application) -> None:
    await line_up(LATE_ORDER)
    asked = {"rule_id": "late-order", "begin": "2026-03-08", "end": "2026-03-01"}
    for wrong, said in (
        ({}, "The period ends before it begins."),
        ({"begin": "yesterday"}, "'yesterday' is not a day or a moment"),
        ({"rule_id": "late-oder"}, "There is no rule 'late-oder' in force."),
    ):
        run = await ended(await run_now("backtest", **(asked | wrong)))
        assert (run.state.is_failed(), said in run.state.message) == (True, True)


async def test_the_brief_is_an_artifact_each_morning(worker: Any, application: Application) -> None:
    await line_up(LATE_ORDER)
    (schedule,) = await schedules_of("brief")
    assert (schedule.schedule.cron, schedule.schedule.timezone) == ("0 7 * * *", "Europe/Berlin")
    run = await ran_now("brief")
    assert run.name == "morning brief · 42 messages sent, nothing needs a person"
    assert (
        "**42 messages** went out since yesterday 13:00: 42 SMS." in (await artifacts_of(run.id))["morning-brief"].data
    )


async def test_what_happened_is_in_the_event_feed_once_whoever_tells_it(
    server: str, application: Application, sqlite_engine: Engine
) -> None:
    from flows.news import News

    await line_up(LATE_ORDER)
    since = datetime.now(UTC)
    with writing(sqlite_engine) as connection:
        for number in range(3):
            events_out.happened(connection, events_out.RULE_MATCHED, "rule:late-order", since, {"matched": number})
        events_out.happened(connection, events_out.PROVIDER_DOWN, "provider:smtp", since, {"code": "550"})
    first, second = (News(sqlite_engine, lambda: datetime.now(UTC)) for _ in range(2))
    assert await first.tell() == 0, "posted; told when Prefect has written them down"
    await second.tell()  # another process took over in between

    async def told() -> bool:
        await second.tell()
        with reading(sqlite_engine) as connection:
            return not events_out.untold(connection)

    await until(told)
    feed = [event for event in await events_since(since) if event.event.startswith("beforehand.")]
    matched = [event for event in feed if event.event == events_out.RULE_MATCHED]
    assert sorted(event.payload["matched"] for event in matched) == [0, 1, 2]
    assert len(feed) == 4
    assert matched[0].resource["prefect.resource.id"] == "beforehand.rule.late-order"
    assert matched[0].resource["prefect.resource.name"] == "the rule late-order found customers"
    assert [related["prefect.resource.name"] for related in matched[0].related] == ["late-order"]


async def test_the_ready_automations_call_staff_and_stay_as_staff_leave_them(
    worker: Any, application: Application, sqlite_engine: Engine
) -> None:
    from prefect.client.orchestration import get_client

    from flows.automations import READY, install
    from flows.news import News
    from messaging import memos

    await line_up(LATE_ORDER)
    names = [ready.name for ready in READY]

    async def make() -> list[str]:
        return await install(sqlite_engine, lambda: datetime.now(UTC))

    assert (await make(), await make()) == (names, [])
    with writing(sqlite_engine) as connection:
        events_out.happened(connection, events_out.BRAKE_PULLED, "rule:late-order", datetime.now(UTC), {"count": 812})
    await News(sqlite_engine, lambda: datetime.now(UTC)).tell()
    await until(lambda: staff_called(application))
    assert application.called == [("beforehand.brake.pulled", "rule:late-order")]
    async with get_client() as client:
        there = {one.name: one for one in await client.read_automations()}
        assert {name: there[name].tags for name in names} == {name: ["beforehand"] for name in names}
        await client.pause_automation(there[names[0]].id)
        await client.delete_automation(there[names[1]].id)
        assert await make() == []
        assert [(one.name, one.enabled) for one in await client.read_automations()] == [(names[0], False)]
        with writing(sqlite_engine) as connection:  # as if Prefect's database had been another one
            memos.note(connection, f"automation:{names[1]}", "another", NOON)
        assert await make() == [names[1]]


async def test_what_prefect_keeps_too_long_is_cleared(worker: Any, application: Application) -> None:
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    from flows.notices import tell_rules
    from flows.retention import clear_notices, clear_runs

    await line_up(LATE_ORDER)
    run = await ran_now("retention")
    assert run.name == "retention · 3 cleared"
    for problems in ("wrong", ""):
        await tell_rules({"late-order": LATE_ORDER}, problems)
    later = datetime.now(UTC) + timedelta(minutes=1)
    async with get_client() as client:
        assert await clear_runs(client, datetime.now(UTC) - timedelta(days=1)) == (0, 0)
        runs, artifacts = await clear_runs(client, later)
        assert min(runs, artifacts) >= 1
        with pytest.raises(ObjectNotFound):
            await client.read_flow_run(run.id)
        assert await clear_notices(client, later) >= 1
        assert await clear_notices(client, later) == 0, "the newest stays"
    assert await artifacts_of(run.id) == {}


async def heavy_begun(application: Application, name: str) -> bool:
    return name in application.heavy


async def staff_called(application: Application) -> bool:
    return bool(application.called)


def scheduled_now() -> Any:
    from prefect.states import Scheduled

    return Scheduled(scheduled_time=datetime.now(UTC))


async def events_since(since: datetime) -> list[Any]:
    from prefect.client.orchestration import get_client
    from prefect.events.filters import EventFilter, EventNameFilter, EventOccurredFilter

    only = EventFilter(
        occurred=EventOccurredFilter(since=since - timedelta(minutes=1)), event=EventNameFilter(prefix=["beforehand."])
    )
    async with get_client() as client:
        return list((await client.read_events(only, limit=50)).events)
