"""The JSON Schema of conditions and of given rows: one definition for each subject, from the tables of the loader.

Offered to an editor are a subject's own facts and relations, and those one step along a relation to one. Longer paths
are known by patterns.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rules.conditions import AGGREGATES, GROUPS, MODIFIERS, OPERATORS, ORDERING
from rules.facts import Fact, Kind, Relation, Subject
from rules.shorthand import CONSENT_WORDS, STANDING
from rules.values import DAY_WORDS, DURATION_FORM, MONEY_FORM, UNITS, WEEKDAYS

Schema = dict[str, Any]

WORDS: dict[str, str] = {
    "is": "equal to this",
    "is_not": "not equal to this; holds where nothing is known, too",
    "in": "one of these, or a CSV file such as lists/vip.csv",
    "not_in": "none of these; holds where nothing is known, too",
    "contains": "has this text in it",
    "starts_with": "begins with this text",
    "at_least": "this or more",
    "at_most": "this or less",
    "more_than": "over this",
    "less_than": "under this",
    "between": "from the first to the second, both included",
    "before": "earlier than this",
    "after": "later than this",
    "within": "in the time that has just passed, such as 30 days",
    "within_next": "in the time that comes, such as 7 days",
    "since": "from this moment on",
    "any": "at least one of them is so; {} for any at all",
    "none": "not one of them is so",
    "count": "how many there are",
    "sum": "the total of a fact: {of: net_total, at_least: 100 EUR}",
    "average": "the mean of a fact: {of: score, less_than: 3}",
    "min": "the least of a fact",
    "max": "the greatest of a fact",
    "latest": "the newest of them is so",
    "change": "by how much it went up or down: {of: count, less_than: -50%}, with within",
    "where": "only those of them that are so",
    "of": "the fact that is reckoned with",
    "any_of": "at least one of these holds",
    "all_of": "all of these hold",
    "none_of": "not one of these holds",
    "missing": "nothing is known, or it has not happened yet",
    "present": "it is known, and has happened",
}
STANDING_WORDS: dict[str, str] = {
    "consents": "entries of the consent ledger: {channel: email, purpose: marketing}",
    "suppressed": "channels on which the customer's addresses must not be used, or all",
    "holdout": "true: one of those kept out on purpose",
}
SPAN = rf"\d{{1,9}}\s+({'|'.join(UNITS)})s?"
DURATION = rf"^\s*{SPAN}([ ,]+{SPAN})*\s*$"
MONEY = r"^\s*-?\d[\d,]*(\.\d+)?\s*[A-Z]{3}\s*$"
PATH = r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)*"
MOMENT = rf"^({PATH}|({SPAN}[ ,]*)+ ago|in ({SPAN}[ ,]*)+|\d{{4}}-\d{{2}}-\d{{2}}.*|[A-Z].*)$"
BARE = {"enum": ["missing", "present"]}


def text_of(words: str, expected: str = "") -> Schema:
    """A text that fits a pattern; else editors say what was expected."""
    return {"type": "string", "pattern": words, **({"patternErrorMessage": f"expected {expected}"} if expected else {})}


def ref(name: str, help_line: str = "") -> Schema:
    """A definition by its name; editors show the line of help beside it."""
    return {"$ref": f"#/definitions/{name}", **({"description": help_line} if help_line else {})}


def definitions(subjects: Mapping[str, Subject]) -> dict[str, Schema]:
    """All definitions that a rule's conditions and tests need."""
    made: dict[str, Schema] = {
        "duration": text_of(DURATION, DURATION_FORM),
        "money": text_of(MONEY, MONEY_FORM),
        "moment": {"anyOf": [{"enum": [*DAY_WORDS, *WEEKDAYS, "now"]}, text_of(MOMENT)]},
        "percent": text_of(r"^\s*[+-]?\d+(\.\d+)?%\s*$", "such as -50%"),
    }
    for kind in Kind:
        made[f"{kind}_test"] = _test_of(kind)
    for subject in subjects.values():
        made |= _of_subject(subject, subjects)
    return made


def _of_subject(subject: Subject, subjects: Mapping[str, Subject]) -> dict[str, Schema]:
    valued = {fact.name: fact for fact in subject.facts.values() if fact.values}
    made = {f"{subject.name}_{name}": _test_of(Kind.TEXT, fact.values) for name, fact in valued.items()}
    made[f"{subject.name}_condition"] = _condition(subject, subjects)
    made[f"many_{subject.name}"] = _many(subject)
    made[f"{subject.name}_row"] = _row(subject)
    return made


# -- facts -------------------------------------------------------------------------------------------------


def _value(kind: Kind, values: tuple[str, ...] = ()) -> Schema:
    """One value of a kind, or another fact in its place."""
    other = text_of(rf"^({PATH})$")
    match kind:
        case Kind.TEXT if values:
            return {"anyOf": [{"enum": [*values]}, text_of(r"^this\.")]}
        case Kind.TEXT:
            return {"type": ["string", "number"]}
        case Kind.NUMBER:
            return {"anyOf": [{"type": "number"}, other]}
        case Kind.MONEY:
            return {"anyOf": [ref("money"), other]}
        case Kind.FLAG:
            return {"type": "boolean"}
    return ref("moment")


def _operator(name: str, kind: Kind, values: tuple[str, ...]) -> Schema:
    one = _value(kind, values)
    said: Schema = {"description": WORDS[name]}
    if name in ("in", "not_in"):
        return said | {"anyOf": [{"type": "array", "items": one, "minItems": 1}, text_of(r"\.csv$")]}
    if name == "between":
        return said | {"type": "array", "items": one, "minItems": 2, "maxItems": 2}
    if name in ("within", "within_next"):
        return said | ref("duration")
    return said | one


def _test_of(kind: Kind, values: tuple[str, ...] = ()) -> Schema:
    """What a fact of a kind must be: a value, a list of them, missing or present, or tests by their words."""
    one, words = _value(kind, values), {name: _operator(name, kind, values) for name in OPERATORS[kind]}
    tests = {"type": "object", "properties": words, "additionalProperties": False, "minProperties": 1}
    several = {"type": "array", "items": one, "minItems": 1}
    if kind is Kind.TEXT and values:
        one = {"anyOf": [{"enum": [*values, *BARE["enum"]]}, text_of(r"^this\.")]}
        return {"anyOf": [*one["anyOf"], several, tests]}
    return {"anyOf": [BARE, one, several, tests]}


def _fact(subject: Subject, fact: Fact) -> Schema:
    name = f"{subject.name}_{fact.name}" if fact.values else f"{fact.kind}_test"
    values = f": {', '.join(fact.values)}" if fact.values else ""
    return ref(name, f"{fact.help or fact.name} ({fact.kind}{values})")


# -- conditions --------------------------------------------------------------------------------------------


def _condition(subject: Subject, subjects: Mapping[str, Subject]) -> Schema:
    here = ref(f"{subject.name}_condition")
    group = {"anyOf": [here, {"type": "array", "items": here, "minItems": 1}]}
    properties: dict[str, Schema] = dict(_words(subject))
    for relation in (each for each in subject.relations.values() if not each.many):
        target = subjects[relation.target]
        properties |= {f"{relation.name}.{word}": schema for word, schema in _words(target)}
    properties |= {word: group | {"description": WORDS[word]} for word in GROUPS}
    return {
        "type": "object",
        "description": f"what must hold of {subject.help}",
        "properties": properties,
        "patternProperties": dict(_patterns(subject, subjects)),
        "additionalProperties": False,
    }


def _words(subject: Subject) -> Iterator[tuple[str, Schema]]:
    for fact in subject.facts.values():
        yield fact.name, _fact(subject, fact)
    for relation in subject.relations.values():
        yield relation.name, _relation(relation)


def _relation(relation: Relation) -> Schema:
    if relation.many:
        return ref(f"many_{relation.target}", f"{relation.help} (many: say any, none, count, sum ...)")
    return BARE | {"description": f"{relation.help}: present or missing; a fact of it is {relation.name}.FACT"}


def _patterns(subject: Subject, subjects: Mapping[str, Subject]) -> Iterator[tuple[str, Schema]]:
    """Longer paths, grouped by what stands at their end; two dots and more are left to ``beforehand check``."""
    ends: dict[str, list[str]] = {}
    for way, last, passed in _ways(subject, subjects, 2):
        path = r"\.".join(way)
        if passed:
            ends.setdefault(f"many_{last.name}", []).append(path)
        else:
            for fact in last.facts.values():
                name = f"{last.name}_{fact.name}" if fact.values else f"{fact.kind}_test"
                ends.setdefault(name, []).append(rf"{path}\.{fact.name}")
    for name, paths in ends.items():
        yield f"^({'|'.join(paths)})$", ref(name)
    own = [word for word, _ in _words(subject)]
    if subject.name not in subject.relations:
        yield rf"^{subject.name}\.({'|'.join(own)})(\..+)?$", {}
    yield r"^this\..+$", {}
    yield rf"^{PATH.replace(')*', '){2,}')}$", {}


def _ways(
    subject: Subject, subjects: Mapping[str, Subject], longest: int, *, passed: bool = False, way: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Subject, bool]]:
    """Walks of two relations and more: their words, where they end, and whether they lead to many."""
    for relation in subject.relations.values():
        target, many = subjects[relation.target], passed or relation.many
        here = (*way, relation.name)
        if len(here) > 1:
            yield here, target, many
        if len(here) < longest:
            yield from _ways(target, subjects, longest, passed=many, way=here)


def _many(subject: Subject) -> Schema:
    """The test of a relation that leads to many of a subject."""
    here = ref(f"{subject.name}_condition")
    number = _bounds(Kind.NUMBER)
    numbers = [fact.name for fact in subject.facts.values() if fact.kind in (Kind.NUMBER, Kind.MONEY)]
    times = [fact.name for fact in subject.facts.values() if fact.kind in (Kind.MOMENT, Kind.DAY)]
    shapes: dict[str, Schema] = {
        "any": here,
        "none": here,
        "latest": here,
        "count": {"anyOf": [{"type": "number"}, _object(number)]},
        **({word: _reckoned(numbers) for word in ("sum", "average")} if numbers else {}),
        **({word: _reckoned([*numbers, *times]) for word in ("min", "max")} if numbers or times else {}),
        "change": _object({"of": _of([*numbers, "count"]), **{word: _change(word) for word in ORDERING}}),
        "where": here,
        "within": ref("duration"),
        "within_next": ref("duration"),
        "since": ref("moment"),
    }
    known = [name for name in (*AGGREGATES, *MODIFIERS) if name in shapes]
    return {
        "type": "object",
        "properties": {name: {**shapes[name], "description": WORDS[name]} for name in known},
        "additionalProperties": False,
        "oneOf": [{"required": [name]} for name in AGGREGATES],
    }


def _object(properties: Mapping[str, Schema]) -> Schema:
    return {"type": "object", "properties": dict(properties), "additionalProperties": False, "minProperties": 1}


def _of(names: Iterable[str]) -> Schema:
    return {"enum": [*names], "description": WORDS["of"]}


def _change(word: str) -> Schema:
    one = ref("percent")
    pair = {"type": "array", "items": one, "minItems": 2, "maxItems": 2}
    return {**(pair if word == "between" else one), "description": WORDS[word]}


def _bounds(kind: Kind) -> dict[str, Schema]:
    return {word: _operator(word, kind, ()) for word in OPERATORS[kind] if word not in ("in", "not_in")}


def _reckoned(names: list[str]) -> Schema:
    """Bounds of a number, an amount or a time, as the fact is."""
    bounds: dict[str, Schema] = {}
    for kind in (Kind.NUMBER, Kind.MONEY, Kind.DAY):
        for word in _bounds(kind):
            bounds[word] = {"description": WORDS[word]}
    return {**_object({"of": _of(names), **bounds}), "required": ["of"]}


# -- rows of tests -----------------------------------------------------------------------------------------


def _row(subject: Subject) -> Schema:
    """A row that a test gives."""
    properties: dict[str, Schema] = {}
    for fact in subject.facts.values():
        properties[fact.name] = {**_given(fact), "description": f"{fact.help or fact.name} ({fact.kind})"}
    for relation in subject.relations.values():
        one = ref(f"{relation.target}_row")
        shape = _several(one) if relation.many else {"anyOf": [one, {"enum": ["missing"]}]}
        properties[relation.name] = {**shape, "description": relation.help}
    if subject.name == "customer":
        entry = {word: {"enum": [*known]} for word, known in CONSENT_WORDS.items()}
        ledger = _object({**entry, "given_at": ref("moment")})
        channels = {"enum": [*CONSENT_WORDS["channel"]]}
        shapes: tuple[Schema, ...] = (
            {"anyOf": [ledger, {"type": "array", "items": ledger}]},
            {"anyOf": [channels, {"type": "array", "items": channels}]},
            {"type": "boolean"},
        )
        for word, shape in zip(STANDING, shapes, strict=True):
            properties[word] = {**shape, "description": STANDING_WORDS[word]}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _several(one: Schema) -> Schema:
    counted = {"type": "object", "patternProperties": {r"^\d{1,4} x$": one}, "additionalProperties": False}
    short = text_of(r"^\d{1,4} x \s*\{")
    either = {"anyOf": [one, short, {**counted, "minProperties": 1}]}
    return {"anyOf": [{"type": "array", "items": either}, *either["anyOf"]]}


def _given(fact: Fact) -> Schema:
    kinds: dict[Kind, Schema] = {
        Kind.TEXT: {"enum": [*fact.values]} if fact.values else {"type": ["string", "number"]},
        Kind.NUMBER: {"type": "number"},
        Kind.FLAG: {"type": "boolean"},
        Kind.MONEY: ref("money"),
    }
    return {"anyOf": [kinds.get(fact.kind, ref("moment")), {"enum": ["missing", None]}]}
