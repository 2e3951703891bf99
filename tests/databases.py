"""Fresh, migrated databases for a whole module; for a single test there is the fixture ``engine``."""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine, create_engine, text

from models.database import connect, normal_url


@contextmanager
def on_sqlite(template: Path, folder: Path) -> Iterator[Engine]:
    """A copy of the migrated, empty SQLite file ``template`` in ``folder``."""
    path = folder / "test.db"
    shutil.copy(template, path)
    engine = connect(f"sqlite:///{path}")
    yield engine
    engine.dispose()


@contextmanager
def on_postgres(uri: str) -> Iterator[Engine]:
    """A database of the server at ``uri``, a copy of its template; dropped afterwards."""
    name = f"test_{uuid.uuid4().hex}"
    admin = create_engine(normal_url(uri), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE template_beforehand"))
    engine = connect(uri.replace("/postgres?", f"/{name}?"))
    yield engine
    engine.dispose()
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()
