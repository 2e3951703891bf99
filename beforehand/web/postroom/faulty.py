"""How a planned fault looks on the wire of the HTTP API."""

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from email.utils import format_datetime

from fastapi import Response
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.types import Receive, Scope, Send

from beforehand.web.postroom.errors import TwilioError
from beforehand.web.postroom.faults import Fault, Place
from beforehand.web.postroom.house import House
from beforehand.wiring import wall_clock

_BAD_GATEWAY = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
_GARBAGE = b'\x00\xff\xfe{"sid": SM\x00, "status"'


async def answered(house: House, where: Place, to: str, accept: Callable[[], JSONResponse]) -> Response:
    """Accept and answer; or do what the plan of faults says, with the message on record where it says so.

    What ``accept`` puts on record is in the ledger's file before any byte of any answer.
    """
    fault = house.faults.take(where, to)
    if fault is None:
        return accept()
    whole = accept() if fault.accepted or fault.what == "early" else JSONResponse({"sid": "none"}, status_code=201)
    return await _spoiled(house, fault, whole)


async def listed(house: House, to: str, show: Callable[[float], JSONResponse]) -> Response:
    """Answer with the list that ``show`` gives; it is told of how many seconds the newest entries do not show yet."""
    fault = house.faults.take("listing", to)
    if fault is None:
        return show(0)
    if fault.what == "lag":
        return show(fault.seconds)
    return await _spoiled(house, fault, show(0))


async def _spoiled(house: House, fault: Fault, whole: JSONResponse) -> Response:
    match fault.what:
        case "error":
            return TwilioError(20500, "An internal server error has occurred", 500).response()
        case "bad_gateway":
            return HTMLResponse(_BAD_GATEWAY, status_code=502)
        case "busy":
            return _busy(fault)
        case "hang":
            await asyncio.sleep(fault.seconds)
        case "early":
            await _told(house, whole, fault.seconds)
        case "truncate":
            return _Cut(whole, len(whole.body) // 2)
        case "garbage":
            return Response(_GARBAGE, status_code=201, media_type="application/json")
        case _:
            return _Cut(whole, 0)
    return whole


def _busy(fault: Fault) -> Response:
    busy = TwilioError(20429, "Too Many Requests", 429).response()
    # by the wall's clock, since the answer's own Date is the web server's
    until = wall_clock() + timedelta(seconds=fault.retry_after)
    busy.headers["Retry-After"] = format_datetime(until, usegmt=True) if fault.as_date else f"{fault.retry_after:g}"
    return busy


async def _told(house: House, whole: JSONResponse, seconds: float) -> None:
    """Wait until our side was told of the last status of what was just accepted, for so long at most."""
    sid = json.loads(bytes(whole.body)).get("sid", "")
    for _ in range(int(seconds / 0.01)):
        entry = house.ledger.get(sid)
        if entry is None or (entry.final and (entry.told or "StatusCallback" not in entry.options)):
            return
        await asyncio.sleep(0.01)


class _Cut(Response):
    """An answer whose end never comes: the server promises its whole length and closes the connection early."""

    def __init__(self, whole: Response, kept: int) -> None:
        super().__init__(whole.body[:kept], whole.status_code, media_type="application/json")
        self.headers["content-length"] = str(len(whole.body))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Begin to answer and leave; uvicorn then closes the connection, and says so in one line."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
