"""Loads a mapping file: everything that is wrong with it is said at once, each with its place."""

import codecs
import os
from collections.abc import Iterable
from pathlib import Path

from beforehand.ingest.grammar import AGGREGATES, READING, read_reading, read_test, read_value
from beforehand.ingest.targets import TARGETS, Target
from beforehand.ingest.tree import Complaints, MappingErrors, Node, read
from beforehand.ingest.words import Join, Load, Mapping, Rows, Source, Test, Value, View, all_values

TOP = ("about", "data", "defaults", "sources", "views", "load")
FORMATS = ("csv", "jsonl", "parquet", "fixed")
SUFFIXES = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl",
    ".parquet": "parquet",
}  # fmt: skip
WRITING = ("encoding", "delimiter", "quote", "null", "trim", "header", "skip_lines", "duplicates")
SOURCE = ("file", "query", "database", "format", "columns", *WRITING, *READING)
ROWS = ("from", "join", "where", "leave_out", "group_by", "sort")
VIEW = (*ROWS, "columns")
LOAD = ("into", *ROWS, "key", "fields", "attributes", "properties")


def load_mapping(path: Path, *, data: Path | None = None) -> Mapping:
    """Read and check a mapping file.

    ``data`` is the folder that relative file names start from; without it the environment variable BEFOREHAND_DATA,
    then the file's own ``data:``, then the file's folder. Raises MappingErrors with everything that is wrong.
    """
    root, complaints = read(path)
    if not complaints.only(root, "the mapping file", TOP):
        raise MappingErrors(complaints.problems)
    for word in ("sources", "load"):
        if root.get(word) is None:
            complaints.add(root, f"'{word}' is missing; a mapping file has 'sources' and 'load'")
    defaults = root.get("defaults") or Node({}, 1, 1)
    complaints.only(defaults, "defaults", (*READING, *WRITING))
    sources = {name: _source(name, node, defaults, complaints) for name, node in _named(root, "sources", complaints)}
    views = {name: _view(name, node, complaints) for name, node in _named(root, "views", complaints)}
    loads = tuple(_load(node, complaints) for node in _list(root.get("load"), "load", complaints))
    mapping = Mapping(
        path, _folder(path, root, data, complaints), sources, views, loads, read_reading(defaults, complaints)
    )
    _check_names(mapping, complaints)
    if complaints.problems:
        raise MappingErrors(complaints.problems)
    return mapping


def _folder(path: Path, root: Node, data: Path | None, complaints: Complaints) -> Path:
    if data is not None:
        return data
    if told := os.environ.get("BEFOREHAND_DATA"):
        return Path(told)
    node = root.get("data")
    return path.parent / complaints.expand(node, complaints.text(node, "data")) if node else path.parent


def _named(root: Node, word: str, complaints: Complaints) -> list[tuple[str, Node]]:
    node = root.get(word)
    if node is None:
        return []
    if not node.is_map:
        complaints.add(node, f"{word} must be a mapping of names to what they are")
    return list(node.items())


def _list(node: Node | None, word: str, complaints: Complaints) -> list[Node]:
    if node is None:
        return []
    if node.is_list:
        return list(node.value)
    complaints.add(node, f"{word} must be a list; begin each entry with '-'")
    return []


def _source(name: str, node: Node, defaults: Node, complaints: Complaints) -> Source:
    if isinstance(node.value, str):  # just a file's name
        node = Node({"file": node}, node.line, node.column, keys={"file": node})
    if not complaints.only(node, f"source '{name}'", SOURCE):
        return Source(name, node)

    def get(word: str) -> Node | None:
        return node.get(word) or defaults.get(word)

    file, query = node.get("file"), node.get("query")
    if (file is None) == (query is None):
        complaints.add(node, f"source '{name}' needs either 'file', or 'query' and 'database'")
    if query is not None and node.get("database") is None:
        complaints.add(query, "a query needs 'database', the URL to ask; put secrets in the environment: ${SHOP_URL}")
    if "." in name:
        complaints.add(node, f"a source's name has no dot: '{name}'")
    file_name = complaints.expand(file, complaints.text(file, "file")) if file else ""
    columns, widths = _columns(node.get("columns"), complaints)
    form = "sql" if query else "fixed" if widths else _format(node, file_name, complaints)
    database = node.get("database")
    null = complaints.texts(get("null"), "null") or ()
    return Source(
        name,
        node,
        file=file_name,
        database=complaints.expand(database, complaints.text(database, "database")) if database else "",
        query=complaints.text(query, "query"),
        format=form,
        encoding=_encoding(get("encoding"), complaints),
        delimiter=_delimiter(get("delimiter"), file_name, complaints),
        quote=_quote(get("quote"), complaints),
        header=_yes(get("header"), "header", not columns, complaints),
        columns=columns,
        widths=widths,
        null=("", *null),
        trim=_yes(get("trim"), "trim", True, complaints),
        skip_lines=_whole(get("skip_lines"), complaints),
        drop_duplicates=complaints.choice(get("duplicates"), "duplicates", ("keep", "drop"), "keep") == "drop",
        reading=read_reading(node, complaints),
    )


def _columns(node: Node | None, complaints: Complaints) -> tuple[tuple[str, ...], tuple[tuple[int, int], ...]]:
    if node is None:
        return (), ()
    if not node.is_map:
        return complaints.texts(node, "columns") or (), ()
    widths = []
    for name, entry in node.items():
        first, _, last = complaints.text(entry, "columns").partition("-")
        if not (first.isdigit() and last.isdigit() and 1 <= int(first) <= int(last)):
            complaints.add(entry, f"where column '{name}' stands in the line: expected first-last, for example 2-6")
            first, last = "1", "1"
        widths.append((int(first), int(last)))
    return tuple(node.value), tuple(widths)


def _format(node: Node, file: str, complaints: Complaints) -> str:
    suffix = Path(file.removesuffix(".gz")).suffix.lower()
    return complaints.choice(node.get("format"), "format", FORMATS, SUFFIXES.get(suffix, "csv"))


def _encoding(node: Node | None, complaints: Complaints) -> str:
    name = complaints.text(node, "encoding", "utf-8")
    try:
        codecs.lookup(name)
    except LookupError:
        if node is not None:
            complaints.add(node, f"unknown encoding '{name}'; expected for example utf-8, windows-1252 or utf-16")
        return "utf-8"
    return "utf-8-sig" if codecs.lookup(name).name == "utf-8" else name


def _delimiter(node: Node | None, file: str, complaints: Complaints) -> str:
    default = "\t" if file.removesuffix(".gz").endswith(".tsv") else ","
    raw = default if node is None else str(node.value or "")
    text = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}.get(raw, raw)
    if len(text) != 1 and node is not None:
        complaints.add(node, f"the delimiter is one character, or tab, comma, semicolon, pipe or space; not '{raw}'")
        return default
    return text


def _quote(node: Node | None, complaints: Complaints) -> str | None:
    text = complaints.text(node, "quote", '"')
    if text == "none":
        return None
    if len(text) != 1 and node is not None:
        complaints.add(node, "the quote is one character, or 'none' where quote characters are plain text")
        return '"'
    return text


def _yes(node: Node | None, kind: str, default: bool, complaints: Complaints) -> bool:
    return complaints.choice(node, kind, ("true", "false"), "true" if default else "false") == "true"


def _whole(node: Node | None, complaints: Complaints) -> int:
    text = complaints.text(node, "skip_lines", "0")
    if text.isdigit():
        return int(text)
    if node is not None:
        complaints.add(node, f"skip_lines is a whole number, not '{text}'")
    return 0


def _rows(node: Node, complaints: Complaints) -> Rows:
    source = node.get("from")
    if source is None:
        complaints.add(node, "'from' is missing: the source or view whose rows these are")
    filters: list[tuple[str, Test]] = []
    if (where := node.get("where")) is not None:
        filters.append(("not asked for by where", Test("none_of", parts=(read_test(where, complaints),))))
    if (leave := node.get("leave_out")) is not None:
        if not leave.is_map:
            complaints.add(leave, "leave_out is a mapping of names to conditions")
        filters.extend((name, read_test(entry, complaints)) for name, entry in leave.items())
    return Rows(
        complaints.text(source, "from"),
        source or node,
        joins=tuple(_join(entry, complaints) for entry in _list(node.get("join"), "join", complaints)),
        leave_out=tuple(filters),
        group_by=complaints.texts(node.get("group_by"), "group_by") or (),
        sort=tuple(_sort(entry, complaints) for entry in _list(node.get("sort"), "sort", complaints)),
    )


def _join(node: Node, complaints: Complaints) -> Join:
    complaints.only(node, "a join", ("source", "on", "as", "take"))
    source, on = complaints.text(node.get("source"), "source"), node.get("on")
    if not source or on is None:
        complaints.add(node, "a join needs 'source' and 'on': the column, or {our column: their column}")
        return Join(source, source, (), "last", node)
    if on.is_map:
        pairs = tuple((ours, complaints.text(theirs, "on")) for ours, theirs in on.items())
    else:
        pairs = tuple((name, name) for name in complaints.texts(on, "on") or ())
    take = complaints.choice(node.get("take"), "take", ("first", "last"), "last")
    return Join(source, complaints.text(node.get("as"), "as", source), pairs, take, node)


def _sort(node: Node, complaints: Complaints) -> tuple[str, str]:
    if not node.is_map:
        return complaints.text(node, "sort"), "text"
    complaints.only(node, "sort", ("column", "as"))
    kind = complaints.choice(node.get("as"), "as", ("text", "number", "time"), "text")
    return complaints.text(node.get("column"), "column"), kind


def _view(name: str, node: Node, complaints: Complaints) -> View:
    complaints.only(node, f"view '{name}'", VIEW)
    columns = node.get("columns")
    if columns is None or not columns.is_map:
        complaints.add(node, f"view '{name}' needs 'columns': names and values")
    values = {key: read_value(entry, complaints) for key, entry in columns.items()} if columns else {}
    return View(name, _rows(node, complaints), values)


def _load(node: Node, complaints: Complaints) -> Load:
    complaints.only(node, "a load", LOAD)
    rows = _rows(node, complaints)
    into = complaints.choice(node.get("into"), "table", TARGETS, "")
    if node.get("into") is None:
        complaints.add(node, f"'into' is missing: the table to fill, one of {', '.join(TARGETS)}")
    target = TARGETS.get(into)
    if target is None:
        return Load(into, rows, None, {}, {}, {}, node)
    key = _key(node, rows, target, complaints)
    fields, links = _fields(node, target, complaints)
    return Load(into, rows, key, fields, links, _extra(node, target, complaints), node)


def _key(node: Node, rows: Rows, target: Target, complaints: Complaints) -> Value | None:
    key = node.get("key")
    if not target.keyed:
        if key is not None:
            complaints.add(key, f"{target.name} have no key: the same entry is known by its content")
        return None
    if key is not None:
        return read_value(key, complaints)
    if len(rows.group_by) == 1:
        return Value("column", node, text=rows.group_by[0])
    complaints.add(node, f"'key' is missing: what a row of {target.name} is known by in the source")
    return None


def _fields(
    node: Node, target: Target, complaints: Complaints
) -> tuple[dict[str, Value], dict[str, tuple[tuple[str, Value], ...]]]:
    fields: dict[str, Value] = {}
    links: dict[str, tuple[tuple[str, Value], ...]] = {}
    entry = node.get("fields") or Node({}, node.line, node.column)
    complaints.only(entry, f"the fields of {target.name}", (*target.fields, *target.links))
    for name, value in entry.items():
        if name in target.links:
            links[name] = _link(name, value, complaints)
        elif name in target.fields:
            fields[name] = read_value(value, complaints)
    needed = [name for name, field in target.fields.items() if field.required and name != "currency"]
    for name in [*needed, *(link for link, must in target.links.items() if must)]:
        if name not in fields and name not in links:
            complaints.add(entry, f"{target.name} need '{name}'")
    return fields, links


def _link(name: str, node: Node, complaints: Complaints) -> tuple[tuple[str, Value], ...]:
    ways = []
    for entry in node.value if node.is_list else [node]:
        by = next((word for word in ("phone", "email") if entry.get(word)), "key")
        if by != "key" and name != "customer":
            complaints.add(entry, f"only a customer is found by {by}; the {name} is found by its key")
        if by != "key":
            complaints.only(entry, f"a link by {by}", (by,))
        ways.append((by, read_value(entry.value[by] if by != "key" else entry, complaints)))
    if len({by for by, _ in ways}) < len(ways):
        complaints.add(node, "each way of finding stands once: a key, {phone: ...}, {email: ...}; see first_of")
    return tuple(ways)


def _extra(node: Node, target: Target, complaints: Complaints) -> dict[str, Value]:
    extra: dict[str, Value] = {}
    for word in ("attributes", "properties"):
        entry = node.get(word)
        if entry is None:
            continue
        if word != target.extra:
            complaints.add(node.keys[word], f"{target.name} have no {word}")
        elif not entry.is_map:
            complaints.add(entry, f"{word} is a mapping of names to values")
        extra = {name: read_value(value, complaints) for name, value in entry.items()}
    return extra


def _check_names(mapping: Mapping, complaints: Complaints) -> None:
    known = [*mapping.sources, *mapping.views]
    for name in set(mapping.sources) & set(mapping.views):
        complaints.add(mapping.views[name].rows.at, f"'{name}' is both a source and a view")
    seen = list(mapping.sources)
    for view in mapping.views.values():
        _check_rows(view.rows, seen, complaints)
        _check_values(view.rows, view.columns.values(), complaints)
        seen.append(view.name)
    for load in mapping.loads:
        _check_rows(load.rows, known, complaints)
        _check_values(load.rows, all_values(load), complaints)


def _check_values(rows: Rows, values: Iterable[Value], complaints: Complaints) -> None:
    for value in values:
        if value.op in AGGREGATES and not rows.group_by:
            complaints.add(value.at, f"'{value.op}' needs 'group_by': it makes one value out of many rows")
        for part in value.parts():
            _check_inner(part, complaints)


def _check_inner(value: Value, complaints: Complaints) -> None:
    if value.op in AGGREGATES:
        complaints.add(value.at, f"'{value.op}' must stand outermost; make a view with it, and calculate from the view")
    for part in value.parts():
        _check_inner(part, complaints)


def _check_rows(rows: Rows, known: list[str], complaints: Complaints) -> None:
    if rows.source and rows.source not in known:
        complaints.unknown(rows.at, "source", rows.source, known)
    for join in rows.joins:
        if join.source and join.source not in known:
            complaints.unknown(join.at, "source", join.source, known)
