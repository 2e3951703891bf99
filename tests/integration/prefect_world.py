"""What the tests against a real Prefect server share: an application of a few lines, and short ways to ask."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from dateutil.relativedelta import relativedelta

from beforehand.backtest.report import Backtest, Day
from beforehand.briefing import Brief
from beforehand.dispatching import ReapReport
from beforehand.passes.outcome import Outcome
from beforehand.staff_calls import Call, say
from flows.chores import Chores, Told
from flows.hands import Hands
from messaging.journal.reconciling import Reconciled
from models.terms import OncePer, Send, Terms
from models.vocabulary import Channel, Purpose, Reason, RuleStatus

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
NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
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
        self.heavy: list[str] = []
        self.called: list[tuple[str, str]] = []
        self.meanwhile: Callable[[], None] = lambda: None

    def run_rule(self, rule_id: str, now: datetime, slot: datetime | None) -> Pass:
        self.passes.append((rule_id, slot))
        self.meanwhile()
        self.to_send = 39
        return Pass()

    def became(self, rule_id: str, since: datetime) -> Outcome:
        return Outcome(sent=30, waiting=9) if self.passes else Outcome()

    def ingest(self, _mapping: Path, told: Told) -> dict[str, dict[str, int]]:
        told("read orders.csv", 1, 2)
        self.heavy.append("ingest")
        self.meanwhile()
        told("read orders.csv", 2, 2)
        return {"orders": {"read": 3, "new": 2, "rejected": 1}}

    def backtest(self, rule_id: str, start: datetime, end: datetime, told: Told) -> Backtest:
        told("replaying", 1, 1)
        self.heavy.append("backtest")
        days = (Day(start.date(), 7, 5),)
        return Backtest(rule_id, "v1", start, end, 7, 5, withheld={Reason.CAP: 2}, days=days, title="Say sorry")

    def call_staff(self, kind: str, about: str) -> Call:
        self.called.append((kind, about))
        return Call(say(kind, about, {"count": 812, "most": 120}), NOON, {"count": 812}, told=2)

    def dispatch(self) -> Dispatched:
        sent, self.to_send = self.to_send, 0
        return Dispatched(sent=sent)


def hands_of(app: Application) -> Hands:
    """The hands of the flows around an application."""
    return Hands(
        clock=lambda: datetime.now(UTC),
        time_zone="Europe/Berlin",
        rules_folder=Path("rules/catalog"),
        post_room="http://127.0.0.1:8025",
        rules=lambda: {"late-order": LATE_ORDER, "dropped-callback": EVENT_RULE},
        run_rule=app.run_rule,
        dispatch=app.dispatch,
        became=app.became,
        ingest=app.ingest,
        console="http://127.0.0.1:8001/",
        own=Chores(
            brief=lambda: Brief(NOON - timedelta(days=1), NOON, "Europe/Berlin", sent={"sms": 42}),
            backtest=app.backtest,
            moment=lambda text: datetime.fromisoformat(text).replace(tzinfo=UTC),
            reconcile=lambda _told: (Reconciled(was_held=False), ReapReport(0, 0, 0, 0, 0)),
            clear_old_rows=lambda: {"callbacks of providers": 3},
            call_staff=app.call_staff,
            prefect_days=30,
        ),
    )


async def line_up(*rules: Terms) -> Any:
    from flows.deployments import bring_in_line, wanted
    from flows.hands import held

    return await bring_in_line(wanted({terms.rule_id: terms for terms in rules}, held()))


async def run_now(name: str, **parameters: Any) -> UUID:
    from prefect.client.orchestration import get_client

    from flows.deployments import deployment_ids

    async with get_client() as client:
        deployment = (await deployment_ids([name]))[name]
        return (await client.create_flow_run_from_deployment(deployment, parameters=parameters)).id


async def artifacts_of(run_id: UUID) -> dict[str, Any]:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

    async with get_client() as client:
        only = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run_id]))
        return {str(one.key): one for one in await client.read_artifacts(artifact_filter=only)}


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


async def passes_begun(application: Application, count: int) -> bool:
    return len(application.passes) >= count


def void(_: object) -> None:
    """Forget a value."""
