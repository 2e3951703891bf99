"""Signed links for customers: they carry a message's short word and nothing about the person.

A token is 26 small letters, digits and the word: which key, 80 bits of HMAC-SHA-256, the message's reference. The hash
is over the kind of link, the reference and the moment the message was planned. So a link for one kind is none for
another, and a reference that a restored database gives away a second time opens nothing of the first.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

OLD_LINKS = timedelta(days=60)
"""So long a replaced key still opens links. Links that only stop something are opened for as long as it is listed."""

TOKEN = re.compile(r"([a-z2-7]{2})([a-z2-7]{16})([0-9A-Z]{1,16})")
SAMPLE = datetime(2026, 1, 1)  # noqa: DTZ001 (never a moment of a message: those are aware)


class Kind(StrEnum):
    """What a link is for; its value is the path before the token."""

    STOP = "s"
    PREFERENCES = "p"
    ANSWER = "a"


@dataclass(frozen=True)
class LinkKey:
    """A key, and the day it was replaced by another one; None for the one in use. The value is never shown."""

    value: bytes
    replaced: date | None = None

    def __repr__(self) -> str:
        return f"LinkKey(replaced={self.replaced})"

    @property
    def id(self) -> str:
        """Two letters by which a token names its key."""
        return _letters(self._digest("id"))[:2]

    def mark(self, kind: Kind, reference: str, made_at: datetime) -> str:
        """Sixteen letters that only this key makes for this kind of link and this message."""
        return _letters(self._digest(f"{kind.name}\n{reference}\n{made_at.isoformat()}"))[:16]

    def opens(self, kind: Kind, today: date) -> bool:
        """Whether links of this kind that the key signed still count."""
        return self.replaced is None or kind is Kind.STOP or today <= self.replaced + OLD_LINKS

    def _digest(self, said: str) -> bytes:
        own = hmac.digest(self.value, b"beforehand/links/1", "sha256")
        return hmac.new(own, said.encode(), hashlib.sha256).digest()


def _letters(digest: bytes) -> str:
    return base64.b32encode(digest).decode().lower()


@dataclass(frozen=True)
class Links:
    """The links of one house: where they lead, the key in use first, and those before it.

    An old value of the secret key counts as an old key where links were signed with that.
    """

    public_url: str
    keys: Sequence[LinkKey]

    def url(self, kind: Kind, reference: str, made_at: datetime) -> str:
        """The link of one kind for a message: by its ``reference`` and the moment it was planned."""
        return f"{self.public_url.rstrip('/')}/{kind.value}/{self.token(kind, reference, made_at)}"

    def token(self, kind: Kind, reference: str, made_at: datetime) -> str:
        """What stands at the end of a link."""
        key = self.keys[0]
        return f"{key.id}{key.mark(kind, reference, made_at)}{reference}"

    def of_message(self, reference: str, made_at: datetime | None, *, survey: bool = False) -> Mapping[str, str | None]:
        """The links as templates name them; without a moment such as a preview shows, which open nothing."""
        at = made_at or SAMPLE
        return {
            "unsubscribe": self.url(Kind.STOP, reference, at),
            "preferences": self.url(Kind.PREFERENCES, reference, at),
            "survey": self.url(Kind.ANSWER, reference, at) if survey else None,
        }

    def holds(self, token: str, kind: Kind, made_at: datetime, now: datetime) -> bool:
        """Whether we signed this link, for this kind and the message of that moment, with a key that still counts.

        Takes the same time whatever is wrong; nothing raises.
        """
        found = TOKEN.fullmatch(token)
        if not found:
            return False
        key_id, mark, reference = found.groups()
        right = [
            hmac.compare_digest(f"{key.id}{key.mark(kind, reference, made_at)}", f"{key_id}{mark}")
            and key.opens(kind, now.date())
            for key in self.keys
        ]
        return any(right)

    def seal(self, said: str, now: datetime) -> str:
        """A word that only we can say about ``said`` today: what a form carries back."""
        return self.keys[0].mark(Kind.STOP, f"form/{said}/{now.date()}", SAMPLE)

    def is_seal(self, seal: str, said: str, now: datetime) -> bool:
        """Whether this seal was made today or yesterday: a page may lie open over midnight."""
        days = (now, now - timedelta(days=1))
        return any(hmac.compare_digest(self.seal(said, day).encode(), seal.encode()) for day in days)


def unsubscribe_headers(url: str, mailbox: str = "") -> dict[str, str]:
    """The headers by which a mail program offers one click to end this (RFC 2369, RFC 8058).

    ``mailbox`` is named only where somebody reads it. Both headers must be covered by the DKIM signature.
    """
    token = url.rpartition("/")[2]
    post = f", <mailto:{mailbox}?subject=unsubscribe%20{token}>" if mailbox else ""
    return {"List-Unsubscribe": f"<{url}>{post}", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}


def reference_in(token: str) -> str | None:
    """The message's reference that a token names, signed or not; None where it is no token at all."""
    found = TOKEN.fullmatch(token)
    return found[3] if found else None
