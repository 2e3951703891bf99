"""The pages that customers open by a signed link: unsubscribe, preferences, the answer to a survey.

Server-rendered, without scripts and cookies. Looking at them changes nothing; only a POST does.
"""

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from beforehand.web.pages import answering, choosing, stopping
from beforehand.web.pages.house import PageHouse
from beforehand.web.pages.shown import spoken
from beforehand.wiring import App


def router(app: App) -> APIRouter:
    """``/s/TOKEN`` unsubscribes, ``/p/TOKEN`` shows and takes preferences, ``/a/TOKEN`` takes an answer."""
    house = PageHouse(app)
    routes = APIRouter()

    @routes.api_route("/", methods=["GET", "HEAD"])
    def front(lang: str = "") -> HTMLResponse:
        return house.note("front", spoken(lang, app.settings.language), 200)

    for part in (stopping, choosing, answering):
        routes.include_router(part.router(house))
    return routes
