"""The JSON Schema (draft-07) of a rule file, for editors: made from the same tables that the loader reads by.

It knows less than the loader: what an editor underlines is wrong, and what it does not underline ``beforehand check``
may still refuse.
"""

import json
from collections.abc import Mapping
from typing import Any

from models.vocabulary import Reason, WhenCapped
from rules.facts import Subject
from rules.json_conditions import Schema, definitions, ref, text_of
from rules.schema import (
    CHANNELS,
    EXPECT_KEYS,
    EXPECTED_STEP_KEYS,
    LIMIT_KEYS,
    PURPOSES,
    REQUIRED,
    RULE_KEYS,
    STAGE_KEYS,
    STATUSES,
    STEP_KEYS,
    TEST_KEYS,
    VOUCHER_TERMS,
    WHEN_KEYS,
)

DRAFT = "http://json-schema.org/draft-07/schema#"
TEXT: Schema = {"type": "string", "minLength": 1}
SHARE: Schema = {"type": "string", "pattern": r"^\s*\d+(\.\d+)?%"}

STEP_WORDS: dict[str, str] = {
    "send": "fill this template and reach the customer",
    "call": "ring the customer with this template",
    "survey": "ask the customer with this template",
    "wait": "such as 2 days, or until issue.closed_at",
    "task": "work for a person: what shall be done",
    "voucher": "reserve a voucher; the next message shows its code",
    "webhook": "tell another system: the name of an endpoint in the settings",
    "by": "the channels that may be used, the first that can comes first; or preferred",
    "valid_for": "how long the message is of use",
    "connect_to": "the desk that the customer is put through to",
    "tries": "how often to ring, 1 to 10",
    "every": "how long to wait before ringing again",
    "else": "what follows where this did not get through",
    "stop_if": "nothing follows where this holds by then",
    "to": "the desk that does it",
    "with": "the facts that are told",
}
VOUCHER_WORDS: dict[str, str] = {
    "worth": "such as 50 EUR",
    "valid_for": "how long it can be used",
    "budget": "what the rule may promise, such as 5000 EUR per month",
    "per_customer": "what one customer may be promised by all rules together, such as 100 EUR per 12 months",
}


def rule_schema(subjects: Mapping[str, Subject]) -> Schema:
    """The schema of one rule file, for these subjects (with the operator's own facts among them)."""
    usable = [name for name, subject in subjects.items() if subject.for_each]
    shapes = _shapes(subjects, usable)
    properties = {key: {**shapes.get(key, TEXT), "description": RULE_KEYS[key]} for key in RULE_KEYS}
    return {
        "$schema": DRAFT,
        "title": "A rule of Beforehand",
        "type": "object",
        "properties": properties,
        "required": [*REQUIRED],
        "additionalProperties": False,
        "allOf": [_for(name) for name in usable],
        "definitions": {**definitions(subjects), **_steps(usable), **_tests(subjects)},
    }


def schema_text(subjects: Mapping[str, Subject]) -> str:
    """The schema as the text of a file: a line for each key and for each definition."""
    schema = rule_schema(subjects)
    named = schema.pop("definitions")
    head = [f" {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in schema.items()]
    lines = [f"  {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in named.items()]
    return "{\n" + ",\n".join([*head, ' "definitions": {\n' + ",\n".join(lines) + "\n }"]) + "\n}\n"


def _shapes(subjects: Mapping[str, Subject], usable: list[str]) -> dict[str, Schema]:
    events = sorted({event for subject in subjects.values() for event in subject.events})
    return {
        "id": {"type": "string", "pattern": "^[a-z0-9]+(-[a-z0-9]+)*$"},
        "status": {"enum": [*STATUSES]},
        "from": {},
        "percent": {"anyOf": [{"type": "number", "minimum": 0, "maximum": 100}, SHARE]},
        "purpose": {"enum": [*PURPOSES]},
        "priority": {"type": "integer", "minimum": 0, "maximum": 100},
        "for_each": {"enum": usable},
        "when": _when(events),
        "if": {"type": "object", "minProperties": 1},
        "unless": {"type": "object", "minProperties": 1},
        "then": {"type": "array", "minItems": 1},
        "limits": _limits(),
        "tests": {"type": "array", "items": ref("test")},
    }


def _for(name: str) -> Schema:
    """What a rule says of conditions and steps once it is known what it looks at."""
    named = {"additionalProperties": ref(f"{name}_condition")}
    steps = {"items": ref(f"{name}_step")}
    limits = {"properties": {"once_per": text_of(rf"^({name}|customer)( every .+)?$")}}
    return {
        "if": {"properties": {"for_each": {"const": name}}, "required": ["for_each"]},
        "then": {"properties": {"if": named, "unless": named, "then": steps, "limits": limits}},
    }


def _one_or_more(one: Schema) -> Schema:
    return {"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]}


def _object(words: Mapping[str, str], shapes: Mapping[str, Schema], **more: Any) -> Schema:
    properties = {word: {**shapes.get(word, TEXT), "description": said} for word, said in words.items()}
    return {"type": "object", "properties": properties, "additionalProperties": False, **more}


def _when(events: list[str]) -> Schema:
    shapes = {key: _one_or_more(TEXT) for key in ("every", "at", "cron")}
    return _object(WHEN_KEYS, {**shapes, "event": _one_or_more({"enum": events})}, minProperties=1)


def _limits() -> Schema:
    shapes = {
        "valid_for": ref("duration"),
        "at_most": text_of(r"^\s*\d+ messages? per (hour|day|week|month)\s*$"),
        "brake": SHARE,
        "holdout": SHARE,
        "when_capped": {"enum": [*WhenCapped]},
    }
    return _object(LIMIT_KEYS, shapes)


def _steps(usable: list[str]) -> dict[str, Schema]:
    return {f"{name}_step": _step(name) for name in usable}


def _step(subject: str) -> Schema:
    """One step: one of its verbs, and beside it only the words that go with that verb."""
    channels = {"enum": [*CHANNELS]}
    shapes: dict[str, Schema] = {
        "by": {"anyOf": [{"enum": [*CHANNELS, "preferred"]}, {"type": "array", "items": channels}]},
        "valid_for": ref("duration"),
        "every": ref("duration"),
        "tries": {"type": "integer", "minimum": 1, "maximum": 10},
        "else": ref(f"{subject}_step"),
        "stop_if": ref(f"{subject}_condition"),
        "wait": {"anyOf": [ref("duration"), text_of(r"^until [a-z_.]+(, at most .+)?$")]},
        "voucher": _voucher(),
        "with": {},
    }
    words = {key: STEP_WORDS[key] for keys in STEP_KEYS.values() for key in keys}
    schema = _object(words, shapes, **_verbs(STEP_KEYS))
    schema["allOf"].append({"if": {"required": ["task"]}, "then": {"required": ["to"]}})
    return schema


def _verbs(known: Mapping[str, tuple[str, ...]]) -> Schema:
    only = [{"if": {"required": [verb]}, "then": {"propertyNames": {"enum": [*keys]}}} for verb, keys in known.items()]
    return {"allOf": only, "anyOf": [{"required": [verb]} for verb in known]}


def _voucher() -> Schema:
    shapes = {
        "worth": ref("money"),
        "valid_for": ref("duration"),
        "budget": text_of(r"^.+ [A-Z]{3} per (day|week|month)\s*$"),
        "per_customer": text_of(r"^.+ [A-Z]{3} per .+$"),
    }
    words = {key: VOUCHER_WORDS[key] for key in VOUCHER_TERMS}
    return _object(words, shapes, required=["worth", "valid_for"])


def _tests(subjects: Mapping[str, Subject]) -> dict[str, Schema]:
    rows = {name: ref(f"{name}_row", subject.help) for name, subject in subjects.items()}
    rows["customer"] = {"anyOf": [ref("customer_row"), {"enum": ["missing"]}], "description": subjects["customer"].help}
    later = _object(STAGE_KEYS, {"after": ref("duration"), "expect": ref("expect")}, required=[*STAGE_KEYS])
    shapes: dict[str, Schema] = {
        "now": {},
        "given": {"type": "object", "properties": rows, "additionalProperties": False},
        "undelivered": _one_or_more({"enum": [*CHANNELS]}),
        "after": ref("duration"),
        "expect": ref("expect"),
        "then": {"type": "array", "items": later, "minItems": 1},
    }
    test = _object(TEST_KEYS, shapes, required=["name", "now", "expect"])
    return {"test": test, "expect": _expect(), "expected_step": _expected_step()}


def _expect() -> Schema:
    reasons = {"withheld": {"enum": [reason.value for reason in Reason]}}
    withheld = _object({"withheld": EXPECT_KEYS["withheld"]}, reasons, required=["withheld"])
    steps = {"type": "array", "items": ref("expected_step"), "minItems": 1}
    return {"anyOf": [{"enum": ["nothing"]}, steps, withheld, ref("expected_step")]}


def _expected_step() -> Schema:
    shapes: dict[str, Schema] = {
        "by": {"enum": [*CHANNELS]},
        "voucher": ref("money"),
        "says": _one_or_more(TEXT),
        "at": text_of(r"^(\S+[ T])?\d{1,2}:\d{2}$"),
    }
    words = {key: EXPECT_KEYS[key] for keys in EXPECTED_STEP_KEYS.values() for key in keys}
    return _object(words, shapes, **_verbs(EXPECTED_STEP_KEYS))
