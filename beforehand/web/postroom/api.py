"""The Twilio-compatible API: create, fetch and list Messages and Calls of one account."""

import base64
import binascii
import hmac
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from beforehand.web.postroom.carrier import Carrier
from beforehand.web.postroom.entries import Entry, language_of, new_sid
from beforehand.web.postroom.errors import MAGIC_TO, TwilioError, bad_auth, not_found
from beforehand.web.postroom.faulty import answered, listed
from beforehand.web.postroom.house import House
from beforehand.web.postroom.numbers import sender_id, valid
from beforehand.web.postroom.resources import API, call_json, call_times, message_json, page_of, picked
from beforehand.web.postroom.twiml import language_of_script
from models.vocabulary import Channel

LONGEST_BODY = 1600  # https://www.twilio.com/docs/api/errors/21617
LONGEST_SCRIPT = 4000  # https://www.twilio.com/docs/voice/api/call-resource#create-a-call-resource


def router(house: House, carrier: Carrier) -> APIRouter:
    """The routes under ``/2010-04-01/Accounts/{account}``. All need HTTP basic authentication."""

    # async, though nothing waits: FastAPI would hand a plain function to a thread, for each message.
    async def allowed(request: Request, account: str) -> None:
        _check_auth(house, request, account)

    routes = APIRouter(prefix=f"/{API}/Accounts/{{account}}", dependencies=[Depends(allowed)])

    @routes.post("/Messages.json")
    async def create_message(request: Request) -> Response:
        form = await _form(request)
        to = _check_message(house, form)
        return await answered(house, "messages", to, lambda: _message(house, carrier, form))

    @routes.get("/Messages.json")
    async def list_messages(request: Request) -> Response:
        times = {"DateSent": lambda entry: entry.when("sent", "received")}
        return await _listed(house, request, Channel.SMS, "messages", times)

    @routes.get("/Messages/{sid}.json")
    async def fetch_message(request: Request, sid: str) -> Response:
        return JSONResponse(message_json(_entry(house, request, sid, Channel.SMS), house.account_sid))

    @routes.post("/Calls.json")
    async def create_call(request: Request) -> Response:
        form = await _form(request)
        to = _check_call(house, form)
        return await answered(house, "calls", to, lambda: _call(house, carrier, form))

    @routes.get("/Calls.json")
    async def list_calls(request: Request) -> Response:
        times = {"StartTime": lambda entry: call_times(entry)[0], "EndTime": lambda entry: call_times(entry)[1]}
        return await _listed(house, request, Channel.VOICE, "calls", times)

    @routes.get("/Calls/{sid}.json")
    async def fetch_call(request: Request, sid: str) -> Response:
        return JSONResponse(call_json(_entry(house, request, sid, Channel.VOICE), house.account_sid))

    return routes


def _check_auth(house: House, request: Request, account: str) -> None:
    scheme, _, code = request.headers.get("authorization", "").partition(" ")
    try:
        given = base64.b64decode(code, validate=True)
    except (binascii.Error, ValueError):
        raise bad_auth() from None
    right = f"{house.account_sid}:{house.auth_token}".encode()
    if scheme.lower() != "basic" or not hmac.compare_digest(given, right):
        raise bad_auth()
    if account != house.account_sid:
        raise not_found(request.url.path)


async def _form(request: Request) -> dict[str, str]:
    body = (await request.body()).decode("utf-8", "replace")
    pairs = parse_qsl(body, keep_blank_values=True)
    form: dict[str, str] = {}
    for key, value in pairs:
        # StatusCallbackEvent comes once per event.
        form[key] = f"{form[key]} {value}" if key in form else value
    return form


def _check_message(house: House, form: Mapping[str, str]) -> str:
    to, sender, body = form.get("To", ""), form.get("From", ""), form.get("Body", "")
    if not to:
        raise TwilioError(21604, "A 'To' phone number is required.")
    if not sender and not form.get("MessagingServiceSid"):
        raise TwilioError(21603, "A 'From' phone number is required.")
    if not body.strip() and not form.get("MediaUrl") and not form.get("ContentSid"):
        raise TwilioError(21602, "Message body is required.")
    if len(body) > LONGEST_BODY:
        raise TwilioError(21617, f"The concatenated message body exceeds the {LONGEST_BODY} character limit")
    if sender and not (sender_id(sender) and not house.numbers):
        house.check_sender(sender)
    _check_recipient(to)
    if house.ledger.stopped(sender or _own_number(house), to):
        raise TwilioError(21610, "Attempt to send to unsubscribed recipient")
    return to


def _check_call(house: House, form: Mapping[str, str]) -> str:
    to, sender = form.get("To", ""), form.get("From", "")
    if not to:
        raise TwilioError(21201, "No 'To' number is specified")
    if not sender:
        raise TwilioError(21213, "No 'From' number is specified")
    house.check_sender(sender)
    _check_recipient(to)
    if not form.get("Twiml") and not form.get("Url"):
        raise TwilioError(21205, "Url parameter is required.")
    if form.get("Url") and not form["Url"].startswith(("http://", "https://")):
        raise TwilioError(21205, f"Url is not a valid URL: {form['Url']}")
    if len(form.get("Twiml", "")) > LONGEST_SCRIPT:
        raise TwilioError(21620, f"The Twiml parameter exceeds {LONGEST_SCRIPT} characters")
    return to


def _check_recipient(to: str) -> None:
    if to in MAGIC_TO:
        code, text = MAGIC_TO[to]
        raise TwilioError(code, text.format(to))
    if not valid(to):
        raise TwilioError(21211, f"Invalid 'To' Phone Number: {to}")


def _own_number(house: House) -> str:
    return min(house.numbers, default="+15005550006")


def _message(house: House, carrier: Carrier, form: Mapping[str, str]) -> JSONResponse:
    body = form.get("Body", "")
    entry = house.ledger.add(
        kind=Channel.SMS,
        direction="outbound-api",
        sid=new_sid("SM"),
        to=form["To"],
        from_=form.get("From") or _own_number(house),
        body=body,
        at=house.now(),
        status="queued",
        language=language_of(body),
        options=_options(form),
    )
    carrier.take(entry)
    return JSONResponse(message_json(entry, house.account_sid), status_code=201)


def _call(house: House, carrier: Carrier, form: Mapping[str, str]) -> JSONResponse:
    script = form.get("Twiml", "")
    entry = house.ledger.add(
        kind=Channel.VOICE,
        direction="outbound-api",
        sid=new_sid("CA"),
        to=form["To"],
        from_=form["From"],
        body=script,
        at=house.now(),
        status="queued",
        language=language_of_script(script) or language_of(script),
        options=_options(form),
    )
    carrier.take(entry)
    return JSONResponse(call_json(entry, house.account_sid), status_code=201)


def _options(form: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in form.items() if key not in ("To", "From", "Body", "Twiml")}


def _entry(house: House, request: Request, sid: str, kind: Channel) -> Entry:
    entry = house.ledger.get(sid)
    if entry is None or entry.kind != kind:
        raise not_found(request.url.path)
    return entry


async def _listed(house: House, request: Request, kind: Channel, name: str, times: Mapping[str, Any]) -> Response:
    query = dict(request.query_params)
    show = message_json if kind == Channel.SMS else call_json

    def page(lag: float) -> JSONResponse:
        newest = house.now() - timedelta(seconds=lag)
        of_kind = [entry for entry in house.ledger.entries if entry.kind == kind and not (lag and entry.at > newest)]
        kept = picked(of_kind, query, times)
        return JSONResponse(page_of(kept, query, request.url.path, name, lambda entry: show(entry, house.account_sid)))

    return await listed(house, query.get("To", ""), page)
