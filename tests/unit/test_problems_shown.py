"""How problems are shown: a caret under the place, whatever stands before it; GitHub's form and its escapes."""

import json
import re
from io import StringIO
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console
from typer.testing import CliRunner

from beforehand import ROOT
from beforehand.cli import app
from beforehand.cli.problems import LONGEST, github, marked, shown
from models.places import Problem
from rules.errors import RuleErrors
from rules.loader import load_folder

RUN = CliRunner()
FINE = """\
id: case
title: A case
purpose: service
for_each: order
if:
  a: {number: present}
then: [{send: late-order}]
"""


def problem(path: Path, line: int, column: int, said: str = "it is wrong", **more: str | bool) -> Problem:
    return Problem(str(path), line, column, said, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("line", "column", "seen"),
    [
        ("tier: gold", 7, "tier: gold"),
        ("\ttier: gold", 8, "    tier: gold"),
        ("a:\tb:\tgold", 7, "a:    b:    gold"),
        ("订单订单: gold", 7, "订单订单: gold"),
        ("👩‍🚀: gold", 6, "👩‍🚀: gold"),
        ("e\u0301e\u0301: gold", 7, "e\u0301e\u0301: gold"),
        ("\x1b[2Jx: gold", 8, "\ufffd[2Jx: gold"),
        ("\u202ex: gold", 5, "\ufffdx: gold"),
        ("gold", 1, "gold"),
        ("key:", 5, "key:"),
    ],
)
def test_the_caret_stands_under_the_place(tmp_path: Path, line: str, column: int, seen: str) -> None:
    file = tmp_path / "case.yaml"
    file.write_text(f"first\n{line}\nlast\n", encoding="utf-8")
    found = marked(problem(file, 2, column))
    assert found is not None
    assert found[0] == seen
    before = seen[: seen.index("gold")] if "gold" in seen else seen
    assert found[1] == " " * cell_len(before) + "^"


@pytest.mark.parametrize("column", [1, 60, 300, 590, 603])
def test_of_a_long_line_the_part_around_the_place_is_shown(tmp_path: Path, column: int) -> None:
    file = tmp_path / "case.yaml"
    line = "".join(chr(ord("a") + number % 26) for number in range(600)) + "ZZZ"
    file.write_text(line)
    found = marked(problem(file, 1, column))
    assert found is not None
    assert cell_len(found[0]) <= LONGEST + 2
    assert found[0][len(found[1]) - 1 :].startswith(line[column - 1 : column + 2])


def test_what_cannot_be_shown_is_told_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "case.yaml").write_bytes(b"\xff\n")
    for path, line in [("none.yaml", 1), ("case.yaml", 1), ("case.yaml", 9)]:
        assert marked(problem(tmp_path / path, line, 1)) is None
        assert "it is wrong" in str(shown(problem(tmp_path / path, line, 1)))


def test_a_terminal_gets_colours_and_a_file_gets_none(tmp_path: Path) -> None:
    file = tmp_path / "case.yaml"
    file.write_text("tier: [bold]gold[/bold]\n")
    told = shown(problem(file, 1, 7, "no [red]tag[/red]", warning=True))
    terminal, plain = StringIO(), StringIO()
    Console(file=terminal, force_terminal=True, color_system="standard", width=400).print(told)
    Console(file=plain, width=400).print(told)
    assert "\x1b[" in terminal.getvalue()
    assert plain.getvalue().splitlines() == [
        f"{file}:1:7: warning: no [red]tag[/red]",
        "    1 | tier: [bold]gold[/bold]",
        "      |       ^",
    ]


def test_github_annotations_are_escaped(tmp_path: Path) -> None:
    odd = Problem("rules/a,b: 100%.yaml", 3, 7, "50% of\r\nit, or: all", "x", "y")
    mild = problem(tmp_path / "rules" / "case.yaml", 1, 2, "it is odd", warning=True)
    assert list(github([odd, mild], tmp_path)) == [
        "::error file=rules/a%2Cb%3A 100%25.yaml,line=3,col=7::50%25 of%0D%0Ait, or: all; expected x; did you mean y?",
        "::warning file=rules/case.yaml,line=1,col=2::it is odd",
    ]


def test_every_shown_caret_stands_where_the_problem_is(tmp_path: Path) -> None:
    (tmp_path / "case.yaml").write_text(FINE.replace("number", '"订单\u0301", 	nummber'), encoding="utf-8")
    with pytest.raises(RuleErrors) as refused:
        load_folder(tmp_path)
    for found in refused.value.problems:
        line, caret = marked(found) or ("", "")
        word = re.match(r"'(.+?)'", found.said)
        assert word is not None
        there = next(place for place in range(len(line)) if cell_len(line[:place]) == len(caret) - 1)
        assert line[there:].lstrip("\u0301").lstrip('"').startswith(word[1])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BEFOREHAND_TEMPLATES", str(ROOT / "messaging" / "templates"))
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "case.yaml").write_text(FINE)
    return tmp_path / "rules"


def test_exit_codes(folder: Path) -> None:
    assert RUN.invoke(app, ["check", "rules"]).exit_code == 0
    assert RUN.invoke(app, ["check", "rules/case.yaml"]).exit_code == 0
    assert RUN.invoke(app, ["check", "elsewhere"]).exit_code == 2
    assert RUN.invoke(app, ["check", "rules", "--format", "xml"]).exit_code == 2
    (folder / "case.yaml").write_text(FINE.replace("number: present", "lines: {count: {at_least: 0}}"))
    warned = RUN.invoke(app, ["check", "rules"])
    assert warned.exit_code == 0
    assert "1 rule, all is well, 1 warning." in warned.stdout
    (folder / "case.yaml").write_text(FINE.replace("late-order", "nope"))
    assert RUN.invoke(app, ["check", "rules"]).exit_code == 1


def test_text_says_file_line_column_and_shows_the_line(folder: Path) -> None:
    (folder / "case.yaml").write_text(FINE.replace("number", "nummber"))
    said = RUN.invoke(app, ["check", "rules", "--no-database"])
    assert said.stdout.splitlines()[0].startswith("rules/case.yaml:6:7: 'nummber' is not known of an order; expected ")
    assert said.stdout.splitlines()[0].endswith("; did you mean number?")
    assert said.stdout.splitlines()[1:] == [
        "    6 |   a: {nummber: present}",
        "      |       ^",
        "1 error: the rules are refused, those in force stay in force.",
    ]
    assert "no database was asked" in said.stderr


def test_json_is_one_document(folder: Path) -> None:
    (folder / "case.yaml").write_text(FINE.replace("late-order", "nope"))
    for option in (["--json"], ["--format", "json"]):
        told = json.loads(RUN.invoke(app, ["check", "rules", *option]).stdout)
        assert told["rules"] == told["errors"] == 1
        (said,) = told["problems"]
        assert (said["file"], said["line"], said["column"], said["severity"]) == ("rules/case.yaml", 7, 15, "error")
        assert "there is no database at" in told["not_checked"][0]


def test_github_speaks_of_files_in_the_repository(folder: Path) -> None:
    (folder / "case.yaml").write_text(FINE.replace("late-order", "nope"))
    said = RUN.invoke(app, ["check", str(folder), "--format", "github"])
    assert said.exit_code == 1
    assert said.stdout.startswith("::error file=rules/case.yaml,line=7,col=15::template 'nope'")
