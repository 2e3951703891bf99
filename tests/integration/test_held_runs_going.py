"""Held runs that go: the canary, the rest, what stops them again, and how they end."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, insert, select, update

import models
from beforehand.approving import (
    HeldRunView,
    WatchReport,
    held_run,
    watch,
)
from beforehand.approving import answering as answers
from beforehand.dispatching import stops_of
from beforehand.passes import advance, run_rule
from beforehand.passes.house import rules_of
from beforehand.passes.in_force import bring_into_force
from messaging import switches
from messaging.cancelling import cancel
from messaging.candidates import TABLES, match, message
from messaging.events_out import untold
from messaging.held.rates import Figures
from messaging.replies import waiting
from messaging.webhooks import queue
from models.database import reading, writing
from models.vocabulary import Channel, HeldState, Reason
from tests.deciding import NOON, House
from tests.holding import HOUR, MINUTE, approve, held_house, hold, leave, notices, refuse, states


@pytest.fixture
def house(engine: Engine, tmp_path: Path) -> House:
    return held_house(engine, tmp_path)


# -- what goes ---------------------------------------------------------------------------------------------------


def test_the_canary_goes_first_then_the_rest_and_then_it_is_done(house: House) -> None:
    run = approve(house, hold(house))
    assert (run.state, run.canary) == (HeldState.CANARY, 3)
    assert states(house) == {"held": 7, "open": 3}
    advance(house.app, NOON)
    assert leave(house, NOON + MINUTE) == 3
    assert watch(house.app, NOON + 30 * MINUTE).released == []
    assert states(house) == {"held": 7, "done": 3}
    assert watch(house.app, NOON + 31 * MINUTE).released == [run.id]
    advance(house.app, NOON + 31 * MINUTE)
    assert watch(house.app, NOON + 32 * MINUTE).done == [], "its messages have not left yet"
    assert leave(house, NOON + 32 * MINUTE) == 7
    assert watch(house.app, NOON + 33 * MINUTE).done == [run.id]
    assert states(house) == {"done": 10}
    house.customer()
    assert run_rule(house.app, "hello", NOON + HOUR).planned == 1, "the rule goes on"


def test_what_is_let_go_gets_the_very_rows_that_a_pass_would_have_planned(house: House) -> None:
    """Once released and once planned by a pass: the same messages, vouchers, tasks, surveys and webhooks."""
    steps = (
        "  - voucher: {worth: 5 EUR, valid_for: 9 days}\n  - send: hello\n    by: [sms, email]\n"
        '  - task: Look\n    to: desk\n  - webhook: crm\n    with: {why: "said so"}\n'
        "  - wait: 2 days\n  - send: hello\n    by: [email]"
    )
    house.settings |= {"consent_needed": [], "webhooks": {"crm": "https://crm.example/in"}}
    for name, limit in (("hello", "10%"), ("planned", "100%")):
        house.rule(
            name, purpose="marketing", steps=steps, limits=f"{{once_per: customer, brake: {limit}, valid_for: 9 days}}"
        )
    run = hold(house)
    approve(house, run)
    for hours in range(4):
        advance(house.app, NOON)
        leave(house, NOON - HOUR)
        watch(house.app, NOON + hours * HOUR)
    assert run_rule(house.app, "planned", NOON).planned == 10
    assert _rows_of(house, "hello") == _rows_of(house, "planned")


def _rows_of(house: House, rule_id: str) -> dict[str, list[tuple[Any, ...]]]:
    m, t, v, w = match.c, TABLES["task"].c, TABLES["voucher"].c, TABLES["webhook"].c
    s = message.c
    said = select(
        s.customer_id, s.step, s.channel, s.address, s.template, s.purpose, s.priority, s.due_at, s.expires_at
    )
    mine = select(m.id).where(m.rule_id == rule_id)
    asked = {
        "messages": said.where(s.rule_id == rule_id),
        "vouchers": select(v.customer_id, v.worth, v.issued_at, v.valid_until).where(v.match_id.in_(mine)),
        "tasks": select(t.customer_id, t.step, t.desk, t.what, t.created_at).where(t.match_id.in_(mine)),
        "webhooks": select(w.customer_id, w.step, w.endpoint, w.said, w.due_at).where(w.match_id.in_(mine)),
        "matches": select(m.customer_id, m.state, m.next_step, m.due_at, m.started_at).where(m.rule_id == rule_id),
    }
    with reading(house.engine) as connection:
        return {name: sorted(map(tuple, connection.execute(rows)), key=str) for name, rows in asked.items()}


def test_later_gates_only_take_away(house: House) -> None:
    run = hold(house)
    everybody = house.rows(models.Match, "customer_id")
    for customer_id in everybody:
        house.consent(customer_id, "all", "all", "withdrawn")
    approve(house, run)
    advance(house.app, NOON)
    assert states(house) == {"held": 7, "withheld": 3}
    assert set(house.rows(models.Match, "reason")) == {"brake", "opted_out"}
    assert house.rows(models.Message) == []


def test_a_canary_of_which_nothing_can_go_hangs_for_no_time(house: House) -> None:
    """The next few go first, so that the rest never goes unwatched; where none is left, it is over."""
    run = hold(house)
    spread = approve(house, run)
    out = [key for key, state in house.rows(models.Match, "customer_id", "state") if state == "open"]
    for customer_id in out:
        house.consent(customer_id, "all", "all", "withdrawn")
    advance(house.app, NOON)
    watch(house.app, NOON + MINUTE)
    assert states(house) == {"withheld": 3, "held": 4, "open": 3}
    assert held_run(house.app, run.id).canary == 2 * spread.canary
    for customer_id in set(house.rows(models.Match, "customer_id")) - set(out):
        house.consent(customer_id, "all", "all", "withdrawn")
    for minutes in range(2, 6):
        advance(house.app, NOON + minutes * MINUTE)
        watch(house.app, NOON + minutes * MINUTE)
    assert held_run(house.app, run.id).state is HeldState.DONE
    assert states(house) == {"withheld": 10}


def test_a_run_of_tasks_alone_waits_and_then_goes_on(house: House) -> None:
    house.rule(steps="  - task: Look\n    to: desk", limits="{once_per: customer, brake: 10%}")
    run = approve(house, hold(house))
    advance(house.app, NOON)
    assert len(house.rows(models.Task)) == 3
    watch(house.app, NOON + 29 * MINUTE)
    assert states(house) == {"held": 7, "done": 3}
    watch(house.app, NOON + 30 * MINUTE)
    advance(house.app, NOON + 30 * MINUTE)
    assert len(house.rows(models.Task)) == 10
    assert watch(house.app, NOON + 31 * MINUTE).done == [run.id]


def test_a_rule_that_begins_with_a_wait_is_held_just_so(house: House) -> None:
    house.rule(
        steps="  - wait: 2 hours\n  - send: hello\n    by: [sms]",
        limits="{once_per: customer, brake: 10%, valid_for: 9 hours}",
    )
    run = hold(house)
    assert set(house.rows(models.Match, "due_at", "state")) == {(NOON + 2 * HOUR, "held")}
    approve(house, run, NOON + HOUR)
    advance(house.app, NOON + HOUR)
    assert house.rows(models.Message) == [], "the wait is not over"
    assert watch(house.app, NOON + HOUR).released == []
    advance(house.app, NOON + 2 * HOUR)
    assert leave(house, NOON + 2 * HOUR) == 3
    assert watch(house.app, NOON + 3 * HOUR).released == [run.id]
    advance(house.app, NOON + 3 * HOUR)
    assert set(house.rows(models.Message, "expires_at")) == {NOON + 11 * HOUR}, "counted from when the wait was over"
    assert leave(house, NOON + 3 * HOUR) == 7
    assert watch(house.app, NOON + 4 * HOUR).done == [run.id]


def test_quiet_hours_are_waited_for(house: House) -> None:
    house.settings["quiet_hours"] = {"service": "11:00-20:00"}
    run = approve(house, hold(house))
    advance(house.app, NOON)
    assert set(house.rows(models.Message, "due_at")) == {NOON + 7 * HOUR}
    for hours in (1, 6):
        assert watch(house.app, NOON + hours * HOUR).released == []
    leave(house, NOON + 7 * HOUR)
    assert watch(house.app, NOON + 7 * HOUR + 31 * MINUTE).released == [run.id]


def test_a_rule_edited_while_its_run_is_held_keeps_the_text_of_the_hold(house: House) -> None:
    run = hold(house)
    before = run.version
    house.template("other")
    house.rule(steps="  - {send: other, by: [sms]}", limits="{once_per: customer, brake: 90%}")
    assert run_rule(house.app, "hello", NOON + HOUR).planned == 0, "the list of the hold is not decided twice"
    approve(house, run, NOON + HOUR)
    advance(house.app, NOON + HOUR)
    assert set(house.rows(models.Message, "template", "version")) == {("hello", before)}


@pytest.mark.parametrize("status", ["retired", "draft"])
def test_a_rule_that_is_live_no_more_ends_its_run(house: House, status: str) -> None:
    run = approve(house, hold(house))
    house.rule(status=status, limits="{once_per: customer, brake: 10% of customers}")
    with writing(house.engine) as connection:
        bring_into_force(connection, rules_of(house.app).rules, NOON)
    assert watch(house.app, NOON + MINUTE).ended == [run.id]
    ended = held_run(house.app, run.id)
    assert (ended.state, ended.said) == (HeldState.REFUSED, "the rule is not live any more")
    advance(house.app, NOON + MINUTE)
    assert house.rows(models.Message) == []


def test_what_was_let_go_and_not_begun_may_match_anew_when_its_run_has_ended(house: House) -> None:
    monthly = "{once_per: customer every 30 days, brake: 10% of customers}"
    house.rule(limits=monthly)
    run = approve(house, hold(house))
    house.rule(status="draft", limits=monthly)
    with writing(house.engine) as connection:
        bring_into_force(connection, rules_of(house.app).rules, NOON)
    assert watch(house.app, NOON + MINUTE).ended == [run.id]
    assert set(house.rows(models.Match, "state", "reason")) == {("withheld", "brake_refused")}
    house.rule(limits=monthly, priority=51)
    house.settings["canary"] = 10
    with writing(house.engine) as connection:
        bring_into_force(connection, rules_of(house.app).rules, NOON + HOUR)
    back = run_rule(house.app, "hello", NOON + 2 * HOUR)
    assert (back.planned, back.withheld) == (10, {})


def test_what_staff_cancelled_before_it_began_is_not_what_the_run_reached(house: House) -> None:
    approve(house, hold(house))
    advance(house.app, NOON)
    leave(house, NOON)
    with writing(house.engine) as connection:
        cancel(connection, "hello", None, NOON + 2 * MINUTE)
    watch(house.app, NOON + 3 * MINUTE)
    (counts,) = house.rows(models.RulePass, "counts")
    assert counts["reached"] == 3


def test_a_kill_switch_holds_an_approved_run_like_all_else(house: House) -> None:
    run = hold(house)
    with writing(house.engine) as connection:
        switches.stop(connection, "rule:hello", "test", NOON)
    approve(house, run)
    advance(house.app, NOON)
    assert states(house, models.Message) == {"planned": 3}
    assert watch(house.app, NOON + 3 * HOUR).released == [], "nothing has left, so nothing is known"


# -- the watch ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("figures", "warned", "stopped"),
    [
        (Figures(left=1000), False, False),
        (Figures(left=1000, stops=1), True, False),
        (Figures(left=1000, stops=2), True, False),
        (Figures(left=1000, stops=3), True, True),
        (Figures(left=1001, stops=1), False, False),
        (Figures(left=1000, complaints=3), True, True),
        (Figures(left=20, stops=1), True, True),
        (Figures(left=20, failures=1), True, False),
        (Figures(left=20, failures=2), True, True),
        (Figures(left=100, failures=1), False, False),
        (Figures(left=100, failures=4), True, False),
        (Figures(left=100, failures=5), True, True),
    ],
)
def test_the_thresholds(figures: Figures, warned: bool, stopped: bool) -> None:
    assert (bool(figures.warned_by()), bool(figures.stopped_by())) == (warned, stopped)


def _stop(house: House, at: datetime) -> None:
    who = house.rows(models.Message, "customer_id")[0]
    row = {"channel": "sms", "address_hash": "h", "customer_id": who, "said": "stop", "received_at": at}
    with writing(house.engine) as connection:
        connection.execute(insert(TABLES["reply"]).values(row))


def _withdrawal(house: House, at: datetime) -> None:
    house.consent(house.rows(models.Message, "customer_id")[0], "email", "marketing", "withdrawn", at)


def _complaint(house: House, at: datetime) -> None:
    one = house.rows(models.Message, "id")[0]
    tried = {
        "message_id": one,
        "state": "accepted",
        "lease": "l",
        "lease_until": at,
        "claimed_at": at,
        "address_hash": "h",
    }
    barred = {"address_hash": "h", "channel": "email", "scope": "all", "cause": "complaint", "since": at}
    with writing(house.engine) as connection:
        connection.execute(insert(TABLES["attempt"]).values(tried))
        connection.execute(insert(TABLES["suppression"]).values(barred))


def _failures(house: House, at: datetime) -> None:
    some = house.rows(models.Message, "id")[:2]
    house.set(models.Message, lambda c: c.id.in_(some), state="failed", ended_at=at)


def _texts(house: House, _at: datetime) -> None:
    (house.folder / "templates" / "hello" / "sms.en.txt").write_text("Something else.\n")


@pytest.mark.parametrize("comes_back", [_stop, _withdrawal, _complaint, _failures, _texts])
def test_what_comes_back_stops_it_until_a_person_has_looked_again(house: House, comes_back: Any) -> None:
    run = approve(house, hold(house))
    advance(house.app, NOON)
    leave(house, NOON + MINUTE)
    comes_back(house, NOON + 2 * MINUTE)
    assert watch(house.app, NOON + 3 * MINUTE).stopped == [run.id]
    stopped = held_run(house.app, run.id)
    assert (stopped.state, stopped.expires_at) == (HeldState.STOPPED, NOON + 3 * MINUTE + timedelta(hours=24))
    assert stopped.said
    assert notices(house)[0][0] == f"brake:{run.id}"
    with reading(house.engine) as connection:
        assert untold(connection)[-1].event == "beforehand.brake.stopped-again"
    assert watch(house.app, NOON + 10 * HOUR).released == []
    again = approve(house, run, NOON + 10 * HOUR)
    assert (again.state, states(house)) == (HeldState.CANARY, {"held": 7, "done": 3})
    assert watch(house.app, NOON + 10 * HOUR + MINUTE).stopped == [], "a person has seen what was before"
    assert watch(house.app, NOON + 11 * HOUR).released == [run.id]


def test_a_stop_holds_what_has_not_left_and_a_yes_brings_it_back(house: House) -> None:
    run = approve(house, hold(house))
    advance(house.app, NOON)
    leave(house, NOON + MINUTE)
    watch(house.app, NOON + HOUR)
    advance(house.app, NOON + HOUR)
    _stop(house, NOON + HOUR)
    watch(house.app, NOON + HOUR + MINUTE)
    assert states(house, models.Message) == {"delivered": 3, "held": 7}
    assert set(house.rows(models.Message, "reason")) == {None, "brake"}
    with writing(house.engine) as connection:  # what a provider gives back meanwhile does not slip out
        connection.execute(update(message).where(message.c.state == "held").values(state="queued", reason=None))
        keys = list(connection.execute(select(message.c.id)).scalars())
        assert stops_of(house.app)(connection, NOON + HOUR, keys) == {Reason.BRAKE: 7}
    again = approve(house, run, NOON + 2 * HOUR)
    assert (again.state, states(house, models.Message)) == (HeldState.GOING, {"delivered": 3, "planned": 7})


def test_a_stopped_run_that_is_refused_ends_all_of_it(house: House) -> None:
    house.rule(
        steps="  - {send: hello, by: [sms]}\n  - wait: 2 days\n  - {send: hello, by: [sms]}",
        limits="{once_per: customer, brake: 10% of customers}",
    )
    run = approve(house, hold(house))
    advance(house.app, NOON)
    _failures(house, NOON + MINUTE)
    watch(house.app, NOON + 2 * MINUTE)
    assert states(house, models.Message) == {"failed": 2, "held": 1}
    refuse(house, run, NOON + HOUR)
    assert states(house, models.Message) == {"failed": 2, "cancelled": 1}
    assert states(house) == {"withheld": 7, "stopped": 3}
    advance(house.app, NOON + timedelta(days=3))
    assert len(house.rows(models.Message)) == 3, "nobody hears the second message of a run that was a mistake"


def test_webhooks_wait_while_a_run_is_stopped_and_end_with_a_refusal(house: House) -> None:
    house.settings |= {"webhooks": {"crm": "https://crm.example/in"}}
    steps = '  - {send: hello, by: [sms]}\n  - webhook: crm\n    with: {why: "said so"}'
    house.rule(steps=steps, limits="{once_per: customer, brake: 10% of customers}")

    def called(limit: int = 10) -> int:
        with writing(house.engine) as connection:
            return len(queue.claim(connection, "crm", NOON + HOUR, limit=limit, lease_seconds=60))

    run = approve(house, hold(house))
    advance(house.app, NOON)
    assert called(1) == 1, "one of three is under way when it is stopped"
    _failures(house, NOON + MINUTE)
    assert watch(house.app, NOON + 2 * MINUTE).stopped == [run.id]
    assert (called(), states(house, models.Webhook)) == (0, {"calling": 1, "planned": 2})
    approve(house, run, NOON + 3 * MINUTE)
    assert called(1) == 1
    _failures(house, NOON + 4 * MINUTE)
    assert watch(house.app, NOON + 4 * MINUTE).stopped == [run.id]
    refuse(house, run, NOON + HOUR)
    assert set(house.rows(models.Webhook, "state", "code")) == {("cancelled", "brake_refused")}
    assert called() == 0


def test_first_few_that_never_end_are_shown_to_a_person(house: House) -> None:
    """The rule does nothing else while its run goes: that must not last for ever."""
    run = approve(house, hold(house))
    advance(house.app, NOON)
    house.set(models.Message, due_at=NOON + timedelta(days=30))
    late = NOON + timedelta(days=3)
    assert watch(house.app, late - MINUTE).stopped == []
    assert watch(house.app, late).stopped == [run.id]
    said = held_run(house.app, run.id).said
    assert said == "some of the first few have neither left nor ended after 3 days"
    approve(house, run, late)
    assert watch(house.app, late + MINUTE).stopped == [], "a person has given them as long again"


def test_first_few_that_all_end_unknown_are_shown_to_a_person(house: House) -> None:
    """Not released: nobody has heard anything. A yes lets the next few go, so that somebody hears of them."""
    run = approve(house, hold(house))
    advance(house.app, NOON)
    house.set(models.Message, state="unknown", tries=1)
    assert watch(house.app, NOON + HOUR) == WatchReport(), "they may still turn out to have arrived"
    house.set(models.Message, ended_at=NOON + 2 * HOUR, reason="gave_up")
    assert watch(house.app, NOON + 2 * HOUR).stopped == [run.id]
    assert held_run(house.app, run.id).said == "nobody knows whether any of the first few arrived"
    assert states(house)["held"] == 7
    approve(house, run, NOON + 3 * HOUR)
    report = watch(house.app, NOON + 3 * HOUR)
    assert (report.stopped, report.released, states(house)) == ([], [], {"held": 4, "done": 3, "open": 3})
    advance(house.app, NOON + 3 * HOUR)
    assert leave(house, NOON + 3 * HOUR) == 3
    assert watch(house.app, NOON + 4 * HOUR).released == [run.id]


def test_first_few_that_were_tried_and_all_ended_untaken_are_followed_by_the_next_few(house: House) -> None:
    approve(house, hold(house))
    advance(house.app, NOON)
    house.set(models.Message, state="expired", tries=1, ended_at=NOON + MINUTE)
    assert watch(house.app, NOON + HOUR).released == []
    assert states(house) == {"held": 4, "done": 3, "open": 3}


def test_the_first_few_of_a_rule_that_begins_with_a_wait_have_longer(house: House) -> None:
    steps = "  - wait: 5 days\n  - {send: hello, by: [sms]}"
    house.rule(steps=steps, limits="{once_per: customer, brake: 10% of customers}")
    run = approve(house, hold(house))
    assert watch(house.app, NOON + timedelta(days=8) - MINUTE).stopped == []
    assert watch(house.app, NOON + timedelta(days=8)).stopped == [run.id]


@pytest.mark.parametrize("when", ["waiting", "going", "stopped"])
def test_a_run_that_staff_cancelled_is_over(house: House, when: str) -> None:
    run = hold(house)
    if when != "waiting":
        approve(house, run)
        advance(house.app, NOON)
        leave(house, NOON)
    if when == "stopped":
        _failures(house, NOON + MINUTE)
        watch(house.app, NOON + MINUTE)
    with writing(house.engine) as connection:
        cancel(connection, "hello", None, NOON + 2 * MINUTE)
    watch(house.app, NOON + 3 * MINUTE)
    ended = held_run(house.app, run.id)
    assert ended.ended_at == NOON + 3 * MINUTE
    assert ended.state is (HeldState.DONE if when == "going" else HeldState.REFUSED)
    assert notices(house) == []
    house.customer()
    assert run_rule(house.app, "hello", NOON + HOUR).planned == 1, "the rule goes on"


def test_a_warning_is_told_once_and_the_run_goes_on(house: House) -> None:
    run = approve(house, hold(house))
    advance(house.app, NOON)
    leave(house, NOON + MINUTE)
    one = house.rows(models.Message, "id")[0]
    house.set(models.Message, lambda c: c.id == one, state="undelivered", ended_at=NOON + MINUTE)
    for minutes in (2, 3):
        assert watch(house.app, NOON + minutes * MINUTE).stopped == []
    with reading(house.engine) as connection:
        told = [one.event for one in untold(connection)]
    assert told.count("beforehand.brake.warning") == 1
    assert held_run(house.app, run.id).state is HeldState.CANARY


def test_one_run_that_cannot_be_looked_at_does_not_keep_the_others(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = hold(house)
    house.rule("other", limits="{once_per: customer, brake: 10% of customers}")
    run_rule(house.app, "other", NOON)
    real = answers.end

    def one_fails(connection: Connection, run: HeldRunView, *rest: Any, **more: Any) -> int:
        if run.id == first.id:
            raise ValueError("a row that cannot be")
        return real(connection, run, *rest, **more)

    monkeypatch.setattr("beforehand.approving.watching.end", one_fails)
    assert len(watch(house.app, NOON + timedelta(days=2)).expired) == 1
    assert held_run(house.app, first.id).state is HeldState.WAITING


def offered(house: House, rule_id: str, priority: int, more: str = "", **terms: Any) -> None:
    """A marketing rule that waits for room where the cap has none."""
    house.rule(
        rule_id,
        purpose="marketing",
        priority=priority,
        steps="  - {send: hello, by: [sms]}",
        limits=f"{{once_per: customer{more}, when_capped: defer}}",
        **terms,
    )


@pytest.mark.parametrize("held_by", ["brake", "maybe_stop"])
def test_what_is_held_and_gives_way_to_a_cap_stays_held_for_the_same_reason(house: House, held_by: str) -> None:
    """Whoever lets it go again knows it by its reason: with another one it would be held for ever."""
    house.settings |= {"caps": {"marketing": "1 per 7 days"}, "consent_needed": []}
    offered(house, "hello", 10, ", brake: 10%")
    run = approve(house, hold(house))
    advance(house.app, NOON)
    if held_by == "brake":
        _texts(house, NOON)
        assert watch(house.app, NOON + MINUTE).stopped == [run.id]
    else:
        with writing(house.engine) as connection:
            waiting.hold(connection, house.rows(models.Customer, "id"), [Channel.SMS])
    assert set(house.rows(models.Message, "state", "reason")) == {("held", held_by)}
    offered(house, "greater", 20, ", brake: 100%")
    assert run_rule(house.app, "greater", NOON + MINUTE).displaced == 3
    house.set(models.Message, lambda c: c.rule_id == "greater", state="delivered", ended_at=NOON + MINUTE, tries=1)
    mine = [row[1:] for row in house.rows(models.Message, "rule_id", "state", "reason", "due_at") if row[0] == "hello"]
    later = NOON + timedelta(days=7, hours=1)
    assert mine == [("held", held_by, later)] * 3
    if held_by == "brake":
        approve(house, run, NOON + 2 * MINUTE)
    else:
        with writing(house.engine) as connection:
            waiting.let_everybody_go(connection)
    assert leave(house, later) == 3
    watch(house.app, later + 31 * MINUTE)
    assert held_run(house.app, run.id).rest_at == later + 31 * MINUTE


def _rest_goes(house: House) -> tuple[HeldRunView, list[int]]:
    """The rest was let go after an hour and is planned; the ids of its messages."""
    run = approve(house, hold(house))
    advance(house.app, NOON)
    leave(house, NOON)
    assert watch(house.app, NOON + HOUR).released == [run.id]
    advance(house.app, NOON + HOUR)
    return run, [key for key, state in house.rows(models.Message, "id", "state") if state == "planned"]


STRAGGLERS = {
    "held": {"state": "held", "reason": "maybe_stop"},
    "full mailbox": {"state": "queued", "tries": 1, "due_at": NOON + timedelta(days=1)},
    "full mailbox, claimed": {"state": "claimed", "tries": 2},
}


@pytest.mark.parametrize("one", STRAGGLERS)
def test_one_message_that_waits_for_its_own_reason_does_not_keep_the_run_open(house: House, one: str) -> None:
    """The rule does nothing else while a run of it goes: customers must not go without for one full mailbox."""
    run, rest = _rest_goes(house)
    house.set(models.Message, lambda c: c.id == rest[0], **STRAGGLERS[one])
    assert watch(house.app, NOON + HOUR).done == [], "the others have not been tried"
    house.set(models.Message, lambda c: c.id == rest[1], state="in_flight", tries=1)
    leave(house, NOON + HOUR + MINUTE)
    house.set(models.Message, lambda c: c.id == rest[0], **STRAGGLERS[one])
    assert watch(house.app, NOON + HOUR + MINUTE).done == [], "one is on the wire"
    house.set(models.Message, lambda c: c.id == rest[1], state="accepted", accepted_at=NOON + HOUR)
    assert watch(house.app, NOON + HOUR + 2 * MINUTE).done == [run.id]
    assert house.rows(models.Message, "state").count(STRAGGLERS[one]["state"]) == 1, "it still waits"
    house.customer()
    assert run_rule(house.app, "hello", NOON + 2 * HOUR).planned == 1


def test_a_run_of_which_few_cannot_go_for_days_is_done_all_the_same(house: House) -> None:
    """Five are no more than the rule may reach without a second person."""
    run, rest = _rest_goes(house)
    late = NOON + HOUR + timedelta(days=3)
    house.set(models.Message, lambda c: c.id.in_(rest[5:]), state="delivered", tries=1, accepted_at=NOON + HOUR)
    house.set(models.Message, lambda c: c.id.in_(rest[:5]), due_at=NOON + timedelta(days=30), reason="no_common_hour")
    assert watch(house.app, late - MINUTE).done == [], "they are watched as they go"
    assert watch(house.app, late).done == [run.id]
    assert states(house, models.Message) == {"delivered": 5, "planned": 5}, "what was approved still goes"
    house.customer()
    assert run_rule(house.app, "hello", late).planned == 1


@pytest.mark.parametrize("tries", [0, 1])
def test_a_run_of_which_many_cannot_go_for_days_is_shown_to_a_person(house: House, tries: int) -> None:
    """Were it done, nobody would watch them, and they would go with whatever the texts say by then."""
    run, rest = _rest_goes(house)
    late = NOON + HOUR + timedelta(days=3)
    house.set(models.Message, lambda c: c.id.in_(rest), due_at=NOON + timedelta(days=30), tries=tries)
    report = watch(house.app, late - MINUTE)
    assert (report.done, report.stopped) == ([], [])
    assert watch(house.app, late).stopped == [run.id]
    assert held_run(house.app, run.id).said == "7 of its messages have neither left nor ended after 3 days"
    assert states(house, models.Message) == {"delivered": 3, "held": 7}
    approve(house, run, late)
    report = watch(house.app, late + timedelta(days=2))
    assert (report.done, report.stopped) == ([], []), "a person has given them as long again"
    assert leave(house, late + timedelta(days=2)) == 7
    assert watch(house.app, late + timedelta(days=2)).done == [run.id]
