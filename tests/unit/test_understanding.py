"""What a reply asks for: exact words in any spelling are STOP; phrases go to a person; the rest is left alone."""

import gzip
import html
from collections import Counter
from pathlib import Path

import pytest

from messaging.channels.voice import KEYS as SPOKEN
from messaging.replies.answers import Ours, words_for
from messaging.replies.surveys import Score, read_answer
from messaging.replies.understanding import KEYS, Said, is_twilios, understand
from messaging.segments import count

STOPS = """STOP|stop.|  Stop!! |ＳＴＯＰ|s t o p|S.T.O.P.|"STOP"|STOP please|please stop|Stop stop STOP|stop🛑|
sto\u200bp|stopall|stop all|Quit|END|revoke|OPT OUT|opt-out|OptOut|unsubscribe|cancel|Cancel, thanks|توقف|
تـوقف|تَوَقُّف|أوقف|
اوقفوا|إيقاف|الغاء الاشتراك|من فضلك توقف|قف!|退订|退訂|TD|请停止|取消订阅|取消訂閱|停止|拒收"""

MAYBE = """don't message me again|please stop texting me|Stop sending me these|take me off your list|remove my number|
do not text me anymore|I don’t want any more texts|no more messages pls|leave me alone|Wrong number|lose my number|
how do I unsubscribe from this|I want to opt out of this|not interested|T|stop knowing me|never call me again|
لا ترسلوا|لا ترسلوا لي رسائل بعد الآن|ولا ترسل لي|لا تراسلني|أوقفوا الرسائل|مش عايز رسايل|الرقم غلط|احذفوا رقمي|
لا تتصلوا بي|别再发短信|請不要再發短信給我|不要再发了|别给我发信息|不想再收到你们的短信|发错人了|
把我从名单里删掉|别烦我"""

OTHERS = """|🛑|ok|thanks!|no|5|when does it arrive?|cancel my order|I will be at the bus stop|don't stop|non stop rain|
It will stop on itself|the end of the month|text me when it is there|call me back please|لازم ترسلوا الطلب|شكرا|
متى يصل الطلب|我没收到货|谢谢|什么时候到|别忘了发货|kein Interesse"""


def words(text: str) -> list[str]:
    return text.replace("\n", "").split("|")


@pytest.mark.parametrize("text", words(STOPS))
def test_exact_words_are_stop(text: str) -> None:
    assert understand(text).said is Said.STOP


@pytest.mark.parametrize("text", words(MAYBE))
def test_phrases_go_to_a_person(text: str) -> None:
    assert understand(text).said is Said.MAYBE_STOP


@pytest.mark.parametrize("text", words(OTHERS))
def test_everything_else_is_left_alone(text: str) -> None:
    assert understand(text).said is Said.OTHER


@pytest.mark.parametrize(
    ("text", "said", "language"),
    [
        ("START", Said.START, "en"), ("unstop", Said.START, "en"), ("ابدأ", Said.START, "ar"),
        ("恢复", Said.START, "zh"), ("YES", Said.YES, "en"), ("نعم", Said.YES, "ar"), ("Help!", Said.HELP, "en"),
        ("مساعدة", Said.HELP, "ar"), ("帮助", Said.HELP, "zh"), ("退訂", Said.STOP, "zh"),
    ],
)  # fmt: skip
def test_start_and_help_and_the_language_of_a_word(text: str, said: Said, language: str) -> None:
    found = understand(text)
    assert (found.said, found.language) == (said, language)


@pytest.mark.parametrize(
    ("text", "its"), [("STOP", True), (" stop ", True), ("Stop.", False), ("توقف", False), ("info", True)]
)
def test_twilio_knows_single_words_spelt_exactly(text: str, its: bool) -> None:
    assert is_twilios(text) is its


def test_the_keys_mean_what_the_call_offers() -> None:
    assert {key: said.value for key, said in KEYS.items()} == SPOKEN


def test_a_long_text_is_read_in_a_moment() -> None:
    assert understand("dont want " * 100_000).said is Said.OTHER


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("5", Score(5)), (" 4 ", Score(4)), ("3 stars", Score(3)), ("2 out of 5", Score(2)), ("10", Score(10)),
        ("0", Score(0)), ("1. Nobody came", Score(1, "Nobody came")), ("٥", Score(5)), ("５分", Score(5)),
        ("五", Score(5)), ("11", None), ("2 of them are missing", None), ("4.5", None), ("5th", None),
        ("+447700900000", None),         ("", None),
        ("five", None),
    ],
)  # fmt: skip
def test_what_a_number_says(text: str, said: Score | None) -> None:
    assert read_answer(text) == said


@pytest.mark.parametrize("language", ["en", "ar", "zh"])
@pytest.mark.parametrize(
    "name", ["stop", "start", "help", "connect", "later", "never", "ring", "no_desk", "nobody_free"]
)
def test_every_answer_is_written_in_every_language_and_is_short(name: str, language: str) -> None:
    text, found = words_for(name, Ours("Beforehand Shop", "+442079460000"), (language,))
    assert (bool(text), found) == (True, language)
    assert "{" not in text
    assert count(text).segments <= (1 if language == "en" else 2)


def test_real_texts_between_people_are_hardly_ever_held(shared_data: Path) -> None:
    """5,574 texts, none of them a reply to a shop: what is held here is what staff would read for nothing."""
    with gzip.open(shared_data / "sms-spam/sms-spam.tsv.gz", "rt", encoding="utf-8") as stream:
        rows = [line.rstrip("\n").split("\t", 1) for line in stream]
    said = Counter((kind, understand(html.unescape(text)).said) for kind, text in rows if kind in ("ham", "spam"))
    assert sum(said.values()) == 5_574
    assert [key for key in said if key[1] is Said.STOP] == []
    assert said["ham", Said.MAYBE_STOP] <= 12
