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


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_a_section_that_names_its_options(name: str) -> None:
    assert name in SECTIONS, "give it a section in docs/reference/commands.md"
    options = [
        [word for word in (*given.opts, *given.secondary_opts) if word.startswith("--")] for given in params(name)
    ]
    missing = [words for words in options if words and not any(named(word, SECTIONS[name]) for word in words)]
