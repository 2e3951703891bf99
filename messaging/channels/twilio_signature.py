"""Whether a request is Twilio's: X-Twilio-Signature by Twilio's own computation, over the address as it was sent.

Scheme: https://www.twilio.com/docs/usage/security#validating-requests. Of the SDK's validator only the computation is
used: the rest of it rewrites the address before it looks (an empty query, a login, an IPv6 host are lost), compares
letter by letter, and takes a JSON body on trust where its hash is not asked for.
"""

import hmac
import re
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from twilio.request_validator import RequestValidator

PORTS = {"https": 443, "http": 80}
PORT = re.compile(r":\d+$")


class _Repeated(dict[str, list[str]]):
    """Form fields with all their values, in the shape that the SDK asks for."""

    def getall(self, name: str) -> list[str]:
        """Every value of a field."""
        return self[name]


def is_signed(tokens: Iterable[str], url: str, fields: Sequence[tuple[str, str]], signature: str) -> bool:
    """Whether one of the account's ``tokens`` signed this address and these form fields (none for JSON or GET).

    Twilio signs an address with its port or without, whichever the day; both are ours. Takes the same time for every
    signature that is wrong.
    """
    form = _Repeated()
    for name, value in fields:
        form.setdefault(name, []).append(value)
    right = False
    for token in filter(None, tokens):
        for address in with_and_without_port(url):
            made: str = RequestValidator(token).compute_signature(address, form)
            right |= hmac.compare_digest(made.encode(), signature.encode("utf-8", "replace"))
    return right


def with_and_without_port(url: str) -> list[str]:
    """The address as it is, without its port, and with the port of its scheme; all else stays letter by letter."""
    parts = urlsplit(url)
    before, after = f"{parts.scheme}://", url[len(f"{parts.scheme}://{parts.netloc}") :]
    host = PORT.sub("", parts.netloc)
    named = parts.netloc if host != parts.netloc else f"{host}:{PORTS.get(parts.scheme, 80)}"
    return list(dict.fromkeys([url, f"{before}{host}{after}", f"{before}{named}{after}"]))
