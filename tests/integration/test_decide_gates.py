"""Each gate withholds whom it should, for its named reason, and lets the others through. On both databases."""

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

import models
from beforehand.passes import preview_rule, run_rule
from messaging.addresses import address_hash
from models.vocabulary import Reason
from tests.deciding import NOON, House

DAY = timedelta(days=1)
SURVEY = {"purpose": "survey", "steps": "  - {send: hello, by: [sms]}"}


@pytest.fixture
def house(engine: Engine, tmp_path: Path) -> House:
    made = House(engine, tmp_path)
    made.template()
    return made


def decided(house: House, now: datetime = NOON) -> dict[str, int]:
    """Messages and withheld of a preview, in one dict."""
    seen = preview_rule(house.app, "hello", now)
    return {"messages": seen.messages} | {reason.value: count for reason, count in seen.withheld.items()}


def test_what_passes_every_gate_becomes_one_message(house: House) -> None:
    house.rule()
    who = house.customer(language="ar-EG")
    report = run_rule(house.app, "hello", NOON)
    assert (report.matched, report.customers, report.planned, report.withheld) == (1, 1, 1, {})
    (message,) = house.rows(models.Message)
    assert (message.customer_id, message.channel, message.template, message.language) == (who, "sms", "hello", "ar-EG")
    assert (message.state, message.due_at, message.step, message.occasion) == ("planned", NOON, "0", f"customer/{who}")
    (match,) = house.rows(models.Match)
    assert (match.state, match.started_at, match.ended_at) == ("done", NOON, NOON)
    assert match.facts == {"always": {"country": "DE"}}


def test_nobody_behind_the_subject(house: House) -> None:
    house.rule(subject="call", condition="direction: inbound", limits="{once_per: call}")
    house.add(models.Call, direction="inbound", ended_at=NOON - DAY)
    assert decided(house) == {"messages": 0, "no_customer": 1}


@pytest.mark.parametrize("purpose", ["marketing", "survey"])
def test_a_purpose_that_needs_a_yes_waits_for_one(house: House, purpose: str) -> None:
    house.rule(purpose=purpose, steps="  - {send: hello, by: [sms]}")
    house.customer()
    agreed, withdrew, elsewhere = house.customer(), house.customer(), house.customer()
    house.consent(agreed, "sms", purpose, "granted")
    house.consent(withdrew, "sms", purpose, "granted", NOON - 2 * DAY)
    house.consent(withdrew, "sms", purpose, "withdrawn", NOON - DAY)
    house.consent(elsewhere, "email", purpose, "granted")
    assert decided(house) == {"messages": 1, "no_consent": 2, "opted_out": 1}


def test_the_newest_entry_of_the_ledger_decides(house: House) -> None:
    house.rule(steps="  - {send: hello, by: [sms]}")
    came_back, left, later = house.customer(), house.customer(), house.customer()
    house.consent(came_back, "sms", "service", "withdrawn", NOON - 2 * DAY)
    house.consent(came_back, "sms", "service", "granted", NOON - DAY)
    house.consent(left, "all", "all", "withdrawn", NOON - DAY)
    house.consent(later, "sms", "service", "withdrawn", NOON + DAY)  # not yet: as of now there is no no
    assert decided(house) == {"messages": 2, "opted_out": 1}


def test_the_entry_that_allowed_it_is_kept_with_the_message(house: House) -> None:
    house.rule(**SURVEY)
    entry = house.consent(house.customer(), "sms", "survey", "granted")
    run_rule(house.app, "hello", NOON)
    assert house.rows(models.Message, "consent_id") == [entry]


def test_an_opt_out_of_one_channel_leaves_the_other(house: House) -> None:
    house.rule()
    who = house.customer()
    house.consent(who, "sms", "service", "withdrawn")
    run_rule(house.app, "hello", NOON)
    assert house.rows(models.Message, "channel") == ["email"]


@pytest.mark.parametrize(
    ("channel", "scope", "expected"),
    [
        ("sms", "all", {"messages": 0, "suppressed": 1}),
        ("phone", "all", {"messages": 0, "suppressed": 1}),
        ("sms", "service", {"messages": 0, "suppressed": 1}),
        ("sms", "marketing", {"messages": 1}),
        ("email", "all", {"messages": 1}),
    ],
)
def test_a_suppressed_address_is_not_used(house: House, channel: str, scope: str, expected: dict[str, int]) -> None:
    house.rule(steps="  - {send: hello, by: [sms]}")
    house.customer(phone="+4915112345678")
    hashed = address_hash(b"s" * 32, "sms", "+4915112345678")
    house.add(models.Suppression, address_hash=hashed, channel=channel, scope=scope, cause="stop", since=NOON - DAY)
    assert decided(house) == expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ({"phone": None, "email": None}, {"messages": 0, "unreachable": 1}),
        ({"phone": "", "email": "nobody"}, {"messages": 0, "unreachable": 1}),
        ({"phone": None}, {"messages": 1}),
        ({"email": None}, {"messages": 1}),
    ],
)
def test_without_a_usable_address_there_is_nothing_to_send(
    house: House, address: dict[str, Any], expected: dict[str, int]
) -> None:
    house.rule()
    house.customer(**address)
    assert decided(house) == expected


def test_a_template_nobody_has_written_is_said_and_not_blamed_on_the_customer(house: House) -> None:
    house.rule(steps="  - {send: goodbye, by: [sms]}")
    house.customer()
    assert decided(house) == {"messages": 0, "template_failed": 1}


def _open_ticket(house: House, who: int) -> None:
    house.add(models.Ticket, customer_id=who, opened_at=NOON - DAY)


def _late_order(house: House, who: int) -> None:
    house.add(models.Order, customer_id=who, placed_at=NOON - 9 * DAY, promised_on=date(2026, 3, 9))


def _missed_callback(house: House, who: int) -> None:
    said = {"direction": "outbound", "reason": "callback", "outcome": "no_answer"}
    house.add(models.Call, customer_id=who, ended_at=NOON - DAY, **said)


@pytest.mark.parametrize("owed", [_open_ticket, _late_order, _missed_callback])
def test_no_survey_while_we_owe_the_customer_something(house: House, owed: Any) -> None:
    house.rule(**SURVEY)
    troubled, content = house.customer(), house.customer()
    for who in (troubled, content):
        house.consent(who, "sms", "survey", "granted")
    owed(house, troubled)
    assert decided(house) == {"messages": 1, "complaint_open": 1}


def test_a_complaint_never_stops_a_service_message(house: House) -> None:
    house.rule()
    _open_ticket(house, house.customer())
    assert decided(house) == {"messages": 1}


def test_what_is_put_right_is_no_complaint_any_more(house: House) -> None:
    house.rule(**SURVEY)
    who = house.customer()
    house.consent(who, "sms", "survey", "granted")
    house.add(models.Ticket, customer_id=who, opened_at=NOON - 2 * DAY, closed_at=NOON - DAY)
    late = {"customer_id": who, "placed_at": NOON - 9 * DAY, "promised_on": date(2026, 3, 9)}
    house.add(models.Order, **late, delivered_at=NOON - DAY)
    house.add(models.Order, **late, cancelled_at=NOON - DAY)
    house.add(models.Order, **(late | {"promised_on": date(2026, 3, 10)}))  # today is still in time
    _missed_callback(house, who)
    house.add(models.Call, customer_id=who, direction="inbound", outcome="completed", ended_at=NOON - DAY / 2)
    assert decided(house) == {"messages": 1}


def test_an_order_is_late_by_the_customers_own_calendar(house: House) -> None:
    house.rule(**SURVEY)
    for zone in ("Pacific/Auckland", "America/New_York"):
        who = house.customer(time_zone=zone)
        house.consent(who, "sms", "survey", "granted")
        house.add(models.Order, customer_id=who, placed_at=NOON - 9 * DAY, promised_on=date(2026, 3, 10))
    assert decided(house)["complaint_open"] == 1  # it is the eleventh in Auckland already


@pytest.mark.parametrize(("status", "why"), [("draft", Reason.RULE_NOT_LIVE), ("shadow", Reason.SHADOW)])
def test_a_rule_that_is_not_live_decides_but_plans_nothing(house: House, status: str, why: Reason) -> None:
    house.rule(status=status)
    house.customer()
    house.customer(phone=None, email=None)
    assert decided(house) == {"messages": 1, "unreachable": 1}  # the preview shows what it would do
    report = run_rule(house.app, "hello", NOON)
    assert (report.planned, report.withheld) == (0, {why: 1, Reason.UNREACHABLE: 1})
    assert house.rows(models.Message) == []


def test_trial_mode_reaches_the_guest_list_only(house: House) -> None:
    house.rule()
    house.customer(phone="+4915112345678", email=None)
    house.customer(phone="+4915199999999", email="Ann@Example.com")
    house.customer()
    live = {"delivery": "live", "guest_list": ["+49 151 12345678", "ann@example.com"]}
    house.settings |= live | {
        "twilio_account_sid": "AC1",
        "twilio_auth_token": "t",
        "public_url": "https://care.example.com",
    }
    report = run_rule(house.app, "hello", NOON)
    assert report.withheld == {Reason.NOT_ON_GUEST_LIST: 1}
    assert house.rows(models.Message, "channel") == ["sms", "email"]


def test_quiet_hours_move_a_message_to_the_customers_morning(house: House) -> None:
    house.rule(steps="  - {send: hello, by: [sms]}")
    for zone, phone in (("Europe/Berlin", "+4915100000001"), ("Asia/Tokyo", "+81312345678"), (None, "+12125550100")):
        house.customer(time_zone=zone, phone=phone)
    night = datetime.fromisoformat("2026-03-10T23:30:00+00:00")
    report = run_rule(house.app, "hello", night)
    assert (report.planned, report.waiting, report.withheld) == (3, 1, {})
    berlin, tokyo, new_york = house.rows(models.Message, "due_at")
    assert berlin == datetime.fromisoformat("2026-03-11T07:00:00+01:00")
    assert tokyo == new_york == night  # half past eight in Tokyo, half past seven in the evening in New York


def test_service_mail_goes_at_night_too(house: House) -> None:
    house.rule(steps="  - {send: hello, by: [email]}")
    house.customer()
    night = datetime.fromisoformat("2026-03-10T23:30:00+00:00")
    run_rule(house.app, "hello", night)
    assert house.rows(models.Message, "due_at") == [night]


def test_a_morning_that_is_too_late_withholds(house: House) -> None:
    house.rule(steps="  - {send: hello, by: [sms]}", limits="{once_per: customer, valid_for: 4 hours}")
    house.customer()
    assert decided(house, datetime.fromisoformat("2026-03-10T23:30:00+00:00")) == {"messages": 0, "too_late": 1}
    assert decided(house, datetime.fromisoformat("2026-03-10T04:30:00+00:00")) == {"messages": 1}


def test_a_message_that_may_go_knows_its_last_moment(house: House) -> None:
    house.rule(limits="{once_per: customer, valid_for: 4 hours}")
    house.customer()
    run_rule(house.app, "hello", NOON)
    assert house.rows(models.Message, "expires_at") == [NOON + timedelta(hours=4)]


def test_a_preview_writes_nothing(house: House) -> None:
    house.rule()
    house.customer()
    assert preview_rule(house.app, "hello", NOON).messages == 1
    for table in (models.Match, models.Message, models.RulePass, models.RuleVersion):
        assert house.rows(table) == []
