"""What explains a rule says what the rule says: verdict by verdict, in generated rules of the whole grammar."""

from collections.abc import Iterator
from datetime import datetime

import pytest
from hypothesis import given, settings
from sqlalchemy import Connection, Engine, select

from models.database import reading
from rules.conditions import Group
from rules.evaluate import matching
from rules.loader import Rule, load_text
from rules.misses import miss_text, misses
from rules.saying import Voice, sentence
from rules.verdicts import Verdict, told
from tests.rules.dice import made
from tests.rules.population import fill, table_of
from tests.rules.reference import Reader
from tests.rules.test_equal import FACTS, HERE, SUBJECTS, ZONE, Scene, common, scene


def _nodes(verdicts: tuple[Verdict, ...]) -> Iterator[Verdict]:
    for verdict in verdicts:
        yield verdict
        yield from _nodes(verdict.members)


def _agrees(connection: Connection, scene: Scene, rule: Rule) -> int:
    """Each verdict is the reading's, all of them together are the match, and all can be said. Gives how many hold."""
    table = table_of(rule.subject)
    seen = told(connection, rule, now=scene.now, zone=ZONE, only=select(table.c.id))
    matched = {row.subject_id for row in connection.execute(matching(rule, now=scene.now, zone=ZONE))}
    assert {each.subject_id for each in seen if each.holds} == matched, rule.text
    rows = {row.values["id"]: row for row in scene.world.rows[rule.subject.name]}
    assert len(seen) == len(rows)
    for each in seen:
        reader = Reader(scene.world, scene.now, ZONE, rows[each.subject_id])
        voice = Voice(scene.now, each.zone)
        assert reader.born(reader.this) is each.there
        for verdict in _nodes((*each.conditions, *each.exceptions)):
            if each.there:
                assert reader.holds(verdict.part.test, reader.this) is verdict.holds, (verdict.part.test, rule.text)
            assert sentence(verdict, voice)
    return len(matched)


def _can_be_told(connection: Connection, rule: Rule, scene: Scene) -> None:
    """Nothing that stands in the way is beyond words."""
    table = table_of(rule.subject)
    for each in told(connection, rule, now=scene.now, zone=ZONE, only=select(table.c.id))[:2]:
        voice = Voice(scene.now, each.zone)
        for miss in misses(each, voice, lambda _moment: None):
            assert "None" not in miss_text(miss, voice)


def _prove(engines: list[Engine], examples: int, rules: int) -> None:
    counted = {"matched": 0}

    @settings(common, max_examples=examples)
    @given(made(scene))
    def asked(scene: Scene) -> None:
        loaded = [load_text(text, "case", folder=HERE, facts=FACTS) for text in scene.texts[:rules]]
        for engine in engines:
            with reading(engine) as connection:
                fill(connection, scene.world, SUBJECTS, scene.now)
                counted["matched"] += sum(_agrees(connection, scene, rule) for rule in loaded)
                for rule in loaded:
                    _can_be_told(connection, rule, scene)

    asked()
    assert counted["matched"] >= examples / 2, f"too few rules match anybody: {counted}"


@pytest.fixture
def engines(rules_sqlite: Engine, rules_postgres: Engine) -> list[Engine]:
    """Both databases."""
    return [rules_sqlite, rules_postgres]


def test_verdicts_are_those_of_the_rule(engines: list[Engine]) -> None:
    _prove(engines, 6, 6)


@pytest.mark.prove
def test_thousands_of_verdicts_are_those_of_their_rules(engines: list[Engine]) -> None:
    _prove(engines, 200, 20)


def test_a_group_tells_its_members(rules_sqlite: Engine) -> None:
    rule = load_text(NESTED, "case")
    with reading(rules_sqlite) as connection:
        connection.exec_driver_sql(
            "INSERT INTO customer (id, external_id, changed_at, bucket, tier, country)"
            " VALUES (1, 'c', 0, 0, 'tin', 'DE')"
        )
        table = table_of(rule.subject)
        now = datetime.fromisoformat("2026-03-10T10:00Z")
        (seen,) = told(connection, rule, now=now, zone="UTC", only=select(table.c.id))
    (named,) = seen.conditions
    held = [verdict.holds for verdict in _nodes((named,))]
    assert held == [*[False] * 6, True, True, False, False]
    assert isinstance(named.part.test, Group)
    assert [leaf.found for leaf in _nodes((named,)) if leaf.found] == ["tin", "tin", "DE"]
    assert seen.failing == [named]


NESTED = """\
id: case
title: A case
purpose: service
for_each: customer
if: {odd: {any_of: [{tier: gold}, {none_of: [{tier: tin}, {country: FR}]}]}}
then: [{send: late-order}]
"""
