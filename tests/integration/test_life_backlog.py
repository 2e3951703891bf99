"""Going live and editing: what was so before is left alone, what began since is acted on, nobody is swallowed."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

import models
from beforehand.passes import preview_rule, rules_of, run_rule
from beforehand.passes.in_force import bring_into_force
from models.database import writing
from models.vocabulary import Reason
from tests.deciding import NOON, House

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
SHIPPED = {"subject": "order", "condition": "shipped_at: present", "limits": "{once_per: order}"}


@pytest.fixture
def house(engine: Engine, tmp_path: Path) -> House:
    made = House(engine, tmp_path, {"caps": {}, "quiet_hours": {}, "live_from": None})
    made.template()
    return made


def order(house: House, shipped: datetime) -> int:
    return house.add(models.Order, customer_id=house.customer(), placed_at=shipped - DAY, shipped_at=shipped)


def edit(house: House, old: str, new: str) -> None:
    path = house.folder / "rules" / "hello.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def in_force(house: House, at: datetime) -> None:
    """A running house takes up the rules as the files are."""
    with writing(house.engine) as connection:
        bring_into_force(connection, rules_of(house.app).rules, at)


def passed(house: House, at: datetime) -> dict[str, int]:
    """One pass: how many messages, and how many withheld by reason; those spoken to before are not shown."""
    report = run_rule(house.app, "hello", at)
    found = {reason.value: count for reason, count in report.withheld.items() if reason is not Reason.KNOWN_OCCASION}
    return found | ({"messages": report.planned} if report.planned else {})


def reason_of(house: House, customer_id: int) -> str | None:
    (row,) = [row for row in house.rows(models.Match) if row.customer_id == customer_id]
    return str(row.reason) if row.reason else None


def test_a_new_rule_leaves_alone_whom_it_finds_at_once(house: House) -> None:
    house.rule()
    first = house.customer()
    assert passed(house, NOON) == {"backlog": 1}
    house.customer()
    assert passed(house, NOON + HOUR) == {"backlog": 1, "messages": 1}
    house.set(models.Customer, lambda c: c.id == first, country="FR")
    assert passed(house, NOON + 2 * HOUR) == {}
    house.set(models.Customer, lambda c: c.id == first, country="DE")
    assert passed(house, NOON + 3 * HOUR) == {"messages": 1}, "it stopped, and began anew"


def test_what_began_between_going_live_and_the_first_pass_is_acted_on(house: House) -> None:
    house.rule(**SHIPPED)
    order(house, NOON - HOUR)
    in_force(house, NOON)
    order(house, NOON + HOUR)
    assert passed(house, NOON + 2 * DAY) == {"backlog": 1, "messages": 1}


def test_an_edit_of_the_title_swallows_nobody(house: House) -> None:
    """Tier and country have no history: only the pass before can tell who is new."""
    house.rule()
    house.customer()
    passed(house, NOON)
    late = house.customer(country="FR")
    house.set(models.Customer, lambda c: c.id == late, country="DE")
    edit(house, "title: A test", "title: Another title")
    assert passed(house, NOON + HOUR) == {"backlog": 1, "messages": 1}


def test_an_edit_that_widens_does_not_fire_on_those_it_would_have_found(house: House) -> None:
    house.rule()
    house.customer()
    old = house.customer(country="FR")
    passed(house, NOON)
    house.customer()  # begins to match by the old text, before the edit
    edit(house, "country: DE", "country: [DE, FR]")
    assert passed(house, NOON + HOUR) == {"backlog": 2, "messages": 1}
    assert reason_of(house, old) == "backlog"
    house.customer(country="FR")
    assert passed(house, NOON + 2 * HOUR) == {"backlog": 2, "messages": 1}


def test_an_edit_that_widens_acts_on_what_began_since(house: House) -> None:
    house.rule(**SHIPPED | {"condition": "shipped_at: {within: 2 hours}"})
    order(house, NOON - DAY)
    passed(house, NOON)
    order(house, NOON + MINUTE)
    edit(house, "within: 2 hours", "within: 2 days")
    assert passed(house, NOON + HOUR) == {"backlog": 1, "messages": 1}


def test_an_edit_that_narrows_swallows_nobody(house: House) -> None:
    house.rule(condition="country: [DE, FR]")
    passed(house, NOON)
    house.customer()
    edit(house, "country: [DE, FR]", "country: DE")
    assert passed(house, NOON + HOUR) == {"messages": 1}


def test_another_occasion_is_no_reason_to_speak_again(house: House) -> None:
    house.rule(**SHIPPED)
    passed(house, NOON - HOUR)
    order(house, NOON - MINUTE)
    assert passed(house, NOON) == {"messages": 1}
    edit(house, "{once_per: order}", "{once_per: customer}")
    assert passed(house, NOON + HOUR) == {"backlog": 1}


def test_an_explicit_moment_fires_on_what_began_since(house: House) -> None:
    house.rule(**SHIPPED, purpose="service\nfrom: 2026-03-09 12:00 UTC")
    order(house, NOON - 2 * DAY)
    order(house, NOON - HOUR)
    assert passed(house, NOON) == {"backlog": 1, "messages": 1}


def test_an_explicit_moment_judges_the_backlog_anew(house: House) -> None:
    house.rule(**SHIPPED)
    order(house, NOON - 5 * DAY)
    order(house, NOON - HOUR)
    assert passed(house, NOON) == {"backlog": 2}
    edit(house, "purpose: service", "purpose: service\nfrom: 2026-03-09")
    assert passed(house, NOON + HOUR) == {"backlog": 1, "messages": 1}
    edit(house, "from: 2026-03-09", "from: the beginning")
    assert passed(house, NOON + 2 * HOUR) == {"messages": 1}


def test_a_moment_to_come_is_waited_for(house: House) -> None:
    house.rule(**SHIPPED, purpose="service\nfrom: 2026-03-11 12:00 UTC")
    order(house, NOON - HOUR)
    assert passed(house, NOON) == {"backlog": 1}
    order(house, NOON + HOUR)
    assert passed(house, NOON + 2 * HOUR) == {"backlog": 2}
    order(house, NOON + DAY + HOUR)
    assert passed(house, NOON + DAY + 2 * HOUR) == {"backlog": 2, "messages": 1}


def test_the_houses_own_moment_stands_in_and_now_in_the_file_goes_before_it(house: House) -> None:
    house.settings |= {"live_from": NOON - DAY}
    house.rule(**SHIPPED)
    order(house, NOON - 2 * DAY)
    order(house, NOON - HOUR)
    assert passed(house, NOON) == {"backlog": 1, "messages": 1}
    house.rule("other", **SHIPPED, purpose="service\nfrom: now")
    assert run_rule(house.app, "other", NOON).withheld == {Reason.BACKLOG: 2}


def test_a_withheld_one_keeps_its_own_reason_and_its_turn(house: House) -> None:
    house.rule()
    house.customer()
    passed(house, NOON)
    waiting = house.customer(phone=None, email=None)
    assert passed(house, NOON + HOUR) == {"backlog": 1, "unreachable": 1}
    edit(house, "title: A test", "title: Another title")
    edit(house, "country: DE", "country: [DE, FR]")
    assert passed(house, NOON + 2 * HOUR) == {"backlog": 1, "unreachable": 1}
    house.set(models.Customer, lambda c: c.id == waiting, phone="+4915112345678")
    assert passed(house, NOON + 3 * HOUR) == {"backlog": 1, "messages": 1}


@pytest.mark.parametrize(("status", "why"), [("shadow", "shadow"), ("draft", "rule_not_live")])
def test_what_it_found_before_it_was_live_is_backlog(house: House, status: str, why: str) -> None:
    house.rule(status=status)
    house.customer()
    assert passed(house, NOON) == {why: 1}
    assert passed(house, NOON + HOUR) == {why: 1}
    edit(house, f"status: {status}", "status: live")
    assert passed(house, NOON + 2 * HOUR) == {"backlog": 1}
    house.customer()
    assert passed(house, NOON + 3 * HOUR) == {"backlog": 1, "messages": 1}


def test_a_shadow_goes_live_on_what_began_since_its_moment(house: House) -> None:
    house.rule(**SHIPPED, status="shadow")
    order(house, NOON - 2 * DAY)
    order(house, NOON - HOUR)
    assert passed(house, NOON) == {"shadow": 2}
    edit(house, "status: shadow", "status: live\nfrom: 2026-03-09 12:00 UTC")
    assert passed(house, NOON + HOUR) == {"backlog": 1, "messages": 1}


def test_a_pause_of_the_rule_is_no_way_to_the_past(house: House) -> None:
    """Live, retired for a month, and live again with the very same text: what began meanwhile is backlog."""
    house.rule(**SHIPPED)
    in_force(house, NOON)
    assert passed(house, NOON) == {}
    edit(house, "status: live", "status: retired")
    in_force(house, NOON + DAY)
    order(house, NOON + 2 * DAY)
    edit(house, "status: retired", "status: live")
    in_force(house, NOON + 30 * DAY)
    assert passed(house, NOON + 30 * DAY + HOUR) == {"backlog": 1}


def test_a_file_that_was_away_begins_anew(house: House) -> None:
    house.rule(**SHIPPED)
    in_force(house, NOON)
    passed(house, NOON)
    text = (house.folder / "rules" / "hello.yaml").read_text()
    (house.folder / "rules" / "hello.yaml").unlink()
    in_force(house, NOON + DAY)
    order(house, NOON + 2 * DAY)
    (house.folder / "rules" / "hello.yaml").write_text(text)
    in_force(house, NOON + 3 * DAY)
    assert passed(house, NOON + 3 * DAY + HOUR) == {"backlog": 1}


def test_an_edit_back_to_an_earlier_text_is_an_edit(house: House) -> None:
    house.rule(condition="country: [DE, FR]")
    passed(house, NOON)
    edit(house, "country: [DE, FR]", "country: DE")
    passed(house, NOON + HOUR)
    house.customer(country="FR")
    passed(house, NOON + 2 * HOUR)
    edit(house, "country: DE", "country: [DE, FR]")
    assert passed(house, NOON + 3 * HOUR) == {"backlog": 1}


def test_a_wider_rollout_acts_on_what_begins_from_then_on(house: House) -> None:
    house.rule(purpose="service\npercent: 0")
    passed(house, NOON)
    house.customer()
    assert passed(house, NOON + HOUR) == {"not_in_rollout": 1}
    edit(house, "percent: 0", "percent: 100")
    assert passed(house, NOON + 2 * HOUR) == {"backlog": 1}
    house.customer()
    assert passed(house, NOON + 3 * HOUR) == {"backlog": 1, "messages": 1}


def test_an_edit_leaves_the_holdout_a_holdout(house: House) -> None:
    """Who is kept out for the measure must not be counted as something else after the next edit of the title."""
    house.rule(limits="{once_per: customer, holdout: 100% also for service}")
    passed(house, NOON)
    house.customer()
    assert passed(house, NOON + HOUR) == {"holdout": 1}
    edit(house, "title: A test", "title: Another title")
    assert passed(house, NOON + 2 * HOUR) == {"holdout": 1}
    edit(house, ", holdout: 100% also for service", "")
    assert passed(house, NOON + 3 * HOUR) == {"backlog": 1}


def test_whoever_was_in_the_pause_of_once_per_is_not_swallowed(house: House) -> None:
    house.rule(limits="{once_per: customer every 2 days}")
    passed(house, NOON - HOUR)
    house.customer()
    assert passed(house, NOON) == {"messages": 1}
    assert passed(house, NOON + 2 * DAY - HOUR) == {}
    edit(house, "country: DE", "country: [DE, FR]")
    assert passed(house, NOON + 2 * DAY) == {"messages": 1}


def test_the_backlog_of_a_customer_is_one_occasion(house: House) -> None:
    house.rule(**SHIPPED | {"limits": "{once_per: customer}"})
    who = house.customer()
    for _ in range(2):
        house.add(models.Order, customer_id=who, placed_at=NOON - DAY, shipped_at=NOON - HOUR)
    for hours in range(3):
        assert passed(house, NOON + hours * HOUR) == {"backlog": 1}
        assert reason_of(house, who) == "backlog"


def test_a_preview_lets_the_backlog_pass_and_counts_it(house: House) -> None:
    house.rule()
    house.customer()
    house.customer(phone=None, email=None)
    shown = preview_rule(house.app, "hello", NOON)
    assert (shown.messages, shown.backlog, shown.as_json()["backlog"]) == (1, 1, 1)
    passed(house, NOON)
    house.customer()
    shown = preview_rule(house.app, "hello", NOON + HOUR)
    assert (shown.messages, shown.backlog) == (2, 1)
    assert Reason.BACKLOG not in shown.withheld


def test_a_moment_that_was_said_before_is_no_leave_to_act_on_the_past_at_every_edit(house: House) -> None:
    """The file still says from when it went live; an edit that widens it months later is an edit like any other."""
    house.rule(
        **SHIPPED | {"condition": "shipped_at: present, sales_channel: web"}, purpose="service\nfrom: 2026-03-01"
    )
    early = order(house, NOON - DAY)
    house.set(models.Order, lambda c: c.id == early, sales_channel="web")
    order(house, NOON - DAY)
    assert passed(house, NOON) == {"messages": 1}
    edit(house, "shipped_at: present, sales_channel: web", "shipped_at: present")
    order(house, NOON + MINUTE)
    assert passed(house, NOON + HOUR) == {"backlog": 1, "messages": 1}
    edit(house, "from: 2026-03-01", "from: 2026-03-02")
    assert passed(house, NOON + 2 * HOUR) == {"messages": 1}, "a moment that is said anew is leave"


def test_nor_after_a_pause_of_the_rule(house: House) -> None:
    house.rule(**SHIPPED, purpose="service\nfrom: 2026-03-01")
    in_force(house, NOON)
    order(house, NOON - DAY)
    assert passed(house, NOON) == {"messages": 1}
    edit(house, "status: live", "status: retired")
    in_force(house, NOON + DAY)
    order(house, NOON + 2 * DAY)
    edit(house, "status: retired", "status: live")
    in_force(house, NOON + 30 * DAY)
    order(house, NOON + 30 * DAY + MINUTE)
    assert passed(house, NOON + 30 * DAY + HOUR) == {"backlog": 1, "messages": 1}
