"""Reads the values and conditions of a mapping file into plain values; says what is wrong with them."""

import re
from collections.abc import Callable, Collection
from dataclasses import replace

from beforehand.ingest.readings import bad_format
from beforehand.ingest.tree import Complaints, Node
from beforehand.ingest.words import Reading, Test, Value, expression_columns
from models.types import time_zones

ARITHMETIC = ("add", "subtract", "multiply", "divide")
AGGREGATES = ("sum", "count", "min", "max", "first", "last", "average")
HEADS = ("from", "value", "concat", "expr", "first_of", *ARITHMETIC, *AGGREGATES)
READING = ("times", "dates", "zone", "decimal", "thousands", "region", "currency")
MODIFIERS = (
    "map",
    "else",
    "when",
    "default",
    "with",
    "skip_missing",
    "extract",
    "strip",
    "case",
    "pad",
    "as",
    "plus",
    "minus",
    "if_bad",
    *READING,
)
KINDS = ("text", "number", "integer", "boolean", "time", "date", "money")
UNITS = {"seconds": "s", "minutes": "m", "hours": "h", "days": "d", "weeks": "w", "months": "mo", "years": "y"}
CASES = ("lower", "upper", "title")
LISTS = ("in", "not_in", "between")
NUMERIC = ("at_least", "at_most", "more_than", "less_than", "between")
OPERATORS = (
    "is", "is_not", "in", "not_in", "contains", "starts_with", "ends_with", "matches", *NUMERIC,
)  # fmt: skip
GROUPS = ("all_of", "any_of", "none_of")
LINE = "@line"


def read_reading(node: Node, complaints: Complaints) -> Reading:
    """The words about how text is read, wherever they may stand."""
    from babel.numbers import list_currencies
    from phonenumbers import SUPPORTED_REGIONS

    def one_of(key: str, known: Collection[str], example: str) -> str | None:
        found = node.get(key)
        if found is None:
            return None
        text = complaints.text(found, key)
        if text not in known:
            complaints.add(found, f"{key} '{text}' is not known; expected for example {example}")
        return text

    for key in ("times", "dates"):
        for form in complaints.texts(node.get(key), key) or ():
            if said := bad_format(form):
                complaints.add(node.value[key], said)
    marks = {key: complaints.text(node.get(key), key) if node.get(key) else None for key in ("decimal", "thousands")}
    return Reading(
        times=complaints.texts(node.get("times"), "times"),
        dates=complaints.texts(node.get("dates"), "dates"),
        zone=one_of("zone", time_zones(), "Europe/London"),
        region=one_of("region", set(SUPPORTED_REGIONS), "GB"),
        currency=one_of("currency", set(list_currencies()), "EUR"),
        **marks,
    )


def read_value(node: Node, complaints: Complaints) -> Value:
    """A value: a column's name, a list of alternatives, or a mapping with one head word and modifiers."""
    if node.is_list:
        return Value("first_of", node, args=tuple(read_value(entry, complaints) for entry in node.value))
    if isinstance(node.value, str):
        return Value("column", node, text=node.value)
    if not node.is_map:
        complaints.add(node, "nothing is said here; expected a column's name, or {value: ...} for a constant")
        return Value("value", node)
    complaints.only(node, "a value", (*HEADS, *MODIFIERS))
    heads = [key for key in node.value if key in HEADS]
    if len(heads) != 1:
        said = f"a value has exactly one of {', '.join(HEADS)}; here: {', '.join(heads) or 'none'}"
        complaints.add(node, said)
        return Value("value", node)
    return _modified(_head(heads[0], node.value[heads[0]], complaints), node, complaints)


def _head(word: str, node: Node, complaints: Complaints) -> Value:
    if word == "value":
        return Value("value", node, text=complaints.text(node, "value") if node.value is not None else "")
    if word == "expr":
        return _expression(node, complaints)
    if word == "count" and node.value == "rows":
        return Value("count", node, args=(Value("value", node, text="1"),))
    if word in AGGREGATES:
        return Value(word, node, args=(read_value(node, complaints),))
    if word == "from":
        inner = read_value(node, complaints)
        return inner if inner.op == "column" else Value("first_of", node, args=(inner,))
    if not node.is_list or len(node.value) < 1:
        complaints.add(node, f"{word} takes a list of values, for example [Quantity, UnitPrice]")
        return Value("value", node)
    return Value(word, node, args=tuple(read_value(entry, complaints) for entry in node.value))


def _expression(node: Node, complaints: Complaints) -> Value:
    text = complaints.text(node, "expr")
    try:
        expression_columns(text)
    except ValueError as wrong:
        complaints.add(node, f"this is not an SQL expression: {wrong}")
        return Value("value", node)
    return Value("expr", node, text=text)


def _modified(head: Value, node: Node, complaints: Complaints) -> Value:
    readers: dict[str, tuple[str, Callable[[Node], object]]] = {
        "map": ("mapped", lambda at: _map(at, complaints)),
        "else": ("otherwise", lambda at: _otherwise(at, complaints)),
        "when": ("when", lambda at: read_test(at, complaints)),
        "extract": ("extract", lambda at: _pattern(at, complaints)),
        "default": ("default", lambda at: complaints.text(at, "default")),
        "with": ("separator", lambda at: complaints.text(at, "with")),
        "skip_missing": ("skip_missing", lambda at: _true(at, "skip_missing", complaints)),
        "strip": ("strip", lambda at: complaints.text(at, "strip")),
        "case": ("case", lambda at: complaints.choice(at, "case", CASES, "lower")),
        "pad": ("pad", lambda at: _whole(at, "pad", complaints)),
        "as": ("kind", lambda at: complaints.choice(at, "as", KINDS, "text")),
        "plus": ("plus", lambda at: _durations(at, complaints)),
        "minus": ("minus", lambda at: _durations(at, complaints)),
        "if_bad": ("if_bad", lambda at: complaints.choice(at, "if_bad", ("reject", "empty"), "reject")),
    }
    said = {name: read(node.value[word]) for word, (name, read) in readers.items() if word in node.value}
    if "else" in node.value and "map" not in node.value:
        complaints.add(node.keys["else"], "'else' belongs to 'map'; without a map, 'default' fills what is empty")
    return replace(head, reading=read_reading(node, complaints), **said)  # type: ignore[arg-type]


def _whole(node: Node, kind: str, complaints: Complaints) -> int:
    text = complaints.text(node, kind)
    if not text.isdigit():
        complaints.add(node, f"{kind} is a whole number, not '{text}'")
        return 0
    return int(text)


def _true(node: Node, kind: str, complaints: Complaints) -> bool:
    return complaints.choice(node, kind, ("true", "false"), "false") == "true"


def _durations(node: Node, complaints: Complaints) -> tuple[tuple[str, Value], ...]:
    complaints.only(node, "plus and minus", UNITS)
    return tuple((unit, read_value(entry, complaints)) for unit, entry in node.items() if unit in UNITS)


def _otherwise(node: Node, complaints: Complaints) -> Value:
    return Value("value", node, text=node.value or "") if not node.is_map else read_value(node, complaints)


def _map(node: Node, complaints: Complaints) -> dict[str, str | None]:
    if not node.is_map:
        complaints.add(node, "map takes a mapping from the source's words to ours, for example {HANG: dropped}")
        return {}
    return {key: None if value.value is None else complaints.text(value, "map") for key, value in node.items()}


def _pattern(node: Node, complaints: Complaints) -> str:
    text = complaints.text(node, "extract")
    try:
        if re.compile(text).groups != 1:
            complaints.add(node, "extract needs exactly one group in round brackets: the part to take")
    except re.error as wrong:
        complaints.add(node, f"this is not a regular expression: {wrong}")
    return text


def read_test(node: Node, complaints: Complaints) -> Test:
    """A condition: columns with tests, all of which must hold; all_of, any_of, none_of nest."""
    if not node.is_map:
        complaints.add(node, "a condition is a mapping of columns to tests, for example {Quantity: {more_than: 0}}")
        return Test("all_of")
    parts: list[Test] = []
    for key, entry in node.items():
        if key in GROUPS:
            if not entry.is_list:
                complaints.add(entry, f"{key} takes a list of conditions")
            else:
                parts.append(Test(key, parts=tuple(read_test(part, complaints) for part in entry.value)))
        else:
            parts.extend(_column_tests(key, entry, complaints))
    return parts[0] if len(parts) == 1 else Test("all_of", parts=tuple(parts))


def _column_tests(column: str, node: Node, complaints: Complaints) -> list[Test]:
    if node.is_list:
        return [Test("in", column, complaints.texts(node, "in") or ())]
    if node.value in ("missing", "present"):
        return [Test(node.value, column)]
    if not node.is_map:
        return [Test("is", column, (complaints.text(node, "a test"),))]
    tests = []
    for op, entry in node.items():
        if op not in OPERATORS:
            complaints.unknown(node.keys[op], "test", op, (*OPERATORS, "missing", "present"))
            continue
        args = complaints.texts(entry, op) or ()
        if op == "between" and len(args) != 2:
            complaints.add(entry, "between takes two numbers, for example [1, 5]")
        if op == "is" and entry.value in ("missing", "present"):
            tests.append(Test(entry.value, column))
            continue
        if op in NUMERIC:
            _numbers(entry, args, complaints)
        if op == "matches":
            _regex(entry, args[0], complaints)
        tests.append(Test(op, column, args))
    return tests


def _numbers(node: Node, args: tuple[str, ...], complaints: Complaints) -> None:
    for arg in args:
        if not re.fullmatch(r"[+-]?\d+(\.\d+)?", arg):
            complaints.add(node, f"'{arg}' is not a number")


def _regex(node: Node, pattern: str, complaints: Complaints) -> None:
    import polars as pl

    try:
        pl.select(pl.lit("").str.contains(pattern))
    except pl.exceptions.ComputeError:
        complaints.add(node, f"'{pattern}' is not a regular expression that we can use")
