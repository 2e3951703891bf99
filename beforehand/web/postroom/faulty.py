"""How a planned fault looks on the wire of the HTTP API."""

import asyncio
from collections.abc import Callable

from fastapi import Response
from fastapi.responses import JSONResponse

from beforehand.web.postroom.errors import TwilioError
from beforehand.web.postroom.faults import Place
from beforehand.web.postroom.house import House


async def answered(house: House, where: Place, to: str, accept: Callable[[], JSONResponse]) -> Response:
    """Accept and answer; or do what the plan of faults says, with the message on record where it says so."""
    fault = house.faults.take(where, to)
    if fault is None:
        return accept()
    whole = accept() if fault.accepted else JSONResponse({"sid": "none"}, status_code=201)
    match fault.what:
        case "error":
            return TwilioError(20500, "An internal server error has occurred", 500).response()
        case "busy":
            busy = TwilioError(20429, "Too Many Requests", 429).response()
            busy.headers["Retry-After"] = "1"
            return busy
        case "hang":
            await asyncio.sleep(fault.seconds)
            return whole
        case "truncate":
            return _Cut(whole, len(whole.body) // 2)
        case _:
            return _Cut(whole, 0)


class _Cut(Response):
    """An answer whose end never comes: the server promises its whole length and closes the connection early."""

    def __init__(self, whole: Response, kept: int) -> None:
        super().__init__(whole.body[:kept], whole.status_code, media_type="application/json")
        self.headers["content-length"] = str(len(whole.body))
