"""The post room's own routes: its ledger as JSON, a customer's reply or key press, and how it is."""

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from beforehand.web.postroom.callbacks import Teller
from beforehand.web.postroom.carrier import Carrier
from beforehand.web.postroom.faults import Fault, Phase, Place, What
from beforehand.web.postroom.house import House
from beforehand.web.postroom.inbound import receive


class Reply(BaseModel):
    """A customer's SMS to one of our numbers."""

    from_: str = Field(alias="from", min_length=1)
    to: str = Field(min_length=1)
    body: str = Field(max_length=1600)


class Press(BaseModel):
    """Keys that a customer presses on a call."""

    sid: str
    digits: str = Field(pattern=r"^[0-9*#]{1,20}$")


class Fate(BaseModel):
    """What becomes of messages to an address from now on."""

    address: str
    fate: Literal["arrives", "undelivered", "failed", "busy", "no-answer", "machine"] = "arrives"
    keys: str = Field("", pattern=r"^[0-9*#]{0,20}$")


class Trouble(BaseModel):
    """What shall go wrong from now on: the fields of :class:`Fault`."""

    where: Place
    what: What
    times: int = Field(1, ge=1, le=1_000_000)
    to: str | None = None
    accepted: bool = False
    seconds: float = Field(30.0, ge=0, le=3600)
    phase: Phase = "dot"
    retry_after: float = Field(1.0, ge=0, le=86_400)
    as_date: bool = False


def same_site(request: Request) -> None:
    """Refuse what a page of another site makes a browser send."""
    if request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        raise HTTPException(403, "another site may not write here")


def router(house: House, carrier: Carrier, teller: Teller) -> APIRouter:
    """The routes under ``/post-room`` and ``/health``."""
    routes = APIRouter()

    @routes.get("/health")
    async def health() -> dict[str, Any]:
        return {"status": "ok", "messages": len(house.ledger)}

    @routes.get("/post-room/ledger.json")
    def read(after: int = 0, limit: Annotated[int, Query(ge=0, le=10_000)] = 1000) -> JSONResponse:
        ledger = house.ledger
        entries = [entry.as_json() for entry in ledger.after(after, limit)]
        return JSONResponse({"last": ledger.last, "version": ledger.version, "count": len(ledger), "entries": entries})

    @routes.delete("/post-room/ledger", dependencies=[Depends(same_site)])
    async def empty() -> dict[str, int]:
        gone = len(house.ledger)
        house.ledger.clear(house.now())
        return {"removed": gone}

    @routes.post("/post-room/inbound", dependencies=[Depends(same_site)])
    async def inbound(reply: Reply) -> dict[str, Any]:
        received = await receive(house, teller, from_=reply.from_, to=reply.to, body=reply.body)
        entry = received.entry
        return {"sid": entry.sid, "n": entry.n, "webhook": received.answer, "error": received.error or None}

    @routes.post("/post-room/press", dependencies=[Depends(same_site)])
    async def key(pressed: Press) -> dict[str, Any]:
        entry = house.ledger.get(pressed.sid)
        if entry is None:
            raise HTTPException(404, "there is no such call")
        after = await carrier.press(entry, pressed.digits)
        if after is None:
            raise HTTPException(409, "that call is not waiting for a key")
        return {"sid": after.sid, "script": after.body, "notes": list(after.notes)}

    @routes.post("/post-room/fate", dependencies=[Depends(same_site)])
    async def fate(wanted: Fate) -> dict[str, str]:
        house.fates.pop(wanted.address, None)
        house.keys.pop(wanted.address, None)
        if wanted.fate != "arrives":
            house.fates[wanted.address] = wanted.fate
        if wanted.keys:
            house.keys[wanted.address] = wanted.keys
        return {"address": wanted.address, "fate": wanted.fate, "keys": wanted.keys}

    routes.include_router(_faults(house))
    return routes


def _faults(house: House) -> APIRouter:
    """The plan of faults: read it, add to it, drop it."""
    routes = APIRouter(prefix="/post-room/faults", dependencies=[Depends(same_site)])

    @routes.get("")
    async def planned() -> dict[str, Any]:
        left = [{**asdict(one.fault), "left": one.left} for one in house.faults.left]
        return {"happened": house.faults.happened, "left": left}

    @routes.post("")
    async def add(trouble: Trouble) -> dict[str, Any]:
        try:
            fault = Fault(**trouble.model_dump())
        except ValueError as wrong:
            raise HTTPException(422, str(wrong)) from None
        house.faults.add(fault)
        return asdict(fault)

    @routes.delete("")
    async def clear() -> dict[str, int]:
        return {"removed": house.faults.clear()}

    return routes
