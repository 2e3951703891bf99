"""Known issues: files become rows, order lines become exposures, and only real change is told to the rules."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, insert, select
from typer.testing import CliRunner

from beforehand.cli import app as command_line
from beforehand.ingest.issues import declare
from beforehand.ingest.tree import MappingErrors
from models import Change, Customer, Exposure, KnownIssue, Match, Order, OrderLine, Product
from models.database import reading, writing

NOW = datetime(2026, 3, 10, 10, 0, tzinfo=UTC)
KETTLE = """\
id: kettle
title: The handle can come loose
severity: high
advice: Please do not use it.
texts:
  ar: {title: قد ينفك المقبض, advice: نرجو عدم استخدامها}
affects:
  products: [KIT-04]
  ordered_between: [2026-02-01, 2026-02-28]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "issues"
    made.mkdir()
    return made


def put(folder: Path, text: str = KETTLE, name: str = "kettle") -> None:
    (folder / f"{name}.yaml").write_text(text)


def shop(engine: Engine) -> None:
    """One customer; orders 1 to 4: in February, on its last day, in March, cancelled. Line 5 is of another product."""
    with writing(engine) as connection:
        connection.execute(insert(Customer), [{"id": 1, "external_id": "c1", "changed_at": NOW, "bucket": 0}])
        connection.execute(
            insert(Product),
            [
                {"id": 1, "external_id": "KIT-04", "category": "kitchen", "supplier": "Rima", "changed_at": NOW},
                {"id": 2, "external_id": "TEA-01", "category": "tea", "supplier": "Harbour", "changed_at": NOW},
            ],
        )
        for number, placed in enumerate(
            [
                datetime(2026, 2, 10, tzinfo=UTC),
                datetime(2026, 2, 28, 23, 59, 59, tzinfo=UTC),
                datetime(2026, 3, 1, tzinfo=UTC),
                datetime(2026, 2, 11, tzinfo=UTC),
            ],
            start=1,
        ):
            order(connection, number, placed, cancelled_at=NOW if number == 4 else None)
        line = {"external_id": "l5", "order_id": 1, "product_id": 2, "quantity": 1, "changed_at": NOW}
        connection.execute(insert(OrderLine), [line])


def order(connection, number: int, placed: datetime, **values) -> None:  # type: ignore[no-untyped-def]
    row = {"id": number, "external_id": f"o{number}", "customer_id": 1, "placed_at": placed, "changed_at": NOW}
    connection.execute(insert(Order), [{**row, **values}])
    line = {"external_id": f"l{number}", "order_id": number, "product_id": 1, "quantity": 1, "changed_at": NOW}
    connection.execute(insert(OrderLine), [line])


def exposed(engine: Engine) -> list[str]:
    """The external ids of the exposed lines."""
    asked = select(OrderLine.external_id).join(Exposure, Exposure.order_line_id == OrderLine.id)
    with reading(engine) as connection:
        return sorted(connection.execute(asked).scalars())


def events(engine: Engine) -> dict[str, datetime]:
    with reading(engine) as connection:
        return {row.event: row.changed_at for row in connection.execute(select(Change.event, Change.changed_at))}


def test_a_declared_issue_finds_the_order_lines_it_touches(engine: Engine, folder: Path) -> None:
    shop(engine)
    put(folder)
    report = declare(engine, folder, NOW)
    assert (report.issues, report.new, report.changed, report.exposures_new, report.notes) == (1, 1, 0, 2, ())
    assert exposed(engine) == ["l1", "l2"]
    with reading(engine) as connection:
        row = connection.execute(select(KnownIssue.__table__)).one()
        touched = connection.execute(select(Exposure.__table__).order_by(Exposure.order_id)).first()
    assert (row.external_id, row.severity, row.declared_at, row.closed_at) == ("kettle", "high", NOW, None)
    assert row.texts["ar"]["title"] == "قد ينفك المقبض"
    assert row.affects["products"] == ["KIT-04"]
    assert (touched.customer_id, touched.order_id, touched.product_id, touched.found_at) == (1, 1, 1, NOW)


def test_the_same_folder_twice_changes_nothing_and_tells_nobody(engine: Engine, folder: Path) -> None:
    shop(engine)
    put(folder)
    declare(engine, folder, NOW)
    assert events(engine) == {"issue.declared": NOW, "exposure.updated": NOW}
    again = declare(engine, folder, NOW + timedelta(hours=1))
    assert (again.new, again.changed, again.exposures_new, again.exposures_gone) == (0, 0, 0, 0)
    assert events(engine) == {"issue.declared": NOW, "exposure.updated": NOW}


def test_a_new_order_is_exposed_at_the_next_call(engine: Engine, folder: Path) -> None:
    shop(engine)
    put(folder)
    declare(engine, folder, NOW)
    with writing(engine) as connection:
        order(connection, 9, datetime(2026, 2, 20, tzinfo=UTC))
    later = NOW + timedelta(hours=1)
    assert declare(engine, folder, later).exposures_new == 1
    assert exposed(engine) == ["l1", "l2", "l9"]
    assert events(engine) == {"issue.declared": NOW, "exposure.updated": later}


def test_an_edited_issue_is_changed_and_keeps_its_declared_moment(engine: Engine, folder: Path) -> None:
    shop(engine)
    put(folder)
    declare(engine, folder, NOW)
    later = NOW + timedelta(hours=2)
    put(folder, KETTLE.replace("severity: high", "severity: critical"))
    report = declare(engine, folder, later)
    assert (report.new, report.changed, report.exposures_new) == (0, 1, 0)
    assert events(engine)["issue.changed"] == later
    with reading(engine) as connection:
        row = connection.execute(select(KnownIssue.__table__)).one()
    assert (row.severity, row.declared_at, row.changed_at) == ("critical", NOW, later)


def test_a_closed_issue_is_closed_and_finds_nobody_new(engine: Engine, folder: Path) -> None:
    shop(engine)
    put(folder)
    declare(engine, folder, NOW)
    put(folder, KETTLE + "closed_at: 2026-03-10T11:00:00+00:00\n")
    with writing(engine) as connection:
        order(connection, 9, datetime(2026, 2, 20, tzinfo=UTC))
    report = declare(engine, folder, NOW + timedelta(hours=2))
    assert (report.changed, report.exposures_new, report.exposures_gone) == (1, 0, 0)
    assert exposed(engine) == ["l1", "l2"]


def test_a_narrower_scope_frees_only_those_no_rule_has_looked_at(engine: Engine, folder: Path) -> None:
    shop(engine)
    put(folder, KETTLE.replace("2026-02-28", "2026-03-05"))
    assert declare(engine, folder, NOW).exposures_new == 3
    with writing(engine) as connection:
        told = connection.execute(select(Exposure.id).where(Exposure.order_id == 3)).scalar_one()
        match = {"rule_id": "known-issue", "version": "1", "occasion": f"exposure/{told}", "subject": "exposure"}
        match |= {"subject_id": told, "matched_at": NOW, "seen_at": NOW, "state": "open", "next_step": 1}
        connection.execute(insert(Match), [match])
    put(folder, KETTLE.replace("[2026-02-01, 2026-02-28]", "[2026-02-12, 2026-02-28]"))
    report = declare(engine, folder, NOW + timedelta(minutes=5))
    assert (report.exposures_gone, report.exposures_new) == (1, 0)
    assert exposed(engine) == ["l2", "l3"]


def test_category_and_supplier_and_delivery_windows(engine: Engine, folder: Path) -> None:
    shop(engine)
    head = "title: x\nseverity: low\n"
    put(folder, f"id: cat\n{head}affects: {{category: tea}}\n", "cat")
    put(folder, f"id: sup\n{head}affects: {{supplier: [Rima], category: [kitchen, tea]}}\n", "sup")
    put(folder, f"id: dlv\n{head}affects: {{products: KIT-04, delivered_between: [2026-01-01, 2026-12-31]}}\n", "dlv")
    declare(engine, folder, NOW)
    counted = (
        select(KnownIssue.external_id, func.count())
        .join(Exposure, Exposure.issue_id == KnownIssue.id)
        .group_by(KnownIssue.external_id)
    )
    with reading(engine) as connection:
        assert dict(connection.execute(counted).tuples().all()) == {"cat": 1, "sup": 3}


def test_an_issue_that_is_to_be_declared_later_waits(engine: Engine, folder: Path) -> None:
    shop(engine)
    put(folder, KETTLE + "declared_at: 2026-03-11T08:00:00+00:00\n")
    assert declare(engine, folder, NOW).issues == 0
    assert exposed(engine) == []
    assert declare(engine, folder, NOW + timedelta(days=1)).new == 1


def test_a_product_nobody_knows_is_pointed_out(engine: Engine, folder: Path) -> None:
    shop(engine)
    put(folder, KETTLE.replace("[KIT-04]", "[KIT-04, KIT-40]"))
    (note,) = declare(engine, folder, NOW).notes
    assert note.startswith(str(folder / "kettle.yaml"))
    assert note.endswith("kettle affects products 'KIT-40', which no product known to us has")


def test_all_that_is_wrong_is_said_at_once_with_its_place_and_nothing_is_changed(engine: Engine, folder: Path) -> None:
    shop(engine)
    put(folder)
    wrong = KETTLE.replace("severity: high", "severity: hihg").replace("advice: Please", "advise: Please")
    wrong = wrong.replace("id: kettle", "id: pot").replace("[2026-02-01, 2026-02-28]", "[2026-02-01, 2026-02-30]")
    put(folder, wrong, "b")
    put(folder, "id: c\ntitle: x\nseverity: low\naffects: {}\nclosed_at: 2026-03-01T10:00:00\n", "c")
    put(folder, "id: d\n  title: [", "d")
    put(folder, "", "e")
    with pytest.raises(MappingErrors) as refused:
        declare(engine, folder, NOW)
    said = "\n".join(str(problem).removeprefix(f"{folder}/") for problem in refused.value.problems)
    for place, words in [
        ("b.yaml:1:5:", "'pot'"),
        ("b.yaml:3:11:", "hihg"),
        ("b.yaml:3:11:", "did you mean high"),
        ("b.yaml:4:1:", "advise"),
        ("b.yaml:4:1:", "did you mean advice"),
        ("b.yaml:9:33:", "2026-02-30"),
        ("c.yaml:4:10:", "affects names nothing"),
        ("c.yaml:5:12:", "has no zone"),
        ("d.yaml:2:8:", "this is not YAML"),
        ("e.yaml:1:1:", "the file is empty"),
    ]:
        assert any(line.startswith(place) and words in line for line in said.splitlines()), (place, words, said)
    assert exposed(engine) == []
    assert events(engine) == {}


def test_a_missing_folder_is_said_plainly(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(MappingErrors, match="there is no such folder"):
        declare(engine, tmp_path / "nowhere", NOW)


def test_the_shipped_issue_is_well_formed(engine: Engine) -> None:
    report = declare(engine, Path(__file__).resolve().parents[2] / "issues", NOW)
    assert (report.issues, report.new) == (1, 1)


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEFOREHAND_DATABASE_URL", f"sqlite:///{tmp_path}/cli.db")


@pytest.mark.usefixtures("database")
def test_the_command_prints_its_figures_as_json(folder: Path) -> None:
    put(folder)
    done = CliRunner().invoke(command_line, ["issues", str(folder), "--json"])
    assert done.exit_code == 0
    told = json.loads(done.stdout)
    assert (told["issues"], told["new"], told["exposures_new"]) == (1, 1, 0)
    assert "KIT-04" in told["notes"][0]


@pytest.mark.usefixtures("database")
def test_the_command_says_in_words_what_it_found(folder: Path) -> None:
    put(folder)
    done = CliRunner().invoke(command_line, ["issues", str(folder), "--now", "2026-03-10"])
    assert done.exit_code == 0
    assert f"1 known issue in {folder}: 1 new, 0 changed." in done.stdout
    assert "Please look:" in done.stdout


@pytest.mark.usefixtures("database")
def test_the_command_leaves_with_2_where_a_file_is_wrong(folder: Path) -> None:
    put(folder, KETTLE.replace("title:", "titel:"))
    done = CliRunner().invoke(command_line, ["issues", str(folder)])
    assert done.exit_code == 2
    assert f"{folder}/kettle.yaml:2:1:" in done.stderr
    assert "what was in force stays in force" in done.stderr
