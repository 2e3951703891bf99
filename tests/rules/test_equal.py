"""Equal by proof: generated rules over generated rows; the compiled statements and the plain reading agree.

One example is a small population and twenty rules of the whole grammar, asked on both databases: who matches, who of a
few does, whom ``stop_if`` stops, when an awaited moment came.
"""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from sqlalchemy import Engine, Select, select

from models.database import reading
from models.terms import Wait
from rules.attributes import with_attributes
from rules.evaluate import known, matching, stopping
from rules.facts import subjects
from rules.loader import Rule, load_text
from rules.reader import Node
from tests.rules.dice import Dice, made
from tests.rules.grammar import Grammar, rule_text
from tests.rules.population import NOWS, fill, population, seen, table_of
from tests.rules.reference import Reader, Row, World
from tests.rules.shapes import stop_of

HERE = Path(__file__).parent / "words"
FACTS = HERE / "facts.yaml"
SUBJECTS = with_attributes(subjects(), FACTS)
ZONE = "Europe/Berlin"
RULES = 20


@dataclass(repr=False)
class Scene:
    """A population, a now, and the texts of rules."""

    now: datetime
    world: World
    texts: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        rows = [f"{name}: {row.values}" for name, rows in self.world.rows.items() for row in rows]
        return "\n".join([str(self.now), *self.texts, *rows])


def scene(dice: Dice) -> Scene:
    """What one example is made of."""
    now = dice.pick(NOWS)
    world = population(dice, now, SUBJECTS)
    values = seen(world, SUBJECTS)
    return Scene(now, world, [rule_text(Grammar(dice, SUBJECTS, seen=values).rule()) for _ in range(RULES)])


@dataclass
class Question:
    """A statement, and the ids that it must name (each once)."""

    asks: str
    statement: Select[Any]
    wanted: list[Any]


def questions(scene: Scene, rule: Rule) -> list[Question]:
    """All that is asked of a rule: everybody, a few, and of a wait whom it stops and what has come."""
    now, rows = scene.now, scene.world.rows[rule.subject.name]
    readers = {row.values["id"]: Reader(scene.world, now, ZONE, row) for row in rows}
    wanted = [number for number, reader in readers.items() if _matches(rule, reader, reader.this)]
    asked = [Question("matching", matching(rule, now=now, zone=ZONE), wanted)]
    few = [number for number in readers if (number + len(rule.text)) % 2]
    if len(rule.text) % 4 == 0:
        found = matching(rule, now=now, zone=ZONE, only=_ids(rule, few))
        asked.append(Question("only", found, [number for number in wanted if number in few]))
    if len(rule.text) % 4 == 1:
        asked.append(Question("matching, now told late", matching(rule, now=lambda: now, zone=ZONE), wanted))
    for place, step in enumerate(rule.terms.steps):
        if isinstance(step, Wait):
            asked += _waiting(scene, rule, place, step, {number: readers[number] for number in few})
    return asked


def _matches(rule: Rule, reader: Reader, row: Row) -> bool:
    holds = all(reader.holds(condition, row) for condition in rule.conditions.values())
    spared = not any(reader.holds(condition, row) for condition in rule.exceptions.values())
    return reader.born(row) and holds and spared


def _ids(rule: Rule, few: list[int]) -> Select[Any]:
    table = table_of(rule.subject)
    return select(table.c.id).where(table.c.id.in_(few))


def _waiting(scene: Scene, rule: Rule, place: int, step: Wait, readers: dict[int, Reader]) -> list[Question]:
    ids = _ids(rule, list(readers))
    condition = stop_of(rule, step)
    stopped = [
        number
        for number, reader in readers.items()
        if reader.born(reader.this) and reader.holds(condition, reader.this)
    ]
    asked = [Question("stopping", stopping(rule, place, now=scene.now, zone=ZONE, ids=ids), stopped)]
    if step.until is not None:
        path = rule.parser.path(Node(step.until, 1, 1), step.until, rule.subject)
        assert path is not None
        came = [(n, at) for n, reader in readers.items() if (at := reader.value(path, reader.this)) is not None]
        asked.append(Question("known", known(rule, step.until, ids=ids, now=scene.now, zone=ZONE), came))
    return asked


def agree(engines: list[Engine], scene: Scene) -> int:
    """The statements and the reading name the same; gives how many rules had somebody to name."""
    rules = [load_text(text, "case", folder=HERE, facts=FACTS) for text in scene.texts]
    asked = [(rule, question) for rule in rules for question in questions(scene, rule)]
    for engine in engines:
        with reading(engine) as connection:
            fill(connection, scene.world, SUBJECTS, scene.now)
            for rule, question in asked:
                found = sorted(connection.execute(question.statement).all())
                told = [tuple(row) if question.asks == "known" else row[0] for row in found]
                assert told == sorted(question.wanted), f"{engine.dialect.name} {question.asks} {rule.text}"
    return sum(bool(question.wanted) for _, question in asked if question.asks == "matching")


common = settings(
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],  # shrinking takes minutes, and the message names the rule
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


def prove(engines: list[Engine], examples: int) -> None:
    """Ask ``examples`` times twenty rules."""
    told = {"rules": 0, "named": 0}

    @settings(common, max_examples=examples)
    @given(made(scene))
    def asked(scene: Scene) -> None:
        told["rules"] += len(scene.texts)
        told["named"] += agree(engines, scene)

    asked()
    assert told["rules"] >= examples * RULES * 0.9, told
    assert told["named"] > told["rules"] / 10, f"too few rules name anybody: {told}"


@pytest.fixture
def engines(rules_sqlite: Engine, rules_postgres: Engine) -> list[Engine]:
    """Both databases."""
    return [rules_sqlite, rules_postgres]


def test_the_statements_say_what_the_rules_say(engines: list[Engine]) -> None:
    prove(engines, 20)


@pytest.mark.prove
def test_ten_thousand_statements_say_what_their_rules_say(engines: list[Engine]) -> None:
    prove(engines, 560)
