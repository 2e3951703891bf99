"""What the post room keeps: one :class:`Entry` for every SMS, call, e-mail and webhook it took, and every reply."""

import secrets
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from models.vocabulary import Channel


class Other(StrEnum):
    """What the post room takes beside messages to customers."""

    WEBHOOK = "webhook"


WEBHOOK = Other.WEBHOOK

FINAL = frozenset(
    {"delivered", "undelivered", "failed", "received", "completed", "busy", "no-answer", "canceled", "accepted"}
)

_SCRIPTS = {
    "ARABIC": "ar",
    "CJK": "zh",
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
    "HANGUL": "ko",
    "CYRILLIC": "ru",
    "GREEK": "el",
    "HEBREW": "he",
    "DEVANAGARI": "hi",
    "THAI": "th",
    "LATIN": "en",
}


def new_sid(prefix: str) -> str:
    """A fresh id as Twilio forms it: two letters and 32 hexadecimal digits."""
    return prefix + secrets.token_hex(16)


def language_of(text: str, default: str = "en") -> str:
    """Guess a language from the letters alone, since an SMS names none; Latin letters are taken for English."""
    scripts = Counter(unicodedata.name(letter, "").split(" ", 1)[0] for letter in text[:400] if letter.isalpha())
    known = {script: count for script, count in scripts.items() if script in _SCRIPTS}
    # Latin letters come with every link and brand name: they decide only where nothing else is written.
    other = {script: count for script, count in known.items() if script != "LATIN"}
    best = max(other or known, key=lambda script: known[script], default="")
    return _SCRIPTS.get(best, default)


@dataclass(frozen=True)
class Callback:
    """One try to tell our side of a status: the HTTP status it was answered with, or why there was no answer."""

    status: str
    url: str
    attempt: int
    answer: int | None
    error: str
    at: datetime


@dataclass(frozen=True)
class Entry:
    """One SMS, call, e-mail or webhook. ``n`` counts up from 1 and is never used twice in one file.

    ``body`` is the text of an SMS, the plain part of an e-mail, the TwiML of a call; ``to`` the envelope's recipient.
    ``history`` are the statuses with their moments, ``options`` the other parameters of the request, ``notes`` what
    went wrong on the way, ``answered_by`` who picked up a call that asked for it, in Twilio's words. Entries never
    change: the ledger puts a new one in the old one's place.
    """

    n: int
    kind: Channel | Other
    direction: str
    sid: str
    to: str
    from_: str
    body: str
    at: datetime
    status: str
    subject: str = ""
    html: str = ""
    language: str = "en"
    headers: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    error_code: int | None = None
    history: tuple[tuple[str, datetime], ...] = ()
    callbacks: tuple[Callback, ...] = ()
    pressed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    answered_by: str | None = None

    @property
    def told(self) -> bool:
        """Whether a try to tell our side of its status is on record."""
        return self.status in {callback.status for callback in self.callbacks}

    @property
    def final(self) -> bool:
        """Whether the status will not change any more."""
        return self.status in FINAL

    @property
    def inbound(self) -> bool:
        """Whether the customer wrote it."""
        return self.direction == "inbound"

    @property
    def customer(self) -> str:
        """The customer's address."""
        return self.from_ if self.inbound else self.to

    def header(self, name: str) -> str:
        """A header's value whatever the case of its name; empty where there is none."""
        return next((value for key, value in self.headers.items() if key.lower() == name.lower()), "")

    def when(self, *statuses: str) -> datetime | None:
        """When it first had one of these statuses."""
        return next((at for status, at in self.history if status in statuses), None)

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON values; times in ISO 8601."""
        plain = dict(vars(self))
        plain["at"] = self.at.isoformat()
        plain["history"] = [[status, at.isoformat()] for status, at in self.history]
        plain["callbacks"] = [{**vars(one), "at": one.at.isoformat()} for one in self.callbacks]
        return plain

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Self:
        """The entry that :meth:`as_json` wrote."""
        values = dict(plain)
        values["kind"] = WEBHOOK if values["kind"] == WEBHOOK else Channel(values["kind"])
        values["at"] = datetime.fromisoformat(values["at"])
        values["history"] = tuple((status, datetime.fromisoformat(at)) for status, at in values["history"])
        values["callbacks"] = tuple(
            Callback(**{**one, "at": datetime.fromisoformat(one["at"])}) for one in values["callbacks"]
        )
        values["pressed"], values["notes"] = tuple(values["pressed"]), tuple(values["notes"])
        return cls(**values)
