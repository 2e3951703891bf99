"""What the page shows: which entries, and each one as its customer would see it."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from beforehand.web.postroom.entries import WEBHOOK, Entry
from beforehand.web.postroom.ledger import Ledger
from beforehand.web.postroom.twiml import Line, ScriptError, heard
from messaging.segments import count
from models.vocabulary import Channel

PAGE = 200
THREAD = 12
LANGUAGES = {
    "ar": "العربية · Arabic",
    "de": "Deutsch · German",
    "el": "Ελληνικά · Greek",
    "en": "English",
    "es": "Español · Spanish",
    "fr": "Français · French",
    "he": "עברית · Hebrew",
    "hi": "हिन्दी · Hindi",
    "ja": "日本語 · Japanese",
    "ko": "한국어 · Korean",
    "ru": "Русский · Russian",
    "th": "ไทย · Thai",
    "zh": "中文 · Chinese",
}
PLACES = {
    "messages": "Sending an SMS",
    "calls": "Making a call",
    "listing": "Listing what was taken",
    "callback": "Telling our side of a status",
    "mail": "Taking an e-mail",
}
CHANNELS = {"sms": "SMS", "voice": "Calls", "email": "E-mails", "webhook": "Webhooks"}


@dataclass(frozen=True)
class Look:
    """What the reader asked for. ``page`` counts from 0, newest first."""

    channel: str = ""
    language: str = ""
    customer: str = ""
    q: str = ""
    page: int = 0

    def fits(self, entry: Entry) -> bool:
        """Whether an entry is asked for; addresses and text are compared without regard to case."""
        return (
            self.channel in ("", entry.kind)
            and self.language in ("", entry.language)
            and self.customer.strip().casefold() in entry.customer.casefold()
            and (not self.q.strip() or self.q.strip().casefold() in _words(entry))
        )

    def link(self, **changes: Any) -> str:
        """The page's address with some of the questions changed."""
        values = {**vars(self), **changes}
        query = urlencode({name: value for name, value in values.items() if value})
        return f"/?{query}" if query else "/"


def _words(entry: Entry) -> str:
    return f"{entry.subject}\n{entry.body}\n{entry.html}".casefold()


@dataclass(frozen=True)
class Found:
    """One page of the list: the rows, how many fit in all, and the numbers of the pages beside it."""

    rows: list[Entry]
    total: int
    newer: int | None
    older: int | None


def find(ledger: Ledger, look: Look) -> Found:
    """The newest entries that fit, at most :data:`PAGE`."""
    fitting = [entry for entry in reversed(ledger.entries) if look.fits(entry)]
    start = look.page * PAGE
    older = look.page + 1 if start + PAGE < len(fitting) else None
    return Found(fitting[start : start + PAGE], len(fitting), look.page - 1 if look.page else None, older)


def totals(ledger: Ledger) -> Mapping[str, int]:
    """How many entries each channel has."""
    kinds = [entry.kind.value for entry in ledger.entries]
    return {kind: kinds.count(kind) for kind in CHANNELS}


def languages(ledger: Ledger) -> list[tuple[str, str]]:
    """The languages that occur, with their names."""
    return [(code, LANGUAGES.get(code, code)) for code in sorted({entry.language for entry in ledger.entries})]


def snippet(entry: Entry) -> str:
    """The first words, for the list."""
    if entry.kind == Channel.VOICE:
        return next((line.text for line in script(entry)[0] if line.text), "a call")[:120]
    if entry.kind == WEBHOOK:
        return _occasion(entry)[:120]
    return (entry.subject or entry.body)[:120]


def _occasion(entry: Entry) -> str:
    """What a webhook is about: rule and occasion, where its body says so."""
    try:
        data = json.loads(entry.body)["data"]
        return f"{data['rule']} · {data['occasion']}"
    except (ValueError, KeyError, TypeError):
        return "a webhook"


def script(entry: Entry) -> tuple[list[Line], str]:
    """What is heard on a call, and what is wrong with its script."""
    if not entry.body:
        return [], ""
    try:
        return heard(entry.body), ""
    except ScriptError as wrong:
        return [], str(wrong)


def shown(ledger: Ledger, entry: Entry) -> dict[str, Any]:
    """What the page needs to show one entry."""
    values: dict[str, Any] = {"entry": entry}
    if entry.kind == Channel.SMS:
        values |= {"thread": _thread(ledger, entry), "size": count(entry.body)}
    elif entry.kind == Channel.VOICE:
        lines, wrong = script(entry)
        values |= {"lines": lines, "wrong": wrong}
    return values


def _thread(ledger: Ledger, entry: Entry) -> list[Entry]:
    """The last messages up to and after this one between the same two numbers, oldest first."""
    pair = {entry.to, entry.from_}
    same = [one for one in ledger.entries if one.kind == Channel.SMS and {one.to, one.from_} == pair]
    at = next((index for index, one in enumerate(same) if one.n == entry.n), 0)
    return same[max(0, at - THREAD // 2) : at + THREAD]


def apart(html: str) -> str:
    """An e-mail's HTML whose links open by themselves, as in a mail program."""
    return re.sub(r"<head[^>]*>", lambda head: head[0] + '<base target="_blank">', html, count=1, flags=re.IGNORECASE)
