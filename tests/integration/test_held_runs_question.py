"""What a second person is asked about a held run: how many, what it costs, samples; and nobody's name."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

import models
from beforehand.approving import (
    open_runs,
    question_of,
    watch,
)
from beforehand.passes import advance, run_rule
from models.vocabulary import Reason
from tests.deciding import NOON, House
from tests.holding import HOUR, approve, crowd, held_house, hold, leave, states


@pytest.fixture
def house(engine: Engine, tmp_path: Path) -> House:
    return held_house(engine, tmp_path)


# -- the question ------------------------------------------------------------------------------------------------


def test_the_question_tells_what_would_go_and_nobody_s_name(house: House) -> None:
    house.template("hello", "sms")
    text = "Dear {{ customer.first_name or 'you' }}, call +49 30 1234567 or write to {{ facts.mail }}.\n"
    (house.folder / "templates" / "hello" / "sms.en.txt").write_text(text)
    house.set(models.Customer, first_name="Maximiliane", last_name="Weber", language="de")
    house.settings["sms_price"] = "0.10"
    run = hold(house)
    house.set(models.Match, facts={"mail": "maximiliane@example.com"})
    gone = house.rows(models.Match, "customer_id")[0]
    house.consent(gone, "all", "all", "withdrawn")
    asked = question_of(house.app, run.id, NOON + HOUR)
    assert (asked.held, asked.customers, asked.going, asked.messages, asked.first) == (10, 10, 9, 9, 3)
    assert asked.withheld == ((Reason.OPTED_OUT, 1),)
    assert [(kind.channel, kind.language, kind.count) for kind in asked.kinds] == [("sms", "de", 9)]
    assert asked.cost is not None
    assert str(asked.cost.amount) == "0.90"
    page = asked.as_markdown()
    for word in ("Maximiliane", "maximiliane", "Weber", "1234567", "@example.com"):
        assert word not in page
    for word in ("### hello: A test", "9 would go", "9 SMS (de)", "Dear you", "refused"):
        assert word in page
    assert states(house) == {"held": 10}, "a question writes nothing"


def test_its_samples_differ_where_there_are_different_texts(house: House) -> None:
    """English and German both get the English text; who is gold gets another one, and stands late in the list."""
    text = "{% if customer.tier == 'gold' %}Dear friend{% else %}Good day{% endif %}.\n"
    (house.folder / "templates" / "hello" / "sms.en.txt").write_text(text)
    keys = house.rows(models.Customer, "id")[:10]
    for n, language in enumerate(["de", "de", "en", None, "de", "fr", "de", "en", "de", "de"]):
        house.set(models.Customer, lambda c, n=n: c.id == keys[n], language=language, tier="gold" if n == 2 else None)
    asked = question_of(house.app, hold(house).id, NOON)
    assert len(asked.kinds) > 2
    words = ("Dear friend", "Good day")
    assert [sum(word in sample.text for sample in asked.samples) for word in words] == [1, 1]


def test_statements_do_not_grow_with_the_run(house: House) -> None:
    def told(name: str) -> list[int]:
        house.rule(name, limits="{once_per: customer, brake: 10% of customers}")
        with counted(house.engine) as seen:
            steps = [len(seen)]
            run_rule(house.app, name, NOON)
            steps.append(len(seen))
            (run,) = open_runs(house.app)
            question_of(house.app, run.id, NOON)
            steps.append(len(seen))
            approve(house, run)
            steps.append(len(seen))
            advance(house.app, NOON)
            steps.append(len(seen))
            leave(house, NOON)
            watch(house.app, NOON + HOUR)
            steps.append(len(seen))
        advance(house.app, NOON + HOUR)
        leave(house, NOON + HOUR)
        assert watch(house.app, NOON + 2 * HOUR).done == [run.id]
        return [after - before for before, after in pairwise(steps)]

    told("first")  # makes the temporary tables of this connection
    few = told("few")
    crowd(house, 200)
    assert told("many") == few


@contextmanager
def counted(engine: Engine) -> Iterator[list[str]]:
    """The statements that are executed inside."""
    seen: list[str] = []

    def see(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        seen.append(statement)

    event.listen(engine, "before_cursor_execute", see)
    yield seen
    event.remove(engine, "before_cursor_execute", see)
