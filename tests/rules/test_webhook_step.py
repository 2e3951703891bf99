"""How a webhook step is read: endpoints by name only, facts that there are, plain values in quotes."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, literal, select

import models
from beforehand.passes.house import vetted
from models.database import reading
from models.terms import WebhookStep
from rules.errors import RuleErrors
from rules.given import Given, frame
from rules.loader import Rule, load_folder, load_text
from rules.reader import Complaints, Node, read
from rules.telling import telling
from tests.rules.build import NOW

RULE = "id: case\ntitle: A case\npurpose: service\nfor_each: {0}\nif: {{a: {{{1}: present}}}}\nthen: [{2}]\n"


def loaded(step: str, subject: str = "order", fact: str = "external_id", facts: Path | None = None) -> Rule:
    return load_text(RULE.format(subject, fact, step), "case", facts=facts)


def test_facts_and_plain_values_are_told_apart_by_quotes() -> None:
    (step,) = loaded(
        '{webhook: crm, with: {nr: number, who: customer.external_id, a: "number", b: 3, c: true}}'
    ).terms.steps
    facts, said = (("nr", "number"), ("who", "customer.external_id")), (("a", "number"), ("b", 3), ("c", True))
    assert step == WebhookStep("crm", facts, said)


WRONG = [
    ("{webhook: 'https://crm.example/hook'}", "a rule names no URL; expected a name that BEFOREHAND_WEBHOOKS gives"),
    ("{webhook: crm.example}", "a rule names no URL"),
    ("{webhook: 'CRM desk'}", "'CRM desk' is no name of an endpoint"),
    ("{webhook: 7}", "'webhook' needs a text"),
    ("{webhook: crm, with: {a: nummber}}", "'nummber' is not known of an order"),
    ("{webhook: crm, with: {a: nummber}}", "did you mean number?"),
    ("{webhook: crm, with: {a: late}}", 'quotes: "late"'),
    ("{webhook: crm, with: {a: customer.phon}}", "did you mean customer.phone?"),
    ("{webhook: crm, with: {a: lines.quantity}}", "many"),
    ("{webhook: crm, with: {a: customer}}", "'customer' is not one fact"),
    ("{webhook: crm, with: {a: [1]}}", "'a' has no single value"),
    ("{webhook: crm, with: [number]}", "'with' is a mapping"),
    ("{webhook: crm, with: {}}", "'with' is a mapping"),
    ("{webhook: crm, wiht: {a: number}}", "did you mean with?"),
    (f"{{webhook: crm, with: {{{', '.join(f'a{n}: {n}' for n in range(21))}}}}}", "21 values are more than"),
]


@pytest.mark.parametrize(("step", "expected"), WRONG)
def test_what_a_webhook_step_cannot_say(step: str, expected: str) -> None:
    with pytest.raises(RuleErrors) as refused:
        loaded(step)
    assert expected in str(refused.value)


def test_an_endpoint_that_no_setting_names_is_refused_at_its_place(tmp_path: Path) -> None:
    (tmp_path / "case.yaml").write_text(RULE.format("order", "external_id", "{wait: 1 day}, {webhook: crn}"))
    rules = load_folder(tmp_path)
    assert vetted(rules, None, ["crn"]) == rules
    with pytest.raises(RuleErrors) as refused:
        vetted(rules, None, ["crm", "erp"])
    said = "case.yaml:6:33: BEFOREHAND_WEBHOOKS names no endpoint 'crn'; expected crm or erp; did you mean crm?"
    assert str(refused.value).endswith(said)


GIVEN = """
customer: {first_name: Zoë, tier: 'a"b', club_member: true, points: 12.5, member_since: 2020-02-29}
order: {net_total: -12.05 EUR, promised_on: 2026-03-11, placed_at: 1 hour ago, delivered_at: in 1 day}
"""
ASKED = """{webhook: crm, with: {name: customer.first_name, tier: customer.tier, club: customer.club_member,
 points: customer.points, since: customer.member_since, total: net_total, shipping: shipping_total,
 promised: promised_on, placed: placed_at, placed_day: placed_on, delivered: delivered_at, number: number}}"""
FACTS = """customer:
  club_member: {type: flag, help: x}
  points: {type: number, help: x}
  member_since: {type: day, help: x}
"""
TOLD: dict[str, Any] = {
    "name": "Zoë",
    "tier": 'a"b',
    "points": 12.5,
    "since": "2020-02-29",
    "total": {"minor": -1205, "currency": "EUR"},
    "shipping": {"minor": None, "currency": "EUR"},
    "promised": "2026-03-11",
    "placed": "2026-03-10T08:00:00Z",
    "placed_day": "2026-03-10",
    "delivered": None,
}


def test_every_kind_of_fact_is_told_the_same_on_both_databases(database: Engine, tmp_path: Path) -> None:
    (tmp_path / "facts.yaml").write_text(FACTS)
    rule = loaded(ASKED, facts=tmp_path / "facts.yaml")
    (step,) = rule.terms.steps
    assert isinstance(step, WebhookStep)
    said = Complaints("given")
    at = frame(Node(NOW, 1, 1), said)
    with reading(database) as connection:
        Given(connection, rule, at, said).build(read(GIVEN, "given"))
        every = select(literal(1).label("id")).where(literal(1) == 0)
        assert connection.execute(telling(rule, step, now=at.now, zone="UTC", ids=every)).all() == []
        ids = select(models.Order.id)
        ((_, facts),) = connection.execute(telling(rule, step, now=at.now, zone="UTC", ids=ids)).all()
    flag = facts.pop("club")["flag"]
    assert facts.pop("number")
    assert bool(flag) is True
    assert facts == TOLD
