"""A server that hangs is as dead as one that ended: it is ended for good and started again."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from beforehand.runtime.child import PrefectChild
from beforehand.runtime.keeper import Died
from beforehand.runtime.ports import free_port
from beforehand.runtime.servers import child_process

SERVER = """
import http.server, sys
class Well(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Well).serve_forever()
"""


class Child(PrefectChild):
    """A real process that says that it is well, and starts in a moment."""

    async def start(self) -> None:
        port = self.api.rpartition(":")[2].partition("/")[0]
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", SERVER, port, stderr=asyncio.subprocess.DEVNULL, start_new_session=True
        )

    async def stop(self, patience: float = 0.5) -> None:
        await super().stop(patience)


@pytest.fixture
def child(tmp_path: Path) -> Child:
    api = f"http://127.0.0.1:{free_port('127.0.0.1', 6900 + os.getpid() % 900)}/api"
    return Child({"PREFECT_API_URL": api}, tmp_path / "server.log")


async def dies_after(child: Child, what: signal.Signals, patience: float) -> str:
    well = asyncio.Event()
    running = asyncio.ensure_future(child_process(child, patience=patience)(well.set))
    await asyncio.wait_for(well.wait(), 20)
    await asyncio.sleep(0.5)
    assert not running.done(), "it goes on while all is well"
    pid = child.pid
    assert pid is not None
    os.kill(pid, what)
    with pytest.raises(Died) as died:
        await asyncio.wait_for(running, 30)
    assert not psutil.pid_exists(pid), "nothing of it is left"
    return str(died.value)


async def test_a_server_that_hangs_has_died(child: Child) -> None:
    assert await dies_after(child, signal.SIGSTOP, 2.0) == "the Prefect server has not answered for 2 s"
    assert await dies_after(child, signal.SIGSTOP, 2.0) == "the Prefect server has not answered for 2 s"


async def test_a_server_that_is_killed_has_died_at_once(child: Child) -> None:
    assert await dies_after(child, signal.SIGKILL, 600.0) == "the Prefect server ended (by signal 9)"
