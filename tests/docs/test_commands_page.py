"""The page of commands has a section for every command, and each section names all of its options."""

import re
from pathlib import Path
from typing import Any

import pytest
import typer

from beforehand.cli import app

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/reference/commands.md").read_text(encoding="utf-8")
SECTIONS = {part.split("\n", 1)[0].strip(): part for part in TEXT.split("\n## ")[1:]}
COMMANDS = typer.main.get_group(app).commands


def options(name: str) -> list[list[str]]:
    """The ways to write each option of a command: ``--database`` and ``--no-database`` are one."""
    given: list[Any] = COMMANDS[name].params
    words = [[word for word in (*each.opts, *each.secondary_opts) if word.startswith("--")] for each in given]
    return [each for each in words if each and each != ["--help"]]


def named(word: str, section: str) -> bool:
    """Whether a section names an option in code: alone, or with what it takes."""
    return re.search(rf"`[^`\n]*{word}[` \]]", section) is not None


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_a_section_that_names_its_options(name: str) -> None:
    assert name in SECTIONS, "give it a section in docs/reference/commands.md"
    missing = [words for words in options(name) if not any(named(word, SECTIONS[name]) for word in words)]
    assert missing == [], "name it in the command's section of docs/reference/commands.md"


def test_every_section_is_a_command() -> None:
    assert set(SECTIONS) == set(COMMANDS)


def test_the_list_at_the_top_has_every_section_once() -> None:
    listed = re.findall(r"\[(\w+)\]\(#\w+\)", TEXT.split("\n## ")[0])
    assert sorted(listed) == sorted(SECTIONS)
