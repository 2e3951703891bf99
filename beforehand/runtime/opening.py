"""The first second: ports, and the Prefect server's process. Light imports only, as the server takes the longest."""

from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from beforehand.parts import CHOSEN, PartName
from beforehand.runtime.child import PrefectChild
from beforehand.runtime.ports import NoPortError, free_port, let_go
from beforehand.settings import Settings
from flows.environment import (
    api_url,
    drop_proxies,
    existing_api,
    guest_environment,
    prefect_environment,
    put_in_place,
)

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def with_free_ports(
    settings: Settings, say: Callable[[str], None], only: Collection[PartName] = CHOSEN, *, server: bool = True
) -> Settings:
    """The settings with ports that are free now for what this process opens: the parts ``only`` and the staff pages.

    Says which one had to be another. ``server``: Prefect's server is ours. Raises NoPortError.
    """
    chosen: dict[str, int] = {}
    web, room = PartName.WEB in only, PartName.WEB in only and settings.delivery == "post_room"
    for name, host, what, opens in (
        ("prefect_port", "127.0.0.1", "the Prefect server", server and PartName.PREFECT in only),
        ("post_room_port", settings.host, "the post room's page", room),
        ("post_room_smtp_port", settings.host, "the post room's mail server", room),
        ("web_port", settings.host, "our own pages", web),
        ("staff_port", settings.staff_host, "the staff pages", True),
    ):
        wanted = getattr(settings, name)
        if not opens:
            continue
        chosen[name] = free_port(host, wanted)
        if name == "web_port" and chosen[name] != wanted and settings.delivery == "live":
            let_go(chosen[name])
            raise NoPortError(f"port {wanted} is in use, and BEFOREHAND_PUBLIC_URL leads to it; free it first")
        if chosen[name] != wanted:
            say(f"Port {wanted} is in use: {what} takes {chosen[name]}.")
    if settings.delivery == "post_room":
        chosen["smtp_port"] = chosen.get("post_room_smtp_port", settings.post_room_smtp_port)
        if urlsplit(settings.public_url).hostname in LOOPBACK:
            address = settings.model_copy(update=chosen).callback_url
            return settings.model_copy(update={**chosen, "public_url": address})
    return settings.model_copy(update=chosen)


def server_elsewhere(settings: Settings) -> str:
    """The API of the Prefect server that somebody else runs; empty: it is ours to start."""
    return existing_api(settings.prefect_api_url)


def set_up_prefect(settings: Settings, only: Collection[PartName] = CHOSEN) -> tuple[str, PrefectChild | None]:
    """Set this process up for its Prefect server, before prefect is imported: one that runs already, or our own.

    Gives the server's API and, where this process has the part, its child, made but not started. Without the part and
    without a word of another server it is the one that another process of this machine starts.
    """
    elsewhere = server_elsewhere(settings)
    if not elsewhere and PartName.PREFECT in only:
        child = start_prefect(settings)
        return child.api, child
    home = settings.var / "prefect-client"
    home.mkdir(parents=True, exist_ok=True)
    environment = guest_environment(home, elsewhere or api_url(settings.prefect_port))
    put_in_place(environment)
    return environment["PREFECT_API_URL"], None


def start_prefect(settings: Settings) -> PrefectChild:
    """Set this process up for our own Prefect server, before prefect is imported, and make (not start) the child."""
    home = settings.var / "prefect"
    home.mkdir(parents=True, exist_ok=True)
    environment = prefect_environment(home, settings.prefect_port, days=settings.prefect_days)
    put_in_place(environment)
    if settings.delivery == "post_room":
        drop_proxies()
    return PrefectChild(environment, settings.var / "prefect-server.log")
