"""The page of commands has a section for every command, and each section names all of its options."""

import re
from pathlib import Path

import pytest
import typer

from beforehand.cli import app

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/reference/commands.md").read_text(encoding="utf-8")
SECTIONS = {part.split("\n", 1)[0].strip(): part for part in TEXT.split("\n## ")[1:]}
COMMANDS = typer.main.get_group(app).commands


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_a_section_that_names_its_options(name: str) -> None:
    assert name in SECTIONS, "give it a section in docs/reference/commands.md"
    options = {word for given in COMMANDS[name].params for word in given.opts if word.startswith("--")}
    missing = {word for word in options - {"--help"} if not re.search(rf"`[^`]*{word}\b[^`]*`", SECTIONS[name])}
    assert missing == set(), "name it in the command's section of docs/reference/commands.md"


def test_the_list_at_the_top_has_every_section_once() -> None:
    listed = re.findall(r"\[(\w+)\]\(#\w+\)", TEXT.split("\n## ")[0])
    assert sorted(listed) == sorted(SECTIONS)
