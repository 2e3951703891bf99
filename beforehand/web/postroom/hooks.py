"""Webhooks to the operator's own systems: with delivery ``post_room`` they come here instead, and are kept."""

import json

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import JSONResponse

from beforehand.web.postroom.desk import same_site
from beforehand.web.postroom.entries import WEBHOOK, new_sid
from beforehand.web.postroom.house import House

LARGEST = 256 * 1024
KEPT = ("content-type", "webhook-id", "webhook-timestamp", "webhook-signature")


def router(house: House) -> APIRouter:
    """The route ``/webhooks/{endpoint}``. An endpoint whose fate is ``failed`` answers 500."""
    routes = APIRouter()

    @routes.post("/webhooks/{endpoint}", dependencies=[Depends(same_site)])
    async def take(request: Request, endpoint: str) -> JSONResponse:
        if int(request.headers.get("content-length") or 0) > LARGEST:
            raise HTTPException(413, "that is more than a webhook of ours says")
        text = (await request.body()).decode("utf-8", "replace")
        fails = house.fates.get(endpoint) == "failed"
        entry = house.ledger.add(
            kind=WEBHOOK,
            direction="outbound-api",
            sid=request.headers.get("webhook-id", "") + "/" + new_sid(""),
            to=endpoint,
            from_="beforehand",
            body=pretty(text),
            at=house.now(),
            status="failed" if fails else "accepted",
            headers={name: request.headers[name] for name in KEPT if name in request.headers},
            options={"raw": text},
        )
        return JSONResponse({"n": entry.n}, status_code=500 if fails else 202)

    return routes


def pretty(text: str) -> str:
    """A JSON text with line breaks, for people; any other text as it is."""
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        return text
