"""What a reply asks for: exact words after making spellings alike, then phrases (``words.csv``, in three languages).

Only an exact word is acted on at once. A phrase that may mean STOP holds what waits and calls staff: a rule of thumb
must not speak for a person, and a person who asked for silence must not wait for one.

Sources: Twilio's default keywords (https://help.twilio.com/articles/223134027), which it answers itself; the words of
47 CFR 64.1200(a)(10), for which a reply is definite; ``carriers``: words that networks know (TD in China, ARRET in
Canada); ``ours``. A phrase's words are separated by spaces (what belongs together is joined by ``_``), ``a|b`` is
either, an empty side makes it optional, ``^`` and ``$`` are the message's beginning and end.
"""

import csv
import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path

WORDS = Path(__file__).with_name("words.csv")

LONGEST = 400
"""Signs of a reply in which phrases are looked for: what somebody wants of us is said early."""


class Said(StrEnum):
    """What a reply asks for."""

    STOP = "stop"
    MAYBE_STOP = "maybe_stop"
    START = "start"
    YES = "yes"  # START from somebody who has said STOP, an answer from anybody else
    HELP = "help"
    CONNECT = "connect"
    LATER = "later"
    NEVER = "never"
    ANSWER = "answer"
    OTHER = "other"


KEYS = {"1": Said.CONNECT, "2": Said.LATER, "9": Said.NEVER}
"""What the keys of a call mean (messaging/templates/_layout/voice.*.txt offers them)."""

APOSTROPHES = str.maketrans("", "", "'’‘`´ʼ＇")
SIMPLIFIED = str.maketrans(
    "別發請聯繫係電話騷擾訂閱刪號碼錯給簡訊單絕煩傳對從這誰幫說復開結續準興沒資個裡",
    "别发请联系系电话骚扰订阅删号码错给简讯单绝烦传对从这谁帮说复开结续准兴没资个里",
)
LETTERS = str.maketrans("ىةٱ", "يها")
TATWEEL = "\u0640"


@dataclass(frozen=True)
class Understood:
    """What a reply asks for, and the language of the word that said so (empty: no word did)."""

    said: Said
    language: str = ""


@dataclass(frozen=True)
class _Row:
    said: str
    language: str
    words: str
    source: str


def understand(text: str) -> Understood:
    """What a text asks for. Survey answers are not looked for here: only who asked knows what an answer is."""
    words = alike(text)
    found = _whole().get(words) or _whole().get(_without_courtesy(words)) or _whole().get(_once(words))
    if found:
        return Understood(Said(found.said), found.language)
    start = words[:LONGEST]
    for language, pattern in _phrases().items():
        if pattern.search(f" {start} "):
            return Understood(Said.MAYBE_STOP, language)
    return Understood(Said.OTHER)


def alike(text: str) -> str:
    """One spelling of a text: case, width, accents, diacritics, punctuation, emoji and invisible signs do not count."""
    plain = unicodedata.normalize("NFKD", text.translate(APOSTROPHES)).casefold()
    kept = "".join(_sign(sign) for sign in plain)
    words = kept.translate(LETTERS).translate(SIMPLIFIED).split()
    if len(words) > 1 and all(len(word) == 1 and word.isascii() for word in words):
        return "".join(words)  # s.t.o.p
    return " ".join(words)


def _sign(sign: str) -> str:
    kind = unicodedata.category(sign)
    if (kind in ("Mn", "Me", "Cf", "Cc") and not sign.isspace()) or sign == TATWEEL:
        return ""
    return sign if kind[0] in "LN" else " "


def _without_courtesy(words: str) -> str:
    return " ".join(_courtesy().sub(" ", f" {words} ").split())


def _once(words: str) -> str:
    """``stop stop stop`` is one stop."""
    said = set(words.split())
    return said.pop() if len(said) == 1 else words


def is_twilios(text: str) -> bool:
    """Whether Twilio knows this word by itself and so answers it: one word, spelt exactly, whatever its case."""
    return text.strip().casefold() in _twilios()


@cache
def _rows(how: str) -> tuple[_Row, ...]:
    with WORDS.open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["how"] == how]
    return tuple(_Row(row["said"], row["language"], row["words"], row["source"]) for row in rows)


@cache
def _whole() -> dict[str, _Row]:
    return {alike(row.words): row for row in _rows("whole") if row.said != "courtesy"}


@cache
def _twilios() -> frozenset[str]:
    return frozenset(row.words for row in _rows("whole") if row.source == "twilio")


@cache
def _courtesy() -> re.Pattern[str]:
    words = sorted((row for row in _rows("whole") if row.said == "courtesy"), key=lambda row: -len(row.words))
    joined = [re.escape(alike(row.words)) for row in words if row.language == "zh"]
    apart = [re.escape(alike(row.words)) for row in words if row.language != "zh"]
    return re.compile(rf"(?<= )(?:{'|'.join(apart)})(?= )|{'|'.join(joined)}")


@cache
def _phrases() -> dict[str, re.Pattern[str]]:
    found: dict[str, list[str]] = {}
    for row in _rows("within"):
        found.setdefault(row.language, []).append(_pattern(row.words, row.language))
    return {language: re.compile("|".join(patterns)) for language, patterns in found.items()}


def _pattern(words: str, language: str) -> str:
    """A phrase as a pattern on a text with a space before and behind.

    An Arabic phrase may begin with ``and`` and end with an object; Chinese words stand together.
    """
    tokens = words.split(" ")
    begins, ends = tokens[0] == "^", tokens[-1] == "$"
    tokens = tokens[begins : len(tokens) - ends]
    first = "" if language == "zh" else "(?<= )"
    if language == "ar":
        first += "[\u0648\u0641]?"
    middle = [_token(token, language, token is tokens[-1]) for token in tokens]
    return ("\\A " if begins else first) + "".join(middle) + ("\\Z" if ends else "")


def _token(token: str, language: str, last: bool) -> str:
    sides = "|".join(re.escape(alike(side)) for side in token.split("|") if side)
    behind = " ?" if language == "zh" else r"\w* " if language == "ar" and last else " "
    one = f"(?:{sides}){behind}"
    return f"(?:{one})?" if "" in token.split("|") else one
