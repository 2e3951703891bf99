"""The post room's web application: the API, the page, the ledger as JSON."""

from fastapi import FastAPI, Request, Response
from fastapi.middleware.trustedhost import TrustedHostMiddleware

from beforehand.web.postroom import api, desk, hooks, page
from beforehand.web.postroom.callbacks import Teller
from beforehand.web.postroom.carrier import Carrier
from beforehand.web.postroom.errors import TwilioError, not_found
from beforehand.web.postroom.house import House

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "::1")


def create_app(house: House, carrier: Carrier, teller: Teller, *, host: str = "127.0.0.1") -> FastAPI:
    """Put the routes together. No documentation pages: theirs would load scripts from elsewhere."""
    app = FastAPI(title="Beforehand post room", docs_url=None, redoc_url=None, openapi_url=None)
    if host in _LOOPBACK:
        # A page elsewhere must not read the ledger through a name that it points to this machine.
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*_LOOPBACK, "testserver"])

    @app.exception_handler(TwilioError)
    async def refused(request: Request, wrong: TwilioError) -> Response:
        return wrong.response()

    app.include_router(api.router(house, carrier))
    app.include_router(desk.router(house, carrier, teller))
    app.include_router(hooks.router(house))
    app.include_router(page.router(house))
    app.mount("/post-room/static", page.static_files())

    @app.api_route("/2010-04-01/{path:path}", methods=["GET", "POST", "PUT", "DELETE"])
    async def nothing(request: Request) -> Response:
        raise not_found(request.url.path)

    return app
