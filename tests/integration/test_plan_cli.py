"""``beforehand plan``, as a person, a pull request or a machine calls it; against git, against a folder."""

import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import models
from beforehand.cli import app
from tests.deciding import NOON, House, house_for_commands


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):  # a hook that runs the tests would set them
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    return house_for_commands(tmp_path, monkeypatch, COLUMNS="160")


def git(house: House, *words: str) -> str:
    who = ["-c", "user.name=Ann", "-c", "user.email=ann@example.com", "-c", "init.defaultBranch=main"]
    return subprocess.run(
        ["git", *who, *words], cwd=house.folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def commit(house: House) -> str:
    if not (house.folder / ".git").exists():
        git(house, "init")
    git(house, "add", "rules")
    git(house, "commit", "-m", "rules")
    return git(house, "rev-parse", "HEAD")


def call(*words: str) -> Result:
    return CliRunner().invoke(app, ["plan", "--now", NOON.isoformat(), "--weeks", "0", *words])


def told(*words: str) -> Any:
    return json.loads(call("--json", *words).stdout)


def test_without_git_and_without_a_run_every_rule_is_new(house: House) -> None:
    house.customer()
    found = told()
    assert found["against"] == "nothing (no rule has run yet)"
    (change,) = found["changes"]
    assert (change["change"], change["new"]["going"], change["found"]["added"]) == ("new", 1, 1)


def test_in_a_git_work_tree_it_is_against_head_until_something_has_run(house: House) -> None:
    house.customer()
    head = commit(house)
    assert told()["against"] == f"git HEAD ({head[:10]})"
    assert told()["changes"] == []
    house.rule(condition="country: GB")
    (change,) = told()["changes"]
    assert (change["change"], change["found"]["dropped"]) == ("changed", 1)
    CliRunner().invoke(app, ["run", "hello", "--now", NOON.isoformat()])
    assert told()["against"] == "what is in force"
    assert told()["changes"] == []


def test_a_branch_a_tag_or_a_commit_will_do_and_git_is_left_as_it_was(house: House) -> None:
    house.customer()
    first = commit(house)
    git(house, "tag", "v1")
    house.rule(condition="country: [DE, GB]")
    commit(house)
    house.rule("uncommitted")
    status = git(house, "status", "--porcelain")
    for ref in ("v1", "HEAD~1", first):
        found = told("--against", ref)
        assert first[:10] in found["against"]
        assert [change["rule"] for change in found["changes"]] == ["hello", "uncommitted"]
    assert git(house, "status", "--porcelain") == status
    assert (house.folder / "rules" / "uncommitted.yaml").exists()


def test_lists_are_read_as_they_stood_at_the_commit(house: House) -> None:
    vips = house.folder / "rules" / "lists" / "vip.csv"
    vips.parent.mkdir()
    vips.write_text("one\n")
    house.rule(condition="external_id: {in: lists/vip.csv}")
    for name in ("one", "two"):
        house.customer(external_id=name)
    commit(house)
    vips.write_text("two\n")
    (change,) = told("--against", "HEAD")["changes"]
    assert (change["found"]["first_added"], change["found"]["first_dropped"]) == (["two"], ["one"])


def test_a_link_that_leads_out_of_the_commit_is_said_plainly(house: House) -> None:
    (house.folder / "rules" / "other.yaml").symlink_to("/etc/hostname")
    commit(house)
    done = call("--against", "HEAD")
    assert done.exit_code == 2
    assert "a link in it leads out of the work tree" in done.output
    assert not isinstance(done.exception, tarfile.TarError)


def test_facts_of_ones_own_are_read_as_they_stood_at_the_commit(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = house.folder / "rules" / "own" / "facts.yaml"
    facts.parent.mkdir()
    facts.write_text("customer:\n  points: {type: number, help: what was collected}\n")
    monkeypatch.setenv("BEFOREHAND_FACTS", str(facts))
    house.rule(condition="points: {at_least: 5}")
    house.customer(attributes={"points": 7})
    commit(house)
    facts.write_text("customer:\n  points: {type: text, help: what was collected}\n")
    (change,) = told("--against", "HEAD")["changes"]
    assert change["change"] == "refused"
    house.rule(condition="points: seven")
    (change,) = told("--against", "HEAD")["changes"]
    assert (change["change"], change["old"]["found"], change["new"]["found"]) == ("changed", 1, 0)


def test_a_ref_that_is_none_is_wrong_use(house: House) -> None:
    done = call("--against", "nowhere")
    assert done.exit_code == 2
    assert "'nowhere' is no file or folder" in done.output
    commit(house)
    for ref in ("nowhere", "--output=/tmp/x", "-h"):
        done = call(f"--against={ref}")
        assert done.exit_code == 2
        assert f"there is no commit '{ref}'" in done.output


def test_a_folder_that_is_not_there_is_a_finding(house: House) -> None:
    done = call("--rules", str(house.folder / "nowhere"))
    assert done.exit_code == 1
    assert "there is no such folder or file" in done.output


def test_a_refused_rule_is_exit_code_1_and_a_difference_is_not(house: House) -> None:
    house.customer()
    commit(house)
    house.rule("another")
    done = call()
    assert (done.exit_code, "+ another" in done.stdout) == (0, True)
    house.rule("broken", condition="countri: DE")
    done = call()
    assert done.exit_code == 1
    assert "did you mean country?" in " ".join(done.stdout.split())
    assert "+ another" in done.stdout
    assert "The set is refused as it is, and the rules in force stay in force." in done.stdout


def test_a_run_that_would_be_held_is_told(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEFOREHAND_CANARY", "1")
    monkeypatch.setenv("BEFOREHAND_LIVE_FROM", "1970-01-01T00:00:00Z")  # else all of it is backlog, and nothing is held
    house.customer(country="GB")
    house.customer(country="GB")
    commit(house)
    house.rule(condition="country: [DE, GB]", limits="{once_per: customer, brake: 50%}")
    said = " ".join(call().stdout.split())
    assert "a run would be held now. It would reach 2 customers: more than the rule's own brake allows" in said


def test_it_reads_well_in_a_terminal(house: House) -> None:
    house.customer(external_id="C-1", country="GB")
    commit(house)
    house.rule("other", condition="country: GB", priority=10)
    house.customer(external_id="C-2", country="GB")
    house.rule(condition="country: [DE, GB]", limits="{once_per: customer, brake: 50%}")
    shown = call().stdout
    assert "~ hello  changed (live)" in shown
    assert "0 → 2 (+2 −0)" in shown
    assert "if.always.country: DE → [DE, GB]" in shown
    assert "0 → 2 customers now: 2 added, 0 drop out. Added: C-1, C-2." in shown
    assert "other would reach 2 of the same customers now (service, priority 10)" in shown
    assert "0 go at the first pass, as the file is written" in shown
    assert "Nothing was written." in shown


def test_nothing_differs_is_said(house: House) -> None:
    commit(house)
    assert "Nothing differs." in call().stdout
    assert "Nothing differs." in call("--format", "markdown").stdout
    assert "1 rule is the same." in call().stdout


def test_markdown_has_a_table_and_a_details_block_a_rule(house: House) -> None:
    house.customer(external_id="<b>|C*1")
    house.rule("second", condition="country: GB")
    commit(house)
    (house.folder / "rules" / "second.yaml").unlink()
    text = (house.folder / "rules" / "hello.yaml").read_text()
    text = text.replace("title: A test", "title: A <script> | `test`").replace("country: DE", "country: [DE, GB]")
    (house.folder / "rules" / "hello.yaml").write_text(text)
    house.set(models.Customer, country="GB")
    shown = call("--format", "markdown").stdout
    lines = shown.splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 4
    assert {line.replace("\\|", "").count("|") for line in table} == {5}
    assert shown.count("<details>") == shown.count("</details>") == 2
    assert "<script>" not in shown
    assert "A &lt;script&gt;" in shown
    assert "Added: &lt;b&gt;\\|C\\*1." in shown
    assert "| - second | gone (live) |" in shown


def test_json_is_one_document(house: House) -> None:
    house.customer()
    assert json.loads(call("--format", "json").stdout) == told()
