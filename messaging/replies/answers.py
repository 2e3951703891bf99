"""What we say to a STOP, a START, a HELP or a pressed key, once and by language (``answers.csv``)."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from messaging.formats import END_ISOLATE, ISOLATE, grouped, is_rtl
from messaging.replies.understanding import Said, is_twilios

TEXTS = Path(__file__).with_name("answers.csv")


@dataclass(frozen=True)
class Ours:
    """Who answers: the brand and its number (E.164), the house's language (BCP 47).

    ``twilio_answers``: Twilio itself answers the words that it knows (its default), so we say nothing to those.
    """

    brand: str
    phone: str
    language: str = "en"
    twilio_answers: bool = True


@dataclass(frozen=True)
class Answer:
    """What a reply was taken for, and what is said back (None: nothing). ``known``: we had heard this one before."""

    said: Said
    text: str | None = None
    known: bool = False


def answer(said: Said, heard: str, ours: Ours | None, languages: tuple[str, ...]) -> str | None:
    """What is said back to a reply, None where nothing is to be said; ``heard`` is the reply's text.

    Without ``ours`` nobody is there to answer.
    """
    if ours is None or (ours.twilio_answers and is_twilios(heard)):
        return None
    text, _ = words_for(said.value, ours, languages)
    return text or None


def words_for(name: str, ours: Ours, languages: Sequence[str]) -> tuple[str, str]:
    """The text ``name`` in the first of ``languages`` that it is written in, and that language; empty: none is."""
    for language in (*languages, ours.language, "en"):
        base = language.split("-")[0].lower()
        if text := _texts().get((name, base)):
            return _filled(text, ours, base), base
    return "", ""


def _filled(text: str, ours: Ours, language: str) -> str:
    words = {"brand": ours.brand, "phone": grouped(ours.phone), "stop": "STOP", "start": "START"}
    if is_rtl(language):
        words = {name: f"{ISOLATE}{word}{END_ISOLATE}" for name, word in words.items()}
    return text.format(**words)


@cache
def _texts() -> dict[tuple[str, str], str]:
    with TEXTS.open(encoding="utf-8", newline="") as stream:
        return {(row["said"], row["language"]): row["text"] for row in csv.DictReader(stream)}
