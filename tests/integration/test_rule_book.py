"""Rules in force: a right edit is taken as a whole, a broken one changes nothing and is said."""

import logging
import shutil
from pathlib import Path

import pytest
from sqlalchemy import Engine

from beforehand import passes
from beforehand.heartbeat import RuleBook
from beforehand.settings import Settings
from beforehand.wiring import App, wall_clock
from rules.errors import RuleErrors

CATALOG = Path(__file__).resolve().parent.parent.parent / "rules" / "catalog"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "rules"
    shutil.copytree(CATALOG, place)
    return place


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    logging.getLogger("beforehand.rules").propagate = True
    caplog.set_level(logging.INFO, "beforehand.rules")
    return caplog


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def test_nothing_changed_is_nothing_to_do(folder: Path) -> None:
    book = RuleBook(folder)
    assert not book.look()
    assert len(book.terms()) >= 8


def test_a_right_edit_comes_into_force(folder: Path, logged: pytest.LogCaptureFixture) -> None:
    book = RuleBook(folder)
    before = book.terms()["late-order"].version
    edit(folder / "late-order.yaml", "every: 15 minutes", "every: 30 minutes")
    (folder / "win-back.yaml").unlink()
    assert book.look()
    assert book.terms()["late-order"].version != before
    assert "win-back" not in book.terms()
    assert "changed: late-order; gone: win-back" in logged.text


def test_a_broken_edit_leaves_the_old_set_in_force(
    folder: Path, logged: pytest.LogCaptureFixture, sqlite_engine: Engine
) -> None:
    book = RuleBook(folder)
    settings = Settings(_env_file=None, rules=folder)
    app = App(settings, sqlite_engine, wall_clock, rules_in_force=lambda: book.rules)
    before = book.terms()
    edit(folder / "late-order.yaml", "every: 15 minutes", "evry: 15 minutes")
    edit(folder / "win-back.yaml", "status: live", "status: retired")
    assert not book.look()
    assert book.terms() == before, "not even the file that is right was taken"
    assert "late-order.yaml:" in logged.text
    assert "evry" in book.problems
    logged.clear()
    assert not book.look()
    assert logged.text == "", "said once"
    assert passes.rule_of(app, "late-order").terms == before["late-order"], "passes go on with the old set"
    with pytest.raises(RuleErrors):
        passes.rules_of(App(settings, sqlite_engine, wall_clock))
    edit(folder / "late-order.yaml", "evry: 15 minutes", "every: 15 minutes")
    assert book.look()
    assert book.problems == ""
    assert book.terms()["win-back"].status == "retired"


def test_a_list_that_changes_is_noticed(folder: Path) -> None:
    book = RuleBook(folder)
    lists = folder / "lists"
    lists.mkdir(exist_ok=True)
    (lists / "vip.csv").write_text("id\n1\n")
    assert book.look()


def test_a_folder_that_is_wrong_at_the_start_is_refused(tmp_path: Path) -> None:
    (tmp_path / "odd.yaml").write_text("id: odd\n")
    with pytest.raises(RuleErrors):
        RuleBook(tmp_path)
