"""``beforehand ingest`` as a person or a script meets it: exit codes, JSON, the summary."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from beforehand.cli import app

MAPPING = """
sources: {people: people.csv}
load: [{into: customers, from: people, key: id, fields: {first_name: name, created_at: since}}]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BEFOREHAND_DATABASE_URL", f"sqlite:///{tmp_path / 'b.db'}")
    monkeypatch.setenv("BEFOREHAND_VAR", str(tmp_path / "var"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "export").mkdir()
    (tmp_path / "sources.yaml").write_text(MAPPING)
    (tmp_path / "export" / "people.csv").write_text("id,name,since\n1,Ann,2026-01-01\n2,Bob,\n")
    return tmp_path


def ingest(*words: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["ingest", "sources.yaml", *words])
    return done.exit_code, done.stdout, done.stderr


def test_all_well_is_exit_code_0_and_json_has_the_figures(folder: Path) -> None:
    code, out, _ = ingest("--data", "export", "--json")
    figures = json.loads(out)
    assert code == 0
    assert {key: figures[key] for key in ("read", "new", "changed", "same", "rejected")} == {
        "read": 2, "new": 2, "changed": 0, "same": 0, "rejected": 0,
    }  # fmt: skip
    assert json.loads(ingest("--data", "export", "--json")[1])["same"] == 2


def test_a_rejected_row_is_exit_code_1_and_is_named(folder: Path) -> None:
    with (folder / "export" / "people.csv").open("a") as file:
        file.write("3,Cy,2026-01-01,more\n")
    code, out, _ = ingest("--data", "export")
    assert code == 1
    assert "1 x the line has 4 values, the header has 3" in " ".join(out.split())
    assert "var/rejects/" in out


def test_a_source_that_is_not_there_is_exit_code_1(folder: Path) -> None:
    code, _, err = ingest()
    assert code == 1
    assert "--data FOLDER" in err


def test_a_wrong_mapping_is_exit_code_2_and_nothing_is_read(folder: Path) -> None:
    (folder / "sources.yaml").write_text(MAPPING.replace("into: customers", "into: customer"))
    code, out, err = ingest("--data", "export")
    assert (code, out) == (2, "")
    assert "sources.yaml:3:15: unknown table 'customer'" in err
    assert "did you mean customers?" in err
