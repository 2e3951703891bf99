"""``explain`` says of one customer what a pass really does, and tells what is stored of the past. On both databases."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine

import models
from beforehand.explaining import Explanation, UnknownCustomer, explain, explain_one
from beforehand.explaining.report import SubjectReport
from beforehand.passes import UnknownRule, run_rule
from messaging.addresses import address_hash
from models.vocabulary import Reason
from rules.errors import RuleErrors
from tests.deciding import NOON, House

DAY = timedelta(days=1)
MINE = {"external_id": "A-1"}
WAITS = (
    "  - {send: hello, by: [sms, email]}\n  - {wait: 2 days, stop_if: {country: FR}}\n  - {send: hello, by: [email]}"
)
CALLS = (
    "  - {voucher: {worth: 5 EUR, valid_for: 90 days}}\n"
    "  - {call: hello, tries: 2, every: 1 hour, else: {send: hello, by: [email]}}\n"
    "  - {task: Ring them, to: care-desk}"
)


@pytest.fixture
def house(engine: Engine, tmp_path: Path) -> House:
    made = House(engine, tmp_path)
    made.template()
    return made


def ask(house: House, rule: str | None = "hello", at: datetime = NOON, wall: datetime | None = None) -> Explanation:
    return explain(house.app, "A-1", at, rule_id=rule, wall=wall)


def subject_of(told: Explanation) -> SubjectReport:
    return told.rules[0].subjects[0]


def test_who_would_be_sent_something_passes_every_gate(house: House) -> None:
    house.rule()
    house.customer(**MINE, first_name="Ann", last_name="Lee")
    told = ask(house)
    assert (told.customer, told.name, told.zone, told.as_of) == ("A-1", "Ann Lee", "Europe/Berlin", False)
    subject = subject_of(told)
    assert subject.decision is not None
    assert subject.told.holds
    assert (subject.decision.reason, subject.decision.channel, subject.decision.due_at) == (None, "sms", NOON)
    assert [gate.name for gate in subject.decision.gates][:2] == ["known occasion", "backlog"]
    assert {gate.reason for gate in subject.decision.gates} == {None}
    assert house.rows(models.Match) == []


def spoken(house: House, who: int) -> None:
    run_rule(house.app, "hello", NOON - DAY)


def opted_out(house: House, who: int) -> None:
    for channel in ("sms", "email"):
        house.consent(who, channel, "service", "withdrawn", NOON - DAY)


def suppressed(house: House, who: int) -> None:
    hashed = address_hash(b"s" * 32, "sms", house.rows(models.Customer, "phone")[0])
    house.add(models.Suppression, address_hash=hashed, channel="sms", cause="stop", since=NOON - DAY)


def unreachable(house: House, who: int) -> None:
    house.set(models.Customer, email=None, phone=None)


def complaint(house: House, who: int) -> None:
    house.add(models.Ticket, customer_id=who, opened_at=NOON - DAY, topic="delivery")


MARKETING = {"purpose": "marketing", "steps": "  - {send: hello, by: [sms]}"}


def agreed(then: Callable[[House, int], None]) -> Callable[[House, int], None]:
    def made(house: House, who: int) -> None:
        house.consent(who, "sms", "marketing", "granted", NOON - DAY)
        then(house, who)

    return made


def capped(house: House, who: int) -> None:
    house.rule("other", **MARKETING, priority=90)
    run_rule(house.app, "other", NOON)


def nothing(house: House, who: int) -> None:
    pass


LIVE = {
    "public_url": "https://care.example.com",
    "delivery": "live",
    "guest_list": [],
    "twilio_account_sid": "AC1",
    "twilio_auth_token": "t",
}
GATES: list[tuple[Reason, dict[str, object], Callable[[House, int], None], dict[str, object]]] = [
    (Reason.KNOWN_OCCASION, {}, spoken, {}),
    (Reason.HOLDOUT, {"limits": "{once_per: customer, holdout: 100%}", **MARKETING}, agreed(nothing), {}),
    (Reason.NOT_IN_ROLLOUT, {"status": "live\npercent: 0"}, nothing, {}),
    (Reason.OPTED_OUT, {}, opted_out, {}),
    (Reason.NO_CONSENT, MARKETING, nothing, {}),
    (Reason.SUPPRESSED, {"steps": "  - {send: hello, by: [sms]}"}, suppressed, {}),
    (Reason.UNREACHABLE, {}, unreachable, {}),
    (Reason.COMPLAINT_OPEN, MARKETING, agreed(complaint), {}),
    (Reason.CAP, MARKETING, agreed(capped), {"caps": {"marketing": "1 per 7 days"}}),
    (Reason.NOT_ON_GUEST_LIST, {}, nothing, LIVE),
    (
        Reason.TOO_LATE,
        {"limits": "{once_per: customer, valid_for: 1 hour}"},
        nothing,
        {"at": NOON + timedelta(hours=12)},
    ),
    (Reason.BACKLOG, {}, nothing, {"live_from": None}),
    (Reason.SHADOW, {"status": "shadow"}, nothing, {}),
    (Reason.TEMPLATE_FAILED, {"steps": "  - {send: nosuch, by: [sms]}"}, nothing, {}),
]


@pytest.mark.parametrize(("reason", "terms", "prepare", "settings"), GATES, ids=[str(gate[0]) for gate in GATES])
def test_each_gate_is_named_as_a_pass_names_it(
    house: House,
    reason: Reason,
    terms: dict[str, object],
    prepare: Callable[[House, int], None],
    settings: dict[str, object],
) -> None:
    at = settings.get("at", NOON)
    assert isinstance(at, datetime)
    house.settings = {"quiet_hours": {"service": "21:00-08:00"}, **settings}
    house.rule(**terms)
    prepare(house, house.customer(**MINE))
    decision = subject_of(ask(house, at=at)).decision
    assert decision is not None
    assert decision.reason is reason
    assert decision.gates[-1].reason is reason
    assert [gate.reason for gate in decision.gates[:-1]] == [None] * (len(decision.gates) - 1)
    report = run_rule(house.app, "hello", at)
    assert list(report.withheld) == [reason]


def test_the_channels_that_were_struck_out_are_told(house: House) -> None:
    house.rule()
    who = house.customer(**MINE)
    house.consent(who, "sms", "service", "withdrawn", NOON - DAY)
    decision = subject_of(ask(house)).decision
    assert decision is not None
    assert decision.channel == "email"
    assert [(way.channel, way.reason) for way in decision.choices] == [("sms", Reason.OPTED_OUT), ("email", None)]


def test_who_does_not_match_is_told_the_values_and_the_nearest_miss(house: House) -> None:
    house.rule(condition="orders: {count: {at_least: 3}, within: 30 days}")
    who = house.customer(**MINE, created_at=NOON - 90 * DAY)
    house.add(models.Order, customer_id=who, placed_at=NOON - 20 * DAY)
    told = ask(house).as_json()
    (rule,) = told["rules"]
    (subject,) = rule["subjects"]
    assert (rule["matching"], subject["matches"], subject["decision"]) == (0, False, None)
    (leaf,) = subject["if"][0]["members"]
    assert leaf["says"] == "orders in the last 30 days: 1, needed at least 3"
    assert (leaf["found"], leaf["holds"]) == (1, False)
    says = "2 more such orders in the next 10 days (before Fri 20 Mar 2026 13:00) would match"
    assert subject["nearest_miss"][0]["says"] == says


def test_a_draft_is_told_as_if_it_were_live(house: House) -> None:
    house.rule(status="draft")
    house.customer(**MINE)
    told = ask(house)
    assert subject_of(told).decision is not None
    assert "draft" in told.rules[0].notes[0]


def test_all_rules_those_that_match_first(house: House) -> None:
    house.rule("a-far", condition="all_of: [{country: FR}, {tier: gold}]")
    house.rule("b-near", condition="country: FR")
    house.rule("c-match")
    house.rule("d-retired", status="retired")
    house.rule("e-calls", subject="call", condition="direction: inbound", limits="{once_per: call}")
    house.customer(**MINE)
    told = ask(house, None)
    assert told.rules[0].rule_id == "c-match"
    assert {rule.rule_id for rule in told.rules} == {"a-far", "b-near", "c-match", "e-calls"}
    assert told.rules[-1].rule_id == "e-calls"


def test_the_subjects_that_match_come_first_then_the_nearest(house: House) -> None:
    house.rule(
        subject="order", condition="net_total: {at_least: 5 EUR}, delivered_at: missing", limits="{once_per: order}"
    )
    who = house.customer(**MINE)
    for number, (total, delivered) in enumerate([(900, NOON), (100, NOON), (900, None), (100, None), (700, NOON)]):
        house.add(
            models.Order,
            external_id=f"o{number}",
            customer_id=who,
            net_total=total,
            currency="EUR",
            delivered_at=delivered and delivered - DAY,
        )
    (rule,) = ask(house).rules
    assert (rule.looked_at, rule.matching) == (5, 1)
    assert rule.subjects[0].key == "o2"
    assert len(rule.subjects[1].told.failing) == 1


def test_a_pathological_customer_is_cut_but_matches_are_found(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beforehand.explaining.asking.WIDE", 3)
    house.rule(subject="order", condition="net_total: {at_least: 5 EUR}", limits="{once_per: order}")
    who = house.customer(**MINE)
    for number in range(6):
        total = 900 if number == 0 else 1
        known = {"external_id": f"o{number}", "placed_at": NOON - DAY + timedelta(hours=number)}
        house.add(models.Order, **known, customer_id=who, net_total=total, currency="EUR")
    (rule,) = ask(house).rules
    assert (rule.looked_at, rule.matching, rule.subjects[0].key) == (6, 1, "o0")
    assert "newest 3" in rule.notes[0]


# -- the past ----------------------------------------------------------------------------------------------


def test_what_is_stored_is_told_in_order_of_time(house: House) -> None:
    house.rule(steps=WAITS)
    who = house.customer(**MINE)
    run_rule(house.app, "hello", NOON)
    (match,) = house.rows(models.Match, "id")
    (message,) = house.rows(models.Message, "id")
    accepted = NOON + timedelta(minutes=2)
    attempt = house.add(
        models.Attempt,
        message_id=message,
        number=1,
        state="accepted",
        lease="x",
        lease_until=NOON,
        claimed_at=NOON,
        armed_at=NOON + timedelta(minutes=1),
        outcome="accepted",
        code="201",
    )
    house.add(models.Evidence, attempt_id=attempt, kind="reply", seen_at=accepted, content={"status": "queued"})
    house.set(models.Message, state="delivered", accepted_at=accepted, ended_at=NOON + timedelta(minutes=4))
    house.add(models.Receipt, message_id=message, state="delivered", seen_at=NOON + timedelta(minutes=3))
    house.add(models.Task, match_id=match, step="2", customer_id=who, desk="desk", what="Ring", created_at=NOON + DAY)
    (past,) = ask(house, at=NOON + 3 * DAY).past
    assert [event.kind for event in past.events] == [
        *("found", "begun", "message", "attempt", "message", "evidence", "receipt", "message", "task")
    ] or [event.kind for event in past.events] == [
        *("found", "begun", "message", "attempt", "evidence", "message", "receipt", "message", "task")
    ]
    assert past.because == ("always: country: 'DE', needed 'DE'",)
    assert (past.state, past.subject, past.other_text) == ("open", "customer/A-1", "")
    assert [event.at for event in past.events] == sorted(event.at for event in past.events)


def test_what_came_after_the_moment_that_was_asked_about_is_not_told(house: House) -> None:
    house.rule(limits="{once_per: customer, holdout: 100% also for service}")
    house.customer(**MINE)
    run_rule(house.app, "hello", NOON)
    run_rule(house.app, "hello", NOON + DAY)
    (then,) = ask(house, at=NOON + DAY / 2, wall=NOON + 2 * DAY).past
    assert [event.kind for event in then.events] == ["found"]
    (later,) = ask(house, at=NOON + 2 * DAY).past
    assert [event.kind for event in later.events] == ["found", "withheld"]


def test_a_withheld_match_is_told_with_its_reason(house: House) -> None:
    house.rule(**MARKETING)
    house.customer(**MINE)
    run_rule(house.app, "hello", NOON)
    (past,) = ask(house).past
    assert (past.state, past.reason) == ("withheld", Reason.NO_CONSENT)
    assert past.as_json()["why"] == "the customer has not agreed to hear from us about this"


def test_the_stored_facts_are_told_on_the_customers_own_clock(house: House) -> None:
    house.rule(condition="created_at: {before: 1 day ago}")
    house.customer(**MINE, time_zone="America/New_York", created_at=NOON - 3 * DAY)
    run_rule(house.app, "hello", NOON)
    (past,) = ask(house).past
    (said,) = past.because
    here = (NOON - 3 * DAY).astimezone(ZoneInfo("America/New_York"))
    assert f"{here:%H:%M}" in said


def test_a_rule_that_is_gone_is_told_from_its_stored_text(house: House) -> None:
    house.rule(condition="orders: {count: {at_least: 1}}")
    house.add(models.Order, customer_id=house.customer(**MINE))
    run_rule(house.app, "hello", NOON)
    (house.folder / "rules" / "hello.yaml").unlink()
    told = ask(house)
    assert told.rules == ()
    assert "no longer in the folder" in told.notes[0]
    assert told.past[0].because == ("always: orders: 1, needed at least 1",)
    assert "no longer in the folder" in told.past[0].other_text
    assert [past.rule_id for past in ask(house, None).past] == ["hello"]


def test_a_version_that_changed_since_is_told_as_it_was(house: House) -> None:
    house.rule(condition="orders: {count: {at_least: 1}}")
    house.add(models.Order, customer_id=house.customer(**MINE))
    run_rule(house.app, "hello", NOON)
    house.rule(condition="orders: {count: {at_least: 5}}")
    told = ask(house)
    assert told.rules[0].version != told.past[0].version
    assert told.past[0].because == ("always: orders: 1, needed at least 1",)
    assert "has changed since" in told.past[0].other_text
    assert not subject_of(told).told.holds


def test_a_past_moment_is_told_with_the_text_of_then_and_what_was_known_then(house: House) -> None:
    house.rule(subject="order", condition="delivered_at: missing", limits="{once_per: order}")
    who = house.customer(**MINE)
    house.add(models.Order, external_id="o1", customer_id=who, delivered_at=NOON - DAY, placed_at=NOON - 9 * DAY)
    run_rule(house.app, "hello", NOON - 3 * DAY)
    house.rule(subject="order", condition="delivered_at: present", limits="{once_per: order}")
    told = ask(house, at=NOON - 2 * DAY, wall=NOON)
    assert told.as_of
    assert told.rules[0].version == told.past[0].version
    assert subject_of(told).told.holds
    assert any("facts as stored then" in note for note in told.rules[0].notes)
    assert ask(house, at=NOON - 4 * DAY, wall=NOON).past == ()


def test_facts_without_history_are_marked_in_a_past_moment(house: House) -> None:
    house.rule(condition="country: DE, orders: {any: {net_total: {at_least: 1 EUR}}}, created_at: {before: today}")
    house.customer(**MINE, changed_at=NOON)
    assert subject_of(ask(house, at=NOON - DAY, wall=NOON)).unsure == ("country", "orders: net_total")
    assert subject_of(ask(house)).unsure == ()
    house.set(models.Customer, changed_at=NOON - 2 * DAY)
    assert subject_of(ask(house, at=NOON - DAY, wall=NOON)).unsure == ("orders: net_total",)


# -- one customer, one rule, step by step ------------------------------------------------------------------


def test_a_preview_for_one_renders_each_message_when_it_would_go(house: House) -> None:
    house.rule(steps=WAITS)
    house.customer(**MINE, first_name="Ann")
    (subject,) = explain_one(house.app, "A-1", NOON, "hello").rules[0].subjects
    first, wait, second = subject.steps
    assert (first.channel, first.at) == ("sms", NOON)
    assert "Good day, Ann." in first.text
    assert (wait.says, wait.at) == ("wait 2 days; ends here if by then: country 'FR'", NOON + 2 * DAY)
    assert (second.channel, second.at, second.headline) == ("email", NOON + 2 * DAY, "Good day")
    assert house.rows(models.Match) == []


def test_a_preview_for_one_waits_for_the_morning(house: House) -> None:
    house.settings = {"quiet_hours": {"service": "21:00-08:00"}}
    house.rule(steps=WAITS)
    house.customer(**MINE)
    night = NOON + timedelta(hours=10)
    (subject,) = explain_one(house.app, "A-1", night, "hello").rules[0].subjects
    first, wait, _second = subject.steps
    assert first.at == NOON + timedelta(hours=19)
    assert wait.at == NOON + timedelta(hours=19) + 2 * DAY


def test_a_preview_for_one_tells_tries_else_vouchers_and_tasks(house: House) -> None:
    house.rule(steps=CALLS)
    house.customer(**MINE)
    (subject,) = explain_one(house.app, "A-1", NOON, "hello").rules[0].subjects
    assert [step.place for step in subject.steps] == ["0", "1", "1.else", "2"]
    voucher, call, other, task = subject.steps
    assert voucher.says == "a voucher of 5.00 EUR, valid for 90 days"
    assert (call.says, call.channel) == ("call hello, up to 2 tries, 1 hour apart", "voice")
    assert (other.after, other.channel) == ("if nobody was reached", "email")
    assert task.says == "a task for care-desk: Ring them"


def test_a_preview_for_one_who_is_withheld_says_so_and_stops(house: House) -> None:
    house.rule(steps=WAITS)
    house.customer(**MINE, phone=None, email=None)
    (subject,) = explain_one(house.app, "A-1", NOON, "hello").rules[0].subjects
    (step,) = subject.steps
    assert (step.reason, step.text) == (Reason.UNREACHABLE, "")


# -- whom ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", ["A-1", "ann@example.com", "Ann@Example.com", "+49 151 1234567", "order/o1", " A-1 "])
def test_the_customer_is_found_by_any_word_for_them(house: House, said: str) -> None:
    house.rule(subject="order", condition="delivered_at: missing", limits="{once_per: order}")
    who = house.customer(**MINE, email="ann@example.com", phone="+491511234567")
    for key in ("o1", "o2"):
        house.add(models.Order, external_id=key, customer_id=who)
    told = explain(house.app, said, NOON)
    assert told.customer == "A-1"
    assert told.rules[0].looked_at == (1 if said == "order/o1" else 2)


def test_nobody_and_several_are_said_plainly(house: House) -> None:
    house.rule()
    with pytest.raises(UnknownCustomer, match="no customers yet"):
        explain(house.app, "A-1", NOON)
    house.customer(external_id="A-1001", email="same@example.com")
    house.customer(external_id="A-1002", email="same@example.com")
    house.add(models.Order, external_id="o1")
    for said, why in [
        ("A-1003", "did you mean A-100"),
        ("same@example.com", "several customers have that address: A-1001, A-1002"),
        ("order/nope", "there is no order 'nope'"),
        ("order/o1", "nobody is known behind order 'o1'"),
        ("zzz", "expected an external id"),
    ]:
        with pytest.raises(UnknownCustomer, match=why):
            explain(house.app, said, NOON)
    with pytest.raises(UnknownRule, match="did you mean hello"):
        explain(house.app, "A-1001", NOON, rule_id="helo")


def test_a_broken_file_hides_neither_the_others_nor_the_past(house: House) -> None:
    house.rule()
    house.customer(**MINE)
    run_rule(house.app, "hello", NOON)
    (house.folder / "rules" / "broken.yaml").write_text("id: broken\n")
    told = ask(house, None)
    assert [rule.rule_id for rule in told.rules] == ["hello"]
    assert any("broken.yaml" in note for note in told.notes)
    assert told.past
    with pytest.raises(RuleErrors):
        explain_one(house.app, "A-1", NOON, "broken")


def test_beside_a_broken_file_the_others_are_asked_as_the_house_asks_them(house: House) -> None:
    house.settings["rates"] = house.folder / "rates.csv"
    house.settings["rates"].write_text("from,to,rate\nUSD,EUR,0.50\n")
    house.rule(condition="orders: {sum: {of: net_total, at_least: 10 EUR}}")
    house.rule("calls", steps="  - webhook: crm")
    who = house.customer(**MINE)
    house.add(models.Order, customer_id=who, placed_at=NOON - DAY, net_total=2_000, currency="USD")
    told = ask(house, None)
    assert [(rule.rule_id, rule.matching) for rule in told.rules] == [("hello", 1)]
    assert any("BEFOREHAND_WEBHOOKS names no endpoint 'crm'" in note for note in told.notes)


def test_rates_that_cannot_be_read_hide_nothing_of_the_past(house: House) -> None:
    house.rule()
    house.customer(**MINE)
    run_rule(house.app, "hello", NOON)
    house.settings["rates"] = house.folder / "rates.csv"
    house.settings["rates"].write_text("from,to,rate\nUSD,EUR,much\n")
    told = ask(house, None)
    assert [rule.rule_id for rule in told.rules] == ["hello"]
    assert any("the rates are refused" in note and "rates.csv" in note for note in told.notes)
    assert told.past
