"""One database of each kind for all rule tests: each test's rows are rolled back."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

from models.database import connect, migrate, normal_url


@pytest.fixture(scope="session")
def rules_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """SQLite, migrated."""
    made = connect(f"sqlite:///{tmp_path_factory.mktemp('rules') / 'rules.db'}")
    migrate(made)
    yield made
    made.dispose()


@pytest.fixture(scope="session")
def rules_postgres(postgres_uri: str) -> Iterator[Engine]:
    """PostgreSQL, migrated."""
    admin = create_engine(normal_url(postgres_uri), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("CREATE DATABASE rules TEMPLATE template_beforehand"))
    admin.dispose()
    made = connect(postgres_uri.replace("/postgres?", "/rules?"))
    yield made
    made.dispose()


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Engine:
    """The same test on both databases; nothing stays behind."""
    return request.getfixturevalue(f"rules_{request.param}")  # type: ignore[no-any-return]
