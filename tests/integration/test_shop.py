"""The sample shop, loaded by its own mapping file: each shipped rule finds somebody, and never everybody."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from beforehand import sample
from beforehand.ingest import IngestReport, run
from beforehand.ingest.issues import declare
from beforehand.passes import preview_rule
from beforehand.settings import Settings
from beforehand.wiring import App, bootstrap

ROOT = Path(__file__).resolve().parents[2]
RULES = sorted(path.stem for path in (ROOT / "rules/catalog").glob("*.yaml"))
NOW = datetime(2026, 3, 10, 10, 0, tzinfo=UTC)


def ingest(app: App, folder: Path, now: datetime) -> IngestReport:
    mapping, export = ROOT / "examples/shop/sources.yaml", folder / "export"
    return run(app.engine, mapping, now=now, settings=app.settings, data=export, var=folder)


def load(folder: Path, now: datetime, customers: int = 2400) -> tuple[App, IngestReport]:
    """A fresh database with the sample shop as at ``now``, and its known issue declared."""
    sample.write(folder / "export", now=now, customers=customers)
    url = f"sqlite:///{folder}/shop.db"
    settings = Settings(
        _env_file=None, database_url=url, rules=ROOT / "rules/catalog", templates=ROOT / "messaging/templates"
    )
    app = bootstrap(settings, clock=lambda: now)
    report = ingest(app, folder, now)
    declare(app.engine, ROOT / "issues", now)
    return app, report


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[App, IngestReport]]:
    app, report = load(tmp_path_factory.mktemp("shop"), NOW)
    yield app, report
    app.engine.dispose()


@pytest.mark.parametrize("rule", RULES)
def test_each_shipped_rule_finds_between_5_and_150(loaded: tuple[App, IngestReport], rule: str) -> None:
    found = preview_rule(loaded[0], rule, NOW)
    assert 5 <= found.matched <= 150
    assert 5 <= found.messages <= found.matched


def test_there_are_eight_rules() -> None:
    assert len(RULES) == 8


def test_the_broken_rows_are_rejected_and_the_rest_is_taken(loaded: tuple[App, IngestReport]) -> None:
    tables = loaded[1].as_dict()["tables"]
    assert tables["customers"]["new"] == 2400
    assert 8 <= sum(table["rejected"] for table in tables.values()) <= 16
    assert tables["calls"]["rejected"] == 0


def test_the_same_export_again_changes_nothing(tmp_path: Path) -> None:
    app, first = load(tmp_path, NOW, customers=200)
    again = ingest(app, tmp_path, NOW).as_dict()
    app.engine.dispose()
    assert (again["new"], again["changed"]) == (0, 0)
    assert again["same"] == first.as_dict()["new"] > 10_000


@pytest.mark.prove
@pytest.mark.parametrize(
    "moment", ["2026-07-01T22:30", "2026-11-22T03:00", "2027-01-01T00:05", "2027-03-28T01:30", "2028-02-29T16:00"]
)
def test_each_rule_finds_somebody_at_any_moment(tmp_path: Path, moment: str) -> None:
    now = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    app, _ = load(tmp_path, now)
    found = {rule: preview_rule(app, rule, now).matched for rule in RULES}
    app.engine.dispose()
    assert {rule: count for rule, count in found.items() if not 5 <= count <= 150} == {}
