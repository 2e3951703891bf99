"""Money of one currency as another one, in SQL: whole numbers only, so that both databases give the same."""

from typing import Any

from sqlalchemy import JSON, BigInteger, ColumnElement, bindparam, case, literal
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement, GenericFunction

from rules.rates import Rates


class rate_above(GenericFunction[int]):
    """``rate_above(json, currency)``: the numerator of a currency's rate; null where the JSON has none."""

    type = BigInteger()
    inherit_cache = True


class rate_below(GenericFunction[int]):
    """``rate_below(json, currency)``: the denominator of a currency's rate; null where the JSON has none."""

    type = BigInteger()
    inherit_cache = True


def _sqlite(element: FunctionElement[Any], compiler: SQLCompiler, place: int, **kw: Any) -> str:
    table, currency = (compiler.process(clause, **kw) for clause in element.clauses)
    # What is no code (a stray quote) would be read as a path into the JSON.
    code = f"(CASE WHEN ({currency}) GLOB '[A-Z][A-Z][A-Z]' THEN ({currency}) END)"
    return f"(({table} -> {code}) ->> {place})"


def _postgresql(element: FunctionElement[Any], compiler: SQLCompiler, place: int, **kw: Any) -> str:
    table, currency = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"CAST(((CAST({table} AS JSONB) -> CAST(({currency}) AS TEXT)) ->> {place}) AS BIGINT)"


@compiles(rate_above, "sqlite")
def _above_sqlite(element: FunctionElement[Any], compiler: SQLCompiler, **kw: Any) -> str:
    return _sqlite(element, compiler, 0, **kw)


@compiles(rate_below, "sqlite")
def _below_sqlite(element: FunctionElement[Any], compiler: SQLCompiler, **kw: Any) -> str:
    return _sqlite(element, compiler, 1, **kw)


@compiles(rate_above, "postgresql")
def _above_pg(element: FunctionElement[Any], compiler: SQLCompiler, **kw: Any) -> str:
    return _postgresql(element, compiler, 0, **kw)


@compiles(rate_below, "postgresql")
def _below_pg(element: FunctionElement[Any], compiler: SQLCompiler, **kw: Any) -> str:
    return _postgresql(element, compiler, 1, **kw)


def converted(amount: ColumnElement[Any], currency: ColumnElement[Any], rates: Rates, into: str) -> ColumnElement[int]:
    """Minor units of ``currency`` as minor units of ``into``, row by row, rounded as :func:`rules.rates.convert` does.

    Null where there is no rate. All rates are one bound value: the statement's shape does not grow with them.
    """
    table = bindparam(None, rates.into(into), type_=JSON())
    above, below = rate_above(table, currency), rate_below(table, currency)
    two = literal(2, BigInteger())
    half = case((amount < 0, -below), else_=below)  # both databases cut towards zero
    return (amount // below) * above + (two * (amount % below) * above + half) // (two * below)
