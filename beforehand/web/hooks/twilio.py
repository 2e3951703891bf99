"""What Twilio posts to us: every validator looks before anything else does, all of them, and one no is enough.

``validated(request, app)`` is the one door; every route for Twilio takes its form from there.
"""

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl

from fastapi import Request
from pydantic import SecretStr

from beforehand.settings import PLACEHOLDER, Settings
from beforehand.web.refusals import Refusal, refuse
from beforehand.wiring import App

FORM, JSON = "application/x-www-form-urlencoded", "application/json"

LARGEST = 64 * 1024
"""Bytes of a body. An SMS has 1,600 letters; the rest of Twilio's forms is smaller."""

MOST_FIELDS = 200
BODY_HASH = "bodySHA256"

Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Form:
    """What Twilio said, in a request that passed every validator: fields of form and query (or of a JSON object).

    ``digest`` is a hash over all that was signed, so that the same thing said again is known again.
    """

    fields: Mapping[str, str]
    digest: str

    def get(self, name: str, default: str = "") -> str:
        """A field, or ``default`` where it is not there."""
        return self.fields.get(name, default)


@dataclass(frozen=True)
class Letter:
    """A request as it came, unopened: ``url`` is our public address with path and query letter by letter as received.

    ``body`` is None where it was too large to be read; ``signatures`` are all headers of that name.
    """

    url: str
    query: str
    method: str
    content_type: str
    body: bytes | None
    signatures: tuple[str, ...]

    @cached_property
    def asked(self) -> Pairs | None:
        """The fields of the query; None where it cannot be read."""
        return _pairs(self.query)

    @cached_property
    def written(self) -> Pairs | None:
        """The fields of a form, or the top of a JSON object; None where the body cannot be read."""
        if self.body is None:
            return None
        try:
            text = self.body.decode("utf-8")
            return _json_pairs(text) if self.content_type == JSON else _pairs(text)
        except (ValueError, RecursionError):
            return None

    @property
    def signed(self) -> Pairs:
        """The fields that are part of the signature: those of a form."""
        return (self.written or ()) if self.content_type == FORM else ()


@dataclass(frozen=True)
class Account:
    """Whose requests we take: the account's id and the tokens it signs with, the one before included."""

    sid: str
    tokens: tuple[str, ...] = field(repr=False)


def account_of(settings: Settings) -> Account:
    """The account of the settings. A placeholder counts where everything stays on this machine."""
    tokens = (settings.twilio_auth_token, settings.twilio_auth_token_before)
    return Account(settings.twilio_account_sid, tuple(_plain(token, settings) for token in tokens))


def _plain(token: SecretStr, settings: Settings) -> str:
    said = token.get_secret_value()
    return "" if said == PLACEHOLDER and settings.delivery == "live" else said


def size(letter: Letter, _account: Account) -> Refusal | None:
    """The body is no larger than Twilio's."""
    return Refusal.TOO_LARGE if letter.body is None else None


def content(letter: Letter, _account: Account) -> Refusal | None:
    """A POST is a form or JSON; a GET has no body."""
    fits = not letter.body if letter.method == "GET" else letter.content_type in (FORM, JSON)
    return None if fits else Refusal.CONTENT_TYPE


def readable(letter: Letter, _account: Account) -> Refusal | None:
    """Query and body can be read, and nothing had to be guessed."""
    garbled = letter.asked is None or (letter.body is not None and letter.written is None)
    return Refusal.GARBLED if garbled else None


def no_duplicates(letter: Letter, _account: Account) -> Refusal | None:
    """No field comes twice, in form and query together: two readers could take it for two things."""
    names = [name for name, _ in (*(letter.asked or ()), *(letter.written or ()))]
    return Refusal.DUPLICATE_KEY if len(names) != len(set(names)) else None


def has_signature(letter: Letter, _account: Account) -> Refusal | None:
    """There is one signature."""
    return None if len(letter.signatures) == 1 and letter.signatures[0] else Refusal.NO_SIGNATURE


def signature(letter: Letter, account: Account) -> Refusal | None:
    """It is the account's, over our public address."""
    from messaging.channels.twilio_signature import is_signed  # the SDK takes half a second to import

    said = letter.signatures[0] if letter.signatures else ""
    return None if is_signed(account.tokens, letter.url, letter.signed, said) else Refusal.SIGNATURE


def body_hash(letter: Letter, _account: Account) -> Refusal | None:
    """A JSON body is not part of the signature; its hash in the address is."""
    if letter.content_type != JSON or letter.method == "GET":
        return None
    said = dict(letter.asked or ()).get(BODY_HASH, "")
    made = hashlib.sha256(letter.body or b"").hexdigest()
    return None if hmac.compare_digest(made.encode(), said.lower().encode()) else Refusal.BODY_HASH


def account_known(letter: Letter, account: Account) -> Refusal | None:
    """It speaks of our account."""
    said = [value for name, value in (*(letter.asked or ()), *(letter.written or ())) if name == "AccountSid"]
    known = bool(said) and all(
        hmac.compare_digest(value.encode("utf-8", "replace"), account.sid.encode()) for value in said
    )
    return None if known else Refusal.ACCOUNT


VALIDATORS: tuple[Callable[[Letter, Account], Refusal | None], ...] = (
    size,
    content,
    readable,
    no_duplicates,
    has_signature,
    signature,
    body_hash,
    account_known,
)


def refusals(letter: Letter, account: Account) -> list[Refusal]:
    """Everything that speaks against a request. Pure; every validator is asked, whatever the others say."""
    return [reason for look in VALIDATORS if (reason := look(letter, account))]


async def validated(request: Request, app: App) -> Form:
    """The form of a request that is Twilio's. Raises HTTPException 403, which names no reason."""
    letter = await letter_of(request, app.settings.callback_url)
    if reasons := refusals(letter, account_of(app.settings)):
        raise await refuse(request, app, reasons)
    fields = dict((*(letter.asked or ()), *(letter.written or ())))
    return Form(fields, digest_of(letter))


async def letter_of(request: Request, public_url: str) -> Letter:
    """Take a request as it came. What a proxy says of host and scheme does not count."""
    path, query = request.scope["raw_path"].decode("latin-1"), request.scope["query_string"].decode("latin-1")
    return Letter(
        url=f"{public_url.rstrip('/')}{path}{f'?{query}' if query else ''}",
        query=query,
        method=request.method,
        content_type=request.headers.get("content-type", "").partition(";")[0].strip().lower(),
        body=await _body(request),
        signatures=tuple(request.headers.getlist("x-twilio-signature")),
    )


def digest_of(letter: Letter) -> str:
    """SHA-256 over what was signed, 64 hex digits: address, sorted fields without a mark between them, JSON body.

    Twilio's signature cannot tell ``a=bc`` from ``ab=c``; a captured request that was cut anew is so known again.
    """
    said = letter.url + "".join(name + value for name, value in sorted(letter.signed))
    rest = b"" if letter.content_type == FORM else letter.body or b""
    return hashlib.sha256(said.encode() + b"\n" + rest).hexdigest()


async def _body(request: Request) -> bytes | None:
    parts, had = [], 0
    async for part in request.stream():
        had += len(part)
        if had > LARGEST:
            return None
        parts.append(part)
    return b"".join(parts)


def _pairs(text: str) -> Pairs | None:
    try:
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
    except ValueError:
        return None


def _json_pairs(text: str) -> Pairs | None:
    """The top of a JSON object, with duplicates; None for other JSON. Nested values as JSON again."""
    top: list[list[tuple[str, Any]]] = []

    def keep(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        top.append(pairs)
        return dict(pairs)

    if not isinstance(json.loads(text, object_pairs_hook=keep), dict):
        return None
    return [(name, value if isinstance(value, str) else json.dumps(value)) for name, value in top[-1]]
