"""Whether we live and whether we can work: for whoever watches the process."""

import logging
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from beforehand.wiring import App, proof_of
from models.database import is_current

log = logging.getLogger("beforehand.web")


def router(app: App) -> APIRouter:
    """``/healthz``: the process answers, and to a ``nonce`` with what only we can.

    ``/readyz``: pages can be served, with how the parts of the process stand.

    A part that is down takes no page away from customers, so it is told here and refuses nothing; the staff pages'
    ``/readyz`` is the one that asks for all of them.
    """
    routes = APIRouter()

    @routes.get("/healthz")
    async def alive(nonce: Annotated[str, Query(max_length=64, pattern=r"^[A-Za-z0-9]*$")] = "") -> dict[str, str]:
        return {"status": "ok"} | ({"proof": proof_of(app.settings, nonce)} if nonce else {})

    @routes.get("/readyz")
    def ready() -> JSONResponse:
        wrong = not_ready(app)
        parts = app.parts.now() if app.parts else {}
        told = {name: standing.state.value for name, standing in parts.items()}
        return JSONResponse({"status": wrong or "ok", "parts": told}, status_code=503 if wrong else 200)

    return routes


def not_ready(app: App) -> str:
    """Why we cannot work now, in words without details; an empty text where all is well."""
    try:
        with app.engine.connect() as connection:
            connection.execute(text("SELECT 1"))
        return "" if is_current(app.engine) else "the database's schema is not the newest"
    except SQLAlchemyError as wrong:
        log.error("the database does not answer: %s", type(wrong).__name__)
        return "the database does not answer"
