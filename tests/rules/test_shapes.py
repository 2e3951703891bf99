"""Hostile names and values never change the SQL: what a rule may say is an allow-list, and values are always bound."""

import csv
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, func, insert, select
from sqlalchemy.engine import Dialect

from models import Base
from models.database import reading
from rules.errors import RuleErrors
from rules.evaluate import matching, stopping
from rules.loader import Rule, load_text
from rules.values import WEEKDAYS
from tests.rules.dice import rolled
from tests.rules.grammar import Grammar, Tree, Words, rule_text
from tests.rules.shapes import places, shape
from tests.rules.test_equal import FACTS, SUBJECTS, ZONE

MARK = "zq7"
"""In every hostile text, so that it is known where it turns up."""
FRAGMENTS = [
    *("'; DROP TABLE customer; --", '"', "' OR '1'='1", "%s", "%(param_1)s", ":param_1", "{0}", "{x!r}", "$1", "?"),
    *("/*", "*/", "--", "\\", "\\'", "``", "\n", "\r\n", "\t", "\u202e", "\u2028", "\ufeff", "\u200b", "é", "e\u0301"),
    *("SELECT", "NULL", "present", "missing", "true", "today", "this.id", "orders", "of", "any_of", "__class__", "👩"),
    *("<script>", "..", "/etc/passwd", "\x01", "\x7f", "\x85", "ﷺ", "İ", "ß", "0x41", "1e9", "[]", "{}", "&a", "*a"),
]
DIALECTS: list[Dialect] = [create_engine("sqlite://").dialect, create_engine("postgresql+psycopg://").dialect]
CUSTOMER = Base.metadata.tables["customer"]
NOW = datetime(2026, 3, 29, 9, 30, tzinfo=UTC)


def hostile(random: Random) -> str:
    """A text that would like to be more than a value."""
    parts = [random.choice(FRAGMENTS) for _ in range(random.randrange(1, 4))]
    made = "".join([*parts, MARK, str(random.randrange(10**6)), random.choice(FRAGMENTS)])
    made = "x" + made if made.startswith("this.") else made  # that begins a path, and this is none
    return made * random.choice([1] * 20 + [100])


@lru_cache
def words(seed: int) -> Words:
    """Values without end: texts, numbers, money, durations, times, names of conditions."""
    random = Random(seed)

    def times(make: Any, count: int = 8) -> list[Any]:
        return [make() for _ in range(count)]

    def stamp() -> str:
        day = f"{random.randrange(1000, 9999)}-{random.randrange(1, 13):02}-{random.randrange(1, 28):02}"
        return day + random.choice(["", f"T{random.randrange(24):02}:{random.randrange(60):02}:00+05:45"])

    texts, currency = times(lambda: hostile(random)), random.choice(["EUR", "JPY", "XAU", "GBP"])
    return Words(
        texts=texts,
        parts=texts,
        numbers=times(lambda: random.choice([random.randrange(-(2**53), 2**53), random.uniform(-1e9, 1e9), 0])),
        counts=times(lambda: random.choice([random.randrange(-5, 2**53), random.uniform(-5, 5), 0])),
        money=times(lambda: f"{random.randrange(-(10**15), 10**15)} {currency}"),
        percents=times(lambda: f"{random.uniform(-200, 1e6)}%"),
        lasts=times(lambda: f"{random.randrange(90)} years {random.randrange(99)} seconds"),
        points=[*WEEKDAYS, "today", "yesterday", *times(stamp), *times(lambda: f"{random.randrange(36000)} days ago")],
        names=[f"{number}{hostile(random)[:200]}" for number in range(4)],
        lists=(f"lists/{random.randrange(20)}.csv",),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of rules whose lists hold hostile texts."""
    made = tmp_path_factory.mktemp("hostile")
    (made / "lists").mkdir()
    random = Random(1)
    for number in range(20):
        with (made / "lists" / f"{number}.csv").open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows([[hostile(random)] for _ in range(1 + number * 3)])
    return made


def tree(structure: int, values: int) -> Tree:
    """A generated rule: its structure from one seed, its values from another."""
    depth = (2, 1, 0, 0, 0)[structure % 5]
    return Grammar(rolled(structure), SUBJECTS, words(values), rolled(values), depth=depth).rule()


def statements(rule: Rule) -> tuple[str, ...]:
    """What both databases would be asked."""
    asked = [matching(rule, now=NOW, zone=ZONE)]
    if len(rule.terms.steps) > 1:
        asked.append(stopping(rule, 0, now=NOW, zone=ZONE, ids=select(CUSTOMER.c.id)))
    return tuple(str(each.compile(dialect=dialect)) for each in asked for dialect in DIALECTS)


def grow(folder: Path, structures: range, variants: int) -> None:
    """One statement a structure, whatever the values; and no hostile text in any of them."""
    seen: dict[Any, tuple[str, ...]] = {}
    count = 0
    for structure in structures:
        for variant in range(variants):
            rule = load_text(rule_text(tree(structure, variant)), "case", folder=folder, facts=FACTS)
            said = statements(rule)
            assert not any(MARK in each for each in said), f"a value in the statement: {rule.text}"
            assert seen.setdefault(shape(rule), said) == said, f"another statement for the same structure: {rule.text}"
            count += 1
    assert count == len(structures) * variants
    assert len(set(seen.values())) <= len(seen) < count
    print(f"{count:,} rules, {len(seen):,} structures, {len(set(seen.values())):,} SQL shapes on each database")


@pytest.mark.parametrize("batch", range(2))
def test_values_never_change_the_statement(folder: Path, batch: int) -> None:
    grow(folder, range(batch * 50, batch * 50 + 50), 20)


@pytest.mark.prove
@pytest.mark.parametrize("batch", range(10))
def test_a_hundred_thousand_rules_never_change_the_statement(folder: Path, batch: int) -> None:
    grow(folder, range(10_000 + batch * 500, 10_000 + batch * 500 + 500), 20)


def test_hostile_rules_can_be_asked(folder: Path, rules_sqlite: Engine, rules_postgres: Engine) -> None:
    with reading(rules_sqlite) as small, reading(rules_postgres) as large:
        for seed in range(60):
            rule = load_text(rule_text(tree(seed, seed)), "case", folder=folder, facts=FACTS)
            for connection in (small, large):
                connection.execute(insert(CUSTOMER), [{"external_id": f"c{seed}", "changed_at": NOW, "bucket": 0}])
                connection.execute(matching(rule, now=NOW, zone=ZONE)).all()
                assert connection.execute(select(func.count(CUSTOMER.c.id))).scalar_one() == seed + 1


def spoil(rule: Tree, seed: int) -> tuple[Tree, str]:
    """The rule with a hostile text for one of its words, and that text."""
    random = Random(seed)
    word = hostile(random)
    body, key = random.choice(list(places({"if": rule["if"], "unless": rule.get("unless", {})})))
    body[word] = body.pop(key)
    if isinstance(body[word], dict) and "of" in body[word] and random.random() < 0.5:
        body[word]["of"] = word
    return rule, word


def test_words_that_are_not_of_the_language_do_not_load(folder: Path) -> None:
    for seed in range(500):
        spoilt, word = spoil(tree(seed, seed), seed)
        with pytest.raises(RuleErrors) as refused:
            load_text(rule_text(spoilt), "case", folder=folder, facts=FACTS)
        assert refused.value.problems, word
