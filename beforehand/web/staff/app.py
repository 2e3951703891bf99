"""The staff pages as one web application."""

from collections.abc import Callable

from fastapi import APIRouter, FastAPI
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from sqlalchemy.exc import SQLAlchemyError

from beforehand.settings import Settings
from beforehand.web.app import LOOPBACK, no_database
from beforehand.web.guard import BodyLimit, SecurityHeaders
from beforehand.web.staff import console, health, metrics
from beforehand.wiring import App

ROUTERS: tuple[Callable[[App], APIRouter], ...] = (health.router, metrics.router, console.router)
"""One line for each part of the staff pages: a module gives ``router(app)``."""

ANYWHERE = ("0.0.0.0", "::", "")  # noqa: S104
"""Addresses that mean every one of this machine's: somebody meant to let others in, by whatever name."""


def create_staff_app(app: App) -> FastAPI:
    """Put the staff pages together. Routes that touch the database are plain functions, so that they run in a thread.

    Only names of this machine are answered, so that no page from elsewhere reaches them through a browser (DNS
    rebinding). In tests: ``TestClient(create_staff_app(app), base_url="http://127.0.0.1")``.
    """
    pages = FastAPI(title="Beforehand, for staff", docs_url=None, redoc_url=None, openapi_url=None)
    pages.add_exception_handler(SQLAlchemyError, no_database)
    pages.add_middleware(BodyLimit)
    pages.add_middleware(TrustedHostMiddleware, allowed_hosts=trusted_names(app.settings), www_redirect=False)
    pages.add_middleware(SecurityHeaders)
    for router in ROUTERS:
        pages.include_router(router(app))
    return pages


def trusted_names(settings: Settings) -> list[str]:
    """The names by which the staff pages may be asked: this machine's own, and the address that was set."""
    if settings.staff_host in ANYWHERE:
        return ["*"]
    names = (f"[{name}]" if ":" in name else name for name in (*LOOPBACK, settings.staff_host))
    return list(dict.fromkeys(names))
