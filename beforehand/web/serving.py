"""Our pages as a server: in the house's own process, or in a thread of a test."""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import replace

from anyio.to_thread import current_default_thread_limiter

from beforehand.web.app import create_app
from beforehand.web.listening import InThread, listening, reachable, serve_on
from beforehand.wiring import App

AT_ONCE = 8
"""Requests that are at the database at the same time; the others wait their turn."""


class Pages(InThread):
    """Our pages. ``with Pages(app) as pages:`` runs them in a thread, ``await pages.serve(stop)`` here.

    ``port`` 0 takes a free one, and that address becomes the public one: use ``pages.app`` from there on, whose
    ``settings.public_url`` is ``pages.url``. With another port the settings' own public address stays. Raises OSError
    where the port is taken.
    """

    name = "pages"

    def __init__(self, app: App, port: int = 0) -> None:
        super().__init__()
        host = app.settings.host
        self._socket: socket.socket = listening(host, port)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://{reachable(host)}:{self.port}"
        if not port:
            here = {"public_url": self.url, "web_port": self.port}
            app = replace(app, settings=app.settings.model_copy(update=here))
        self.app = app

    async def serve(self, stop: asyncio.Event, started: Callable[[], None] | None = None) -> None:
        """Run until ``stop`` is set or the task is cancelled, then close the port and the connections."""
        # few at a time: a burst of callbacks must leave the database's connections to dispatch
        current_default_thread_limiter().total_tokens = AT_ONCE
        await serve_on(create_app(self.app), self._socket, stop, started)
