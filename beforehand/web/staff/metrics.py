"""``/metrics``: what this process has done, and how things stand, for Prometheus."""

from fastapi import APIRouter, Request, Response

from beforehand.sight.metrics import Metrics
from beforehand.wiring import App


def router(app: App) -> APIRouter:
    """``/metrics`` in Prometheus' text format, or OpenMetrics where the scraper asks for it. Counting begins here."""
    routes, metrics = APIRouter(), Metrics(app)

    @routes.get("/metrics")
    def scrape(request: Request) -> Response:
        text, kind = metrics.exposition(request.headers.get("accept", ""))
        return Response(text, media_type=kind)

    return routes
