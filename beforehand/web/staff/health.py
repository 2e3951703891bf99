"""Liveness and readiness of a process, whatever parts it runs: for whoever watches it."""

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from beforehand.web.health import not_ready
from beforehand.wiring import App


def router(app: App) -> APIRouter:
    """``/healthz``: 503 only where a restart of the process helps. ``/readyz``: 503 while any part is not well."""
    routes = APIRouter()

    @routes.get("/healthz")
    async def alive() -> JSONResponse:
        stuck = app.parts is not None and app.parts.stuck
        return JSONResponse({"status": "the process is stuck" if stuck else "ok"}, 503 if stuck else 200)

    @routes.get("/readyz")
    def ready() -> JSONResponse:
        wrong = not_ready(app) or waits_for(app)
        parts = app.parts.now() if app.parts else {}
        told = {name: standing.as_json() for name, standing in parts.items()}
        return JSONResponse({"status": wrong or "ok", "parts": told}, 503 if wrong else 200)

    return routes


def waits_for(app: App) -> str:
    """Which parts are not well, in words; an empty text where all are."""
    names = app.parts.not_well() if app.parts else []
    return f"not well: {', '.join(names)}" if names else ""
