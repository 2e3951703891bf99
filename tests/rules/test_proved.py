"""What the proof of equality brought up: each failure stays here as a case, or as a file that is refused."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert, select, text

from models import Base
from models.database import reading
from models.types import day_of_micros, day_start, start_of_day_micros
from rules.errors import RuleErrors
from rules.evaluate import matching
from rules.loader import load_text
from rules.sql import day_plus
from tests.rules.build import matched, rule_of

CUSTOMER = Base.metadata.tables["customer"]
BERLIN = "customer: {time_zone: Europe/Berlin}\n"
CASES = [
    ("since a time of the row itself", "call", "customer.calls: {any: {outcome: completed}, since: ended_at}",
     "customer: {calls: [{outcome: completed, started_at: 3 minutes ago, ended_at: 1 minute ago}]}\n"
     "call: {outcome: dropped, started_at: 9 minutes ago, ended_at: 5 minutes ago}", 1),
    ("the rule's own subject on the left", "customer", "orders: {any: {this.tier: gold}}",
     "customer: {tier: gold, orders: [{net_total: 1 EUR}]}", 1),
    ("the rule's own subject on the left, no", "customer", "orders: {any: {this.tier: gold}}",
     "customer: {tier: tin, orders: [{net_total: 1 EUR}]}", 0),
    ("own subject against own subject", "order", "lines: {any: {this.promised_on: {after: placed_on}}}",
     BERLIN + "order: {placed_at: 3 days ago, promised_on: today, lines: [{quantity: 1}]}", 1),
    ("a relation of the rule's own subject in a relation", "order",
     "lines: {any: {this.customer.tickets: {any: {topic: delivery}}}}",
     "customer: {tickets: [{topic: delivery}]}\norder: {lines: [{quantity: 1}]}", 1),
    ("a relation of the rule's own subject in a relation, no", "order",
     "lines: {any: {this.customer.tickets: {any: {topic: delivery}}}}",
     "customer: {tickets: [{topic: invoice}]}\norder: {lines: [{quantity: 1}]}", 0),
    ("a day that has not come is not another", "subscription", "paused_on: {is_not: today}",
     BERLIN + "subscription: {started_at: 9 days ago, paused_at: in 2 days}", 1),
    ("a day that is missing is none of these", "subscription", "paused_on: {not_in: [today]}",
     BERLIN + "subscription: {started_at: 9 days ago}", 1),
    ("the day of a time known ahead", "subscription", "renews_on: tomorrow",
     BERLIN + "subscription: {started_at: 9 days ago, renews_at: in 1 day}", 1),
    ("a zone there is not, in a rule", "order", "customer.time_zone: Nowhere\n  placed_on: today",
     BERLIN + "order: {placed_at: 1 hour ago}", 0),
    ("the latest is not what is answered later", "customer", "surveys: {latest: {score: 1}}",
     "customer: {surveys: [{score: 1, asked_at: 9 days ago, answered_at: 3 days ago},"
     " {score: 5, asked_at: 2 days ago, answered_at: in 1 day}]}", 1),
    ("a number that the column cannot hold", "ticket", "reopen_count: {less_than: 3000000000}",
     "ticket: {reopen_count: 3}", 1),
    ("one of numbers that the column cannot hold", "ticket", "reopen_count: [3000000000, 3, 4.5]",
     "ticket: {reopen_count: 3}", 1),
    ("something ahead of somebody not there yet", "customer", "events: {any: {name: visit}, within_next: 7 days}",
     "customer: {created_at: in 1 day, events: [{name: visit, happened_at: in 2 days}]}", 0),
    ("until the end of the calendar", "order", "placed_at: {between: [2026-01-01, 9999-12-31]}",
     BERLIN + "order: {placed_at: 1 hour ago}", 1),
]  # fmt: skip


@pytest.mark.parametrize(("subject", "test", "given", "found"), [pytest.param(*case[1:], id=case[0]) for case in CASES])
def test_a_case_that_once_differed(database: Engine, subject: str, test: str, given: str, found: int) -> None:
    assert len(matched(database, rule_of("a:\n  " + test, subject=subject), given)) == found


REFUSED = [
    ("customer", "orders.net_total: {at_least: 5 EUR}", "'orders' are many, so 'orders.net_total' is not one value"),
    ("order", "promised_on: {before: lines.returned_at}", "'lines' are many"),
    ("order", "net_total: {at_least: placed_at}", "the money 'net_total' cannot be compared with the moment"),
    ("order", "promised_on: {before: net_total}", "the day 'promised_on' cannot be compared with the money"),
    ("customer", "orders: {any: {}, since: this.tier}", "the moment 'placed_at' cannot be compared with the text"),
    ("customer", "orders: {any: {}, within: 3 days, within_next: 3 days}", "'within' looks back"),
    ("customer", "orders: {any: {tickets: {any: {}, since: placed_at}}}", "not in a relation of a relation"),
    ("customer", r'tier: "a\0b"', "a character that no text can hold"),
    ("customer", r'tier: ["\ud800"]', "a character that no text can hold"),
    ("customer", r'"\0": gold', "a character that no text can hold"),
    ("ticket", "reopen_count: 99999999999999999999999", "cannot be compared with the number"),
    ("ticket", "reopen_count: 1e999", "cannot be compared with the number"),
    ("customer", "orders: {count: 1e400}", "cannot be compared with the number"),
    ("order", "net_total: 99999999999999999999999 EUR", "cannot be compared with the money"),
    ("customer", "orders: {change: {of: count, at_least: inf%}, within: 3 days}", "is not a change in percent"),
    ("customer", "orders: {change: {of: count, at_least: nan%}, within: 3 days}", "is not a change in percent"),
    ("order", 'placed_at: {before: "0001-01-01T00:00:00+14:00"}', "cannot be compared with the moment"),
    ("order", 'placed_at: {after: "9999-12-31T23:59:59-14:00"}', "cannot be compared with the moment"),
]  # fmt: skip


@pytest.mark.parametrize(("subject", "test", "words"), REFUSED)
def test_what_no_database_can_answer_is_refused_at_its_place(subject: str, test: str, words: str) -> None:
    with pytest.raises(RuleErrors) as refused:
        rule_of("a:\n  " + test, subject=subject)
    (problem,) = refused.value.problems
    assert words in problem.said
    assert problem.line == 7


DAYS = [
    (
        "America/Havana",
        "2026-11-01",
        "2026-11-01T04:00:00+00:00",
    ),  # midnight comes twice: it begins with the first
    ("America/Havana", "2026-03-08", "2026-03-08T05:00:00+00:00"),  # there is no midnight: it begins at one
    ("Asia/Beirut", "2026-10-25", "2026-10-24T22:00:00+00:00"),  # back from midnight to eleven, still the day before
    ("Pacific/Apia", "2011-12-31", "2011-12-30T10:00:00+00:00"),  # the day before it there was none
    ("Europe/Berlin", "2026-10-25", "2026-10-24T22:00:00+00:00"),
    ("Pacific/Kiritimati", "2026-01-01", "2025-12-31T10:00:00+00:00"),
]


@pytest.mark.parametrize(("zone", "day", "begins"), DAYS)
def test_a_day_begins_at_its_first_moment(database: Engine, zone: str, day: str, begins: str) -> None:
    wanted = datetime.fromisoformat(begins)
    on = datetime.fromisoformat(day).date()
    with database.connect() as connection:
        assert connection.execute(select(day_start(on, zone))).scalar_one().astimezone(UTC) == wanted
        assert connection.execute(select(day_start(day_plus(on, 0), zone))).scalar_one().astimezone(UTC) == wanted


def test_for_ever_is_the_last_day_everywhere() -> None:
    assert day_of_micros(253_402_300_799_999_999, "Pacific/Kiritimati") == "9999-12-31"
    assert day_of_micros(-62_135_596_800_000_000, "Pacific/Pago_Pago") == "0001-01-01"


def test_a_zone_there_is_not_has_no_days() -> None:
    assert day_of_micros(0, "Nowhere") is None
    assert day_of_micros(1_800_000_000_000_000, "../etc/passwd") is None
    assert start_of_day_micros("2026-03-10", "Gold") is None


def test_an_invented_name_of_a_condition_is_a_value(database: Engine) -> None:
    name = "'); DROP TABLE customer; --\\n:x %(y)s {0} \\u202e"
    rule = load_text(
        f'id: case\ntitle: A\npurpose: service\nfor_each: customer\nif: {{"{name}": {{tier: gold}}}}\n'
        "then: [{send: late-order, by: sms}]\n", "case", Path())  # fmt: skip
    (found,) = matched(database, rule, "customer: {tier: gold}")
    assert list(found["facts"]) == [next(iter(rule.conditions))]  # type: ignore[call-overload]
    with database.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM customer")).scalar_one() == 0


def test_a_now_that_is_told_late_and_one_that_is_fixed_do_not_mix(database: Engine) -> None:
    rule = rule_of("a: {orders: {count: {at_most: 2}}}")
    now = datetime(2026, 3, 10, 9, tzinfo=UTC)
    with reading(database) as connection:
        connection.execute(insert(CUSTOMER), [{"external_id": "a", "changed_at": now, "created_at": now, "bucket": 0}])
        asked = [matching(rule, now=each, zone="UTC") for each in (now, lambda: now, now, lambda: now)]
        assert [len(connection.execute(each).all()) for each in asked] == [1, 1, 1, 1]
