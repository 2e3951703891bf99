"""SMS segments: the published vectors, and the edges that they leave out."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from messaging.segments import GSM_BASIC, GSM_EXTENDED, SMART, count, smart

GSM = st.text(alphabet=sorted(GSM_BASIC | GSM_EXTENDED), max_size=700)


def vectors(shared_data: Path, name: str) -> dict:
    return json.loads((shared_data / "vectors" / "sms-segments" / name).read_text(encoding="utf-8"))


def test_the_published_vectors_hold(shared_data: Path) -> None:
    cases = vectors(shared_data, "vectors.json")["vectors"]
    assert len(cases) > 20
    for case in cases:
        found = count(case["body"])
        unit = 7 if found.encoding == "GSM-7" else 16
        seen = {
            "encoding": found.encoding,
            "segments": found.segments,
            "characters": found.characters,
            "messageSize": found.units * unit,
            "totalSize": found.bits,
            "unicodeScalars": len(case["body"]),
        }
        wanted = {key: value for key, value in case.items() if key not in ("name", "body")}
        assert {key: seen[key] for key in wanted} == wanted, case["name"]


def test_our_tables_are_the_published_ones(shared_data: Path) -> None:
    table = vectors(shared_data, "gsm7_map.json")
    assert {char for char, code in table.items() if len(code) == 1} == GSM_BASIC
    assert {char for char, code in table.items() if len(code) == 2} == GSM_EXTENDED
    published = vectors(shared_data, "smart_encoding_map.json")
    assert {char: plain for plain, chars in SMART.items() for char in chars} == published


@pytest.mark.parametrize(
    ("text", "encoding", "units", "segments"),
    [
        ("", "GSM-7", 0, 0),
        ("a" * 160, "GSM-7", 160, 1),
        ("a" * 161, "GSM-7", 161, 2),
        ("a" * 306, "GSM-7", 306, 2),
        ("a" * 307, "GSM-7", 307, 3),
        ("€" * 80, "GSM-7", 160, 1),
        ("€" * 81, "GSM-7", 162, 2),
        ("م" * 70, "UCS-2", 70, 1),
        ("م" * 71, "UCS-2", 71, 2),
        ("م" * 134, "UCS-2", 134, 2),
        ("م" * 135, "UCS-2", 135, 3),
        ("ç", "UCS-2", 1, 1),
        ("Ç", "GSM-7", 1, 1),
    ],
)
def test_the_limits(text: str, encoding: str, units: int, segments: int) -> None:
    found = count(text)
    assert (found.encoding, found.units, found.segments) == (encoding, units, segments)


def test_an_escape_pair_is_not_torn_apart() -> None:
    # 152 septets are taken, one is left, and the euro sign needs two: it moves on and leaves a hole.
    assert count("a" * 152 + "€" + "a" * 152).segments == 3
    assert count("a" * 151 + "€" + "a" * 153).segments == 2


def test_a_surrogate_pair_is_not_torn_apart() -> None:
    assert count("م" * 66 + "😀" + "م" * 66).segments == 3
    assert count("م" * 65 + "😀" + "م" * 67).segments == 2


@given(GSM)
@settings(max_examples=200, deadline=None)
def test_gsm_text_takes_as_many_segments_as_its_septets_need(text: str) -> None:
    found = count(text)
    assert found.encoding == "GSM-7"
    assert found.units == sum(2 if char in GSM_EXTENDED else 1 for char in text)
    least = 0 if not text else 1 if found.units <= 160 else -(-found.units // 153)
    assert least <= found.segments <= least + 1 + found.units // 152


def test_smart_encoding_makes_typography_plain_and_is_asked_for() -> None:
    typed = "“Your parcel” – it’s on its way"
    assert count(typed).encoding == "UCS-2"
    assert smart(typed) == '"Your parcel" - it\'s on its way'
    assert count(smart(typed)).encoding == "GSM-7"
