"""A replay equals what a real house, stepped through the same time on a simulated clock, has actually planned."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from beforehand import sample
from beforehand.backtest import standins
from beforehand.backtest.replay import replay
from beforehand.ingest import run
from beforehand.ingest.issues import declare
from beforehand.settings import Settings
from beforehand.wiring import App
from models.database import reading
from rules.loader import Rule
from tests.stepping import Outcomes, outcomes, stepped

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 3, 10, 10, tzinfo=UTC)
"""A Tuesday; the sample shop's rows end here."""

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def shop(engine: Engine, folder: Path, customers: int) -> App:
    """The sample shop in a database, its rules and its known issue; nothing is a backlog."""
    said = {"rules": ROOT / "rules/catalog", "templates": ROOT / "messaging/templates", "live_from": LONG_AGO}
    said["canary"] = 1_000_000  # a replay holds no run, so the house beside it must not
    settings = Settings(_env_file=None, **said)  # type: ignore[arg-type]
    app = App(settings=settings, engine=engine, clock=lambda: NOW)
    sample.write(folder / "export", now=NOW, customers=customers)
    mapping = ROOT / "examples/shop/sources.yaml"
    run(engine, mapping, now=NOW, settings=settings, data=folder / "export", var=folder)
    declare(engine, ROOT / "issues", NOW - timedelta(days=2))
    return app


def replayed(app: App, rule: Rule, start: datetime, end: datetime, *, thorough: bool = False) -> Outcomes:
    """What a replay plans, in the same words as the stepped house."""
    with standins.replaying(app.engine) as connection:
        done = replay(connection, app, rule, start, end, thorough=thorough)
        assert done.walk.problems == set()
        return outcomes(connection, rule.id, start, done.highest["message"])


def compare(app: App, rules: dict[str, Rule], start: datetime, end: datetime) -> dict[str, int]:
    """Each rule's replay against what was really planned; gives how many messages each had."""
    told = {}
    for rule_id, rule in rules.items():
        with reading(app.engine) as connection:
            real = outcomes(connection, rule_id, start)
        mine = replayed(app, rule, start, end)
        for what, rows in real.items():
            assert mine[what] == rows, f"{rule_id}, {what}"
        told[rule_id] = len(real["messages"])
    return told


def test_a_morning_of_the_whole_catalog(sqlite_engine: Engine, tmp_path: Path) -> None:
    """Tuesday from eight to half past ten: win-back at ten, new customers at half past."""
    app = shop(sqlite_engine, tmp_path, 250)
    start, end = NOW - timedelta(hours=2), NOW + timedelta(minutes=31)
    told = compare(app, stepped(app, start, end), start, end)
    assert sum(count > 0 for count in told.values()) >= 4, told


def test_on_postgresql_too(postgres_engine: Engine, tmp_path: Path) -> None:
    """Around Monday at nine, when vouchers are given."""
    app = shop(postgres_engine, tmp_path, 200)
    start, end = NOW - timedelta(minutes=1510), NOW - timedelta(minutes=1450)
    rules = stepped(app, start, end, "late-order", "late-delivery-apology", "thank-you-voucher")
    told = compare(app, rules, start, end)
    assert sum(count > 0 for count in told.values()) >= 1, told


@pytest.mark.prove
def test_a_replay_begins_where_the_house_stood(sqlite_engine: Engine, tmp_path: Path) -> None:
    """From the middle of a run: what had begun goes on as it did, what was withheld is known."""
    app = shop(sqlite_engine, tmp_path, 250)
    first, middle, end = NOW - timedelta(hours=4), NOW - timedelta(hours=3), NOW
    names = ("late-order", "late-delivery-apology", "known-issue", "survey-after-contact")
    rules = stepped(app, first, end, *names)
    told = compare(app, rules, middle, end)
    assert sum(told.values()) > 0, told


@pytest.mark.prove
@pytest.mark.parametrize("customers", [400, 800])
def test_days_of_the_whole_catalog(sqlite_engine: Engine, tmp_path: Path, customers: int) -> None:
    app = shop(sqlite_engine, tmp_path, customers)
    start, end = NOW.replace(hour=0) - timedelta(days=3), NOW.replace(hour=11)
    told = compare(app, stepped(app, start, end), start, end)
    assert all(count > 0 for count in told.values()), told


@pytest.mark.prove
def test_two_days_on_postgresql(postgres_engine: Engine, tmp_path: Path) -> None:
    app = shop(postgres_engine, tmp_path, 400)
    start, end = NOW.replace(hour=0) - timedelta(days=1), NOW.replace(hour=11)
    told = compare(app, stepped(app, start, end), start, end)
    assert sum(count > 0 for count in told.values()) >= 7, told
