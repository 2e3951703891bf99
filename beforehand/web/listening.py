"""What every web server of the house needs: a listening socket, uvicorn without signal handlers, a thread around it."""

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from types import TracebackType
from typing import Self

import uvicorn
from fastapi import FastAPI

from models.trouble import place


class Server(uvicorn.Server):
    """uvicorn without its own signal handlers: whoever runs the loop decides when it stops."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


class WithoutData(logging.Filter):
    """An error in a request is logged by its kind and place: its text and its traceback may hold what somebody sent."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, without the error itself."""
        wrong = record.exc_info[1] if record.exc_info else None
        if wrong is not None:
            record.msg = f"{record.getMessage().strip()}: {type(wrong).__name__} at {place(wrong)}"
            record.args, record.exc_info, record.exc_text = None, None, None
        return True


_without_data = WithoutData()


def server_for(application: FastAPI) -> Server:
    """A server that writes no access log (paths and queries hold tokens) and waits 2 s for open requests at the end."""
    for name in ("uvicorn.error", "asyncio"):
        logging.getLogger(name).addFilter(_without_data)
    return Server(
        uvicorn.Config(
            application,
            lifespan="off",
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=2,
        )
    )


def listening(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises OSError where the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY only where the protocol is named; without it every answer waits 40 ms.
    opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((host, port))
        opened.listen(512)
        opened.setblocking(False)
    except OSError:
        opened.close()
        raise
    return opened


def reachable(host: str) -> str:
    """The name under which this machine reaches a server that listens on ``host``, ready for a URL."""
    name = "127.0.0.1" if host in ("0.0.0.0", "::", "") else host  # noqa: S104
    return f"[{name}]" if ":" in name else name


async def first(*waits: Awaitable[object]) -> None:
    """Wait for the first of these to end; the first one named is cancelled where another was quicker."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    tasks[0].cancel()


async def serve_on(
    application: FastAPI, opened: socket.socket, stop: asyncio.Event, started: Callable[[], None] | None = None
) -> None:
    """Serve on a listening socket until ``stop`` is set or the task is cancelled; ``started``: requests are answered.

    Raises OSError where it ended by itself.
    """
    server = server_for(application)
    serving = asyncio.create_task(server.serve(sockets=[opened]))
    try:
        while not server.started and not serving.done():
            await asyncio.sleep(0.01)
        if started and server.started:
            started()
        await first(stop.wait(), serving)
    finally:
        server.should_exit = True
        await asyncio.gather(serving, return_exceptions=True)
        opened.close()


class InThread:
    """Something that serves until told to stop: ``with`` runs it in a thread of its own. Subclasses give ``serve``."""

    name = "server"

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._ready = threading.Event()

    async def serve(self, stop: asyncio.Event, started: Callable[[], None] | None = None) -> None:
        """Run until ``stop`` is set, and call ``started`` once requests are answered."""
        raise NotImplementedError

    @property
    def is_serving(self) -> bool:
        """Whether its thread lives."""
        return self._thread is not None and self._thread.is_alive()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._in_thread, name=self.name, daemon=True)
        self._thread.start()
        if not self._ready.wait(10) or not self.is_serving:
            raise RuntimeError(f"the {self.name} did not start within 10 s")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, wrong: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ready.wait(2)  # one that is only just starting has no loop to be told yet
        if self._loop and self._stop:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stop.set)
        if self._thread:
            self._thread.join(10)

    def _in_thread(self) -> None:
        async def main() -> None:
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            await self.serve(self._stop, self._ready.set)

        asyncio.run(main())
