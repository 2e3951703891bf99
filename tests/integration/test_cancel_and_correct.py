"""Cancel by version, who got what, and a correction to exactly those people: on both databases, by the rows."""

import csv
import json
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from typer.testing import CliRunner, Result

import models
from beforehand.approving import held_run, watch
from beforehand.cli import app as cli
from beforehand.cli import common
from beforehand.passes import advance, run_rule, stops_of
from beforehand.passes.house import rules_of
from beforehand.passes.in_force import bring_into_force
from messaging import audit
from messaging.cancelling import cancel
from messaging.channels.base import Outcome, Sighting
from messaging.outbox import arm, claim, record
from messaging.receipts import apply
from messaging.sent import LISTED
from messaging.unknown import SETTLING, settle
from models.database import reading, writing
from models.vocabulary import Channel, HeldState, MessageState, OutcomeClass, Reason
from tests.deciding import NOON, House
from tests.holding import HOUR, approve, held_house, hold
from tests.integration.out_world import POLICY
from tests.integration.test_outbox_receipts import Told

STEPS = """  - {send: hello, by: [sms, email]}
  - wait: 2 days
  - {send: hello, by: [sms]}"""


@pytest.fixture
def house(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    made = House(engine, tmp_path)
    made.rule()
    made.template()
    made.template("sorry")
    seconds = count(1)
    clock = lambda: NOON + timedelta(seconds=next(seconds))  # noqa: E731
    monkeypatch.setattr(common, "wired", lambda *_a, **_k: replace(made.app, clock=clock))
    return made


def said(*words: str) -> Result:
    return CliRunner().invoke(cli, [*words, *(["--by", "anna"] if words[0] in ("cancel", "correct") else [])])


def told(*words: str) -> Any:
    done = said(*words, "--json")
    assert done.exit_code in (0, 1), done.output
    return json.loads(done.stdout)


def version_of(house: House) -> str:
    return str(house.rows(models.RuleVersion, "version")[0])


def states(house: House) -> Counter[Any]:
    return Counter(house.rows(models.Message, "state", "reason"))


def take(house: House, **more: Any) -> Any:
    with writing(house.engine) as connection:
        stops = stops_of(house.app)
        return claim(connection, more.pop("now", NOON), limit=99, lease_seconds=60, policy=POLICY, stops=stops, **more)


def sent_by(house: House, rule: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in said("sent", rule, "--json").stdout.splitlines()]


def went(house: House, which: int, state: str, **values: Any) -> None:
    """Let the ``which``-th message stand as if it had gone."""
    ids = house.rows(models.Message, "id")
    house.set(models.Message, lambda c: c.id == ids[which], state=state, **values)


def test_without_yes_it_only_says_what_it_would_end(house: House) -> None:
    for _ in range(3):
        house.customer()
    run_rule(house.app, "hello", NOON)
    done = said("cancel", "hello")
    assert done.exit_code == 1
    assert "3 messages would be cancelled (3 by sms)" in done.stdout
    assert states(house) == {("planned", None): 3}
    assert told("cancel", "hello")["cancelled"] is False


def test_what_has_not_left_never_will_and_nothing_is_planned_anew(house: House) -> None:
    house.rule(steps=STEPS)
    for _ in range(6):
        house.customer()
    run_rule(house.app, "hello", NOON)
    went(house, 0, "delivered", accepted_at=NOON)
    went(house, 1, "held", reason="maybe_stop")
    went(house, 2, "queued", tries=1)
    went(house, 3, "in_flight", tries=1)
    claims = take(house, channels=[Channel.SMS]).claims
    assert len(claims) == 3
    found = told("cancel", "hello", "--version", version_of(house)[:6], "--yes")
    assert (found["messages"], found["matches"], found["away"]) == ({"sms": 4}, 6, 1)
    ended = {("cancelled", "cancelled_by_staff"): 4, ("delivered", None): 1, ("in_flight", None): 1}
    assert states(house) == ended
    assert arm(house.engine, claims, NOON) == []
    assert states(house) == ended
    assert set(house.rows(models.Attempt, "state")) == {"returned"}
    assert set(house.rows(models.Match, "state", "reason", "due_at")) == {("stopped", "cancelled_by_staff", None)}
    assert run_rule(house.app, "hello", NOON + timedelta(hours=1)).planned == 0
    house.customer()
    assert run_rule(house.app, "hello", NOON + timedelta(hours=2)).planned == 1  # cancelling is no stop
    assert len(take(house, now=NOON + timedelta(hours=2)).claims) == 1


def test_another_version_is_left_alone(house: House) -> None:
    house.customer()
    run_rule(house.app, "hello", NOON)
    first = version_of(house)
    house.rule(priority=51)
    house.customer()
    run_rule(house.app, "hello", NOON + timedelta(hours=1))
    found = told("cancel", "hello", "--version", first, "--yes")
    assert found["messages"] == {"sms": 1}
    assert states(house) == {("cancelled", "cancelled_by_staff"): 1, ("planned", None): 1}
    assert told("cancel", "hello", "--yes")["messages"] == {"sms": 1}


def test_what_was_on_the_wire_and_comes_back_is_ended_by_the_claim(house: House) -> None:
    house.customer()
    run_rule(house.app, "hello", NOON)
    claims = arm(house.engine, take(house).claims, NOON)
    assert told("cancel", "hello", "--yes")["away"] == 1
    record(house.engine, claims[0], Outcome(OutcomeClass.NOT_ACCEPTED, code="http_503"), NOON)
    assert states(house) == {("queued", None): 1}
    later = take(house, now=NOON + timedelta(hours=1))
    assert (later.claims, {reason.value: n for reason, n in later.withheld.items()}) == ([], {"cancelled_by_staff": 1})
    assert states(house) == {("cancelled", "cancelled_by_staff"): 1}


def test_vouchers_and_webhooks_end_with_it(house: House) -> None:
    house.settings["webhooks"] = {"crm": "https://crm.example.com/in"}
    house.rule(
        steps="""  - voucher: {worth: 5 EUR, valid_for: 9 days}
  - webhook: crm
  - {send: hello, by: [sms]}""",
        purpose="marketing",
    )
    person = house.customer()
    house.consent(person, "all", "marketing", "granted")
    run_rule(house.app, "hello", NOON)
    assert told("cancel", "hello")["vouchers"] == 1
    found = told("cancel", "hello", "--yes")
    assert (found["vouchers"], found["webhooks"]) == (1, 1)
    assert [at is not None for at in house.rows(models.Voucher, "voided_at")] == [True]
    assert house.rows(models.Webhook, "state", "code") == [("cancelled", "cancelled")]


def test_matches_that_a_brake_holds_end_too(house: House) -> None:
    house.customer()
    run_rule(house.app, "hello", NOON)
    went(house, 0, "failed")
    house.set(models.Match, state="held", held_run_id=1, ended_at=None)
    assert told("cancel", "hello", "--yes")["matches"] == 1
    assert house.rows(models.Match, "state") == ["stopped"]


def test_explain_and_the_audit_log_tell_it(house: House) -> None:
    person = house.customer()
    run_rule(house.app, "hello", NOON)
    said("cancel", "hello", "--yes")
    key = house.rows(models.Customer, "external_id")[0]
    assert person
    assert "staff cancelled it" in said("explain", key).stdout
    with reading(house.engine) as connection:
        (entry,) = [one for one in audit.entries(connection) if one.action == "cancel"]
    assert (entry.by, entry.about, entry.details["messages"]) == ("anna", "rule:hello", {"sms": 1})


@pytest.mark.parametrize(
    "words", [("cancel", "nothing"), ("cancel", "hello", "--version", "zzz"), ("sent", "nothing"),
              ("correct", "hello", "--version", "zzz", "--send", "sorry")],
)  # fmt: skip
def test_what_never_ran_is_wrong_use(house: House, words: tuple[str, ...]) -> None:
    house.customer()
    run_rule(house.app, "hello", NOON)
    assert said(*words).exit_code == 2


def test_who_got_what(house: House, tmp_path: Path) -> None:
    for _ in range(4):
        house.customer()
    run_rule(house.app, "hello", NOON)
    claims = arm(house.engine, take(house).claims, NOON)
    record(house.engine, claims[0], Outcome(OutcomeClass.ACCEPTED, provider_id="SM1"), NOON)
    record(house.engine, claims[1], Outcome(OutcomeClass.UNKNOWN, code="timeout"), NOON)
    record(house.engine, claims[2], Outcome(OutcomeClass.REFUSED, code="21211"), NOON)
    rows = sent_by(house, "hello")
    keys = house.rows(models.Customer, "external_id")
    assert [(row["customer"], row["state"], row["provider_id"]) for row in rows] == [
        (keys[0], "accepted", "SM1"), (keys[1], "unknown", None), (keys[3], "in_flight", None),
    ]  # fmt: skip
    assert rows[0]["subject"] == f"customer/{keys[0]}"
    assert (rows[0]["at"], rows[0]["channel"], rows[0]["template"]) == (NOON.isoformat(), "sms", "hello")
    assert said("sent", "hello", "--csv", str(tmp_path / "who.csv")).exit_code == 0
    with (tmp_path / "who.csv").open(newline="") as stream:
        assert [row["customer"] for row in csv.DictReader(stream)] == [keys[0], keys[1], keys[3]]
    assert keys[1] in said("sent", "hello").stdout


def test_a_correction_reaches_exactly_those_who_were_or_may_have_been_told(house: House) -> None:
    for _ in range(8):
        house.customer()
    mail_only = house.customer(phone=None)
    run_rule(house.app, "hello", NOON)
    version = version_of(house)
    for n, state in enumerate(("delivered", "unknown", "accepted", "undelivered", "failed", "expired", "sent")):
        went(house, n, state, accepted_at=NOON)
    ids = house.rows(models.Message, "customer_id")
    mailed = ids.index(mail_only)
    went(house, mailed, "delivered", accepted_at=NOON)  # the eighth still waits
    expected = {ids[0], ids[1], ids[2], ids[6], mail_only}
    seen = told("correct", "hello", "--version", version[:5], "--send", "sorry")
    assert (seen["told"], seen["messages"], seen["done"]) == (5, 5, False)
    assert len(house.rows(models.Message)) == 9
    done = told("correct", "hello", "--version", version, "--send", "sorry", "--yes")
    assert (done["messages"], done["rule"].startswith("correction-hello-")) == (5, True)
    mine = [row for row in house.rows(models.Message) if row.rule_id == done["rule"]]
    assert {row.customer_id for row in mine} == expected
    assert {row.channel for row in mine if row.customer_id != mail_only} == {"sms"}
    assert {row.channel for row in mine if row.customer_id == mail_only} == {"email"}
    assert {row.template for row in mine} == {"sorry"}
    again = told("correct", "hello", "--version", version, "--send", "sorry", "--yes")
    assert (again["messages"], again["withheld"]) == (0, {"known_occasion": 5})
    assert len(take(house, now=NOON + timedelta(minutes=1)).claims) == 6  # and the one that waited


def test_it_goes_by_the_channel_of_the_first_message_where_that_may_be(house: House) -> None:
    for _ in range(3):
        house.customer(preferred_channel="email")
    run_rule(house.app, "hello", NOON)
    house.set(models.Message, state="delivered", accepted_at=NOON)
    people = house.rows(models.Message, "customer_id")
    house.consent(people[1], "sms", "service", "withdrawn")
    house.consent(people[2], "all", "service", "withdrawn")
    done = told("correct", "hello", "--version", version_of(house), "--send", "sorry", "--yes")
    mine = {row.customer_id: row.channel for row in house.rows(models.Message) if row.rule_id == done["rule"]}
    assert mine == {people[0]: "sms", people[1]: "email"}
    assert done["withheld"] == {"opted_out": 1}
    told("correct", "hello", "--version", version_of(house)[:4], "--send", "hello", "--by-channel", "email", "--yes")


def test_one_who_was_told_twice_hears_it_once(house: House) -> None:
    person = house.customer()
    for _ in range(2):
        house.add(models.Order, customer_id=person, number="1", placed_at=NOON - timedelta(days=1))
    house.rule(subject="order", condition="placed_at: present", limits="{once_per: order}")
    assert run_rule(house.app, "hello", NOON).planned == 2
    house.set(models.Message, state="delivered", accepted_at=NOON)
    done = told("correct", "hello", "--version", version_of(house), "--send", "sorry", "--yes")
    assert (done["told"], done["messages"]) == (1, 1)


def test_explain_reads_the_correction(house: House) -> None:
    house.customer()
    run_rule(house.app, "hello", NOON)
    house.set(models.Message, state="delivered", accepted_at=NOON)
    done = said("correct", "hello", "--version", version_of(house), "--send", "sorry", "--yes")
    assert done.exit_code == 0, done.output
    shown = said("explain", house.rows(models.Customer, "external_id")[0]).stdout
    assert "sorry by sms" in shown
    assert "no longer loads" not in shown
    with reading(house.engine) as connection:
        (entry,) = [one for one in audit.entries(connection) if one.action == "correct"]
    assert (entry.by, entry.details["customers"], entry.details["planned"]) == ("anna", 1, 1)


@pytest.mark.parametrize(
    ("wrong", "why"), [("soory", "did you mean sorry"), ("../sorry", "no template"), ("x: y", "no template")]
)
def test_a_template_that_is_not_there_is_wrong_use(house: House, wrong: str, why: str) -> None:
    house.customer()
    run_rule(house.app, "hello", NOON)
    house.set(models.Message, state="delivered", accepted_at=NOON)
    done = said("correct", "hello", "--version", version_of(house), "--send", wrong, "--yes")
    assert (done.exit_code, why in done.stderr) == (2, True)


def test_nobody_was_told(house: House) -> None:
    house.customer()
    run_rule(house.app, "hello", NOON)
    done = said("correct", "hello", "--version", version_of(house), "--send", "sorry")
    assert (done.exit_code, "nobody was told" in done.stderr) == (2, True)


# -- the period after ----------------------------------------------------------------------------------------------

MONTHLY = "{once_per: customer every 30 days, brake: 10% of customers}"


@pytest.mark.parametrize("first", ["held", "let go"])
def test_a_cancelled_run_uses_up_its_period_and_not_the_next(engine: Engine, tmp_path: Path, first: str) -> None:
    house = held_house(engine, tmp_path)
    house.rule(limits=MONTHLY)
    run = hold(house)
    if first == "let go":
        approve(house, run)
    with writing(engine) as connection:
        assert cancel(connection, "hello", None, NOON + HOUR).matches == 10
    assert set(house.rows(models.Match, "state", "ended_at")) == {("stopped", NOON + HOUR)}
    again = run_rule(house.app, "hello", NOON + timedelta(days=29))
    assert (again.brake, again.withheld) == (None, {Reason.KNOWN_OCCASION: 10})
    later = run_rule(house.app, "hello", NOON + timedelta(days=31))
    assert later.withheld == {Reason.BRAKE: 10}, "a new period, which the brake holds like any other"


def test_what_a_retired_rule_had_let_go_and_not_begun_goes_back_to_the_passes(engine: Engine, tmp_path: Path) -> None:
    house = held_house(engine, tmp_path)
    house.rule(limits=MONTHLY)
    run = approve(house, hold(house))
    house.rule(limits=MONTHLY, status="retired")
    assert advance(house.app, NOON).stopped == 0
    of_three = {("withheld", "brake_refused"): 3, ("held", "brake"): 7}
    assert Counter(house.rows(models.Match, "state", "reason")) == of_three
    with writing(engine) as connection:
        bring_into_force(connection, rules_of(house.app).rules, NOON)
    watch(house.app, NOON + HOUR)
    assert held_run(house.app, run.id).state is HeldState.REFUSED
    house.rule(limits=MONTHLY, priority=51)
    house.settings |= {"canary": 10, "live_from": None}
    with writing(engine) as connection:
        bring_into_force(connection, rules_of(house.app).rules, NOON + timedelta(days=399))
    back = run_rule(house.app, "hello", NOON + timedelta(days=400))
    assert (back.planned, back.withheld) == (10, {}), "nobody has heard anything, so nobody is barred"


def test_what_was_cancelled_before_it_began_stays_cancelled(engine: Engine, tmp_path: Path) -> None:
    house = held_house(engine, tmp_path)
    hold(house)
    with writing(engine) as connection:
        cancel(connection, "hello", None, NOON + HOUR)
    assert run_rule(house.app, "hello", NOON + timedelta(days=400)).withheld == {Reason.KNOWN_OCCASION: 10}


# -- who may have been told --------------------------------------------------------------------------------------


class Listing(Told):
    """A provider whose listing shows nothing; None: it cannot be asked."""

    def __init__(self, name: Channel, shows: list[Sighting] | None) -> None:
        super().__init__(name)
        self.shows = shows

    def find(self, *_words: Any) -> list[Sighting] | None:
        return self.shows


VOUCHER = """  - voucher: {worth: 5 EUR, valid_for: 9 days}
  - {send: hello, by: [BY]}"""


def unknown_then_queued(house: House, channel: Channel, *, cancelled: bool = False) -> str:
    """A message whose first try nobody knows the end of, and which waits for its second. Returns the customer's key."""
    house.rule(steps=VOUCHER.replace("BY", channel.value))
    house.customer()
    run_rule(house.app, "hello", NOON)
    (one,) = arm(house.engine, take(house).claims, NOON)
    record(house.engine, one, Outcome(OutcomeClass.UNKNOWN, code="after_dot"), NOON)
    if cancelled:
        assert told("cancel", "hello", "--yes")["away"] == 1
    listing = Listing(channel, None if channel is Channel.EMAIL else [])
    hour = {"send_timeout": 10.0, "settle_after": timedelta(minutes=15)}
    assert settle(house.engine, {channel: listing}, NOON + timedelta(hours=1), **hour).resent == 1  # type: ignore[arg-type]
    return str(house.rows(models.Customer, "external_id")[0])


def told_of(house: House) -> int:
    """How many a correction would be for."""
    done = said("correct", "hello", "--version", version_of(house), "--send", "sorry", "--json")
    return int(json.loads(done.stdout)["told"]) if done.exit_code != 2 else 0


def test_one_who_may_have_been_told_is_not_denied_once_the_resend_is_cancelled(house: House) -> None:
    key = unknown_then_queued(house, Channel.EMAIL, cancelled=True)
    assert [(row["customer"], row["state"]) for row in sent_by(house, "hello")] == [(key, "unknown")]
    assert told_of(house) == 1
    assert take(house, now=NOON + timedelta(hours=2)).claims == []
    assert states(house) == {("cancelled", "cancelled_by_staff"): 1}
    (row,) = sent_by(house, "hello")
    assert (row["customer"], row["state"], row["at"]) == (key, "unknown", NOON.isoformat())
    assert told_of(house) == 1
    assert house.rows(models.Voucher, "voided_at") == [None], "the code may be in their hands"
    done = told("correct", "hello", "--version", version_of(house), "--send", "sorry", "--yes")
    assert (done["told"], done["messages"]) == (1, 1)


def test_cancel_does_not_take_back_a_voucher_that_may_be_known(house: House) -> None:
    unknown_then_queued(house, Channel.EMAIL)
    assert told("cancel", "hello")["vouchers"] == 0
    done = told("cancel", "hello", "--yes")
    assert (done["messages"], done["vouchers"]) == ({"email": 1}, 0)
    assert house.rows(models.Voucher, "voided_at") == [None]


@pytest.mark.parametrize("state", ["held", "claimed", "suppressed", "expired", "failed", "undelivered"])
def test_an_unknown_try_counts_wherever_the_message_stands(house: House, state: str) -> None:
    unknown_then_queued(house, Channel.EMAIL)
    went(house, 0, state)
    assert [row["state"] for row in sent_by(house, "hello")] == ["unknown"]
    assert told_of(house) == 1


@pytest.mark.parametrize("state", ["queued", "expired", "cancelled"])
def test_a_try_that_the_provider_proves_it_never_had_does_not_count(house: House, state: str) -> None:
    unknown_then_queued(house, Channel.SMS)
    went(house, 0, state)
    assert sent_by(house, "hello") == []
    assert told_of(house) == 0
    if state == "queued":
        assert told("cancel", "hello", "--yes")["vouchers"] == 1


def test_a_try_that_bounced_later_does_not_count(house: House) -> None:
    unknown_then_queued(house, Channel.EMAIL)
    (key,) = house.rows(models.Attempt, "id")
    went(house, 0, "cancelled")
    with writing(house.engine) as connection:
        apply(connection, [Sighting("", MessageState.UNDELIVERED, "5.1.1", attempt_id=key)], NOON)
    assert sent_by(house, "hello") == []
    assert told_of(house) == 0


def test_only_a_channel_whose_provider_keeps_a_listing_can_prove_that_it_never_had_a_message() -> None:
    assert set(LISTED) == {channel for channel, rule in SETTLING.items() if rule.lists}
