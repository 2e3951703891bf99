"""Held runs: what the brake stops, who may let it go, and what goes then."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from threading import Barrier

import pytest
from sqlalchemy import Engine, select, update

import models
from beforehand.approving import (
    HeldRunView,
    Looks,
    NotAllowed,
    answer,
    held_run,
    note_window,
    open_runs,
    question_of,
    watch,
    watch_once,
)
from beforehand.approving import answering as answers
from beforehand.explaining import explain
from beforehand.passes import preview_rule, run_rule
from messaging import audit
from messaging.candidates import TABLES
from messaging.events_out import BRAKE_PULLED, untold
from messaging.guards import brake
from models.database import reading, writing
from models.vocabulary import BrakeLimit, HeldState, Reason
from tests.deciding import NOON, House
from tests.holding import EVA, HOUR, MINUTE, approve, crowd, go_through, held_house, hold, notices, refuse, states


@pytest.fixture
def house(engine: Engine, tmp_path: Path) -> House:
    return held_house(engine, tmp_path)


# -- the hold ---------------------------------------------------------------------------------------------------


def test_a_held_run_writes_its_matches_and_nothing_else(house: House) -> None:
    house.rule(
        limits="{once_per: customer, brake: 10% of customers, valid_for: 4 hours}",
        purpose="marketing",
        steps="  - voucher: {worth: 5 EUR, valid_for: 9 days}\n  - send: hello\n    by: [sms]\n"
        "  - task: Look\n    to: desk",
    )
    house.settings["consent_needed"] = []
    run = hold(house)
    assert states(house) == {"held": 10}
    for table in (models.Message, models.Voucher, models.Task, models.Survey, models.Webhook):
        assert house.rows(table) == []
    assert set(house.rows(models.Match, "due_at", "started_at", "next_step")) == {(NOON, None, 0)}
    assert set(house.rows(models.Match, "reason", "held_run_id")) == {("brake", run.id)}
    assert (run.why, run.most, run.count, run.state) == (BrakeLimit.RULE, 5, 10, HeldState.WAITING)
    assert run.expires_at == NOON + timedelta(hours=4), "valid_for is over before the day is"


def test_staff_are_told_in_every_way(house: House) -> None:
    run = hold(house)
    with reading(house.engine) as connection:
        (told,) = [one for one in untold(connection) if one.event == BRAKE_PULLED]
        (entry,) = audit.entries(connection)
    assert (told.about, told.content["held_run"]) == ("rule:hello", run.id)
    assert (entry.by, entry.action, entry.about) == ("beforehand", "hold", "rule:hello")
    ((topic, said),) = notices(house)
    assert topic == f"brake:{run.id}"
    assert f"beforehand approve {run.id}" in said


def test_what_the_rule_finds_meanwhile_is_withheld_and_the_list_is_fixed(house: House) -> None:
    run = hold(house)
    house.customer()
    report = run_rule(house.app, "hello", NOON + HOUR)
    assert report.withheld == {Reason.BRAKE: 11}, "ten on the list, and one that came later"
    assert held_run(house.app, run.id).subjects == 10
    refuse(house, run, NOON + HOUR)
    assert run_rule(house.app, "hello", NOON + 2 * HOUR).planned == 1, "the eleventh was never on the list"


def test_another_rule_is_not_touched(house: House) -> None:
    hold(house)
    house.rule("other", limits="{once_per: customer, brake: 50% of customers}")
    assert run_rule(house.app, "other", NOON).planned == 10


@pytest.mark.parametrize("status", ["draft", "shadow"])
def test_only_a_live_rule_is_held(house: House, status: str) -> None:
    house.rule(status=status, limits="{once_per: customer, brake: 10% of customers}")
    assert run_rule(house.app, "hello", NOON).brake is None
    assert open_runs(house.app) == []


def test_without_a_brake_of_its_own_the_house_s_holds(house: House) -> None:
    house.rule()
    house.settings["brake"] = 19
    assert hold(house).why is BrakeLimit.HOUSE
    house.settings["brake"] = 20
    house.rule("other")
    assert run_rule(house.app, "other", NOON).planned == 10


def test_a_run_of_no_more_than_the_canary_is_never_held(house: House) -> None:
    house.settings["canary"] = 10
    assert run_rule(house.app, "hello", NOON).planned == 10


def test_what_the_rule_began_within_the_hour_counts_too(house: House) -> None:
    """Three and then three: the rule's brake lets five of fifty pass, and an hour later it lets five more pass."""
    house.rule(condition="tier: gold", limits="{once_per: customer, brake: 10%}")
    crowd(house, 3, tier="gold")
    assert run_rule(house.app, "hello", NOON).planned == 3
    crowd(house, 3, tier="gold")
    soon = NOON + 59 * MINUTE
    seen = preview_rule(house.app, "hello", soon).brake
    run = hold(house, soon)
    assert (run.count, run.most, run.subjects) == (6, 5, 3)
    said = "It would reach 3 customers after 3 within an hour: more than the rule's own brake allows, which is 5."
    assert run.because == said
    assert seen is not None
    assert (seen.because, seen.as_json()["reached"]) == (run.because, 6)
    refuse(house, run, soon)
    crowd(house, 3, tier="gold")
    assert run_rule(house.app, "hello", NOON + HOUR).planned == 3


def test_what_a_second_person_let_go_is_not_held_against_the_rule(house: House) -> None:
    run = hold(house)
    go_through(house, approve(house, run), NOON)
    assert run_rule(house.app, "hello", NOON + 3 * HOUR).brake is None
    house.set(models.Match, started_at=NOON + 3 * HOUR)
    crowd(house, 4)
    assert run_rule(house.app, "hello", NOON + 3 * HOUR + MINUTE).planned == 4


def test_many_times_what_is_usual_is_held(house: House) -> None:
    house.rule(condition="tier: gold", limits="{once_per: customer, brake: 100%}")
    for day in range(5):
        assert run_rule(house.app, "hello", NOON - timedelta(days=7 - day)).planned == 0
        house.customer(tier="gold")
        assert run_rule(house.app, "hello", NOON - timedelta(days=6 - day)).planned == 1
    crowd(house, 4, tier="gold")
    assert hold(house).why is BrakeLimit.USUAL


def test_an_approved_run_counts_for_what_is_usual_once_it_is_done_and_a_refused_one_does_not(house: House) -> None:
    def usual() -> list[int]:
        with reading(house.engine) as connection:
            rows = connection.execute(select(TABLES["rule_pass"].c.counts).order_by(TABLES["rule_pass"].c.id))
            return [row.counts[brake.REACHED] for row in rows]

    run = hold(house)
    assert usual() == [0]
    refuse(house, run)
    assert usual() == [0]
    house.rule(limits="{once_per: customer, brake: 11% of customers}")
    run = hold(house, NOON + HOUR)
    go_through(house, approve(house, run, NOON + HOUR), NOON + HOUR)
    assert usual() == [0, 10]


# -- the answer -------------------------------------------------------------------------------------------------


def test_the_author_cannot_approve_and_may_refuse(house: House) -> None:
    run = hold(house)
    with writing(house.engine) as connection:
        connection.execute(update(brake.held_run).values(author="Eva Muster <eva@example.com>"))
    for name in ("eva@example.com", " EVA ", "eva muster", "Eva  Muster <eva@example.com>"):
        with pytest.raises(NotAllowed, match="a second person must approve it"):
            approve(house, run, by=name)
    assert answer(house.app, run.id, approve=False, by="eva@example.com", via="test", now=NOON).state == "refused"


def test_an_author_does_not_approve_under_another_name(house: House) -> None:
    """A name is what somebody says; a login that is theirs alone is looked at, too, and both are kept."""
    run = hold(house)
    with writing(house.engine) as connection:
        connection.execute(update(brake.held_run).values(author="Eva <eva@example.com>", text_authors=["root", "tom"]))

    def by_another_name(*known_as: str) -> HeldRunView:
        return answer(house.app, run.id, approve=True, by="ada", via="cli", now=NOON, known_as=known_as)

    for login in ("eva", "Eva <eva@example.com>", "tom"):
        with pytest.raises(NotAllowed, match="a second person must approve it, from a login of their own"):
            by_another_name("root", login)
    assert by_another_name("root", "ada").state is HeldState.CANARY, "everybody is root in a container"
    with reading(house.engine) as connection:
        last = audit.entries(connection)[-1]
    assert (last.by, last.details["login"]) == ("ada", "root, ada")


def test_only_approvers_may_where_there_are_some_and_everybody_may_refuse(house: House) -> None:
    house.settings["approvers"] = ["ada@example.com", "Bo"]
    run = hold(house)
    for name in ("eva@example.com", "ada@elsewhere.example"):
        with pytest.raises(NotAllowed, match="not among those"):
            approve(house, run, by=name)
    assert approve(house, run, by="Ada <ada@example.com>").decided_by == "Ada <ada@example.com>"


def test_nobody_is_no_second_person(house: House) -> None:
    with pytest.raises(NotAllowed, match="nobody says who"):
        approve(house, hold(house), by="  ")


def test_an_unknown_run_and_one_that_was_answered(house: House) -> None:
    with pytest.raises(NotAllowed, match="there is no held run 7"):
        answer(house.app, 7, approve=True, by=EVA, via="test", now=NOON)
    run = hold(house)
    approve(house, run)
    with pytest.raises(NotAllowed, match="has been answered by Eva"):
        approve(house, run, by="bo")
    with pytest.raises(NotAllowed, match="has been answered by Eva"):
        refuse(house, run)


def test_changed_templates_must_be_looked_at_again(house: House) -> None:
    run = hold(house)
    (house.folder / "templates" / "hello" / "sms.en.txt").write_text("Something else.\n")
    with pytest.raises(NotAllowed, match="look again"):
        approve(house, run)
    assert states(house) == {"held": 10}
    assert approve(house, run).state is HeldState.CANARY, "it has been looked at again"


def test_a_yes_is_for_what_was_shown(house: House) -> None:
    def yes(shown: str) -> HeldRunView:
        return answer(house.app, run.id, approve=True, by=EVA, via="test", now=NOON, shown=shown)

    run = hold(house)
    old = question_of(house.app, run.id, NOON).shown
    (house.folder / "templates" / "hello" / "sms.en.txt").write_text("Something else.\n")
    for _ in range(3):
        with pytest.raises(NotAllowed, match="look again"):
            yes(old)
    new = question_of(house.app, run.id, NOON).shown
    assert yes(new).state is HeldState.CANARY
    with writing(house.engine) as connection:
        connection.execute(update(brake.held_run).values(state=HeldState.STOPPED))
    with pytest.raises(NotAllowed, match="look again"):
        yes(new)
    assert answer(house.app, run.id, approve=False, by=EVA, via="test", now=NOON, shown=new).state == "refused"


def test_an_answer_is_told_and_kept(house: House) -> None:
    run = hold(house)
    refuse(house, run)
    with reading(house.engine) as connection:
        last = audit.entries(connection)[-1]
        told = untold(connection)[-1]
        assert audit.first_broken(connection) is None
    assert (last.by, last.action, last.details["why"]) == (EVA, "refuse", "no")
    assert (told.event, told.content["answer"]) == ("beforehand.brake.answered", "refuse")
    assert notices(house) == []


def test_refused_matches_stay_refused_under_this_text_and_are_decided_anew_under_another(house: House) -> None:
    run = hold(house)
    assert refuse(house, run, NOON + HOUR).ended_at == NOON + HOUR
    assert states(house) == {"withheld": 10}
    for hours in (2, 3):
        report = run_rule(house.app, "hello", NOON + hours * HOUR)
        assert report.withheld == {Reason.BRAKE_REFUSED: 10}
    house.rule(limits="{once_per: customer, brake: 90% of customers}")
    assert run_rule(house.app, "hello", NOON + 4 * HOUR).planned == 10


@pytest.mark.parametrize("refused", [True, False])
def test_a_refusal_by_a_clock_that_is_behind_is_not_forgotten(house: House, refused: bool) -> None:
    """A pass went meanwhile by a clock that is right: the refusal must not look as if it were from before it."""
    run = hold(house)
    run_rule(house.app, "hello", NOON + 25 * HOUR)
    if refused:
        refuse(house, run, NOON + HOUR)
    else:
        assert watch(house.app, NOON + 24 * HOUR).expired == [run.id]
    for hours in (26, 27):
        report = run_rule(house.app, "hello", NOON + hours * HOUR)
        assert (report.brake, report.withheld) == (None, {Reason.BRAKE_REFUSED: 10})
    assert open_runs(house.app) == [], "nobody is asked again"


def test_who_stopped_matching_and_comes_back_is_decided_anew_after_a_refusal(house: House) -> None:
    refuse(house, hold(house))
    run_rule(house.app, "hello", NOON + HOUR)
    one = house.rows(models.Customer, "id")[0]
    house.set(models.Customer, lambda c: c.id == one, country="FR")
    run_rule(house.app, "hello", NOON + 2 * HOUR)
    house.set(models.Customer, lambda c: c.id == one, country="DE")
    report = run_rule(house.app, "hello", NOON + 3 * HOUR)
    assert (report.planned, report.withheld) == (1, {Reason.BRAKE_REFUSED: 9})


def test_expiry_is_a_refusal(house: House) -> None:
    run = hold(house)
    late = NOON + timedelta(hours=24)
    with pytest.raises(NotAllowed, match="so it is refused"):
        approve(house, run, late)
    assert watch(house.app, late - MINUTE).expired == []
    assert watch(house.app, late).expired == [run.id]
    assert held_run(house.app, run.id).state is HeldState.EXPIRED
    assert run_rule(house.app, "hello", late + HOUR).withheld == {Reason.BRAKE_REFUSED: 10}
    assert notices(house) == []


def test_a_command_that_is_over_in_a_moment_looks_twice(house: House) -> None:
    run, moments = (
        hold(house),
        [NOON + timedelta(hours=24), NOON, NOON + timedelta(hours=24), NOON + timedelta(hours=25)],
    )
    app = replace(house.app, clock=lambda: moments.pop(0))
    assert watch_once(app, Looks(apart=0.01)).expired == []
    assert held_run(app, run.id).state is HeldState.WAITING, "its clock was ahead for a moment"
    assert watch_once(app, Looks(apart=0.01)).expired == [run.id]


def test_who_wrote_the_templates_is_asked_once_for_each_text(house: House) -> None:
    run = hold(house)
    assert run.text_authors is None, "git is not asked while others wait"
    watch(house.app, NOON)
    known = held_run(house.app, run.id).text_authors
    assert known == [(house.folder / "templates" / "hello" / "sms.en.txt").owner()]
    (house.folder / "templates" / "hello" / "sms.en.txt").write_text("Something else.\n")
    with pytest.raises(NotAllowed, match="look again"):
        approve(house, run)
    assert held_run(house.app, run.id).text_authors is None
    watch(house.app, NOON)
    assert held_run(house.app, run.id).text_authors == known


def test_an_answer_that_dies_half_way_has_not_happened(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    run = hold(house)

    def dies(*_args: object) -> None:
        raise SystemExit("killed")

    for name in ("let_canary_go", "_write_down"):
        with monkeypatch.context() as patch:
            patch.setattr(answers, name, dies)
            with pytest.raises(SystemExit):
                approve(house, run)
        assert held_run(house.app, run.id).state is HeldState.WAITING
        assert states(house) == {"held": 10}
    assert approve(house, run).canary == 3


def test_of_answers_at_the_same_time_one_wins(house: House) -> None:
    run = hold(house)
    together = Barrier(4)

    def one(number: int) -> str:
        together.wait(timeout=30)
        try:
            done = answer(house.app, run.id, approve=number % 2 == 0, by=f"person {number}", via="test", now=NOON)
        except NotAllowed as wrong:
            return str(wrong)
        return done.decided_by or ""

    with ThreadPoolExecutor(4) as people:
        said = list(people.map(one, range(4)))
    won = [one for one in said if one.startswith("person")]
    assert len(won) == 1
    assert held_run(house.app, run.id).decided_by == won[0]
    assert all(f"has been answered by {won[0]}" in one for one in said if one not in won)
    assert len(house.rows(models.Audit)) == 2, "the hold and one answer"


def test_what_is_backlog_holds_nothing_and_the_preview_knows(house: House) -> None:
    house.settings["live_from"] = None
    seen = preview_rule(house.app, "hello", NOON)
    assert (seen.messages, seen.backlog, seen.brake) == (10, 10, None)
    assert run_rule(house.app, "hello", NOON).withheld == {Reason.BACKLOG: 10}


def test_explain_knows_what_is_held_and_what_was_refused(house: House) -> None:
    def told(at: datetime) -> tuple[Reason | None, tuple[str, ...]]:
        said = explain(house.app, house.rows(models.Customer, "external_id")[0], at, rule_id="hello")
        (subject,) = said.rules[0].subjects
        assert subject.decision is not None
        return subject.decision.reason, tuple(event.says for event in said.past[0].events)

    run = hold(house)
    reason, events = told(NOON + MINUTE)
    assert reason is Reason.BRAKE
    assert any(f"with run {run.id} of the rule: the run is held until" in said for said in events)
    refuse(house, run, NOON + HOUR)
    reason, events = told(NOON + 2 * HOUR)
    assert reason is Reason.BRAKE_REFUSED
    assert any("was refused or not approved in time" in said for said in events)


def test_the_window_is_only_a_window(house: House) -> None:
    run = hold(house)
    note_window(house.app, run.id, "flow-run-1")
    assert held_run(house.app, run.id).asked_in == "flow-run-1"
    note_window(house.app, run.id, None)
    assert approve(house, run).asked_in is None
