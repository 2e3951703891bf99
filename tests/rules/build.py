"""Rules and rows for tests, in the words of the rule language."""

import textwrap
from datetime import datetime

from sqlalchemy import Connection, Engine

from models.database import reading
from rules.evaluate import matching
from rules.given import Given, frame
from rules.loader import Rule, load_text
from rules.reader import Complaints, Node, read

NOW = "2026-03-10 10:00 Europe/Berlin"


def rule_of(conditions: str, *, subject: str = "customer", more: str = "") -> Rule:
    """A rule with these ``if`` (and perhaps ``unless``) conditions, as YAML."""
    skeleton = f"""\
id: case
title: A case
purpose: service
for_each: {subject}
if:
{textwrap.indent(textwrap.dedent(conditions).strip(), "  ")}
{textwrap.dedent(more).strip()}
then: [{{send: late-order, by: sms}}]
"""
    return load_text(skeleton, "case")


def matched(engine: Engine, rule: Rule, given: str, *, now: str = NOW, zone: str = "UTC") -> list[dict[str, object]]:
    """Put the given rows into the database, ask who matches, and take the rows out again."""
    said = Complaints("given")
    at = frame(Node(now, 1, 1), said)
    with reading(engine) as connection:
        Given(connection, rule, at, said).build(read(textwrap.dedent(given), "given"))
        return who(connection, rule, at.now, zone)


def who(connection: Connection, rule: Rule, now: datetime, zone: str = "UTC") -> list[dict[str, object]]:
    """Who matches now: one dict a subject."""
    return [dict(row) for row in connection.execute(matching(rule, now=now, zone=zone)).mappings()]
