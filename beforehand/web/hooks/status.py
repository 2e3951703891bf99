"""Twilio's status callbacks, of messages and of calls: kept, and applied to the attempt that the address names."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from beforehand.passes import secret_of
from beforehand.web.hooks.twilio import Form, validated
from beforehand.web.refusals import Refusal, refuse
from beforehand.wiring import App
from messaging.addresses import address_hash
from messaging.channels.callbacks import STATUS_PATH, attempt_of
from messaging.outcomes import TWILIO_MESSAGE_STATUSES
from messaging.told import Told, keep
from models.database import in_one_go
from models.vocabulary import Channel, MessageState

PROVIDER = "twilio"

KEPT = ("SequenceNumber", "CallDuration", "AnsweredBy", "SipResponseCode", "ChannelPrefix")
"""Fields that go into the callback's row: none of them says who was written to, or what."""


def router(app: App) -> APIRouter:
    """``POST /hooks/twilio/status/{token}``. Answers 204 once it is committed, also to what has no effect."""
    routes = APIRouter()
    secret = secret_of(app.settings)

    async def read(request: Request, token: str) -> Told:
        form = await validated(request, app)
        return told_of(form, await named_by(request, app, token), secret)

    @routes.post(STATUS_PATH + "/{token}", status_code=204)
    def status(told: Annotated[Told, Depends(read)]) -> Response:
        in_one_go(app.engine, lambda connection: keep(connection, told, app.clock()))
        return Response(status_code=204)

    return routes


async def named_by(request: Request, app: App, token: str) -> int:
    """The attempt that an address of ours names. Raises HTTPException 403 where we did not make it."""
    found = attempt_of(secret_of(app.settings), token)
    if found is None:
        raise await refuse(request, app, [Refusal.TOKEN])
    return found


def told_of(form: Form, attempt_id: int, secret: bytes) -> Told:
    """What a status callback says, of a call where it has a ``CallSid``, else of a message."""
    by_call = bool(form.get("CallSid"))
    found = call_state(form) if by_call else message_state(form)
    state, code = found or (None, "")
    channel = Channel.VOICE if by_call else Channel.SMS
    return Told(
        provider=PROVIDER,
        kind=channel.value,
        provider_id=form.get("CallSid") or form.get("MessageSid") or None,
        attempt_id=attempt_id,
        state=state,
        code=code,
        digest=form.digest,
        happened_at=moment_of(form.get("Timestamp")),
        content=said_by(form),
        address_hash=address_hash(secret, channel, form.get("To")) if form.get("To") else "",
    )


def message_state(form: Form) -> tuple[MessageState, str] | None:
    """State and code of a message's status, as polling would tell them; None for a status that we do not know."""
    status, error = form.get("MessageStatus") or form.get("SmsStatus"), form.get("ErrorCode")
    state = TWILIO_MESSAGE_STATUSES.get(status)
    if state is None:
        return None
    if error and error != "0":
        return state, error
    return state, status if state is MessageState.UNDELIVERED else ""


def call_state(form: Form) -> tuple[MessageState, str] | None:
    """State and code of a call's status; a call that a machine answered counts as not heard."""
    from messaging.channels.voice import of_call  # behind the SDK, which takes half a second to import

    return of_call(form.get("CallStatus"), form.get("AnsweredBy") or None)


def moment_of(said: str) -> datetime | None:
    """A moment as RFC 2822 has it, in UTC; None for nonsense."""
    try:
        return parsedate_to_datetime(said).astimezone(UTC) if said else None
    except ValueError:
        return None


def said_by(form: Form) -> Mapping[str, str]:
    """What is kept of a form."""
    status = form.get("CallStatus") or form.get("MessageStatus") or form.get("SmsStatus")
    return {"status": status[:40]} | {name: form.get(name)[:40] for name in KEPT if form.get(name)}
