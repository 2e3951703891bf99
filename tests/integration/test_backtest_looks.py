"""Looking only at those whose verdict can change finds the same as asking everybody at every slot."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from sqlalchemy import Connection, Engine, select

from beforehand.backtest.moments import Ground
from beforehand.backtest.watches import Standing, standing
from models.database import connect, migrate, reading
from rules.evaluate import matching
from rules.loader import Rule, load_text
from tests.rules.dice import Dice, made
from tests.rules.grammar import Grammar, rule_text
from tests.rules.population import NOWS, fill, moments, population
from tests.rules.reference import World
from tests.rules.test_equal import FACTS, HERE, SUBJECTS, ZONE

RULES = 6
STEPS = [
    *(timedelta(0), timedelta(days=1), timedelta(microseconds=1), timedelta(days=30), timedelta(hours=6)),
    *(timedelta(minutes=45), timedelta(days=31), timedelta(days=7), timedelta(seconds=1), timedelta(days=365)),
    *(timedelta(microseconds=-1), timedelta(days=-1)),
]
"""From the moments that rows hold to slots: on and beside the edges of the durations that rules name."""


@dataclass(repr=False)
class Past:
    """A population, the slots of a replay, and the texts of rules."""

    world: World
    made_at: datetime
    slots: list[datetime]
    texts: list[str]

    def __repr__(self) -> str:
        rows = [f"{name}: {row.values}" for name, rows in self.world.rows.items() for row in rows]
        return "\n".join([*map(str, self.slots), *self.texts, *rows])


def past(dice: Dice) -> Past:
    """What one example is made of."""
    now = dice.pick(NOWS)
    world = population(dice, now, SUBJECTS)
    edges = [at for at in moments(now) if at is not None]
    slots = sorted({dice.pick(edges) + dice.near(STEPS) for _ in dice.times(14, 6)})
    texts = [rule_text(Grammar(dice, SUBJECTS).rule()) for _ in range(RULES)]
    return Past(world, now, slots, texts)


def looked_at(connection: Connection, rule: Rule, slots: list[datetime]) -> int:
    """Walk through the slots; who stands is who matches. Gives how often somebody came or went."""
    watch = Standing(connection, rule, Ground(connection, rule.subject, rule.parser.subjects, slots, ZONE))
    try:
        watch.begin()
    except NotImplementedError:
        return 0
    changes, before = 0, set[int]()
    for number, slot in enumerate(slots):
        decided = watch.found(number, slot)
        stands = {row.subject_id: row for row in connection.execute(select(standing))}
        asked = {row.subject_id: row for row in connection.execute(matching(rule, now=slot, zone=ZONE))}
        assert stands.keys() == asked.keys(), f"{connection.dialect.name} {slot} {rule.text}"
        for key, row in asked.items():
            assert (stands[key].customer_id, stands[key].facts) == (row.customer_id, row.facts), f"{slot} {rule.text}"
        assert decided is not None or not stands.keys() - before, "somebody came, and no pass knows"
        changes += stands.keys() != before
        before = set(stands)
    return changes


common = settings(
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


def prove(engine: Engine, examples: int) -> int:
    """Walk ``examples`` times six rules; gives how many changes there were."""
    told = {"changes": 0}

    @settings(common, max_examples=examples)
    @given(made(past))
    def walked(seen: Past) -> None:
        rules = [load_text(text, "case", folder=HERE, facts=FACTS) for text in seen.texts]
        with reading(engine) as connection:
            fill(connection, seen.world, SUBJECTS, seen.made_at)
            for rule in rules:
                told["changes"] += looked_at(connection, rule, seen.slots)

    walked()
    return told["changes"]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """One SQLite for all, each example's rows rolled back."""
    made_one = connect(f"sqlite:///{tmp_path_factory.mktemp('looks') / 'looks.db'}")
    migrate(made_one)
    return made_one


def test_who_stands_is_who_matches(small: Engine) -> None:
    assert prove(small, 12) > 15


@pytest.mark.prove
def test_who_stands_is_who_matches_in_thousands_of_rules(small: Engine) -> None:
    assert prove(small, 400) > 800


@pytest.mark.prove
def test_who_stands_is_who_matches_on_postgresql(postgres_engine: Engine) -> None:
    assert prove(postgres_engine, 60) > 80
