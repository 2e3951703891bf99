"""What a customer chose for themselves comes before what the sources say, and a new load does not undo it."""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert

import models
from beforehand.explaining import explain, explain_one
from beforehand.passes import advance, run_rule
from models.database import writing
from tests.deciding import NOON, House
from tests.ingesting import ingest

preference = models.Preference.__table__  # type: ignore[attr-defined]


CUSTOMERS = """
sources:
  people: customers.csv
load:
  - into: customers
    from: people
    key: id
    fields: {phone: phone, email: email, language: language, preferred_channel: channel}
"""
ROW = "id,phone,email,language,channel\nc1,+4915112340001,a@example.com,{},sms\n"


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


def test_explain_names_what_the_customer_chose(house: House) -> None:
    house.rule()
    who = house.customer()
    key = house.rows(models.Customer, "external_id")[0]
    assert not any("chose" in note for note in explain(house.app, key, NOON).notes)
    prefers(house, who, language="ar", channel="email", quiet_from="21:30", quiet_until="08:00")
    said = "the customer chose for themselves: language ar, channel email, quiet from 21:30 to 08:00"
    assert said in explain(house.app, key, NOON).notes
    assert said in explain_one(house.app, key, NOON, "hello").notes


def test_a_new_load_does_not_undo_a_choice(house: House, tmp_path: Path) -> None:
    house.rule(condition="phone: present", steps="  - {send: hello, by: preferred}")
    ingest(house.engine, tmp_path, CUSTOMERS, {"customers.csv": ROW.format("de")})
    (who,) = house.rows(models.Customer, "id")
    prefers(house, who, language="zh", channel="email")
    ingest(house.engine, tmp_path, CUSTOMERS, {"customers.csv": ROW.format("fr")})
    assert house.rows(models.Customer, "language") == ["fr"]
    run_rule(house.app, "hello", NOON)
    assert house.rows(models.Message, "language", "channel") == [("zh", "email")]
