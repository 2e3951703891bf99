"""Column types and SQL functions that mean the same on SQLite and on PostgreSQL."""

from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from sqlalchemy import JSON, BigInteger, Date, DateTime, Integer
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement, GenericFunction
from sqlalchemy.types import TypeDecorator, TypeEngine

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

BigKey = BigInteger().with_variant(Integer, "sqlite")
"""A primary key: 64 bits everywhere (SQLite's INTEGER PRIMARY KEY is 64 bits and must be called INTEGER)."""

Json = JSON().with_variant(JSONB, "postgresql")
"""A JSON document."""


@lru_cache(maxsize=1)
def time_zones() -> frozenset[str]:
    """The IANA names that both databases know: ``localtime`` is this machine's own, and PostgreSQL has none such."""
    return frozenset(available_timezones() - {"localtime"})


def to_micros(moment: datetime) -> int:
    """Turn an aware datetime into microseconds since 1970 UTC.

    Raises ValueError for a naive datetime: it names no moment.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone, so it names no moment")
    delta = moment - EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def from_micros(micros: int) -> datetime:
    """Turn microseconds since 1970 into an aware UTC datetime (exact; no float on the way)."""
    seconds, rest = divmod(micros, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)


class UTCDateTime(TypeDecorator[datetime]):
    """A moment. PostgreSQL: timestamptz. SQLite: integer microseconds since 1970 (text costs 1.9 times as much).

    Takes aware datetimes only and gives back UTC.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose the storage of the database at hand."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(BigInteger())
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Write a moment; a naive datetime is a ValueError."""
        if value is None:
            return None
        micros = to_micros(value)
        return micros if dialect.name == "sqlite" else value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Read a moment, in UTC."""
        if value is None:
            return None
        return from_micros(value) if dialect.name == "sqlite" else value.astimezone(UTC)


class local_day(GenericFunction[date]):
    """The calendar day of a moment in a zone: ``local_day(moment, iana_zone) -> date``.

    SQLite calls :func:`day_of_micros`, registered on each connection; PostgreSQL uses AT TIME ZONE.
    """

    type = Date()
    inherit_cache = True


class day_start(GenericFunction[datetime]):
    """The moment at which a calendar day begins in a zone: ``day_start(day, iana_zone) -> moment``."""

    type = UTCDateTime()
    inherit_cache = True


@compiles(local_day, "postgresql")
def _local_day_pg(element: FunctionElement[date], compiler: SQLCompiler, **kw: Any) -> str:
    moment, zone = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"CAST(({moment}) AT TIME ZONE ({zone}) AS DATE)"


@compiles(day_start, "postgresql")
def _day_start_pg(element: FunctionElement[datetime], compiler: SQLCompiler, **kw: Any) -> str:
    day, zone = (compiler.process(clause, **kw) for clause in element.clauses)
    begins = f"(CAST(({day}) AS TIMESTAMP) AT TIME ZONE ({zone}))"
    # of two midnights (Havana in November) PostgreSQL takes the second
    earlier = f"({begins} - interval '1 hour')"
    return f"(CASE WHEN CAST({earlier} AT TIME ZONE ({zone}) AS DATE) = ({day}) THEN {earlier} ELSE {begins} END)"


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo | None:
    # SQLite puts a constant of a rule (``time_zone: Nowhere``) in the column's place: that must not stop the statement.
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None


@lru_cache(maxsize=65_536)
def _day_of_quarter(quarter: int, name: str) -> str | None:
    # Every UTC offset in use since 1972 is a multiple of 15 minutes, so a quarter of an hour lies in one day.
    zone = _zone(name)
    return datetime.fromtimestamp(quarter * 900, zone).date().isoformat() if zone else None


def day_of_micros(micros: int | None, zone: str | None) -> str | None:
    """``local_day`` for SQLite: microseconds and zone to ``YYYY-MM-DD``; None in, or a zone there is not: None out."""
    if micros is None or zone is None:
        return None
    try:
        if micros >= 63_072_000_000_000:
            return _day_of_quarter(micros // 900_000_000, zone)
        known = _zone(zone)  # before 1972 offsets had odd seconds
        return from_micros(micros).astimezone(known).date().isoformat() if known else None
    except (OverflowError, ValueError):  # 9999-12-31, "for ever", where the next year has begun
        return "9999-12-31" if micros > 0 else "0001-01-01"


@lru_cache(maxsize=65_536)
def start_of_day_micros(day: str | None, zone: str | None) -> int | None:
    """``day_start`` for SQLite: ``YYYY-MM-DD`` and zone to microseconds; None in, or a zone there is not: None out."""
    known = _zone(zone) if zone is not None else None
    if day is None or known is None:
        return None
    return to_micros(datetime.fromisoformat(day).replace(tzinfo=known))
