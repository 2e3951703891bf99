"""Files that are made to hurt are refused at once: in little time, in little memory, with nothing built of them."""

import time
import tracemalloc
from pathlib import Path

import pytest

from models.places import MOST, Refused
from models.yaml_files import MAX_NODES, read_file
from rules.errors import RuleErrors
from rules.loader import load_folder

LAUGHS = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
)
MB = 1_000_000
BOMBS = {
    "a billion laughs": (LAUGHS.encode(), "anchors and aliases are not allowed"),
    "10 MB of text": (b"title: " + b"x" * (10 * MB), "the file is over 256 kB"),
    "a million keys": (b"".join(b"k%d: 1\n" % n for n in range(MB)), "the file is over 256 kB"),
    "keys up to the brim": (b"".join(b"%d:\n" % n for n in range(36_000)), "unfolds into over 20,000 values"),
    "a list up to the brim": (b"[" + b"a," * 130_000 + b"]", "unfolds into over 20,000 values"),
    "brackets, never closed": (b"[" * 250_000, "this is nested over 40 levels deep"),
    "braces, never closed": (b"{a: " * 60_000, "this is nested over 40 levels deep"),
    "dashes": (b"- " * 120_000, "this is nested over 40 levels deep"),
    "question marks": (b"? " * 120_000, "this is nested over 40 levels deep"),
    "steps inwards": (b"\n".join(b" " * n + b"a:" for n in range(700)), "this is nested over 40 levels deep"),
    "nothing but zeros": (bytes(200_000), "this is not a text file"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 100, "is not UTF-8"),
    "control characters": (b"title: \x07\x1b[2J\n" * 9000, "this is not YAML"),
    "one long line of colons": (b"a: " * 80_000, "this is not YAML"),
    "quotes without an end": (b"'" + b"a\n" * 120_000, "this is not YAML"),
    "one long key": (b"k" * 200_000 + b": 1\n", "a ':' stands where none can"),
    "one long word": (b"k" * 200_000, "case.yaml:1:1: a rule file is a mapping"),
    "a long key": (b"k" * 1000 + b": 1\n", "unknown key of a rule 'kkk"),
    "a thousand unknown keys": (b"".join(b"limitt%d: 1\n" % n for n in range(9_000)), "and more that is wrong"),
    "a thousand unknown facts": (
        b"id: case\ntitle: x\npurpose: service\nfor_each: order\nthen: [{send: x}]\nif:\n  a:\n"
        + b"".join(b"    shippped_at%d: present\n" % n for n in range(9_000)),
        "and more that is wrong",
    ),
}


ALLOWED = b"[" + b"a," * (MAX_NODES - 10) + b"]"
"""As much as may be read; it is no rule all the same."""


def refused(folder: Path, content: bytes) -> tuple[RuleErrors, float]:
    """What is said of a rule file, and the processor's seconds of this thread until then: the quicker of two times."""
    (folder / "case.yaml").write_bytes(content)
    took = []
    for _ in range(2):
        began = time.thread_time()
        with pytest.raises(RuleErrors) as told:
            load_folder(folder)
        took.append(time.thread_time() - began)
    return told.value, min(took)


@pytest.mark.parametrize("name", BOMBS)
def test_what_is_made_to_hurt_is_refused_at_once(tmp_path: Path, name: str) -> None:
    content, said = BOMBS[name]
    _, most = refused(tmp_path, ALLOWED)
    told, took = refused(tmp_path, content)
    assert said in str(told)
    assert len(told.problems) <= MOST + 1
    assert max(map(len, str(told).splitlines())) < 600, "nobody wants to read the whole file again"
    assert took < 4 * most, f"{name}: {took:.3f} s, and {most:.3f} s for as much as may be read"


@pytest.mark.parametrize("name", ["10 MB of text", "a billion laughs", "a list up to the brim", "dashes"])
def test_nothing_is_built_of_it(tmp_path: Path, name: str) -> None:
    (tmp_path / "case.yaml").write_bytes(BOMBS[name][0])
    tracemalloc.start()
    with pytest.raises(Refused):
        read_file(tmp_path / "case.yaml")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * MB


def test_a_bomb_where_aliases_may_be_used_is_refused_too(tmp_path: Path) -> None:
    (tmp_path / "case.yaml").write_text(LAUGHS)
    with pytest.raises(Refused, match=f"unfolds into over {MAX_NODES:,} values"):
        read_file(tmp_path / "case.yaml", aliases=True)


def test_an_alias_that_holds_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "case.yaml").write_text("a: &a [*a]\n")
    with pytest.raises(Refused, match="1:8: there is no anchor 'a' before this"):
        read_file(tmp_path / "case.yaml", aliases=True)


def test_a_key_that_is_a_list_is_told(tmp_path: Path) -> None:
    (tmp_path / "case.yaml").write_text("a: 1\n? [b, c]\n: 2\n")
    with pytest.raises(Refused, match="2:3: a key is one word, not a list or a mapping"):
        read_file(tmp_path / "case.yaml")
