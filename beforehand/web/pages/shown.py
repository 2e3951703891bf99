"""How a page comes to be: its words in the customer's language, its template, and headers that let nothing else in."""

import hashlib
import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from fastapi.responses import HTMLResponse
from jinja2 import Environment
from markupsafe import Markup, escape

from beforehand.settings import Settings
from beforehand.web.templating import environment_of
from messaging.formats import grouped, is_rtl
from messaging.rendering import fall_back
from models.vocabulary import Channel

_HERE = Path(__file__).parent
_STYLE = (_HERE / "templates" / "style.css").read_text(encoding="utf-8")
_STYLE_HASH = b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
    "Cache-Control": "no-store",
}
"""No script, no picture, nothing from elsewhere: only our own style, known by its hash."""


@cache
def languages() -> tuple[tuple[str, str], ...]:
    """The languages in which the pages are written: tag and own name, English first."""
    tags = sorted((path.stem for path in (_HERE / "words").glob("*.json")), key=lambda tag: (tag != "en", tag))
    return tuple((tag, str(words(tag)["language"])) for tag in tags)


@cache
def words(language: str) -> Mapping[str, Any]:
    """The words of the pages in one of :func:`languages`."""
    found: Mapping[str, Any] = json.loads((_HERE / "words" / f"{language}.json").read_text(encoding="utf-8"))
    return found


@cache
def text_version(page: str, language: str) -> str:
    """Which text a customer saw, for the ledger: ``stop.en.1f3a9c0d``; changes with every word of the page."""
    said = json.dumps(words(language)[page], ensure_ascii=False, sort_keys=True)
    return f"{page}.{language}.{hashlib.sha256(said.encode()).hexdigest()[:8]}"


def spoken(*wishes: str | None) -> str:
    """The first of these BCP 47 tags in which the pages are written, shorter forms counting; English at the end."""
    written = {tag for tag, _ in languages()}
    tags = (tag for wish in wishes if wish for tag in fall_back(wish, wish))
    return next((tag for tag in tags if tag in written), "en")


@cache
def _environment() -> Environment:
    made = environment_of(_HERE / "templates")
    made.filters["fill"] = _fill
    return made


def _fill(said: str, **values: str) -> Markup:
    """Put values into a sentence; an ``address`` runs left to right, whatever stands around it."""
    shown = {name: _isolated(value) if name == "address" else value for name, value in values.items()}
    return escape(said).format(**shown)


def _isolated(value: str) -> Markup:
    return Markup('<bdi dir="ltr">{}</bdi>').format(value)


def page(
    name: str,
    settings: Settings,
    language: str,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **shown: Any,
) -> HTMLResponse:
    """Render ``templates/NAME.html`` in a language of :func:`languages`, and answer with it."""
    brand = {"name": settings.brand, "phone": settings.brand_phone, "address": settings.brand_address}
    text = (
        _environment()
        .get_template(f"{name}.html")
        .render(
            {"note": "", "bad": False, **shown},
            words=words(language),
            language=language,
            direction="rtl" if is_rtl(language) else "ltr",
            languages=languages(),
            brand=brand,
            phone=grouped(settings.brand_phone),
            style=Markup(_STYLE),  # noqa: S704 (our own file)
        )
    )
    return HTMLResponse(text, status, {**HEADERS, **(headers or {})})


def masked(channel: str, address: str | None) -> str:
    """An address as its owner knows it again and nobody else learns it: ``a•••@example.com``, ``••• 0123``."""
    if not address:
        return ""
    if Channel(channel) is Channel.EMAIL:
        name, _, domain = address.rpartition("@")
        return f"{name[:1]}•••@{domain}"
    return f"••• {address[-4:]}"


def plain(text: str, longest: int) -> str:
    """What somebody typed: without control characters but line breaks, cut to ``longest`` characters."""
    kept = "".join(sign for sign in text.replace("\r\n", "\n") if sign == "\n" or sign.isprintable())
    return kept.strip()[:longest]


__all__: Sequence[str] = ("HEADERS", "languages", "masked", "page", "plain", "spoken", "text_version", "words")
