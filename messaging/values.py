"""What a template may see: plain, immutable, cleaned values. What customers typed is data and stays data."""

import re
import unicodedata
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

LONGEST = 2000
LONGEST_OF = {"first_name": 40, "last_name": 60, "name": 80, "number": 40, "title": 120, "reference": 16}
"""The most characters of a value that a message shows, by the last word of its name."""

NAME_MARKS = frozenset("'’ʼ.- ·…")
DOMAIN_LIKE = re.compile(r"\w\.\w{2,}")

# Unicode UAX 9: embeddings, overrides, isolates and marks; a name with one of these could turn the rest of a line.
BIDI_CONTROLS = dict.fromkeys([0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)])


def clean(text: str, limit: int = LONGEST) -> str:
    """One line without control and bidi-override characters, in NFC, cut to ``limit`` characters."""
    text = unicodedata.normalize("NFC", text[: limit * 4]).translate(BIDI_CONTROLS)
    shown = "".join(char for char in " ".join(text.split()) if unicodedata.category(char) not in ("Cc", "Cs", "Co"))
    return shown if len(shown) <= limit else shown[: limit - 1].rstrip() + "…"


def given_name(text: str) -> str | None:
    """A first name that we may greet with, or None: an address, a number or markup in that field is not a name.

    Spammers sign up other people's addresses with a link for a name, so that our greeting carries it.
    """
    name = clean(text, LONGEST_OF["first_name"])
    odd = [char for char in name if not (char.isalpha() or char in NAME_MARKS or unicodedata.category(char)[0] == "M")]
    is_name = not odd and any(char.isalpha() for char in name) and not DOMAIN_LIKE.search(name)
    return name if is_name else None


def frozen(value: Any, key: str = "", languages: tuple[str, ...] = ()) -> Any:
    """An immutable copy with every text cleaned; ``key`` is the name under which the value stands.

    Where a mapping has ``texts`` by language (a known issue has), those of the first of ``languages`` are laid over it:
    a mapping word by word, a plain text as its ``advice``.
    """
    if isinstance(value, str):
        return given_name(value) if key == "first_name" else clean(value, LONGEST_OF.get(key, LONGEST))
    if isinstance(value, AnyWord):
        return value
    if isinstance(value, Mapping):
        shown = {**value, **_said(value.get("texts"), languages)}
        return MappingProxyType({str(name): frozen(item, str(name), languages) for name, item in shown.items()})
    if isinstance(value, list | tuple):
        return tuple(frozen(item, key, languages) for item in value)
    return value


class AnyWord(dict[str, Any]):
    """Facts for a trial rendering, where nobody knows what a rule will have found: every word is there, and is 3."""

    def __missing__(self, key: str) -> "AnyWord":
        return AnyWord()

    def __str__(self) -> str:
        return "3"

    def __int__(self) -> int:
        return 3


def _said(texts: Any, languages: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(texts, Mapping):
        return {}
    for language in languages:
        if said := texts.get(language):
            return said if isinstance(said, Mapping) else {"advice": said}
    return {}
