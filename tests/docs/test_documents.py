"""What the documents say is so: links lead somewhere, dependencies are explained, the words are the code's words."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from textwrap import dedent

import pytest

from beforehand.ingest.issue_files import read_issues
from models import Base
from models.vocabulary import Channel, Purpose

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md")
    for path in ROOT.glob(pattern)
    if ".venv" not in path.parts
)
DEPENDENCIES = (ROOT / "docs/decisions/0001-dependencies.md").read_text()


def anchors(text: str) -> set[str]:
    """The anchors that a page's headings give, as GitHub makes them."""
    heads = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_to_a_file_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        there = (path.parent / name).resolve() if name else path
        assert there.exists(), target
        if anchor and there.suffix == ".md":
            assert anchor in anchors(there.read_text(encoding="utf-8")), target


def explained(section: str) -> set[str]:
    """The packages that decision 1 explains under a heading."""
    text = DEPENDENCIES.split(f"## {section}\n")[1].split("\n## ")[0]
    return {name for row in re.findall(r"^\| (`.+?) \|", text, re.M) for name in re.findall(r"`([^`]+)`", row)}


def direct(lines: list[str]) -> set[str]:
    return {re.split(r"[\[<>=;~! ]", line)[0] for line in lines}


def test_each_direct_dependency_is_explained_and_no_other() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert explained("Runtime") == direct(project["dependencies"])
    assert explained("For development") == direct(project["optional-dependencies"]["dev"])
    assert explained("For the build") == direct(project["optional-dependencies"]["build"])


def imported() -> set[str]:
    """The distributions that our code and tests import, in normal form."""
    ours = {"beforehand", "flows", "rules", "models", "messaging", "tests"}
    found: set[str] = set()
    for path in (path for package in ours for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(str(node.module).split(".")[0])
    owners = packages_distributions()
    return {name for top in found - ours - set(sys.stdlib_module_names) for name in owners.get(top, [top])}


def test_what_we_import_is_a_direct_dependency_or_explained() -> None:
    known = {
        name.replace(".", "-")
        for section in ("Runtime", "For development", "For the build", "They come with another")
        for name in explained(section)
    }
    unknown = {re.sub(r"[-_.]+", "-", name).lower() for name in imported()} - known
    # a namespace package lists everybody who puts something into it
    assert {name for name in unknown if not name.startswith(("ruamel", "opentelemetry"))} == set()


def test_every_decision_is_in_the_index_and_numbered_without_a_gap() -> None:
    pages = sorted(path.name for path in (ROOT / "docs/decisions").glob("[0-9]*.md"))
    assert [int(name[:4]) for name in pages] == list(range(1, len(pages) + 1))
    assert re.findall(r"\]\((\d{4}-[^)]+)\)", (ROOT / "docs/decisions/README.md").read_text()) == pages


def test_the_glossary_has_the_words_of_the_design_once_each() -> None:
    words = re.findall(r"^\| ([a-z ]+) \|", (ROOT / "docs/glossary.md").read_text(), re.M)[1:]
    assert len(words) == len(set(words))
    needed = "subject match occasion gate reason message attempt evidence receipt suppression consent holdout brake"
    assert {*needed.split(), "exposure", "pass", "post room", "heartbeat", "known issue"} <= set(words)


def test_the_glossary_names_every_channel_and_purpose() -> None:
    rows = dict(re.findall(r"^\| ([a-z ]+) \| (.+) \|$", (ROOT / "docs/glossary.md").read_text(), re.M))
    assert all(str(channel) in rows["channel"] for channel in Channel)
    assert all(str(purpose) in rows["purpose"] for purpose in Purpose)


def test_documents_name_no_paths_of_a_machine() -> None:
    found = [str(path) for path in DOCUMENTS if re.search(r"/(home|root|Users|work)/\w", path.read_text())]
    assert found == []


def test_the_targets_and_commands_that_contributing_names_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`?make ([a-z]+)", (ROOT / "CONTRIBUTING.md").read_text()):
        assert re.search(rf"^{target}:", makefile, re.M), target


def linked(page: Path) -> set[Path]:
    """The pages that a page links to."""
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    return {(page.parent / target).resolve() for target in targets if ":" not in target}


def test_every_page_can_be_reached_from_the_index() -> None:
    seen: set[Path] = set()
    ahead = {ROOT / "docs/README.md"}
    while ahead:
        page = ahead.pop()
        seen.add(page)
        if page.is_file():
            ahead |= {found for found in linked(page) if found.suffix == ".md"} - seen
    pages = set((ROOT / "docs").rglob("*.md"))
    assert {str(page.relative_to(ROOT)) for page in pages - seen} == set(), "link it from docs/README.md"


def test_the_known_issue_in_the_how_to_is_well_formed(tmp_path: Path) -> None:
    text = (ROOT / "docs/how-to/declare-a-known-issue.md").read_text(encoding="utf-8")
    block = re.search(r"```yaml\n(.+?)```", text, re.S)
    assert block
    (tmp_path / "kettle-rima.yaml").write_text(dedent(block[1]), encoding="utf-8")
    (issue,) = read_issues(tmp_path)
    assert issue.severity == "high"
    assert set(issue.texts) == {"ar"}


def test_the_tables_page_names_every_table_and_index_and_no_other() -> None:
    text = (ROOT / "docs/reference/tables.md").read_text()
    tables, indexes = text.split("## Which index serves what")
    first = "".join(re.findall(r"^\| (`.+?) \|", tables, re.M))
    assert set(re.findall(r"`(\w+)`", first)) == set(Base.metadata.tables)
    known = {str(index.name) for table in Base.metadata.tables.values() for index in table.indexes}
    assert set(re.findall(r"`((?:ix|uq)_\w+)`", indexes)) == known
