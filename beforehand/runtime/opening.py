"""The first second: ports, and the Prefect server's process. Light imports only, as the server takes the longest."""

from collections.abc import Callable
from urllib.parse import urlsplit

from beforehand.runtime.child import PrefectChild
from beforehand.runtime.ports import NoPortError, free_port, let_go
from beforehand.settings import Settings
from flows.environment import drop_proxies, prefect_environment, put_in_place

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def with_free_ports(settings: Settings, say: Callable[[str], None]) -> Settings:
    """The settings with ports that are free now; says which one had to be another. Raises NoPortError."""
    chosen: dict[str, int] = {}
    for name, what in (
        ("prefect_port", "the Prefect server"),
        ("post_room_port", "the post room's page"),
        ("post_room_smtp_port", "the post room's mail server"),
        ("web_port", "our own pages"),
    ):
        wanted = getattr(settings, name)
        chosen[name] = free_port("127.0.0.1" if name == "prefect_port" else settings.host, wanted)
        if name == "web_port" and chosen[name] != wanted and settings.delivery == "live":
            let_go(chosen[name])
            raise NoPortError(f"port {wanted} is in use, and BEFOREHAND_PUBLIC_URL leads to it; free it first")
        if chosen[name] != wanted:
            say(f"Port {wanted} is in use: {what} takes {chosen[name]}.")
    if settings.delivery == "post_room":
        chosen["smtp_port"] = chosen["post_room_smtp_port"]
        if urlsplit(settings.public_url).hostname in LOOPBACK:
            address = settings.model_copy(update=chosen).callback_url
            return settings.model_copy(update={**chosen, "public_url": address})
    return settings.model_copy(update=chosen)


def start_prefect(settings: Settings) -> PrefectChild:
    """Set this process up for our own Prefect server, before prefect is imported, and make (not start) the child."""
    home = settings.var / "prefect"
    home.mkdir(parents=True, exist_ok=True)
    environment = prefect_environment(home, settings.prefect_port, days=settings.prefect_days)
    put_in_place(environment)
    if settings.delivery == "post_room":
        drop_proxies()
    return PrefectChild(environment, settings.var / "prefect-server.log")
