"""``/s/TOKEN``: one click ends it (RFC 8058). Looking changes nothing: mail scanners open links and run scripts."""

from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import HTMLResponse
from sqlalchemy import Connection

from beforehand.web.pages.forms import Form, form_of
from beforehand.web.pages.house import PageHouse, Visit
from beforehand.web.pages.shown import masked, page, text_version, words
from messaging.consents import EVERY, silence
from messaging.links import Kind
from messaging.preferences import WAYS, Standing, same_address, standing_of, withdraw
from models.database import in_one_go, reading

ONE_CLICK = "one-click"


def router(house: PageHouse) -> APIRouter:
    """GET and HEAD show a page with a button; a POST with ``List-Unsubscribe=One-Click`` unsubscribes at once."""
    routes = APIRouter()

    @routes.api_route("/s/{token}", methods=["GET", "HEAD"])
    def look(token: str, lang: str = "") -> HTMLResponse:
        return house.answer(Kind.STOP, token, lang, lambda visit: _look(house, visit))

    @routes.post("/s/{token}")
    def stop(token: str, form: Annotated[Form, Depends(form_of)], lang: str = "") -> HTMLResponse:
        return house.answer(Kind.STOP, token, lang, lambda visit: _stop(house, visit, form))

    return routes


def _look(house: PageHouse, visit: Visit) -> HTMLResponse:
    with reading(house.app.engine) as connection:
        done = _done(_standing(house, connection, visit), visit)
    return _shown(house, visit, done, words(visit.language)["stop"]["done_before"] if done else "")


def _stop(house: PageHouse, visit: Visit, form: Form) -> HTMLResponse:
    if form.one("List-Unsubscribe").strip().lower() != ONE_CLICK:
        said = words(visit.language)["stop"]["nothing"]
        return _shown(house, visit, "", said, status=400)
    everything = form.one("all") == "yes"
    with reading(house.app.engine) as connection:
        done = _done(_standing(house, connection, visit), visit)
    if done == "all" or (done and not everything):  # again has no effect, and takes no lock
        return _shown(house, visit, done, words(visit.language)["stop"]["done_before"])
    source = f"{'unsubscribe page' if form.one('by') == 'page' else ONE_CLICK} {visit.visitor.reference}"

    def withdrawn(connection: Connection) -> None:
        silence(connection)
        _withdraw(connection, visit, source, everything=everything)

    in_one_go(house.app.engine, withdrawn)
    return _shown(house, visit, "all" if everything else "one")


def _withdraw(connection: Connection, visit: Visit, source: str, *, everything: bool) -> None:
    """Record it for the customer; what concerns the address also for whoever else is known by the same one."""
    who = visit.visitor
    ids = same_address(connection, who.customer_id, who.channel, who.address)
    said = {"source": source, "text_version": text_version("stop", visit.language)}
    purpose = EVERY if everything else who.purpose
    withdraw(connection, ids, channel=who.channel, purpose=purpose, now=visit.now, **said)
    if everything:
        withdraw(connection, [who.customer_id], channel=EVERY, purpose=EVERY, now=visit.now, **said)


def _standing(house: PageHouse, connection: Connection, visit: Visit) -> Standing:
    needed = house.app.settings.consent_needed
    who = visit.visitor.customer_id
    return standing_of(connection, who, secret=house.secret, consent_needed=needed, now=visit.now)


def _done(standing: Standing, visit: Visit) -> str:
    """``all`` where the ledger's last word is no everywhere, ``one`` where it is for this, else nothing."""
    if standing.refused.issuperset(WAYS):
        return "all"
    return "one" if (visit.visitor.channel, visit.visitor.purpose) in standing.refused else ""


def _shown(house: PageHouse, visit: Visit, done: str, note: str = "", *, status: int = 200) -> HTMLResponse:
    who = visit.visitor
    return page(
        "stop",
        house.app.settings,
        visit.language,
        status=status,
        note=note,
        bad=status != 200,
        done=done,
        purpose=who.purpose,
        channel=who.channel,
        address=masked(who.channel, who.address),
    )
