"""The staff pages as a server, in a thread of their own: they must answer while the rest of the process is busy."""

import asyncio
from collections.abc import Callable

from beforehand.web.listening import InThread, listening, reachable, serve_on
from beforehand.web.staff.app import create_staff_app
from beforehand.wiring import App


class StaffPages(InThread):
    """``with StaffPages(app) as staff:`` runs them. ``port`` 0 takes a free one. Raises OSError where it is taken."""

    name = "staff pages"

    def __init__(self, app: App, port: int = 0) -> None:
        super().__init__()
        self.app = app
        self._socket = listening(app.settings.staff_host, port)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://{reachable(app.settings.staff_host)}:{self.port}"

    async def serve(self, stop: asyncio.Event, started: Callable[[], None] | None = None) -> None:
        """Run until ``stop`` is set or the task is cancelled, then close the port and the connections."""
        await serve_on(create_staff_app(self.app), self._socket, stop, started)
