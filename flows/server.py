"""The Prefect server as our child process: loopback only, and a policy header that keeps its UI from calling outside.

``python -m flows.server`` expects the variables of :mod:`flows.environment`. It ends with the process that started it.
"""

import os
import signal
import threading
import time

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flows.environment import LOOPBACK, PARENT

POLICY = (  # {origins} are this server under both names of the loopback address
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; connect-src 'self' {origins}; "
    "frame-ancestors 'self'; base-uri 'self'; form-action 'self'"
)
"""UI V2 asks an outside host for a configuration on every page, analytics off or not; by this the browser refuses."""


def within_policy(app: ASGIApp, port: int) -> ASGIApp:
    """``app`` with the content security policy on every HTTP answer; only this server's own ``port`` may be called."""
    origins = " ".join(f"{scheme}://{host}:{port}" for scheme in ("http", "ws") for host in (LOOPBACK, "localhost"))
    policy = POLICY.format(origins=origins)

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        async def with_header(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["content-security-policy"] = policy
            await send(message)

        await app(scope, receive, with_header if scope["type"] == "http" else send)

    return wrapped


def leave_with(parent: int) -> None:
    """Stop this process when ``parent`` is gone, so that a killed house leaves no server behind."""
    while os.getppid() == parent:  # an orphan gets another parent
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(5)  # a server that is still starting does not hear
    os._exit(1)


def serve() -> None:
    """Run the server until SIGINT or SIGTERM, or until the process that started it is gone."""
    if parent := os.environ.get(PARENT):
        threading.Thread(target=leave_with, args=(int(parent),), daemon=True).start()
    import uvicorn  # from here on imports take seconds, in which the parent may go already
    from prefect.server.api.server import create_app
    from prefect.settings import get_current_settings

    api = get_current_settings().server.api
    app = within_policy(create_app(final=True), api.port)
    uvicorn.run(
        app, host=api.host, port=api.port, log_level="warning", timeout_graceful_shutdown=3, timeout_keep_alive=15
    )


if __name__ == "__main__":
    serve()
