"""Who wrote a rule's text, and who may be the same person."""

import shutil
import subprocess
from pathlib import Path

import pytest

from beforehand.approving.masked import HIDDEN, scrubbed
from beforehand.approving.who import is_among, same_person
from beforehand.git import me
from beforehand.passes.authors import authors_of

EVA = "Eva Muster <eva@example.com>"


@pytest.mark.parametrize("by", ["eva@example.com", "EVA@Example.com", "eva", " Eva  Muster ", EVA, "eva@home.example"])
def test_one_form_in_common_makes_a_person_the_same(by: str) -> None:
    assert same_person(by, EVA)


@pytest.mark.parametrize("by", ["ada@example.com", "Eva Other", "muster", "example.com", ""])
def test_others_are_others(by: str) -> None:
    assert not same_person(by, EVA)


def test_an_approver_is_surely_one() -> None:
    assert is_among("Eva <eva@example.com>", ["eva@example.com"])
    assert is_among("eva", ["eva@example.com"])
    assert is_among("eva@example.com", ["Eva"])
    assert not is_among("eva@elsewhere.example", ["eva@example.com"])
    assert not is_among("bo", [])


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git work tree with two committed rules of Eva's, where Bo works."""
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    rules = tmp_path / "shop" / "rules"
    rules.mkdir(parents=True)
    for name in ("a", "b"):
        (rules / f"{name}.yaml").write_text(name)
    run = ("git", "-C", str(tmp_path / "shop"))
    subprocess.run([*run, "init", "-q"], check=True)
    subprocess.run([*run, "add", "."], check=True)
    eva = ("-c", "user.name=Eva Muster", "-c", "user.email=eva@example.com")
    subprocess.run([*run, *eva, "commit", "-qm", "rules"], check=True)
    subprocess.run([*run, "config", "user.name", "Bo"], check=True)
    subprocess.run([*run, "config", "user.email", "bo@example.com"], check=True)
    return rules


def test_who_committed_it_last_wrote_it(checkout: Path) -> None:
    paths = [checkout / "a.yaml", checkout / "b.yaml"]
    assert authors_of(paths) == dict.fromkeys(paths, EVA)


def test_who_edits_it_or_makes_a_new_one_writes_it(checkout: Path) -> None:
    edited, new, kept = checkout / "a.yaml", checkout / "new.yaml", checkout / "b.yaml"
    edited.write_text("other")
    new.write_text("new")
    bo = "Bo <bo@example.com>"
    assert authors_of([edited, new, kept]) == {edited: bo, new: bo, kept: EVA}
    assert me(checkout) == bo


def test_outside_of_git_the_owner_of_the_file_wrote_it(tmp_path: Path) -> None:
    rule = tmp_path / "a.yaml"
    rule.write_text("a")
    assert authors_of([rule, tmp_path / "gone.yaml"]) == {rule: rule.owner()}


def test_without_git_nothing_fails(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(checkout))
    assert shutil.which("git") is None
    rule = checkout / "a.yaml"
    assert authors_of([rule]) == {rule: rule.owner()}
    assert me(checkout)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Dear Maria, your order A-17 is late.", f"Dear {HIDDEN}, your order {HIDDEN} is late."),
        ("Call +49 151 2345678 or mail maria.w@example.com.", f"Call {HIDDEN} or mail {HIDDEN}."),
        ("Marian is another name; 2026-03-10 is a day.", "Marian is another name; 2026-03-10 is a day."),
        ("It costs 1,234.50 EUR, call us at +442079460000.", "It costs 1,234.50 EUR, call us at +442079460000."),
        ("Your number 4915112345678.", f"Your number {HIDDEN}."),
    ],
)
def test_what_is_the_customer_s_own_is_hidden(text: str, left: str) -> None:
    assert scrubbed(text, ["Maria", None, "A-17"], ["+442079460000"]) == left
