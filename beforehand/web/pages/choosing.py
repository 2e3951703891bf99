"""``/p/TOKEN``: what a customer hears from us and how, as it is now; a POST of our own form changes it."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.responses import HTMLResponse
from sqlalchemy import Connection

from beforehand.web.pages.calls import ask_for_a_call
from beforehand.web.pages.forms import Form, form_of
from beforehand.web.pages.house import PageHouse, Visit
from beforehand.web.pages.shown import languages, masked, page, spoken, text_version, words
from messaging.consents import EVERY, STOP_CAUSE, silence
from messaging.links import Kind
from messaging.preferences import WAYS, Choices, Standing, Way, allow, prefer, standing_of, withdraw
from models.database import reading, writing
from models.vocabulary import Channel, Purpose

SOURCE = "preferences"
TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")


def router(house: PageHouse) -> APIRouter:
    """GET and HEAD show how it is; POST takes ``do``: save, call, never or stop."""
    routes = APIRouter()

    @routes.api_route("/p/{token}", methods=["GET", "HEAD"])
    def look(token: str, lang: str = "") -> HTMLResponse:
        return house.answer(Kind.PREFERENCES, token, lang, lambda visit: _shown(house, visit))

    @routes.post("/p/{token}")
    def change(token: str, form: Annotated[Form, Depends(form_of)], lang: str = "") -> HTMLResponse:
        return house.answer(Kind.PREFERENCES, token, lang, lambda visit: _change(house, visit, form), limited=True)

    return routes


def _change(house: PageHouse, visit: Visit, form: Form) -> HTMLResponse:
    if not house.is_sealed(visit, form.one("seal")):
        return _shown(house, visit, "stale", status=400)
    choices = chosen(form)
    if choices is None:
        return _shown(house, visit, "wrong_time", status=422)
    with writing(house.app.engine) as connection:
        silence(connection)  # a yes or a no waits for the claims under way, so that the next one knows of it
        said = _do(house, connection, visit, form, choices)
    return _shown(house, visit, said)


def _do(house: PageHouse, connection: Connection, visit: Visit, form: Form, choices: Choices) -> str:
    """Change what was asked for; the word of the text that says so."""
    now = _standing(house, connection, visit)
    did = form.one("do")
    source = f"{SOURCE} {visit.visitor.reference}"
    said: Mapping[str, Any] = {"source": source, "text_version": text_version("preferences", visit.language)}
    who = visit.visitor.customer_id
    if did == "call":
        return ask_for_a_call(connection, visit.visitor, house.app.settings.call_me_desk, visit.now)
    if did in ("never", "stop"):
        channel: str = Channel.VOICE if did == "never" else EVERY
        if not now.refused.issuperset(way for way in WAYS if channel in (way[0], EVERY)):
            withdraw(connection, [who], channel=channel, purpose=EVERY, now=visit.now, **said)
        return {"never": "never_done", "stop": "all_done"}[did]
    if did != "save":
        return "unchanged"
    ways = changes(form, now)
    allow(connection, who, ways, secret=house.secret, now=visit.now, **said)
    if choices != now.choices:
        prefer(connection, who, now.choices, choices, visit.now)
    return "saved" if ways or choices != now.choices else "unchanged"


def changes(form: Form, now: Standing) -> dict[Way, bool]:
    """What the customer changed: what differs from what the page showed them and from how it is by now.

    So a page that lay open while a STOP came in takes nothing of it back.
    """
    was, boxes = set(form.one("was").split()), set(form.all("allow"))
    shown = {way: f"{way[0]}.{way[1]}" for way in WAYS}
    touched = {way: name in boxes for way, name in shown.items() if (name in boxes) != (name in was)}
    return {way: yes for way, yes in touched.items() if yes != (way in now.allowed) and way not in now.blocked}


def chosen(form: Form) -> Choices | None:
    """Language, channel and quiet hours as the form says them; None where the times are not two times of a day."""
    times = form.one("quiet_from")[:5], form.one("quiet_until")[:5]
    if any(times) and not (all(TIME.fullmatch(time) for time in times) and times[0] != times[1]):
        return None
    channel, language = form.one("channel"), form.one("language")
    known = {tag for tag, _ in languages()}
    return Choices(
        language if re.fullmatch(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}", language) or language in known else "",
        channel if channel in set(Channel) else "",
        *times,
    )


def _standing(house: PageHouse, connection: Connection, visit: Visit) -> Standing:
    needed, who = house.app.settings.consent_needed, visit.visitor.customer_id
    return standing_of(connection, who, secret=house.secret, consent_needed=needed, now=visit.now)


def _shown(house: PageHouse, visit: Visit, said: str = "", *, status: int = 200) -> HTMLResponse:
    with reading(house.app.engine) as connection:
        now = _standing(house, connection, visit)
    who = visit.visitor
    boxes = {purpose: [_box(visit, now, (channel, purpose)) for channel in Channel] for purpose in Purpose}
    open_boxes = [box["name"] for row in boxes.values() for box in row if box["allowed"] and not box["closed"]]
    language = spoken(now.choices.language, visit.language) if said == "saved" else visit.language
    return page(
        "preferences",
        house.app.settings,
        language,
        status=status,
        note=words(language)["preferences"].get(said, ""),
        bad=status != 200,
        seal=house.seal(visit),
        was=" ".join(open_boxes),
        purposes=list(Purpose),
        boxes=boxes,
        choices=now.choices,
        spoken=_offered(now.choices.language),
        phone_of=masked(Channel.SMS, who.phone),
        may_call=now.hears_by(Channel.VOICE) and who.phone,
        any=bool(now.allowed),
    )


def _box(visit: Visit, now: Standing, way: Way) -> dict[str, Any]:
    channel, purpose = way
    address, cause = visit.visitor.address_on(channel), now.blocked.get(way, "")
    return {
        "name": f"{channel}.{purpose}",
        "channel": channel,
        "address": masked(channel, address),
        "allowed": way in now.allowed and bool(address),
        "closed": bool(cause) or not address,
        "why": ("stop" if cause == STOP_CAUSE else "other") if cause else "",
    }


def _offered(theirs: str) -> list[tuple[str, str]]:
    """The languages to choose from: no wish, those in which we write, and the customer's own."""
    written = languages()
    own = [] if not theirs or theirs in {tag for tag, _ in written} else [(theirs, theirs)]
    return [("", ""), *written, *own]
