"""A small database in memory: migrated once in a process, and as new for each test."""

from typing import Any

from sqlalchemy import Engine

from models.database import connect, migrate, sqlite_module


class Small:
    """One SQLite database in memory. Use it from one thread."""

    def __init__(self) -> None:
        # Nothing is written to disk, so the WAL-reset bug of an old SQLite cannot bite here.
        self.engine: Engine = connect("sqlite:///:memory:", allow_unsafe_sqlite=True)
        migrate(self.engine)
        self._empty: Any = sqlite_module().connect(":memory:", check_same_thread=False)
        self._copy(self._raw(), self._empty)

    def renew(self) -> None:
        """Forget all rows: the empty, migrated database is copied over this one."""
        self._copy(self._empty, self._raw())

    def close(self) -> None:
        """Give the memory back."""
        self.engine.dispose()
        self._empty.close()

    def _raw(self) -> Any:
        connection = self.engine.raw_connection()
        try:
            return connection.dbapi_connection
        finally:
            connection.close()

    @staticmethod
    def _copy(source: Any, target: Any) -> None:
        source.backup(target)
