"""SQL that differs between SQLite and PostgreSQL, as functions with one meaning. Values are always bound."""

from collections.abc import Sequence
from datetime import date
from typing import Any

from sqlalchemy import Boolean, ColumnElement, Date, Integer, Text, bindparam, func, literal
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement, GenericFunction
from sqlalchemy.types import JSON

from models.types import Json


class day_plus(GenericFunction[date]):
    """``day_plus(day, n)``: the day n days later."""

    type = Date()
    inherit_cache = True


class weekday_before(GenericFunction[date]):
    """``weekday_before(day, iso)``: the last day with ISO weekday ``iso`` (Monday 1), ``day`` itself included."""

    type = Date()
    inherit_cache = True


class moment_text(GenericFunction[str]):
    """``moment_text(moment)``: ISO 8601 in UTC, to the second."""

    type = Text()
    inherit_cache = True


class json_record(GenericFunction[Any]):
    """``json_record(key, value, ...)``: a JSON object."""

    type = Json
    inherit_cache = True


class text_position(GenericFunction[int]):
    """``text_position(text, part)``: where ``part`` stands in ``text``, from 1; 0 where it does not."""

    type = Integer()
    inherit_cache = True


class among_texts(GenericFunction[bool]):
    """``among_texts(text, json_array)``: whether a text is one of a JSON array of texts."""

    type = Boolean()
    inherit_cache = True


class among_numbers(GenericFunction[bool]):
    """``among_numbers(number, json_array)``: whether a number is one of a JSON array of numbers."""

    type = Boolean()
    inherit_cache = True


def among(column: ColumnElement[Any], values: Sequence[str]) -> ColumnElement[bool]:
    """IN a list of any length as ONE bound value, so that the statement's shape does not grow with it."""
    return among_texts(column, bindparam(None, list(values), type_=JSON()))


def _parts(element: FunctionElement[Any], compiler: SQLCompiler, **kw: Any) -> list[str]:
    return [compiler.process(clause, **kw) for clause in element.clauses]


@compiles(day_plus, "sqlite")
def _day_plus_sqlite(element: FunctionElement[Any], compiler: SQLCompiler, **kw: Any) -> str:
    day, count = _parts(element, compiler, **kw)
    return f"date({day}, ({count}) || ' days')"


@compiles(day_plus, "postgresql")
def _day_plus_pg(element: FunctionElement[Any], compiler: SQLCompiler, **kw: Any) -> str:
    day, count = _parts(element, compiler, **kw)
    return f"(({day}) + CAST({count} AS INTEGER))"


@compiles(weekday_before, "sqlite")
def _weekday_sqlite(element: FunctionElement[Any], compiler: SQLCompiler, **kw: Any) -> str:
    day, iso = _parts(element, compiler, **kw)
    return f"date({day}, '-6 days', 'weekday ' || (({iso}) % 7))"


@compiles(weekday_before, "postgresql")
def _weekday_pg(element: FunctionElement[Any], compiler: SQLCompiler, **kw: Any) -> str:
    day, iso = _parts(element, compiler, **kw)
    back = f"CAST(extract(isodow FROM ({day})) AS INTEGER) - CAST({iso} AS INTEGER) + 7"
    return f"(({day}) - mod({back}, 7))"


@compiles(moment_text, "sqlite")
def _moment_text_sqlite(element: FunctionElement[Any], compiler: SQLCompiler, **kw: Any) -> str:
    (moment,) = _parts(element, compiler, **kw)
    return f"strftime('%Y-%m-%dT%H:%M:%SZ', ({moment}) / 1000000, 'unixepoch')"


@compiles(moment_text, "postgresql")
def _moment_text_pg(element: FunctionElement[Any], compiler: SQLCompiler, **kw: Any) -> str:
    (moment,) = _parts(element, compiler, **kw)
    return f"""to_char(({moment}) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')"""


@compiles(json_record, "sqlite")
def _json_record_sqlite(element: FunctionElement[Any], compiler: SQLCompiler, **kw: Any) -> str:
    return f"json_object({', '.join(_parts(element, compiler, **kw))})"


@compiles(json_record, "postgresql")
def _json_record_pg(element: FunctionElement[Any], compiler: SQLCompiler, **kw: Any) -> str:
    return f"jsonb_build_object({', '.join(_parts(element, compiler, **kw))})"


@compiles(text_position, "sqlite")
def _position_sqlite(element: FunctionElement[Any], compiler: SQLCompiler, **kw: Any) -> str:
    return f"instr({', '.join(_parts(element, compiler, **kw))})"


@compiles(text_position, "postgresql")
def _position_pg(element: FunctionElement[Any], compiler: SQLCompiler, **kw: Any) -> str:
    return f"strpos({', '.join(_parts(element, compiler, **kw))})"


@compiles(among_numbers, "sqlite")
@compiles(among_texts, "sqlite")
def _among_sqlite(element: FunctionElement[Any], compiler: SQLCompiler, **kw: Any) -> str:
    column, array = _parts(element, compiler, **kw)
    return f"({column} IN (SELECT value FROM json_each({array})))"  # noqa: S608 - a bound parameter


@compiles(among_texts, "postgresql")
def _among_pg(element: FunctionElement[Any], compiler: SQLCompiler, **kw: Any) -> str:
    column, array = _parts(element, compiler, **kw)
    return f"({column} = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST({array} AS JSONB)))))"


@compiles(among_numbers, "postgresql")
def _among_numbers_pg(element: FunctionElement[Any], compiler: SQLCompiler, **kw: Any) -> str:
    column, array = _parts(element, compiler, **kw)
    each = f"CAST(jsonb_array_elements_text(CAST({array} AS JSONB)) AS NUMERIC)"
    return f"({column} = ANY (ARRAY(SELECT {each})))"


def starts_with(column: ColumnElement[Any], prefix: str) -> ColumnElement[bool]:
    """Whether a text begins with ``prefix``, letter for letter on both databases (LIKE differs in case)."""
    return func.substr(column, 1, len(prefix)) == literal(prefix)
