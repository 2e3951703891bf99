"""The pages that customers open by a signed link: unsubscribe, preferences, the answer to a survey.

Server-rendered, without scripts and cookies. Looking at them changes nothing; only a POST does.
"""

from fastapi import APIRouter

from beforehand.web.pages import answering, choosing, stopping
from beforehand.web.pages.house import PageHouse
from beforehand.wiring import App


def router(app: App) -> APIRouter:
    """``/s/TOKEN`` unsubscribes, ``/p/TOKEN`` shows and takes preferences, ``/a/TOKEN`` takes a survey's answer."""
    house = PageHouse(app)
    routes = APIRouter()
    for part in (stopping, choosing, answering):
        routes.include_router(part.router(house))
    return routes
