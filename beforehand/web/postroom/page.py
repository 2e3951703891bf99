"""The post room's page."""

from fastapi import APIRouter, Response

from beforehand.web.postroom.house import House


def router(house: House) -> APIRouter:
    """The routes of the page."""
    routes = APIRouter()

    @routes.get("/")
    async def show() -> Response:
        return Response("soon")

    return routes
