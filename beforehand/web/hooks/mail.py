"""What the mail provider posts of our e-mails: ``POST /hooks/mail/NAME``, signed or with a password.

Known again by what was signed, so that a repeated or replayed event has no effect; answered 200 after the commit.
"""

import json
import logging
from typing import Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import PlainTextResponse
from starlette.concurrency import run_in_threadpool

from beforehand.passes import secret_of
from beforehand.web.refusals import Refusal, refuse
from beforehand.wiring import App
from messaging.mail_events import READERS, Posted, happen, is_theirs, read
from models.database import in_one_go

log = logging.getLogger("beforehand.web")

FORM_FIELD = "mandrill_events"
"""Mandrill posts a form whose one field holds the JSON."""


def router(app: App) -> APIRouter:
    """The one route. 404 for a provider that the settings do not name, 403 where it is not the provider who speaks."""
    routes = APIRouter(prefix="/hooks/mail")

    @routes.head("/{provider}")
    @routes.get("/{provider}")
    def there(provider: str) -> PlainTextResponse:
        _must_be_named(app, provider)
        return PlainTextResponse("Post your events here.\n")

    @routes.post("/{provider}")
    async def take(request: Request, provider: str) -> PlainTextResponse:
        _must_be_named(app, provider)
        posted = await _posted(request, app.settings.public_url)
        if not is_theirs(provider, app.settings.mail_provider_key.get_secret_value(), posted):
            raise await refuse(request, app, [Refusal.MAIL_KEY])
        said = _said(posted)
        if said is None:
            raise await refuse(request, app, [Refusal.GARBLED])
        return PlainTextResponse(await run_in_threadpool(_take_in, app, provider, said))

    return routes


def _must_be_named(app: App, provider: str) -> None:
    if provider != app.settings.mail_provider or provider not in READERS:
        raise HTTPException(404)


async def _posted(request: Request, public_url: str) -> Posted:
    path, query = request.scope["raw_path"].decode("latin-1"), request.scope["query_string"].decode("latin-1")
    body = await request.body()
    is_form = request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    form = tuple(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)) if is_form else ()
    url = f"{public_url.rstrip('/')}{path}{f'?{query}' if query else ''}"
    return Posted(url, dict(request.headers), body, form)


def _said(posted: Posted) -> Any:
    try:
        return json.loads(dict(posted.form).get(FORM_FIELD, "") if posted.form else posted.body)
    except (ValueError, RecursionError):
        return None


def _take_in(app: App, provider: str, said: Any) -> str:
    events, odd = read(provider, said)
    if odd:
        log.warning("%s: %s of its events could not be read; the others were taken", provider, odd)
    secret, now = secret_of(app.settings), app.clock()
    new = in_one_go(app.engine, lambda connection: happen(connection, provider, events, secret=secret, now=now))
    return f"{new} new\n"
