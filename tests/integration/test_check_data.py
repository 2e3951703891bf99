"""What the data say of a rule set: languages of customers, and rules that find the same people."""

from pathlib import Path

import pytest
from sqlalchemy import Engine

import models
from beforehand import ROOT
from beforehand.checking import Checked, Data, check
from beforehand.checking.data import Unreachable, open_database
from beforehand.checking.hours import same_hour
from beforehand.checking.texts import Texts
from messaging.rendering import Templates
from rules.loader import load_folder
from tests.deciding import NOON, House


@pytest.fixture
def house(engine: Engine, tmp_path: Path) -> House:
    made = House(engine, tmp_path)
    made.template("hello")
    return made


def checked(house: House, engine: Engine | None = None) -> Checked:
    texts = Texts(Templates(house.folder / "templates"))
    return check(house.folder / "rules", texts, data=Data(house.engine, NOON) if engine is None else None)


def said(found: Checked, part: str) -> list[str]:
    return [str(problem).rpartition("rules/")[2] for problem in found.problems if part in problem.said]


def test_a_language_of_many_customers_needs_a_text(house: House) -> None:
    house.rule("hello", status="draft", steps="  - {send: hello, by: [sms, email]}")
    (house.folder / "templates" / "hello" / "sms.ar.txt").write_text("مرحبا\n")
    for language, count in {"en-GB": 90, "ar-EG": 5, "ar": 2, "fr-CA": 1, "fr": 1, "zh": 1, None: 10}.items():
        for _ in range(count):
            house.customer(language=language)
    assert said(checked(house), "has no text") == [
        "hello.yaml:14:12: template 'hello' has no text in 'ar' for email, the language of 6% of the customers (7)"
    ]


def test_regions_count_together_and_a_text_of_one_region_is_no_text_of_another(house: House) -> None:
    house.rule("hello", status="draft", steps="  - {send: hello, by: sms}")
    (house.folder / "templates" / "hello" / "sms.fr-CA.txt").write_text("Bonjour\n")
    for language in ["en"] * 46 + ["fr-FR", "fr-CH", "fr-CA", "fr-CA"]:
        house.customer(language=language)
    assert said(checked(house), "has no text in 'fr' for sms, the language of 4% of the customers (2)")


def test_nobody_is_no_language(house: House) -> None:
    house.rule("hello", status="draft")
    assert said(checked(house), "has no text") == []


def test_two_rules_that_find_the_same_people_are_told_with_their_number(house: House) -> None:
    for name, condition in {"one": "country: DE", "two": "tier: gold", "three": "tier: tin"}.items():
        house.rule(name, condition=condition, when='{at: "weekdays 09:00"}')
    house.rule("other-hour", condition="tier: gold", when='{at: "04:30"}')
    for country, tier in [("DE", "gold"), ("DE", "gold"), ("DE", None), ("FR", "gold"), ("FR", "tin")]:
        house.customer(country=country, tier=tier)
    found = said(checked(house), "the same customers as")
    assert found == [
        "two.yaml:10:7: warning: this rule reaches in the same hour the same customers as 'one' (2 now)",
    ]


def test_without_data_only_what_is_certain_is_told_and_the_rest_is_named(house: House) -> None:
    house.rule("one", condition="country: DE")
    house.rule("two", condition="country: DE, tier: gold")
    house.rule("three", condition="tier: gold")
    house.rule("of-orders", condition="net_total: present", subject="order", limits="{once_per: order}")
    found = checked(house, house.engine)
    assert said(found, "the same customers as") == [
        "two.yaml:10:7: warning: this rule reaches in the same hour the same customers as 'one', 'three'"
    ]
    (unchecked,) = found.unchecked
    assert "the languages of the customers" in unchecked
    assert "no database was asked" in unchecked


def test_rules_that_exclude_one_another_or_are_not_live_are_no_pair(house: House) -> None:
    house.rule("one", condition="tier: gold")
    house.rule("two", condition="tier: {is_not: gold}")
    house.rule("three", condition="tier: present", status="shadow")
    house.rule("four", condition="tier: present", purpose="survey")
    house.customer(tier="gold")
    house.customer(tier="tin")
    assert said(checked(house), "the same customers as") == []


@pytest.mark.parametrize(
    ("first", "second", "meet"),
    [
        ("{every: 15 minutes}", '{at: "weekdays 09:00"}', True),
        ('{at: "monday 09:00"}', '{at: "tuesday 09:00"}', False),
        ('{at: "weekends 09:00"}', '{at: "sunday 09:30"}', True),
        ('{at: "09:00"}', '{at: "10:00"}', False),
        ('{cron: "0 9-17/4 * * mon-fri"}', '{cron: "30 13 * * 3"}', True),
        ('{cron: "0 9 1 * *"}', '{cron: "0 9 2,3 * *"}', False),
        ('{cron: "0 9 * 1-3 7"}', '{cron: "0 9 * mar 0"}', True),
        ("{event: order.updated}", "{event: [order.placed, order.updated]}", True),
        ("{event: order.updated}", "{every: 1 hour}", False),
    ],
)
def test_which_schedules_meet_in_an_hour(tmp_path: Path, first: str, second: str, meet: bool) -> None:
    for name, when in (("one", first), ("two", second)):
        text = f"id: {name}\ntitle: x\npurpose: service\nfor_each: order\nwhen: {when}\n"
        (tmp_path / f"{name}.yaml").write_text(f"{text}if:\n  a: {{number: present}}\nthen: [{{send: late-order}}]\n")
    rules = load_folder(tmp_path).rules
    assert same_hour(rules["one"], rules["two"]) is meet
    assert same_hour(rules["two"], rules["one"]) is meet


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match=r"there is no database at .*none.db yet"):
        open_database(f"sqlite:///{tmp_path}/none.db")
    assert list(tmp_path.iterdir()) == []


def test_a_database_without_our_tables_or_without_an_answer_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty.db").write_bytes(b"")
    with pytest.raises(Unreachable, match="no such table: customer"):
        open_database(f"sqlite:///{tmp_path}/empty.db")
    with pytest.raises(Unreachable, match="does not answer as it should"):
        open_database("postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(Unreachable, match="mysql is not a database we know"):
        open_database("mysql://nobody@127.0.0.1/none")


def test_nothing_is_left_behind(house: House) -> None:
    house.rule("one", condition="country: DE")
    house.rule("two", condition="tier: gold")
    house.customer(tier="gold")
    for _ in range(2):
        assert len(said(checked(house), "the same customers as")) == 1
    assert house.rows(models.Match) == []


def test_the_shipped_rules_have_the_languages_of_the_sample_shop() -> None:
    spoken = {"en-GB": 40, "ar-EG": 20, "zh-CN": 20, "en": 20, "ar": 20, "zh": 20}
    texts = Texts(Templates(ROOT / "messaging" / "templates"))
    for rule in load_folder(ROOT / "rules" / "catalog").rules.values():
        assert list(texts.unspoken(rule, spoken)) == []
