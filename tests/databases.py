"""Fresh, migrated databases for a whole module; for a single test there is the fixture ``engine``."""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine, create_engine, text
from sqlalchemy.util import LRUCache

from models.database import connect, normal_url

_kept: dict[str, Engine] = {}


def _with_what_was_compiled(engine: Engine) -> Engine:
    """The engine with the first one's dialect and compiled statements: compiling took a quarter of all tests' time.

    SQLAlchemy looks a compiled statement up by its dialect's identity, so that two engines share none by themselves.
    """
    first = _kept.setdefault(engine.dialect.name, engine)
    if first is engine:
        engine.connect().close()  # the dialect learns what its server can
        engine.update_execution_options(compiled_cache=LRUCache(5000))
        return engine
    engine.dialect = engine.pool._dialect = first.dialect
    engine.update_execution_options(compiled_cache=first.get_execution_options()["compiled_cache"])
    return engine


@contextmanager
def on_sqlite(template: Path, folder: Path) -> Iterator[Engine]:
    """A copy of the migrated, empty SQLite file ``template`` in ``folder``."""
    path = folder / "test.db"
    shutil.copy(template, path)
    engine = _with_what_was_compiled(connect(f"sqlite:///{path}"))
    yield engine
    engine.dispose()


@contextmanager
def on_postgres(uri: str) -> Iterator[Engine]:
    """A database of the server at ``uri``, a copy of its template; dropped afterwards."""
    name = f"test_{uuid.uuid4().hex}"
    admin = create_engine(normal_url(uri), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE template_beforehand"))
    engine = _with_what_was_compiled(connect(uri.replace("/postgres?", f"/{name}?")))
    yield engine
    engine.dispose()
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()
