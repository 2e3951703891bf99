"""Customers who write to us or ring us: Twilio's webhooks of a number.

``/hooks/twilio/sms`` goes into the number's "a message comes in", ``/hooks/twilio/call`` into "a call comes in" and
``/hooks/twilio/call/ended`` into "call status changes".
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from beforehand.passes import policy_of
from beforehand.settings import Settings
from beforehand.web.hooks.twilio import Form, validated
from beforehand.wiring import App
from messaging.replies import Heard, Ours, hear, sender_of, words_for
from messaging.replies.ringing import ring, ring_ended
from models.database import in_one_go, writing
from models.vocabulary import CallOutcome, Channel

ENDED = "/hooks/twilio/call/ended"

OUTCOMES: dict[str, CallOutcome] = {
    "completed": CallOutcome.COMPLETED,
    "answered": CallOutcome.COMPLETED,
    "busy": CallOutcome.BUSY,
    "no-answer": CallOutcome.NO_ANSWER,
    "failed": CallOutcome.FAILED,
    "canceled": CallOutcome.ABANDONED,
}
"""Twilio's DialCallStatus: how the line to the desk ended. https://www.twilio.com/docs/voice/twiml/dial#action"""


def ours_of(settings: Settings) -> Ours:
    """Who answers a reply, by the settings."""
    return Ours(settings.brand, settings.brand_phone, settings.language, settings.twilio_answers_stop)


def router(app: App) -> APIRouter:
    """The routes that a Twilio number is pointed at. Each answers after its transaction has committed."""
    routes = APIRouter(prefix="/hooks/twilio")

    async def form_of(request: Request) -> Form:
        return await validated(request, app)

    @routes.post("/sms")
    def sms(form: Annotated[Form, Depends(form_of)]) -> Response:
        return _xml(text_in(app, form))

    @routes.post("/call")
    def call(form: Annotated[Form, Depends(form_of)]) -> Response:
        return _xml(call_in(app, form))

    @routes.post("/call/ended")
    def ended(form: Annotated[Form, Depends(form_of)]) -> Response:
        return _xml(call_over(app, form))

    return routes


def _xml(script: str) -> Response:
    return Response(script, media_type="application/xml")


def text_in(app: App, form: Form) -> str:
    """A customer's SMS takes effect; what is said back, as TwiML."""
    from messaging.channels.answering import text_back

    now = app.clock()
    heard = Heard(
        channel=Channel.SMS,
        provider_id=form.get("MessageSid") or form.get("SmsSid") or form.digest,
        address=form.get("From"),
        to=form.get("To"),
        text=form.get("Body"),
        received_at=now,
        providers=form.get("OptOutType").upper(),
    )
    policy, ours = policy_of(app), ours_of(app.settings)
    answer = in_one_go(app.engine, lambda connection: hear(connection, heard, now, policy, ours))
    return text_back(answer.text)


def call_in(app: App, form: Form) -> str:
    """A customer rings us: a row of ``call`` that rules see, and TwiML that says who we are and connects them."""
    from messaging.channels.answering import welcome

    settings, now = app.settings, app.clock()
    heard = Heard(Channel.VOICE, form.get("CallSid"), form.get("From"), now, form.get("To"))
    desk = settings.desks.get(settings.calls_to)
    with writing(app.engine) as connection:
        sender = sender_of(connection, heard, policy_of(app))
        ring(connection, heard, sender.customer_id, settings.calls_to, now)
    words, language = words_for("ring" if desk else "no_desk", ours_of(settings), sender.languages)
    then = f"{settings.callback_url.rstrip('/')}{ENDED}"
    return welcome(words, language, connect_to=desk, then=then)


def call_over(app: App, form: Form) -> str:
    """A call to us is over, or its line to the desk: how it ended, and a word where nobody was free."""
    from messaging.channels.answering import welcome

    now = app.clock()
    outcome = OUTCOMES.get(form.get("DialCallStatus"))
    with writing(app.engine) as connection:
        ring_ended(connection, form.get("CallSid"), outcome, now)
        heard = Heard(Channel.VOICE, form.get("CallSid"), form.get("From"), now)
        languages = sender_of(connection, heard, policy_of(app)).languages
    if outcome not in (CallOutcome.BUSY, CallOutcome.NO_ANSWER, CallOutcome.FAILED):
        return welcome("", "en")
    words, language = words_for("nobody_free", ours_of(app.settings), languages)
    return welcome(words, language)
