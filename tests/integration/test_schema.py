"""The schema from scratch equals the schema from migrations, on both databases; times and days mean the same."""

from datetime import UTC, date, datetime

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, inspect, literal, select

import models
from models.database import DatabaseError, is_current, normal_url, sqlite_gate, sqlite_is_safe, sqlite_module
from models.types import UTCDateTime, day_start, local_day


def test_migrations_lead_to_the_models(engine: Engine) -> None:
    assert is_current(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, models.Base.metadata) == []


def test_partial_and_plain_indexes_are_all_there(engine: Engine) -> None:
    found = {index["name"] for table in models.Base.metadata.tables for index in inspect(engine).get_indexes(table)}
    wanted = {index.name for table in models.Base.metadata.tables.values() for index in table.indexes}
    assert wanted <= found


@pytest.mark.parametrize(
    ("moment", "zone", "day"),
    [
        (datetime(2026, 3, 29, 0, 59, tzinfo=UTC), "Europe/Berlin", date(2026, 3, 29)),
        (datetime(2026, 3, 28, 23, 30, tzinfo=UTC), "Europe/Berlin", date(2026, 3, 29)),
        (datetime(2026, 1, 1, 4, 59, tzinfo=UTC), "America/New_York", date(2025, 12, 31)),
        (datetime(2026, 1, 1, 18, 14, 59, tzinfo=UTC), "Asia/Kathmandu", date(2026, 1, 1)),
        (datetime(2026, 1, 1, 18, 15, tzinfo=UTC), "Asia/Kathmandu", date(2026, 1, 2)),
        (datetime(1960, 6, 1, 12, tzinfo=UTC), "Asia/Shanghai", date(1960, 6, 1)),
    ],
)
def test_a_day_is_the_same_day_on_both_databases(engine: Engine, moment: datetime, zone: str, day: date) -> None:
    with engine.connect() as connection:
        shown = connection.execute(select(local_day(literal(moment, UTCDateTime()), literal(zone)))).scalar_one()
    assert shown == day


def test_a_day_starts_at_the_same_moment_on_both_databases(engine: Engine) -> None:
    with engine.connect() as connection:
        started = connection.execute(
            select(day_start(literal(date(2026, 7, 1)), literal("Europe/Berlin")))
        ).scalar_one()
    assert started == datetime(2026, 6, 30, 22, tzinfo=UTC)


def test_naive_datetimes_are_refused(engine: Engine) -> None:
    with engine.connect() as connection, pytest.raises(Exception, match="no time zone"):
        connection.execute(select(literal(datetime(2026, 1, 1), UTCDateTime())))  # noqa: DTZ001


@pytest.mark.parametrize(
    ("version", "safe"),
    [
        ((3, 6, 23), True),
        ((3, 7, 0), False),
        ((3, 40, 1), False),
        ((3, 44, 5), False),
        ((3, 44, 6), True),
        ((3, 50, 7), True),
        ((3, 51, 2), False),
        ((3, 51, 3), True),
        ((3, 53, 4), True),
    ],
)
def test_the_gate_knows_the_wal_reset_bug(version: tuple[int, ...], safe: bool) -> None:
    assert sqlite_is_safe(version) is safe


def test_the_gate_refuses_and_says_what_to_do() -> None:
    with pytest.raises(DatabaseError, match="Install the wheel 'pysqlite3'"):
        sqlite_gate((3, 40, 1))
    assert "Going on" in str(sqlite_gate((3, 40, 1), allow_unsafe=True))
    assert sqlite_gate((3, 53, 4)) is None


def test_the_library_we_ship_is_safe() -> None:
    assert sqlite_is_safe(tuple(sqlite_module().sqlite_version_info))


def test_sqlite_is_durable_and_checks_foreign_keys(sqlite_engine: Engine) -> None:
    with sqlite_engine.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_other_databases_are_refused_by_name() -> None:
    with pytest.raises(DatabaseError, match="mysql is not a database we know"):
        normal_url("mysql://localhost/x")
