"""One POST to one endpoint: bounded in time, not redirected, and not to an address inside unless that is allowed."""

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import httpx

NAT64 = ip_network("64:ff9b::/96")

INSIDE_TOO = tuple(
    ip_network(each)
    for each in (
        "::/96",
        "::ffff:0:0:0/96",
        "64:ff9b:1::/48",
        "5f00::/16",
        "fec0::/10",
        "192.0.0.0/24",
        "192.88.99.0/24",
    )
)
"""Networks that lead nowhere public, and that Python 3.11 takes for global.

Source: the special-purpose address registries of IANA; RFC 4291 2.5.5.1 and 2.5.7, RFC 7915.
"""


@dataclass(frozen=True)
class Endpoint:
    """A named place that webhooks go to. ``inside``: it may lie at a private address."""

    name: str
    url: str
    secret: str
    inside: bool = False


@dataclass(frozen=True)
class Answer:
    """What one try led to: ``code`` is ``http_200``, ``timeout`` ...; ``retry_after`` in seconds, where asked for."""

    code: str
    retry_after: float | None = None

    @property
    def taken(self) -> bool:
        """Whether the endpoint took it: any 2xx."""
        return self.code.startswith("http_2")


class _PrivateAddress(Exception):
    """The host's name leads to an address that only this machine or its network can reach."""


def is_public(address: str) -> bool:
    """Whether an IP address can be reached from anywhere; an IPv4 address inside an IPv6 one is looked at as itself."""
    found: IPv4Address | IPv6Address | None = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address):
        inner = IPv4Address(found.packed[-4:]) if found in NAT64 else None
        found = found.ipv4_mapped or found.sixtofour or (found.teredo and found.teredo[1]) or inner or found
    if found is None or any(found in network for network in INSIDE_TOO):
        return False
    return found.is_global and not found.is_multicast


async def post(
    client: httpx.AsyncClient,
    endpoint: Endpoint,
    text: str,
    headers: Mapping[str, str],
    now: datetime,
    *,
    timeout: float,
) -> Answer:
    """Try once, within ``timeout`` seconds in all. Never raises for what a network or an endpoint does."""
    try:
        async with asyncio.timeout(timeout):
            return await _post(client, endpoint, text, headers, now)
    except TimeoutError:
        return Answer("timeout")
    except _PrivateAddress:
        return Answer("private_address")
    except socket.gaierror:
        return Answer("no_such_host")
    except httpx.TimeoutException:
        return Answer("timeout")
    except httpx.ConnectError:
        return Answer("no_connection")
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as wrong:  # its text may quote what was sent
        return Answer(type(wrong).__name__[:40])


async def _post(
    client: httpx.AsyncClient, endpoint: Endpoint, text: str, headers: Mapping[str, str], now: datetime
) -> Answer:
    url = httpx.URL(endpoint.url)
    address = await _resolved(url, inside=endpoint.inside)
    # To the very address that was looked at: a second look-up by name may lead elsewhere.
    request = client.build_request(
        "POST",
        url.copy_with(host=address),
        content=text.encode(),
        headers={**headers, "host": url.netloc.decode("ascii")},
        extensions={"sni_hostname": url.host},
    )
    response = await client.send(request, stream=True)  # what it says beside the status is nobody's business here
    try:
        return Answer(f"http_{response.status_code}", _retry_after(response.headers.get("retry-after"), now))
    finally:
        await response.aclose()


async def _resolved(url: httpx.URL, *, inside: bool) -> str:
    port = url.port or (443 if url.scheme == "https" else 80)
    found = await asyncio.get_running_loop().getaddrinfo(url.host, port, type=socket.SOCK_STREAM)
    addresses = [str(entry[4][0]) for entry in found]
    if not inside and not all(is_public(address) for address in addresses):
        raise _PrivateAddress
    return addresses[0]


def _retry_after(said: str | None, now: datetime) -> float | None:
    """Read a Retry-After header, seconds or a date (RFC 9110 10.2.3); None where there is none or it is neither."""
    if said is None:
        return None
    if said.strip().isdigit():
        return float(said.strip()[:9])
    try:
        moment = parsedate_to_datetime(said)
    except (TypeError, ValueError):
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (aware - now).total_seconds())
