"""Whether a template makes an offer, by its words (``offer_words.csv``, in three languages).

What is called service needs no consent in most houses, so an offer must not travel under that name. What a template
says only where there is a voucher is no offer where there is none.
"""

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, TemplateSyntaxError

from messaging.publishing import parts_of
from messaging.rendering import FILE_NAME
from models.vocabulary import Channel

WORDS = Path(__file__).with_name("offer_words.csv")
BLOCK = re.compile(r"\{%[-+]?\s*(\w+)\s*(.*?)\s*[-+]?%\}", re.DOTALL)
VOUCHER = re.compile(r"voucher\b")


@dataclass(frozen=True)
class Offer:
    """An offer in a template's file: ``word`` as it stands there."""

    path: Path
    line: int
    word: str


def offers(folder: Path, template: str, channels: Iterable[Channel] = ()) -> list[Offer]:
    """The offers that a template's texts make: the first of each file. ``channels`` empty means all of them."""
    wanted = set(channels)
    found: list[Offer] = []
    for path in sorted((folder / template).glob("*.txt")):
        named = FILE_NAME.fullmatch(path.name)
        if named and (not wanted or Channel(named[1]) in wanted):
            found += list(_in_file(path))[:1]
    return found


def _in_file(path: Path) -> Iterator[Offer]:
    try:
        for line, text in _shown_without_voucher(path.read_text(encoding="utf-8")):
            for match in _words().finditer(text):
                yield Offer(path, line + text[: match.start()].count("\n"), match[0].strip())
    except (OSError, UnicodeDecodeError, TemplateSyntaxError):
        return  # that it cannot be read is told by the trial renderings


def _shown_without_voucher(source: str) -> Iterator[tuple[int, str]]:
    """The text pieces of a template with their lines, but for those that stand under ``{% if voucher %}``."""
    under: list[bool] = []
    for line, is_text, piece in parts_of(Environment(autoescape=True), source):
        if is_text and not any(under):
            yield line, piece
        if word := BLOCK.match(piece) if not is_text else None:
            if word[1] == "if":
                under.append(bool(VOUCHER.match(word[2])))
            elif word[1] in ("else", "elif") and under:
                under[-1] = False
            elif word[1] == "endif" and under:
                under.pop()


@cache
def _words() -> re.Pattern[str]:
    """One pattern of all words; ``#`` stands for a number, letters of ours stand alone, others may be joined."""
    with WORDS.open(encoding="utf-8", newline="") as stream:
        rows = sorted(csv.DictReader(stream), key=lambda row: -len(row["word"]))  # "#% off" before "#%"
    return re.compile("|".join(_pattern(row["word"], row["language"]) for row in rows), re.IGNORECASE)


def _pattern(word: str, language: str) -> str:
    pattern = (
        re.escape(word).replace(r"\#", r"[€$£]?[\d٠-٩][\d٠-٩.,]*\s?(?:EUR|USD|GBP|€|%)?\s?").replace(r"\ ", r"\s+")
    )
    return pattern if language in ("ar", "zh") else rf"(?<!\w){pattern}(?!\w)"
