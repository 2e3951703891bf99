"""A call that is answered: its script, and what a pressed key asks for.

The script is fetched when somebody answers, so that a STOP or a kill switch between dialling and answering still holds.
"""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from sqlalchemy import Connection

from beforehand.dispatching import envelope_of
from beforehand.passes import policy_of, secret_of
from beforehand.web.hooks.inbound import ours_of
from beforehand.web.hooks.status import named_by, told_of
from beforehand.web.hooks.twilio import Form, validated
from beforehand.wiring import App
from messaging.calls import Line, on_the_line, pick_up
from messaging.channels.base import Envelope
from messaging.channels.callbacks import VOICE_PATH, key_url
from messaging.claims import Claim
from messaging.replies import Answer, Heard, hear
from messaging.replies.understanding import KEYS
from messaging.told import Told
from models.database import in_one_go, writing
from models.vocabulary import Channel, MessageState

AGAIN = "again"
"""In the query of the address for keys: the words have been said a second time already."""


@dataclass(frozen=True)
class Asked:
    """A request of a call: the attempt that its address names, and what Twilio said."""

    attempt_id: int
    form: Form


def router(app: App) -> APIRouter:
    """``/hooks/twilio/voice/{token}`` and ``.../key``, by POST or GET. The answers are TwiML."""
    routes = APIRouter()

    async def read(request: Request, token: str) -> Asked:
        form = await validated(request, app)
        return Asked(await named_by(request, app, token), form)

    @routes.api_route(VOICE_PATH + "/{token}", methods=["GET", "POST"])
    def answered(asked: Annotated[Asked, Depends(read)]) -> Response:
        return _twiml(script_for(app, asked))

    @routes.api_route(VOICE_PATH + "/{token}/key", methods=["GET", "POST"])
    def pressed(asked: Annotated[Asked, Depends(read)]) -> Response:
        return _twiml(answer_for(app, asked))

    return routes


def _twiml(script: str) -> Response:
    return Response(script, media_type="text/xml")


def script_for(app: App, asked: Asked) -> str:
    """What is said to whoever answers; a hang-up for a machine, for a second call, and where we must not speak."""
    from messaging.channels.voice import hang_up

    now = app.clock()
    with writing(app.engine) as connection:
        found = pick_up(connection, _told(app, asked), now, policy_of(app), halted=app.stop_file.halted())
    envelope = _envelope(app, found.claim) if found.line is Line.OURS and found.claim else None
    return _script(app, envelope) if envelope else hang_up()


def answer_for(app: App, asked: Asked) -> str:
    """What a pressed key leads to. Any key that says nothing to us: the words once more, then a hang-up."""
    from messaging.channels.voice import answer_key, hang_up

    key = asked.form.get("Digits")
    policy, ours = policy_of(app), ours_of(app.settings)

    def heard(connection: Connection) -> tuple[Claim | None, Answer | None]:
        claim = on_the_line(connection, asked.attempt_id, asked.form.get("CallSid") or None)
        if key not in KEYS or claim is None:
            return claim, None
        return claim, hear(connection, _heard(app, asked, key, claim.address), app.clock(), policy, ours)

    claim, answer = in_one_go(app.engine, heard)
    envelope = _envelope(app, claim) if claim else None
    if envelope is None:
        return hang_up()
    if answer is None:
        return hang_up() if asked.form.get(AGAIN) else _script(app, envelope, again=True)
    desk = envelope.options.get("connect_to") or app.settings.brand_phone
    return answer_key(key, answer.text or "", envelope.language, desk)


def _script(app: App, envelope: Envelope, *, again: bool = False) -> str:
    from messaging.channels.voice import script

    keys = key_url(app.settings.callback_url, secret_of(app.settings), envelope.attempt_id)
    return script(envelope, f"{keys}?{AGAIN}=1" if again else keys)


def _told(app: App, asked: Asked) -> Told:
    """The request for the script as a callback: somebody answered, or a machine."""
    said = told_of(asked.form, asked.attempt_id, secret_of(app.settings))
    return said if said.state is not None else Told(**(vars(said) | {"state": MessageState.SENT}))


def _envelope(app: App, claim: Claim) -> Envelope | None:
    made = envelope_of(app)([claim]).get(claim.message_id)
    return made if isinstance(made, Envelope) else None


def _heard(app: App, asked: Asked, key: str, address: str) -> Heard:
    return Heard(
        channel=Channel.VOICE,
        provider_id=asked.form.get("CallSid"),
        address=address,
        to=asked.form.get("From"),
        key=key,
        received_at=app.clock(),
        attempt_id=asked.attempt_id,
    )
