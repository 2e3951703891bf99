"""Turns values and conditions of a mapping file into polars expressions over text columns."""

import functools
import operator
from collections.abc import Callable

import polars as pl

from beforehand.ingest.grammar import ARITHMETIC
from beforehand.ingest.readings import DECIMAL, plain_numbers
from beforehand.ingest.words import Reading, Test, Value

UNMAPPED = "\uf8fe"
"""Stands before a text that a map does not know, so that it is rejected with the text itself."""


def number(text: pl.Expr, reading: Reading) -> pl.Expr:
    """A text as an exact decimal number, null where it is none."""
    if reading.thousands:
        text = text.str.replace_all(reading.thousands, "", literal=True)
    if reading.decimal and reading.decimal != ".":
        text = text.str.replace_all(".", "?", literal=True).str.replace_all(reading.decimal, ".", literal=True)
    return text.cast(DECIMAL, strict=False)


def condition(test: Test, reading: Reading) -> pl.Expr:
    """A condition, never null: what is missing fulfils ``missing`` and ``is_not`` and nothing else."""
    if test.op in ("all_of", "any_of", "none_of"):
        parts = [condition(part, reading) for part in test.parts] or [pl.lit(True)]
        joined = functools.reduce(operator.and_ if test.op == "all_of" else operator.or_, parts)
        return ~joined if test.op == "none_of" else joined
    column = pl.col(test.column)
    if test.op in ("missing", "present"):
        return column.is_null() if test.op == "missing" else column.is_not_null()
    if test.op in ("is_not", "not_in"):
        return ~column.is_in(list(test.args)).fill_null(False)
    return _text_or_number(test, column, reading).fill_null(False)


def _text_or_number(test: Test, column: pl.Expr, reading: Reading) -> pl.Expr:
    args = test.args
    texts: dict[str, Callable[[], pl.Expr]] = {
        "is": lambda: column == args[0],
        "in": lambda: column.is_in(list(args)),
        "contains": lambda: functools.reduce(operator.or_, [column.str.contains(a, literal=True) for a in args]),
        "starts_with": lambda: functools.reduce(operator.or_, [column.str.starts_with(a) for a in args]),
        "ends_with": lambda: functools.reduce(operator.or_, [column.str.ends_with(a) for a in args]),
        "matches": lambda: column.str.contains(args[0]),
    }
    if test.op in texts:
        return texts[test.op]()
    found, limits = number(column, reading), [pl.lit(arg).cast(DECIMAL) for arg in args]
    numbers: dict[str, Callable[[], pl.Expr]] = {
        "at_least": lambda: found >= limits[0],
        "at_most": lambda: found <= limits[0],
        "more_than": lambda: found > limits[0],
        "less_than": lambda: found < limits[0],
        "between": lambda: (found >= limits[0]) & (found <= limits[1]),
    }
    return numbers[test.op]()


def text(value: Value, reading: Reading) -> pl.Expr:
    """A value as text, before any aggregate: ``sum`` and the like give the text of what they aggregate."""
    reading = value.reading.over(reading)
    return _modify(_head(value, reading), value, reading)


def _head(value: Value, reading: Reading) -> pl.Expr:
    if value.op == "column":
        return pl.col(value.text).cast(pl.String)
    if value.op == "value":
        return pl.lit(value.text or None, dtype=pl.String)
    if value.op == "expr":
        return pl.sql_expr(value.text).cast(pl.String)
    parts = [text(part, reading) for part in value.args]
    if value.op == "concat":
        return pl.concat_str(parts, separator=value.separator, ignore_nulls=value.skip_missing)
    if value.op == "first_of":
        return pl.coalesce(parts)
    if value.op in ARITHMETIC:
        return plain_numbers(_calculate(value.op, [number(part, reading) for part in parts]))
    return parts[0]


def _calculate(op: str, numbers: list[pl.Expr]) -> pl.Expr:
    steps: dict[str, Callable[[pl.Expr, pl.Expr], pl.Expr]] = {
        "add": operator.add,
        "subtract": operator.sub,
        "multiply": operator.mul,
        "divide": operator.truediv,
    }
    return functools.reduce(steps[op], numbers).cast(DECIMAL)


def _modify(found: pl.Expr, value: Value, reading: Reading) -> pl.Expr:
    if value.strip is not None:
        found = found.str.strip_chars(value.strip or None)
    if value.extract:
        found = found.str.extract(value.extract, 1)
    if value.case:
        found = getattr(
            found.str, {"lower": "to_lowercase", "upper": "to_uppercase", "title": "to_titlecase"}[value.case]
        )()
    if value.pad:
        found = found.str.zfill(value.pad)
    if value.mapped is not None:
        found = _mapped(found, value, reading)
    if value.when is not None:
        found = pl.when(condition(value.when, reading)).then(found).otherwise(None)
    if value.default is not None:
        found = found.fill_null(value.default)
    return pl.when(found != "").then(found).otherwise(None)


def _mapped(found: pl.Expr, value: Value, reading: Reading) -> pl.Expr:
    table = value.mapped or {}
    known = pl.Series(list(table), dtype=pl.String)
    ours = pl.Series(list(table.values()), dtype=pl.String)
    rest = text(value.otherwise, reading) if value.otherwise is not None else pl.lit(UNMAPPED) + found
    translated = found.replace_strict(known, ours, default=None, return_dtype=pl.String) if table else found
    return pl.when(found.is_in(list(table))).then(translated).when(found.is_not_null()).then(rest).otherwise(None)
