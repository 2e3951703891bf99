"""What a reviewer broke once: one rule's trouble stays its own, and a withheld match is about what it says."""

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, update

import models
from beforehand.passes import advance, run_rule, stops_of
from messaging.outbox import claim
from messaging.policy import Policy
from models.database import writing
from tests.deciding import NOON, House

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
REMIND = """  - {send: hello, by: [sms]}
  - wait: 2 days
    stop_if: {delivered_at: present}
  - {send: hello, by: [sms]}
"""
BEGIN_LATER = "  - wait: 1 hour\n  - {send: hello, by: [sms]}\n"


@pytest.fixture
def house(engine: Engine, tmp_path: Path) -> House:
    made = House(engine, tmp_path, {"caps": {}})
    made.template()
    return made


def order(house: House) -> int:
    return house.add(models.Order, customer_id=house.customer(), shipped_at=NOON - DAY, placed_at=NOON - DAY)


def spoil(house: House, rule_id: str) -> None:
    """The kept text of a rule's versions names a fact that is there no more."""
    kept = models.RuleVersion.__table__  # type: ignore[attr-defined]
    with writing(house.engine) as connection:
        connection.execute(update(kept).where(kept.c.rule_id == rule_id).values(text="id: x\nfor_each: nobody\n"))


def test_a_version_that_cannot_be_read_holds_up_nobody_else(house: House) -> None:
    """Seen: one message of an old version, whose facts were renamed, kept its whole channel from sending for ever."""
    limits = {"subject": "order", "condition": "shipped_at: present", "limits": "{once_per: order}"}
    house.rule("old", steps=REMIND, **limits)
    order(house)
    run_rule(house.app, "old", NOON)
    house.set(models.Message, state="sent", accepted_at=NOON)
    assert advance(house.app, NOON + 2 * DAY).planned == 1
    spoil(house, "old")
    house.rule("new", **limits)
    run_rule(house.app, "new", NOON + 2 * DAY)
    with writing(house.engine) as connection:
        policy = Policy(secret=b"s")
        now = NOON + 2 * DAY
        claimed = claim(connection, now, limit=10, lease_seconds=60, policy=policy, stops=stops_of(house.app))
    assert [one.rule_id for one in claimed.claims] == ["new"]
    waiting = house.rows(models.Message, "rule_id", "state", "due_at")[1]
    assert waiting == ("old", "queued", now + 10 * MINUTE), "its stop_if cannot be asked, so it rests"


def test_a_step_that_fails_holds_up_no_other_rule(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen: one error in a stop condition kept every waiting match of every rule where it was, every two seconds."""
    from beforehand.passes import advancing

    limits = {"subject": "order", "condition": "shipped_at: present", "limits": "{once_per: order}"}
    stop = "  - wait: 1 hour\n    stop_if: {delivered_at: present}\n  - {send: hello, by: [sms]}\n"
    house.rule("bad", steps=stop, priority=90, **limits)
    house.rule("good", steps=BEGIN_LATER, **limits)
    order(house)
    run_rule(house.app, "bad", NOON)
    run_rule(house.app, "good", NOON)

    def fails(*_given: object, **_named: object) -> None:
        raise ZeroDivisionError("anna@example.com")

    monkeypatch.setattr(advancing, "stopping", fails)
    report = advance(house.app, NOON + 2 * timedelta(hours=1))
    assert report.planned == 1
    assert [str(problem) for problem in report.problems if "bad" in problem]
    assert "anna" not in str(report.problems)
    assert house.rows(models.Match, "rule_id", "state", "next_step") == [("bad", "open", 0), ("good", "done", 2)]


def test_a_withheld_match_follows_its_rule_to_another_subject(house: House) -> None:
    """Seen: after an edit of for_each the match said 'order' but held a ticket's id: another customer's order."""
    who = house.customer(phone=None, email=None)
    house.add(models.Order, customer_id=house.customer(), placed_at=NOON - DAY)
    house.add(models.Order, customer_id=who, placed_at=NOON - DAY)
    ticket = house.add(models.Ticket, customer_id=who, opened_at=NOON - DAY)
    common = {"limits": "{once_per: customer}"}
    house.rule(subject="order", condition="customer.phone: missing", **common)
    assert run_rule(house.app, "hello", NOON).matched == 1
    house.rule(subject="ticket", condition="opened_at: present", **common)
    run_rule(house.app, "hello", NOON + MINUTE)
    assert house.rows(models.Match, "subject", "subject_id", "customer_id") == [("ticket", ticket, who)]


def test_a_withheld_match_follows_its_order_to_another_customer(house: House) -> None:
    """Seen: an order that a source gave to its real owner; the later steps went to the customer it had before."""
    wrong, right = house.customer(phone=None, email=None), house.customer()
    house.add(models.Order, customer_id=wrong, shipped_at=NOON - DAY, placed_at=NOON - DAY)
    house.rule(subject="order", condition="shipped_at: present", limits="{once_per: order}", steps=REMIND)
    run_rule(house.app, "hello", NOON)
    house.set(models.Order, customer_id=right)
    assert run_rule(house.app, "hello", NOON + MINUTE).planned == 1
    assert house.rows(models.Match, "customer_id") == [right]
    house.set(models.Message, state="sent", accepted_at=NOON)
    advance(house.app, NOON + 3 * DAY)
    assert house.rows(models.Message, "customer_id") == [right, right]
