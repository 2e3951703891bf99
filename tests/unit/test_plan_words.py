"""What a plan says of limits, money and time, in sentences."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from beforehand.cli.plan_words import lines_of, row
from beforehand.planning import Kind, Plan, RuleChange
from beforehand.planning.report import Conflict, FirstPass, Moved, Reach, Waiting, Weekly
from models.terms import Money
from models.vocabulary import Purpose, Reason, RuleStatus

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
PLAN = Plan(NOON, "rules", "before", 4)


def changed(**more: Any) -> RuleChange:
    live = {"old_status": RuleStatus.LIVE, "new_status": RuleStatus.LIVE, "subject": "order"}
    return RuleChange("hello", Kind.CHANGED, **(live | more))


def said(change: RuleChange, what: str) -> list[str]:
    return [sentence for word, sentence in lines_of(change, PLAN) if word == what]


@pytest.mark.parametrize(
    ("reason", "words"),
    [(Reason.CAP, "the cap a person"), (Reason.AT_MOST, "at_most"), (Reason.BUDGET, "the voucher budget")],
)
def test_a_limit_tells_now_and_the_weeks(reason: Reason, words: str) -> None:
    reached = Reach(9, 9, 2, {reason: 7, Reason.NO_CONSENT: 1})
    assert said(changed(new=reached), "limit") == [f"{words} withholds 7 now."]
    weeks = changed(new=reached, new_week=Weekly(withheld={reason: 40}))
    assert said(weeks, "limit") == [f"{words} withholds 7 now, 40 in the 4 weeks."]
    assert said(changed(new=Reach(), new_week=Weekly(withheld={Reason.NO_CONSENT: 3})), "limit") == []


def test_a_week_has_messages_money_and_vouchers_of_both_texts() -> None:
    old = Weekly(
        Decimal("10.5"), vouchers=Decimal(2), amount=Decimal("1.5"), currency="EUR", worth=(Money(500, "EUR"),)
    )
    new = Weekly(Decimal(200), vouchers=Decimal(4), amount=Decimal(30), currency="EUR", worth=(Money(1000, "EUR"),))
    (sentence,) = said(changed(old_week=old, new_week=new), "a week")
    assert sentence.startswith("10.5 → 200 messages; sending €1.50 → €30.00; 2 → 4 vouchers worth €5.00 → €10.00")
    assert row(changed(old_week=old, new_week=new))[4:] == ("10.5 → 200", "€1.50 → €30.00", "€5.00 → €10.00")


def test_a_week_tells_the_webhooks_of_a_rule_that_sends_nothing() -> None:
    (sentence,) = said(changed(old_week=Weekly(), new_week=Weekly(webhooks=Decimal(2))), "a week")
    assert sentence.startswith("0 messages; sending 0; 0 → 2 webhooks (")


def test_a_price_that_is_missing_or_guessed_is_said() -> None:
    none = Weekly(Decimal(3), amount=None, currency="EUR")
    part = Weekly(Decimal(3), amount=Decimal(1), currency="EUR", unpriced=True, estimate=True)
    assert row(changed(old_week=none, new_week=part))[5] == "no price → at least about €1.00"
    assert row(changed(old_week=Weekly(), new_week=Weekly()))[4:] == ("0", "0", "0")


def test_the_first_pass_tells_the_moment_that_the_rule_says() -> None:
    first = FirstPass(2, 0, 2, NOON)
    (sentence,) = said(changed(first_pass=first, new=Reach(going=5)), "first pass")
    assert "with from: now 0, from 2026-03-10 12:00 UTC on 2." in sentence
    assert sentence.endswith("The rest is backlog.")
    (sentence,) = said(changed(first_pass=FirstPass(5, 0, 5), new=Reach(going=5)), "first pass")
    assert "from the beginning on 5" in sentence
    assert "backlog" not in sentence


@pytest.mark.parametrize(
    ("shares", "first", "words"),
    [
        (True, True, "that one goes first"),
        (True, False, "this one goes first"),
        (True, None, "neither goes first"),
        (False, True, "they share no cap"),
    ],
)
def test_who_goes_first_is_said_where_two_rules_share_a_cap(shares: bool, first: bool | None, words: str) -> None:
    conflict = Conflict("other", Purpose.SERVICE, 70, 3, 1, shares_cap=shares, goes_first=first)
    (sentence,) = said(changed(conflicts=(conflict,)), "meets")
    assert sentence.startswith("other would reach 3 of the same customers now, and spoke to 1 of them")
    assert words in sentence


def test_what_waits_and_what_differs_is_said_in_one_line_each() -> None:
    waiting = Waiting("abc", 2, "wait", 1, NOON)
    found = said(changed(waiting=(waiting,)), "waiting")
    assert found == ["1 match on version abc at step 2 (wait); the next is due 2026-03-10 12:00 UTC."]
    ids = Moved(7, 1, ("A", "B"), ("C",))
    (sentence,) = said(changed(found=ids, going=Moved(), old=Reach(found=1), new=Reach(found=7)), "found")
    assert sentence == "1 → 7 orders now: 7 added, 1 drop out. Added: A, B and 5 more. Out: C."


def test_notes_of_every_replay_are_not_repeated_with_each_rule() -> None:
    week = Weekly(notes=("all alike", "mine alone"))
    plan = Plan(NOON, "rules", "before", 4, notes=("all alike",))
    notes = [sentence for word, sentence in lines_of(changed(old_week=week, new_week=week), plan) if word == "note"]
    assert notes == ["mine alone."]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (changed(new_status=RuleStatus.SHADOW), "live → shadow"),
        (changed(decides=False), "words only"),
        (changed(), "changed (live)"),
        (RuleChange("hello", Kind.REFUSED, problems=("no",)), "refused"),
        (RuleChange("hello", Kind.GONE, old_status=RuleStatus.LIVE), "gone (live)"),
    ],
)
def test_what_became_of_a_rule_in_a_word(change: RuleChange, words: str) -> None:
    assert row(change)[1] == words
