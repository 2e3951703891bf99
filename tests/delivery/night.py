"""A house in a process of its own, which can be killed: its worker and heartbeat, beside a Prefect server and a post
room that live on. ``python -m tests.delivery.night`` is that process; :class:`Night` is all of it, seen from a test.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch
from uuid import UUID

import httpx
from sqlalchemy import Engine

from beforehand import ROOT
from beforehand.runtime.child import PrefectChild
from beforehand.runtime.ports import free_port
from beforehand.web.postroom.server import PostRoom
from flows.environment import prefect_environment
from messaging.points import Point

HERE = "here"
"""The file that a process writes when it has come to its pause; it goes on when there is ``GO``."""
GO = "go"
SECRET = "s" * 32
PORTS = 21_000


# ---- inside the process ----


class Elsewhere:
    """A Prefect server that somebody else keeps."""

    pid = 1

    def __init__(self, api: str) -> None:
        self.api = api

    async def start(self) -> None:
        """It runs already."""

    async def keep(self) -> None:
        """Somebody else does."""
        await asyncio.Event().wait()

    async def stop(self) -> None:
        """It is not ours."""


def pause_in(folder: Path) -> None:
    """Say that we are in the middle, and wait to be killed, or to go on. Only the first to come here waits."""
    try:
        os.close(os.open(folder / HERE, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    while not (folder / GO).exists():
        time.sleep(0.02)


@contextmanager
def paused_in(flow: str, folder: Path) -> Iterator[None]:
    """Let the first ``evaluate``, ``dispatch`` or ``ingest`` of this process stop in its middle."""
    from prefect.context import FlowRunContext

    import beforehand.dispatching as dispatching
    import beforehand.ingest.load as load
    import beforehand.passes.deciding as deciding
    from messaging.dispatch import DispatchReport

    def after(function: Callable[..., Any]) -> Callable[..., Any]:
        def inner(*given: Any, **named: Any) -> Any:
            result = function(*given, **named)
            pause_in(folder)
            return result

        return inner

    def sending(engine: Any, clock: Any, channels: Any, envelopes: Any, plan: Any) -> Any:
        def at(point: Point) -> None:
            if point == Point.ANSWERED:
                pause_in(folder)

        if FlowRunContext.get() is None:  # the heartbeat leaves it to the flow, until that is in its middle
            return before(engine, clock, channels, envelopes, plan) if (folder / HERE).exists() else DispatchReport()
        return before(engine, clock, channels, envelopes, replace(plan, at=at))

    before = dispatching.dispatch
    hooks: dict[str, Any] = {
        "evaluate": lambda: patch.object(deciding, "plan_new", after(deciding.plan_new)),
        "ingest": lambda: patch.object(load, "upsert", after(load.upsert)),
        "dispatch": lambda: patch.object(dispatching, "dispatch", sending),
    }
    if flow not in hooks:
        yield
        return
    with hooks[flow]():
        yield


async def run_house(api: str, mapping: str) -> None:
    """Run a house until SIGTERM."""
    from beforehand.runtime.house import House
    from beforehand.settings import Settings
    from beforehand.wiring import bootstrap

    class NightHouse(House):
        def _open_doors(self) -> None:
            """The post room is the test's own, so that its ledger lives on."""

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    app = bootstrap(Settings(_env_file=None))
    async with NightHouse(app, Elsewhere(api), sources=mapping or None):  # type: ignore[arg-type]
        await stop.wait()


def main() -> None:
    """The process: its settings come from the environment, where it stops from ``NIGHT_FLOW``."""
    from beforehand.runtime import logs

    logs.set_up(Path(os.environ["NIGHT_FOLDER"]) / "house.log")
    with paused_in(os.environ.get("NIGHT_FLOW", ""), Path(os.environ["NIGHT_FOLDER"])):
        asyncio.run(run_house(os.environ["PREFECT_API_URL"], os.environ.get("NIGHT_MAPPING", "")))


# ---- seen from the test ----


def noon_now() -> str:
    """A zone in which it is about noon, so that nobody has quiet hours."""
    return f"Etc/GMT{datetime.now(UTC).hour - 12:+d}"


class Server:
    """A Prefect server that can be killed, wiped and started again. ``folder`` is its home."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = prefect_environment(folder, free_port("127.0.0.1", PORTS + os.getpid() % 5000))
        self.child = PrefectChild(self.environment, folder / "server.log")
        self.api = self.child.api

    async def start(self, patience: float = 120) -> None:
        """Start it, and wait until it is well."""
        await self.child.start()
        assert await self.child.until_healthy(patience), (self.folder / "server.log").read_text()[-2000:]

    async def kill(self) -> None:
        """As if its machine lost the power."""
        pid = self.child.pid
        assert pid is not None
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        while self.child.pid is not None:
            await asyncio.sleep(0.05)

    def wipe(self) -> None:
        """Take its database away."""
        for file in self.folder.glob("prefect.db*"):
            file.unlink()


@dataclass
class Night:
    """A house, its post room, its database, its Prefect server."""

    folder: Path
    engine: Engine
    room: PostRoom
    server: Server
    settings: dict[str, str] = field(default_factory=dict)
    mapping: str = ""
    processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def start_house(self, flow: str = "") -> "subprocess.Popen[bytes]":
        """Start a house that stops in the middle of ``flow``."""
        for name in (HERE, GO):
            (self.folder / name).unlink(missing_ok=True)
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("BEFOREHAND_", "PREFECT_"))}
        own = {
            "BEFOREHAND_DATABASE_URL": self.engine.url.render_as_string(hide_password=False),
            "BEFOREHAND_RULES": str(self.folder / "rules"),
            "BEFOREHAND_TEMPLATES": str(self.folder / "templates"),
            "BEFOREHAND_VAR": str(self.folder / "var"),
            "BEFOREHAND_JOURNAL": str(self.folder / "journal"),
            "BEFOREHAND_SECRET_KEY": SECRET,
            "BEFOREHAND_TWILIO_ACCOUNT_SID": self.room.account_sid,
            "BEFOREHAND_TWILIO_AUTH_TOKEN": self.room.auth_token,
            "BEFOREHAND_POST_ROOM_PORT": self.room.http_url.rpartition(":")[2],
            "BEFOREHAND_POST_ROOM_SMTP_PORT": str(self.room.smtp_port),
            "BEFOREHAND_STATUS_CALLBACKS": "false",
            "BEFOREHAND_LIVE_FROM": "1970-01-01T00:00:00Z",
            "BEFOREHAND_LEASE_SECONDS": "5",
            "BEFOREHAND_SEND_TIMEOUT_SECONDS": "1",
            "NIGHT_FOLDER": str(self.folder),
            "NIGHT_FLOW": flow,
            "NIGHT_MAPPING": self.mapping,
            "PYTHONPATH": str(ROOT),
        }
        with (self.folder / "house.out").open("ab") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.delivery.night"],
                env={**clean, **own, **self.settings, **self.server.environment},
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        self.processes.append(process)
        return process

    def kill_house(self) -> None:
        """kill -9."""
        self.processes[-1].kill()
        self.processes[-1].wait()

    def close(self) -> None:
        """End every process."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()

    async def in_the_middle(self, seconds: float = 180) -> None:
        """Wait until the house has come to its pause."""
        await self.until(lambda: (self.folder / HERE).exists(), seconds)

    def go_on(self) -> None:
        """Let the paused one go on."""
        (self.folder / GO).touch()

    async def until(self, true: Callable[[], Any], seconds: float = 120) -> Any:
        """Wait for something; its value. Raises AssertionError, with what the house said."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = await asyncio.to_thread(true)
            if found:
                return found
            await asyncio.sleep(0.1)
        said = (self.folder / "house.log").read_text()[-3000:] + (self.folder / "house.out").read_text()[-3000:]
        raise AssertionError(f"nothing within {seconds} s; the house said:\n{said}")

    def ask(self, path: str, **body: Any) -> Any:
        """POST to the Prefect API, with a client of our own; None while it does not answer."""
        try:
            with httpx.Client(trust_env=False, timeout=10) as client:
                answer = client.post(f"{self.server.api}{path}", json=body)
                return answer.json() if answer.is_success else None
        except httpx.HTTPError:
            return None

    def forget(self, deployment: str) -> None:
        """Delete a deployment, and its runs with it."""
        with httpx.Client(trust_env=False, timeout=10) as client:
            client.delete(f"{self.server.api}/deployments/{deployment}")

    def deployments(self) -> Mapping[str, str]:
        """Name to id."""
        return {one["name"]: one["id"] for one in self.ask("/deployments/filter") or []}

    async def run(self, name: str) -> UUID:
        """Ask for a run, once its deployment is there and the worker looks for runs."""
        key = await self.until(lambda: self.deployments().get(name), 90)
        run = await self.until(lambda: self.ask(f"/deployments/{key}/create_flow_run", state={"type": "SCHEDULED"}))
        return UUID(run["id"])

    def runs(self, name: str) -> list[dict[str, Any]]:
        """The runs of a deployment, oldest first; empty while Prefect does not answer."""
        only = {"name": {"any_": [name]}}
        return self.ask("/flow_runs/filter", deployments=only, sort="EXPECTED_START_TIME_ASC") or []


if __name__ == "__main__":
    main()
