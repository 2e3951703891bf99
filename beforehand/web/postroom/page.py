"""The post room's page: server-rendered, and nothing on it asks anything of another machine."""

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from beforehand.web.postroom import views
from beforehand.web.postroom.faults import KINDS, PHASES, WORDS
from beforehand.web.postroom.house import House

_HERE = Path(__file__).parent
# Inline styles are let in for the e-mails, whose frames inherit this policy; scripts are ours alone.
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-DNS-Prefetch-Control": "off",
    "Cache-Control": "no-store",
}


def static_files() -> StaticFiles:
    """The page's own style and script."""
    return StaticFiles(directory=_HERE / "static")


def _templates() -> Environment:
    templates = Environment(
        loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    templates.globals.update(CHANNELS=views.CHANNELS, LANGUAGES=views.LANGUAGES)
    templates.globals.update(KINDS=KINDS, PHASES=PHASES, WORDS=WORDS, PLACES=views.PLACES)
    templates.filters.update(snippet=views.snippet, apart=views.apart)
    return templates


def router(house: House) -> APIRouter:
    """The page at ``/``: the list by channel, language, customer and words, and one message in full."""
    routes = APIRouter()
    template = _templates().get_template("page.html")

    @routes.get("/")
    def show(
        channel: str = "",
        language: str = "",
        customer: str = "",
        q: str = "",
        page: Annotated[int, Query(ge=0, le=100_000)] = 0,
        n: int | None = None,
    ) -> HTMLResponse:
        ledger = house.ledger
        look = views.Look(channel, language, customer, q, page)
        found = views.find(ledger, look)
        chosen = next(iter(found.rows), None) if n is None else ledger.by_number(n)
        if n is not None and chosen is None:
            raise HTTPException(404, "there is no such message (any more)")
        detail = views.shown(ledger, chosen) if chosen else {"entry": None}
        text = template.render(
            look=look,
            found=found,
            totals=views.totals(ledger),
            languages=views.languages(ledger),
            version=ledger.version,
            faults=house.faults.left,
            happened=house.faults.happened,
            fates=dict(house.fates),
            keys=dict(house.keys),
            **detail,
        )
        return HTMLResponse(text, headers=_HEADERS)

    return routes
