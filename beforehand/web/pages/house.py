"""What the customer pages share: the application, its links, the answers to what does not go on."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property

from fastapi.responses import HTMLResponse
from sqlalchemy.exc import SQLAlchemyError

from beforehand.passes import links_of, secret_of
from beforehand.web.pages.limits import Limit
from beforehand.web.pages.shown import languages, page, spoken, words
from beforehand.web.pages.visitors import Visitor, visitor_of
from beforehand.wiring import App
from messaging.links import Kind, Links
from models.database import reading

log = logging.getLogger("beforehand.web")

CHANGES = 20
"""So often one link may change something in ten minutes."""


@dataclass(frozen=True)
class Visit:
    """One request: whose link it is, in which language we answer, and when it is."""

    token: str
    visitor: Visitor
    language: str
    now: datetime


@dataclass(frozen=True)
class PageHouse:
    """The customer pages of one application."""

    app: App
    changes: Limit = field(default_factory=lambda: Limit(CHANGES, timedelta(minutes=10)))

    @cached_property
    def links(self) -> Links:
        """What opens our links."""
        return links_of(self.app.settings)

    @property
    def secret(self) -> bytes:
        """The key behind the hashes of addresses."""
        return secret_of(self.app.settings)

    def answer(
        self, kind: Kind, token: str, lang: str, then: Callable[[Visit], HTMLResponse], *, limited: bool = False
    ) -> HTMLResponse:
        """Open a link and answer with ``then``; with a kind page where nobody is behind it or nothing can be done.

        ``limited``: count it as a change, of which one link may make :data:`CHANGES` in ten minutes.
        """
        now = self.app.clock()
        language = spoken(lang, self.app.settings.language)
        try:
            with reading(self.app.engine) as connection:
                visitor = visitor_of(connection, self.links, token, kind, now)
            if visitor is None:
                return self.note("gone", language, 404)
            language = spoken(lang, *visitor.languages, self.app.settings.language)
            if limited and not self.changes.allows(token, now):
                return self.note("busy", language, 429, retry_after=600)
            return then(Visit(token, visitor, language, now))
        except SQLAlchemyError as wrong:
            log.error("a customer page could not be answered: %s", type(wrong).__name__)
            return self.note("down", language, 503, retry_after=120)

    def note(self, name: str, language: str, status: int, retry_after: int = 0) -> HTMLResponse:
        """A page that says why nothing goes on."""
        said = {"help": "", **words(language)[name]}
        headers = {"Retry-After": str(retry_after)} if retry_after else {}
        return page("note", self.app.settings, language, status=status, headers=headers, said=said)

    def seal(self, visit: Visit) -> str:
        """What our form carries back, so that only a form of ours for this very link is taken."""
        return self.links.seal(visit.token, visit.now)

    def is_sealed(self, visit: Visit, seal: str) -> bool:
        """Whether a form is one of ours for this link, of today or yesterday."""
        return self.links.is_seal(seal, visit.token, visit.now)


__all__ = ["PageHouse", "Visit", "languages"]
