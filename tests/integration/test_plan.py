"""A plan on the real database: who comes and goes, what stops it, whom it meets, what waits; nothing is written."""

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, func, insert, select

import models
from beforehand.backtest import backtest
from beforehand.passes import preview_rule, rule_of, run_rule
from beforehand.planning import Kind, Plan, RuleChange, plan
from messaging.guards.brake import Over
from models import Base
from models.database import reading
from models.vocabulary import BrakeLimit, Reason, RuleStatus
from tests.deciding import NOON, House

DAY = timedelta(days=1)


@pytest.fixture
def house(engine: Engine, tmp_path: Path) -> House:
    made = House(engine, tmp_path)
    made.template()
    made.rule()
    return made


def keep(house: House) -> None:
    """The rules as they are now become what the plan compares with."""
    before = house.folder / "before"
    shutil.rmtree(before, ignore_errors=True)
    shutil.copytree(house.folder / "rules", before)


def planned(house: House, **more: Any) -> Plan:
    asked: dict[str, Any] = {"against": str(house.folder / "before"), "weeks": 0} | more
    return plan(house.app, NOON, **asked)


def only(house: House, **more: Any) -> RuleChange:
    (change,) = planned(house, **more).changes
    return change


def test_the_same_rules_have_no_plan(house: House) -> None:
    house.customer()
    keep(house)
    found = planned(house)
    assert (found.changes, found.unchanged, found.refused) == ((), ("hello",), ())


def test_line_endings_are_no_difference(house: House) -> None:
    keep(house)
    path = house.folder / "rules" / "hello.yaml"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert planned(house).changes == ()


def test_new_changed_gone_and_refused_rules_are_told_apart(house: House) -> None:
    for name in ("goes", "stays", "breaks"):
        house.rule(name)
    keep(house)
    house.rule("hello", condition="country: GB")
    house.rule("comes")
    house.rule("breaks", condition="countri: GB")
    (house.folder / "rules" / "goes.yaml").unlink()
    found = planned(house)
    kinds = {change.rule_id: change.kind for change in found.changes}
    assert kinds == {"breaks": Kind.REFUSED, "comes": Kind.NEW, "goes": Kind.GONE, "hello": Kind.CHANGED}
    assert (found.unchanged, found.refused) == (("stays",), ("breaks",))
    (problem,) = found.changes[0].problems
    assert "breaks.yaml:" in problem
    assert "did you mean country?" in problem


def test_who_is_added_and_who_drops_out_are_told_by_their_ids(house: House) -> None:
    for name, country, tier in (("both", "DE", "gold"), ("out", "DE", "red"), ("in", "GB", "gold")):
        house.customer(external_id=name, country=country, tier=tier)
    keep(house)
    house.rule(condition="tier: gold")
    change = only(house)
    assert change.found is not None
    assert (change.found.added, change.found.dropped) == (1, 1)
    assert (change.found.first_added, change.found.first_dropped) == (("in",), ("out",))
    assert change.old is not None
    assert change.new is not None
    assert (change.old.found, change.new.found, change.new.customers) == (2, 2, 2)


def test_the_difference_is_that_of_two_previews(house: House) -> None:
    for number in range(40):
        house.customer(country=("DE", "GB", "US")[number % 3], tier=("gold", "red")[number % 2])
    found = {}
    for name, condition in (("old", "country: [DE, GB]"), ("new", "tier: gold")):
        house.rule(condition=condition)
        found[name] = {sample.customer for sample in preview_rule(house.app, "hello", NOON, limit=100).samples}
        if name == "old":
            keep(house)
    change = only(house)
    assert change.going is not None
    assert change.going.added == len(found["new"] - found["old"]) > 0
    assert change.going.dropped == len(found["old"] - found["new"]) > 0


def test_the_gates_are_in_the_numbers_that_would_go(house: House) -> None:
    house.customer(country="GB")
    house.customer(country="GB", phone=None, email=None)
    keep(house)
    house.rule(condition="country: GB")
    change = only(house)
    assert change.found is not None
    assert change.going is not None
    assert change.new is not None
    assert (change.found.added, change.going.added) == (2, 1)
    assert change.new.withheld == {Reason.UNREACHABLE: 1}


def test_a_rule_that_turns_to_other_subjects_is_compared_by_customer(house: House) -> None:
    one, two = house.customer(external_id="one"), house.customer(external_id="two", country="GB")
    for customer in (one, two, two):
        house.add(models.Order, customer_id=customer, placed_at=NOON - DAY)
    keep(house)
    house.rule(subject="order", condition="placed_at: present", limits="{once_per: order}")
    change = only(house)
    assert change.found is not None
    assert (change.found.added, change.found.dropped, change.found.first_added) == (1, 0, ("two",))


@pytest.mark.parametrize(
    ("before", "after", "numbers"),
    [
        ("live", "shadow", (2, 0)),
        ("live", "draft", (2, 0)),
        ("live", "retired", (2, 0)),
        ("draft", "live", (0, 2)),
        ("shadow", "live", (0, 2)),
        ("draft", "shadow", (2, 2)),
    ],
)
def test_only_a_live_text_reaches_anybody(house: House, before: str, after: str, numbers: tuple[int, int]) -> None:
    for _ in range(2):
        house.customer()
    house.rule(status=before)
    keep(house)
    house.rule(status=after)
    change = only(house)
    assert change.old is not None
    assert change.new is not None
    assert (change.old.going, change.new.going) == numbers
    assert (change.old_status, change.new_status) == (RuleStatus(before), RuleStatus(after))


def test_words_that_decide_nothing_are_said_to(house: House) -> None:
    house.customer()
    keep(house)
    path = house.folder / "rules" / "hello.yaml"
    path.write_text(path.read_text().replace("title: A test", "title: Another  # why not"))
    change = only(house)
    assert (change.decides, change.found) == (False, None)
    (edit,) = change.edits
    assert (edit.key, edit.old, edit.new) == ("title", "A test", "Another")


def test_the_words_that_differ_are_told_by_their_path(house: House) -> None:
    keep(house)
    house.rule(condition="tier: gold", priority=60, limits="{once_per: customer, valid_for: 2 days}")
    edits = {edit.key: (edit.old, edit.new) for edit in only(house).edits}
    assert edits["priority"] == ("50", "60")
    assert edits["limits.valid_for"] == (None, "2 days")
    assert edits["if.always.country"] == ("DE", None)
    assert edits["if.always.tier"] == (None, "gold")


def test_a_list_that_differs_behind_the_same_text_is_a_change(house: House) -> None:
    vips = house.folder / "rules" / "lists" / "vip.csv"
    vips.parent.mkdir()
    vips.write_text("one\n")
    for name in ("one", "two"):
        house.customer(external_id=name)
    house.rule(condition="external_id: {in: lists/vip.csv}")
    keep(house)
    vips.write_text("one\ntwo\n")
    change = only(house)
    assert change.found is not None
    assert (change.found.added, change.found.first_added) == (1, ("two",))
    assert "a list or the facts that it names are not" in change.notes[0]


def test_the_brake_and_the_limits_are_told(house: House) -> None:
    for _ in range(4):
        house.customer()
    keep(house)
    house.settings["canary"] = 1
    house.rule(limits="{once_per: customer, brake: 50% of customers}")
    assert only(house).brake == Over(BrakeLimit.RULE, most=2, count=4, subjects=4, customers=4)
    house.rule(limits="{once_per: customer, at_most: 1 message per day}")
    change = only(house)
    assert change.new is not None
    assert change.new.withheld == {Reason.AT_MOST: 3}


def test_live_rules_that_reach_the_same_customers_are_told(house: House) -> None:
    both, mine = house.customer(tier="gold"), house.customer()
    house.customer(country="GB", tier="gold")
    house.rule("other", condition="tier: gold", priority=70)
    house.rule("drafted", condition="tier: gold", status="draft")
    keep(house)
    house.rule("hello", condition="country: [DE]")
    (conflict,) = only(house).conflicts
    assert (conflict.rule_id, conflict.now, conflict.lately) == ("other", 1, 0)
    assert (conflict.shares_cap, conflict.goes_first) == (True, True)
    assert both != mine


def test_a_rule_that_spoke_within_the_time_of_the_cap_is_told(house: House) -> None:
    house.settings["caps"] = {"service": "1 per 3 days"}
    house.customer(tier="gold")
    house.rule("other", condition="tier: gold")
    assert run_rule(house.app, "other", NOON - DAY).planned == 1
    keep(house)
    house.rule(limits="{once_per: customer, brake: 90%}")
    house.settings["caps"] = {"service": "2 per 3 days"}
    (conflict,) = only(house).conflicts
    assert (conflict.rule_id, conflict.now, conflict.lately) == ("other", 0, 1)
    house.settings["caps"] = {"service": "2 per 3 hours"}
    assert only(house).conflicts == ()


def test_what_waits_on_the_old_version_is_told(house: House) -> None:
    house.customer()
    house.customer()
    house.rule(steps="  - {send: hello, by: [sms]}\n  - wait: 2 days\n  - {task: Ring them, to: desk}")
    run_rule(house.app, "hello", NOON - DAY)
    old = rule_of(house.app, "hello").terms.version
    keep(house)
    house.rule(steps="  - {send: hello, by: [sms]}")
    change = only(house)
    (waiting,) = change.waiting
    assert (waiting.version, waiting.step, waiting.what, waiting.count) == (old, 2, "wait", 2)
    assert waiting.next_due == NOON + DAY
    assert any("with the text that it began with" in note for note in change.notes)
    house.rule(status="retired")
    assert any("is stopped" in note for note in only(house).notes)


def test_a_rule_that_comes_to_life_tells_what_goes_from_now_and_from_its_moment(house: House) -> None:
    house.settings["live_from"] = None
    house.customer(created_at=NOON - DAY)
    house.customer(created_at=NOON - 3 * DAY)
    house.rule(status="draft")
    keep(house)
    house.rule()
    first = only(house).first_pass
    assert first is not None
    assert (first.as_written, first.from_now, first.from_moment, first.moment) == (0, 0, 2, None)
    path = house.folder / "rules" / "hello.yaml"
    path.write_text(path.read_text() + "from: 2026-03-08\n")
    first = only(house).first_pass
    assert first is not None
    assert (first.as_written, first.from_now, first.from_moment) == (1, 0, 1)
    assert first.moment is not None


def test_without_anything_said_the_plan_is_against_what_is_in_force(house: House) -> None:
    house.customer()
    house.rule("goes")
    run_rule(house.app, "hello", NOON - DAY)
    run_rule(house.app, "goes", NOON - DAY)
    assert planned(house, against=None).against == "what is in force"
    assert planned(house, against=None).changes == ()
    (house.folder / "rules" / "goes.yaml").unlink()
    house.rule(condition="country: GB")
    changes = {change.rule_id: change for change in planned(house, against=None).changes}
    assert {name: change.kind for name, change in changes.items()} == {"goes": Kind.GONE, "hello": Kind.CHANGED}
    assert changes["hello"].found is not None
    assert changes["hello"].found.dropped == 1


def test_one_file_is_compared_with_its_own_rule_alone(house: House) -> None:
    house.rule("other")
    run_rule(house.app, "hello", NOON - DAY)
    run_rule(house.app, "other", NOON - DAY)
    house.rule(condition="country: GB")
    found = planned(house, against=None, rules=house.folder / "rules" / "hello.yaml")
    assert [change.rule_id for change in found.changes] == ["hello"]


def test_a_rule_that_mixes_currencies_is_refused_and_the_others_go_on(house: House) -> None:
    customer = house.customer()
    for currency in ("EUR", "USD"):
        house.add(models.Order, customer_id=customer, placed_at=NOON - DAY, currency=currency, net_total=1)
    keep(house)
    house.rule("money", condition="orders: {sum: {of: net_total, at_least: 1 EUR}}")
    house.rule("other")
    changes = {change.rule_id: change for change in planned(house).changes}
    assert "USD" in changes["money"].problems[0]
    assert changes["other"].new is not None
    assert changes["other"].new.going == 1


def test_a_text_that_can_no_longer_be_read_does_not_hide_the_new_one(house: House) -> None:
    house.customer()
    keep(house)
    (house.folder / "before" / "hello.yaml").write_text("id: hello\nif: 7\n")
    change = only(house)
    assert (change.kind, change.problems) == (Kind.CHANGED, ())
    assert change.notes[0].startswith("the old text does not load")
    assert change.new is not None
    assert change.new.going == 1


def test_the_weeks_are_those_of_the_replay(house: House) -> None:
    house.settings["sms_price"] = 0.1
    for days in range(1, 9):
        customer = house.customer(created_at=NOON - 90 * DAY)
        house.add(models.Order, customer_id=customer, placed_at=NOON - days * DAY)
    house.rule(subject="order", condition="placed_at: {within: 1 day}", when='{at: "daily 12:00"}')
    keep(house)
    text = (house.folder / "rules" / "hello.yaml").read_text()
    (house.folder / "rules" / "hello.yaml").write_text(text.replace("within: 1 day", "within: 12 hours"))
    replay = backtest(house.app, rule_of(house.app, "hello"), NOON - 28 * DAY, NOON)
    change = only(house, weeks=4)
    assert change.old_week is not None
    assert change.new_week is not None
    assert change.new_week.messages * 4 == replay.messages
    assert change.old_week.messages * 4 == 8
    assert change.old_week.amount is not None
    assert float(change.old_week.amount) == pytest.approx(0.2)


def test_a_rule_without_a_clock_has_no_weeks_but_the_rest(house: House) -> None:
    house.customer()
    keep(house)
    path = house.folder / "rules" / "hello.yaml"
    lines = [line for line in path.read_text().splitlines() if not line.startswith("when:")]
    path.write_text("\n".join(lines).replace("status: live", "status: draft"))
    change = only(house, weeks=1)
    assert change.old_week is not None
    assert change.new is not None


def rows(engine: Engine) -> dict[str, int]:
    with reading(engine) as connection:
        tables = Base.metadata.tables.values()
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one() for table in tables
        }


def test_nothing_is_written(house: House) -> None:
    for _ in range(3):
        house.customer()
    house.rule("other")
    run_rule(house.app, "hello", NOON - DAY)
    keep(house)
    house.rule(condition="country: [DE, GB]", limits="{once_per: customer every 1 hour}", when='{at: "12:00"}')
    before, file = rows(house.engine), bytes_of(house.engine)
    found = planned(house, weeks=1)
    assert found.changes[0].new is not None
    assert found.changes[0].new.going == 3
    assert (rows(house.engine), bytes_of(house.engine)) == (before, file)


def bytes_of(engine: Engine) -> bytes | None:
    """The database file and its log as they are; None where there is no file."""
    path = engine.url.database if engine.dialect.name == "sqlite" else None
    if path is None:
        return None
    return b"".join(part.read_bytes() for part in (Path(path), Path(f"{path}-wal")) if part.exists())


def test_a_write_to_a_real_table_would_be_refused(
    sqlite_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = House(sqlite_engine, tmp_path)
    house.template()
    house.rule()
    keep(house)
    house.rule(condition="country: [DE, GB]")

    def writes(connection: Connection, *_: Any, **__: Any) -> None:
        row = {"external_id": "written", "changed_at": NOON}
        connection.execute(insert(Base.metadata.tables["customer"]).values(row))

    monkeypatch.setattr("beforehand.planning.reach.decide_on", writes)
    assert only(house).problems == ("it cannot be asked (DatabaseError)",)
    monkeypatch.undo()
    assert only(house).problems == ()
    assert house.customer()
