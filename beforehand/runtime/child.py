"""The Prefect server as a child process: started, waited for, and stopped for good."""

import asyncio
import contextlib
import math
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from beforehand import ROOT
from beforehand.runtime.logs import put_aside
from flows.environment import PARENT, SERVER_ONLY

_direct = build_opener(ProxyHandler({}))


def is_healthy(api: str, *, timeout: float = 2.0) -> bool:
    """Whether the Prefect server behind ``api`` answers that it is well. Blocking."""
    try:
        with _direct.open(f"{api}/health", timeout=timeout) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


class PrefectChild:
    """The server process. ``environment`` are its Prefect variables, ``output`` the file that takes what it says."""

    def __init__(self, environment: Mapping[str, str], output: Path) -> None:
        self.api = environment["PREFECT_API_URL"]
        self._environment = environment
        self._output = output
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """The process id, while there is one."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self) -> None:
        """Start the process in a session of its own, so that Ctrl-C in the terminal reaches only us."""
        self._output.parent.mkdir(parents=True, exist_ok=True)
        put_aside(self._output)
        with self._output.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "flows.server",
                env={
                    **os.environ,
                    **self._environment,
                    **SERVER_ONLY,
                    "PYTHONPATH": str(ROOT),
                    PARENT: str(os.getpid()),
                },
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    async def until_healthy(self, patience: float = math.inf) -> bool:
        """Wait up to ``patience`` seconds; False when it is not well by then, or has ended."""
        end = time.monotonic() + patience
        while time.monotonic() < end and self.pid is not None:
            if await asyncio.to_thread(is_healthy, self.api):
                return True
            await asyncio.sleep(0.2)
        return False

    async def until_silent(self, patience: float) -> None:
        """Come back when it has not said for ``patience`` seconds that it is well."""
        heard, every = time.monotonic(), min(5.0, patience / 4)
        while time.monotonic() - heard < patience:
            await asyncio.sleep(every)
            if await asyncio.to_thread(is_healthy, self.api, timeout=every):
                heard = time.monotonic()

    async def ended(self) -> str:
        """Wait until the process has ended, and say how."""
        code = await self._process.wait() if self._process else 0
        return f"by signal {-code}" if code < 0 else f"exit code {code}"

    def kill(self) -> None:
        """End the process and its group at once."""
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    async def stop(self, patience: float = 15.0) -> None:
        """SIGINT, and after ``patience`` seconds SIGKILL to its whole group."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGINT)
        try:
            await asyncio.wait_for(process.wait(), patience)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
