"""The console: one page that shows whoever is on duty what ``beforehand status`` says. It writes nothing."""

import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment
from markupsafe import Markup, escape
from sqlalchemy.exc import SQLAlchemyError

from beforehand.status import Status, status_of
from beforehand.web.templating import environment_of
from beforehand.wiring import App
from models.vocabulary import BRAKE_TEXT, HELD_TEXT, BrakeLimit, HeldState

_HERE = Path(__file__).parent
_STYLE = (_HERE / "templates" / "console.css").read_text(encoding="utf-8")
_STYLE_HASH = b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
}
"""No script, no picture, no form: only our own style, known by its hash."""

REFRESH = 10
"""Seconds after which the page is asked anew by itself; ``/?still=1`` stands still."""

KEPT = 3.0
"""Seconds for which a look at the database is shown again, however many look."""

SHOWN = frozenset(
    {
        "now", "running", "rules", "files", "refused_since", "messages", "held_since", "calls", "resting", "stopped",
        "due", "held_runs", "brakes", "around",
    }
)  # fmt: skip
"""What the page has words for; whatever else a status tells is shown as it is."""


def router(app: App) -> APIRouter:
    """``/``: the console. 503 while the database does not answer, in words."""
    routes, looked = APIRouter(), Kept(lambda: status_of(app, app.clock()))

    @routes.get("/", response_class=HTMLResponse)
    def console(request: Request) -> HTMLResponse:
        still = "still" in request.query_params
        try:
            seen = looked()
        except SQLAlchemyError as wrong:
            cause = type(getattr(wrong, "orig", None) or wrong).__name__
            return HTMLResponse(page(app, None, still=still, cause=cause), 503, HEADERS)
        return HTMLResponse(page(app, seen, still=still), headers=HEADERS)

    return routes


class Kept:
    """A value that is looked up anew only after some seconds; one looks, the others wait."""

    def __init__(self, look: Callable[[], Status], seconds: float = KEPT) -> None:
        self._look, self._seconds = look, seconds
        self._lock = Lock()
        self._value: Status | None = None
        self._at = 0.0

    def __call__(self) -> Status:
        """The value, not older than that."""
        with self._lock:
            if self._value is None or monotonic() - self._at >= self._seconds:
                self._value, self._at = self._look(), monotonic()
            return self._value


@dataclass(frozen=True)
class Link:
    """Where else to look."""

    name: str
    url: str


def page(app: App, seen: Status | None, *, still: bool = False, cause: str = "") -> str:
    """The page of a status; of none where the database does not answer, ``cause`` being the kind of its error."""
    template = _environment().get_template("console.html")
    return template.render(
        seen=seen,
        cause=cause,
        links=links(app, seen),
        more=more(seen) if seen else {},
        refresh=0 if still else REFRESH,
        style=Markup(_STYLE),  # noqa: S704 (our own file)
        brand=app.settings.brand,
        delivery=app.settings.delivery,
        trial=app.settings.trial,
    )


def links(app: App, seen: Status | None) -> list[Link]:
    """Prefect's pages where it is known, the post room where messages stay here, and the metrics."""
    found = []
    if seen and seen.around.prefect:
        ui = seen.around.prefect.api.removesuffix("/").removesuffix("/api")
        found += [Link("What runs next (Prefect's deployments)", f"{ui}/v2/deployments")]
        found += [Link("What ran (Prefect's runs)", f"{ui}/v2/runs")]
    if app.settings.delivery == "post_room":
        room = f"http://{app.settings.host}:{app.settings.post_room_port}"
        found.append(Link("What customers see (the post room)", room))
    return [*found, Link("Metrics", "/metrics"), Link("Readiness", "/readyz")]


def more(seen: Status) -> Mapping[str, str]:
    """What a status tells beyond what the page has words for, by name, as JSON."""
    found = {field.name: getattr(seen, field.name) for field in fields(seen) if field.name not in SHOWN}
    return {name.replace("_", " "): json.dumps(_plain(value), default=str) for name, value in found.items() if value}


def _plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


@cache
def _environment() -> Environment:
    made = environment_of(_HERE / "templates")
    made.filters |= {
        "commands": _commands,
        "number": lambda count: f"{count:,}",
        "moment": lambda at: f"{at:%Y-%m-%d %H:%M} UTC",
        "time": _time,
        "gigabytes": lambda size: f"{size / 1e9:.1f} GB",
        "held": lambda state: HELD_TEXT[HeldState(state)],
        "limit": lambda why: BRAKE_TEXT[BrakeLimit(why)],
        "words": lambda name: str(name).replace("_", " "),
    }
    made.globals |= {"ago": ago}
    return made


def _commands(said: str) -> Markup:
    """A sentence in which what stands between backticks is a command."""
    parts = re.split(r"`([^`]*)`", said)
    marked = [Markup("<code>{}</code>").format(part) if at % 2 else escape(part) for at, part in enumerate(parts)]
    return Markup("").join(marked)


def _time(at: datetime) -> Markup:
    return Markup('<time datetime="{}">{}</time>').format(at.isoformat(), f"{at:%Y-%m-%d %H:%M} UTC")


def ago(now: datetime, at: datetime) -> str:
    """How long ago something was, in one unit."""
    passed = max(now - at, timedelta(0))
    for unit, seconds in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if (count := int(passed.total_seconds() // seconds)) >= 1:
            return f"{count:,} {unit}{'s' if count > 1 else ''} ago"
    return "just now"
