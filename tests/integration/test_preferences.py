"""What a customer chose for themselves comes before what the sources say, and a new load does not undo it."""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert

import models
from beforehand.passes import advance, run_rule
from models.database import writing
from tests.deciding import NOON, House

preference = models.Preference.__table__  # type: ignore[attr-defined]


@pytest.fixture
def house(engine: Engine, tmp_path: Path) -> House:
    made = House(engine, tmp_path)
    made.template()
    return made


def prefers(house: House, customer_id: int, **said: str) -> None:
    with writing(house.engine) as connection:
        connection.execute(insert(preference).values(customer_id=customer_id, updated_at=NOON, **said))


def test_the_own_choice_of_language_and_channel_comes_before_the_sources(house: House) -> None:
    house.rule(steps="  - {send: hello, by: preferred}")
    plain = house.customer(language="de", preferred_channel="sms")
    chosen = house.customer(language="de", preferred_channel="sms")
    half = house.customer(language="de", preferred_channel="sms")
    prefers(house, chosen, language="ar", channel="email")
    prefers(house, half, channel="voice")
    run_rule(house.app, "hello", NOON)
    said = {row[0]: tuple(row[1:]) for row in house.rows(models.Message, "customer_id", "language", "channel")}
    assert said == {plain: ("de", "sms"), chosen: ("ar", "email"), half: ("de", "voice")}


def test_a_later_step_knows_a_choice_made_in_between(house: House) -> None:
    house.rule(steps="  - {send: hello, by: preferred}\n  - wait: 1 hour\n  - {send: hello, by: preferred}")
    who = house.customer(language="en", preferred_channel="sms")
    run_rule(house.app, "hello", NOON)
    prefers(house, who, language="zh", channel="email")
    house.set(models.Message, state="delivered", accepted_at=NOON)
    advance(house.app, NOON + timedelta(hours=2))
    assert house.rows(models.Message, "language", "channel") == [("en", "sms"), ("zh", "email")]
