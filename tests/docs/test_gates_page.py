"""The page about the gates tells the gates that there are, in their order, with their reasons and settings."""

import re

from beforehand import ROOT
from beforehand.settings import Settings
from messaging.guards import GATES
from models.vocabulary import Reason

PAGE = (ROOT / "docs" / "reference" / "gates.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| ")]
TOLD = {row[0]: row for row in ROWS[1:]}


def test_the_page_tells_each_gate_in_its_order() -> None:
    assert list(TOLD) == [gate.name for gate in GATES]


def test_the_page_tells_each_reason_of_a_gate() -> None:
    for gate in GATES:
        assert re.findall(r"`(\w+)`", TOLD[gate.name][2]) == [reason.value for reason in gate.reasons], gate.name


def test_the_page_tells_what_moves_a_gate() -> None:
    for gate in GATES:
        assert gate.setting in TOLD[gate.name][3], gate.name


def test_the_settings_it_names_are_settings() -> None:
    named = set(re.findall(r"BEFOREHAND_(\w+)", PAGE))
    assert {name.lower() for name in named} <= set(Settings.model_fields)


def test_every_reason_a_gate_gives_is_a_word_of_the_house() -> None:
    assert {reason for gate in GATES for reason in gate.reasons} <= set(Reason)
