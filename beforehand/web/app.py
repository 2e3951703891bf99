"""Our pages as one web application: what providers post to, and what customers open."""

import logging
from collections.abc import Callable
from urllib.parse import urlsplit

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import PlainTextResponse
from sqlalchemy.exc import SQLAlchemyError

from beforehand.settings import Settings
from beforehand.sight import tracing
from beforehand.web import health, hooks, pages, vouchers
from beforehand.web.guard import BodyLimit, SecurityHeaders
from beforehand.wiring import App

log = logging.getLogger("beforehand.web")

ROUTERS: tuple[Callable[[App], APIRouter], ...] = (health.router, vouchers.router, hooks.router, pages.router)
"""One line for each part of the pages: ``beforehand/web/<name>`` gives ``router(app)``."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def create_app(app: App) -> FastAPI:
    """Put the pages together. No documentation pages: theirs would load scripts from elsewhere.

    Every route that touches the database is a plain function, so that it runs in a thread, and answers 2xx only after
    its transaction has committed. In tests: ``TestClient(create_app(app), base_url=app.settings.public_url)``.
    """
    tracing.begin(app)  # callbacks are the end of many a trace
    pages = FastAPI(title="Beforehand", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    pages.add_exception_handler(SQLAlchemyError, no_database)
    pages.add_middleware(BodyLimit)
    pages.add_middleware(TrustedHostMiddleware, allowed_hosts=trusted_hosts(app.settings), www_redirect=False)
    pages.add_middleware(SecurityHeaders)
    for router in ROUTERS:
        pages.include_router(router(app))
    return pages


async def no_database(request: Request, wrong: Exception) -> Response:
    """The database does not answer, or refuses: nothing was committed. The log has its kind, and no one's data."""
    route = getattr(request.scope.get("route"), "path", "a page")
    cause = getattr(wrong, "orig", None) or wrong
    log.error("%s %s was not done: %s", request.method, route, type(cause).__name__)
    return PlainTextResponse("Please try again in a moment.\n", 503, {"Retry-After": "10"})


def trusted_hosts(settings: Settings) -> list[str]:
    """The names by which we may be asked: our public address's, the one we listen on, and this machine's own."""
    public = urlsplit(settings.public_url).hostname or ""
    own = () if settings.host in ("0.0.0.0", "::", "") else (settings.host,)  # noqa: S104
    names = (f"[{name}]" if ":" in name else name for name in (public, *own, *LOOPBACK) if name)
    return list(dict.fromkeys(names))
