"""Vouchers over HTTP, for a till of the operator's own: ``POST /api/vouchers/redeem`` and ``/api/vouchers/show``.

The code travels in the body, because addresses end up in logs; who asks is told by a key of ``BEFOREHAND_API_KEYS``.
"""

import hmac
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Body, Header, HTTPException
from fastapi.responses import JSONResponse
from pydantic import SecretStr
from sqlalchemy import Connection

from beforehand.wiring import App
from messaging.redeeming import Answer, Refusal, look, redeem
from models.database import writing

STATUSES: dict[Refusal, int] = {
    Refusal.NOT_A_CODE: 404,
    Refusal.NOT_KNOWN: 404,
    Refusal.REDEEMED_BEFORE: 409,
    Refusal.TAKEN_BACK: 410,
    Refusal.TOO_LATE: 410,
    Refusal.TOO_MANY_GUESSES: 429,
}

Code = Annotated[str, Body(embed=True, max_length=200)]
Authorization = Annotated[str, Header()]


def router(app: App) -> APIRouter:
    """The two routes. 401 without a known key; 200 where the voucher is redeemed or good, else as ``STATUSES``."""
    routes = APIRouter(prefix="/api/vouchers")

    def answered(asked: Callable[[Connection], Answer]) -> JSONResponse:
        with writing(app.engine) as connection:
            answer = asked(connection)
        status = 200 if answer.refusal is None else STATUSES[answer.refusal]
        headers = {}
        if answer.wait_until:
            seconds = (answer.wait_until - app.clock()).total_seconds()
            headers["Retry-After"] = str(max(1, round(seconds)))
        return JSONResponse(answer.as_json(), status, headers)

    @routes.post("/redeem")
    def take(
        code: Code, receipt: Annotated[str, Body(embed=True, max_length=60)] = "", authorization: Authorization = ""
    ) -> JSONResponse:
        by = caller(app.settings.api_keys, authorization)
        return answered(lambda connection: redeem(connection, code, by=by, receipt=receipt, now=app.clock()))

    @routes.post("/show")
    def show(code: Code, authorization: Authorization = "") -> JSONResponse:
        by = caller(app.settings.api_keys, authorization)
        return answered(lambda connection: look(connection, code, by=by, now=app.clock()))

    return routes


def caller(keys: dict[str, SecretStr], authorization: str) -> str:
    """The name behind ``Authorization: Bearer KEY``. Raises HTTPException 401; every key is compared, in even time."""
    kind, _, given = authorization.partition(" ")
    found = [name for name, key in keys.items() if hmac.compare_digest(key.get_secret_value().encode(), given.encode())]
    if kind.lower() != "bearer" or not found:
        raise HTTPException(401, "a key is needed: Authorization: Bearer ...", {"WWW-Authenticate": "Bearer"})
    return found[0]
