"""The operator's own facts in SQL: what lies in a JSON column, read as a kind of fact.

Nobody checks what a mapping puts there, so a value of another kind is missing: it must not make a statement fail
(PostgreSQL casts, and refuses) or hold by accident (SQLite calls any text greater than any number).
"""

from datetime import date
from typing import Any

from sqlalchemy import Boolean, ColumnElement, Date, Float, String, literal
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement, GenericFunction

from rules.facts import Kind

NUMBER = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?$"
"""A number as JSON writes it (RFC 8259), which is what SQLite's json_valid takes; its power of ten within reason."""
LONGEST_NUMBER = 100
"""Characters: what is longer, or of a power over 99, is no number that anybody meant (PostgreSQL refuses 1e400)."""
YES = "('true', 'yes', 'y', 't', '1')"
NO = "('false', 'no', 'n', 'f', '0')"


class json_as_text(GenericFunction[str]):
    """``json_as_text(document, key)``: the text, number or flag at ``key`` as text; else NULL."""

    type = String()
    inherit_cache = True


class json_as_number(GenericFunction[float]):
    """``json_as_number(document, key)``: the number at ``key``, also where it is written as text; else NULL."""

    type = Float()
    inherit_cache = True


class json_as_flag(GenericFunction[bool]):
    """``json_as_flag(document, key)``: true or false, in the words that ingest takes for them; else NULL."""

    type = Boolean()
    inherit_cache = True


class json_as_day(GenericFunction[date]):
    """``json_as_day(document, key)``: the day at ``key`` (ISO 8601, a day that there is); else NULL."""

    type = Date()
    inherit_cache = True


READINGS: dict[Kind, type[GenericFunction[Any]]] = {
    Kind.TEXT: json_as_text,
    Kind.NUMBER: json_as_number,
    Kind.FLAG: json_as_flag,
    Kind.DAY: json_as_day,
}


def attribute(column: ColumnElement[Any], key: str, kind: Kind) -> ColumnElement[Any]:
    """The attribute ``key`` of a JSON column as a fact of a kind."""
    return READINGS[kind](column, literal(key, String()))


def _text(element: FunctionElement[Any], compiler: SQLCompiler, **kw: Any) -> str:
    """The scalar at the key as text: the same text on both databases."""
    document, key = (compiler.process(clause, **kw) for clause in element.clauses)
    if compiler.dialect.name == "sqlite":
        path = f"""'$."' || {key} || '"'"""
        kind = f"json_type({document}, {path})"
        return (
            f"CASE WHEN {kind} IN ('true', 'false') THEN {kind} WHEN {kind} IN ('text', 'integer', 'real')"
            f" THEN CAST(json_extract({document}, {path}) AS TEXT) END"
        )
    scalar = f"jsonb_typeof({document} -> {key}) IN ('string', 'number', 'boolean')"
    return f"CASE WHEN {scalar} THEN {document} ->> {key} END"


@compiles(json_as_text)
def _json_as_text(element: FunctionElement[Any], compiler: SQLCompiler, **kw: Any) -> str:
    return f"({_text(element, compiler, **kw)})"


@compiles(json_as_flag)
def _json_as_flag(element: FunctionElement[Any], compiler: SQLCompiler, **kw: Any) -> str:
    said = f"lower({_text(element, compiler, **kw)})"
    return f"(CASE WHEN {said} IN {YES} THEN true WHEN {said} IN {NO} THEN false END)"


@compiles(json_as_number, "sqlite")
def _number_sqlite(element: FunctionElement[Any], compiler: SQLCompiler, **kw: Any) -> str:
    said = _text(element, compiler, **kw)
    valid = f"CASE WHEN json_valid({said}) THEN json_type({said}) END IN ('integer', 'real')"
    fitting = f"length({said}) <= {LONGEST_NUMBER} AND {said} NOT GLOB '*[eE]*[0-9][0-9][0-9]*'"
    return f"(CASE WHEN {valid} AND {fitting} THEN CAST({said} AS REAL) END)"


@compiles(json_as_number, "postgresql")
def _number_pg(element: FunctionElement[Any], compiler: SQLCompiler, **kw: Any) -> str:
    said = f"({_text(element, compiler, **kw)})"
    fitting = f"length({said}) <= {LONGEST_NUMBER} AND {said} ~ '{NUMBER}'"
    return f"(CASE WHEN {fitting} THEN CAST({said} AS DOUBLE PRECISION) END)"


@compiles(json_as_day, "sqlite")
def _day_sqlite(element: FunctionElement[Any], compiler: SQLCompiler, **kw: Any) -> str:
    said = f"({_text(element, compiler, **kw)})"
    return f"(CASE WHEN date({said}) = {said} THEN {said} END)"


@compiles(json_as_day, "postgresql")
def _day_pg(element: FunctionElement[Any], compiler: SQLCompiler, **kw: Any) -> str:
    said = f"({_text(element, compiler, **kw)})"
    # the path's datetime() says nothing to what is no day, where a cast would stop the statement
    read = f"""jsonb_path_query_first(to_jsonb({said}), '$.datetime("YYYY-MM-DD")', '{{}}', true) #>> '{{}}'"""
    return f"(CASE WHEN {said} ~ '^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}$' THEN CAST({read} AS DATE) END)"
