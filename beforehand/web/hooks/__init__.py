"""What providers tell us: each in its own module, its validators first."""

from fastapi import APIRouter

from beforehand.web.hooks import inbound, mail, status, voice
from beforehand.wiring import App


def router(app: App) -> APIRouter:
    """Every route under ``/hooks``."""
    routes = APIRouter()
    for part in (status, voice, inbound, mail):
        routes.include_router(part.router(app))
    return routes
