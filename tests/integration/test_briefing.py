"""The morning brief: its figures from the tables, on both databases, and the words that staff read."""

import json
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from typer.testing import CliRunner

import models
from beforehand.briefing import Brief, Hour, OfRule, Unclear, brief_of, note_brief
from beforehand.briefing_words import headline, markdown
from beforehand.cli import app as commands
from messaging import audit, breaker, switches
from models.database import writing
from models.vocabulary import REASON_TEXT, Channel, MatchState, MessageState, Reason
from tests.deciding import NOON, House, house_for_commands

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


class Past:
    """A house with a past: messages and occasions as they were left."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.numbers = count(1)
        self.person = house.customer()

    def occasion(self, rule: str = "late-order", at: datetime = NOON - HOUR, **values: Any) -> int:
        number = next(self.numbers)
        row = {
            "rule_id": rule, "version": "v1", "occasion": f"order/{number}", "subject": "order", "subject_id": number,
            "customer_id": self.person, "matched_at": at, "seen_at": at, "started_at": at, "state": MatchState.DONE,
        }  # fmt: skip
        return self.house.add(models.Match, **(row | values))

    def message(self, state: MessageState, at: datetime = NOON - HOUR, **values: Any) -> int:
        rule = values.get("rule_id", "late-order")
        match = self.occasion(rule, at)
        gone = state in (MessageState.ACCEPTED, MessageState.SENT, MessageState.DELIVERED, MessageState.UNDELIVERED)
        row = {
            "match_id": match, "rule_id": rule, "version": "v1", "occasion": f"o/{match}", "step": "0",
            "customer_id": self.person, "purpose": "service", "channel": "sms", "address": "+4915112300001",
            "template": "hello", "state": state, "created_at": at, "due_at": at, "reference": f"R{match:07d}",
            "accepted_at": at if gone else None,
        }  # fmt: skip
        return self.house.add(models.Message, **(row | values))

    def unclear(self, at: datetime, state: MessageState, kind: str = "reply", **values: Any) -> None:
        message = self.message(state, at, **values)
        attempt = self.house.add(
            models.Attempt, message_id=message, state="unknown", lease=f"l{message}", lease_until=at, claimed_at=at,
            armed_at=at, outcome="unknown",
        )  # fmt: skip
        said = {"outcome": "unknown"} if kind == "reply" else None
        for _ in range(2):  # told twice: still one message
            self.house.add(models.Evidence, attempt_id=attempt, kind=kind, seen_at=at, content=said)


@pytest.fixture
def house(engine: Engine, tmp_path: Path) -> House:
    return House(engine, tmp_path, {"time_zone": "Europe/Berlin"})


@pytest.fixture
def past(house: House) -> Past:
    return Past(house)


def test_a_quiet_house_needs_nobody(house: House) -> None:
    brief = brief_of(house.app, NOON)
    assert (brief.since, brief.until, brief.total, brief.before, brief.usual) == (NOON - DAY, NOON, 0, (), None)
    said = markdown(brief)
    assert "# Tuesday 10 March, 13:00" in said, "in the house's zone"
    assert "**0 messages** went out since yesterday 13:00." in said
    assert "Nothing. All that is due goes by itself." in said
    assert headline(brief) == "0 messages sent, nothing needs a person"


def test_what_was_sent_is_counted_by_rule_and_channel_and_held_against_the_days_before(past: Past) -> None:
    for state in (MessageState.ACCEPTED, MessageState.DELIVERED, MessageState.UNDELIVERED):
        past.message(state)
    past.message(MessageState.SENT, channel="email", rule_id="known-issue")
    past.message(MessageState.SENT, NOON - DAY, rule_id="known-issue")  # the brief before told this one
    for day, many in enumerate([2, 4, 3], start=1):
        for _ in range(many - (day == 1)):
            past.message(MessageState.DELIVERED, NOON - DAY * day - HOUR)
    brief = brief_of(past.house.app, NOON)
    assert (brief.total, brief.sent, brief.delivered) == (4, {"sms": 3, "email": 1}, 1)
    assert [(rule.rule, rule.found, rule.sent) for rule in brief.rules] == [
        ("late-order", 3, {"sms": 3}),
        ("known-issue", 1, {"email": 1}),
    ]
    assert (brief.before, brief.usual) == ((2, 4, 3), 3), "days before the first message of all do not count"
    assert "That is within what is usual (the 3 days before: between 2 and 4, mostly 3)." in markdown(brief)


def test_what_was_withheld_is_told_in_words(past: Past) -> None:
    for rule, reason in (("late-order", Reason.NO_CONSENT), ("win-back", Reason.NO_CONSENT), ("win-back", Reason.CAP)):
        past.occasion(rule, state=MatchState.WITHHELD, reason=reason)
    past.occasion("win-back", state=MatchState.WITHHELD, reason=Reason.CAP, seen_at=NOON - 2 * DAY)  # matches no more
    past.message(MessageState.EXPIRED, reason=Reason.TOO_LATE, ended_at=NOON - HOUR)
    past.message(MessageState.FAILED, reason=Reason.REFUSED, ended_at=NOON - HOUR)
    past.message(MessageState.UNDELIVERED, ended_at=NOON - HOUR, channel="voice")
    brief = brief_of(past.house.app, NOON)
    assert [(one.reason, one.count, one.rules) for one in brief.withheld] == [
        (Reason.NO_CONSENT, 2, {"late-order": 1, "win-back": 1}),
        (Reason.CAP, 1, {"win-back": 1}),
        (Reason.TOO_LATE, 1, {"late-order": 1}),
    ]
    said = markdown(brief)
    assert f"| {REASON_TEXT[Reason.NO_CONSENT]} | 2 | `late-order`, `win-back` |" in said
    assert "| SMS | the provider refused it for good | 1 |" in said
    assert "| calls | taken by the provider, and could not be delivered | 1 |" in said


def test_the_unclear_are_told_with_what_became_of_them(past: Past) -> None:
    at = NOON - HOUR
    past.unclear(at, MessageState.UNKNOWN)
    past.unclear(at, MessageState.UNKNOWN, "lease_over", channel="voice", ended_at=NOON)
    past.unclear(at, MessageState.ACCEPTED)
    past.unclear(at, MessageState.QUEUED)
    past.unclear(at, MessageState.FAILED, ended_at=NOON, reason=Reason.GAVE_UP)
    past.unclear(NOON - 3 * DAY, MessageState.UNKNOWN)  # told before, and still looked into
    past.message(MessageState.ACCEPTED)
    brief = brief_of(past.house.app, NOON)
    assert brief.unclear == Unclear(5, 1, 1, 2, 1, {"sms": 2}, NOON - 3 * DAY)
    said = markdown(brief)
    assert (
        "Of 5 messages the provider gave no clear answer: 1 turned out to have gone, 1 had not gone, and go once "
        "more, 2 were given up, 1 are still looked into." in said
    )
    assert "Looked into now: 2 SMS, the oldest since Saturday 13:00." in said


def test_what_waits_for_a_person_says_what_to_do(past: Past) -> None:
    house = past.house
    house.add(
        models.HeldRun, rule_id="win-back", version="v1", why="house", most=120, count=812, subjects=812, customers=812,
        state="waiting", held_at=NOON - HOUR, expires_at=NOON + 20 * HOUR,
    )  # fmt: skip
    for handled in (None, NOON):
        house.add(
            models.Reply, channel="sms", address_hash="h", text="bitte nicht mehr", said="maybe_stop",
            received_at=NOON - 2 * HOUR, handled_at=handled,
        )  # fmt: skip
    past.message(MessageState.QUEUED, NOON - 3 * HOUR)
    with writing(house.engine) as connection:
        switches.stop(connection, "rule:known-issue", "anna", NOON)
        breaker.trip(connection, "twilio", "20003", NOON)
        breaker.call_staff(connection, "rules", "late-order.yaml:3: unknown key 'evry'", NOON)
        breaker.call_staff(connection, "brake:1", "a run of win-back is held", NOON)
        audit.write(connection, by="anna", action="stop", about="rule:known-issue", now=NOON)
    brief = brief_of(house.app, NOON + HOUR)
    assert (brief.replies, brief.overdue, brief.stopped, brief.decided) == (1, 1, ("rule:known-issue",), {"stop": 1})
    assert [(run.rule, run.customers) for run in brief.held] == [("win-back", 812)]
    said = markdown(brief)
    for words in (
        "`beforehand resume rule:known-issue`",
        "**provider:twilio** since today 13:00: sms and voice: nothing is sent, because twilio says 20003.",
        "**Held run 1** of `win-back`, 812 customers: waits for a second person until tomorrow 09:00",
        "**The rule files are refused**",
        "**1 reply may mean STOP** and nobody has read it, the oldest since today 11:00",
        "**1 message should have gone**",
        "People stopped something (1)",
    ):
        assert words in said
    assert "a run of win-back is held" not in said, "told once, with the held run"
    assert "rests" not in said, "told once, where staff are called"
    for secret in ("anna", "bitte", "+4915"):
        assert secret not in said + json.dumps(brief.as_json(), default=str)


def test_due_today_goes_by_the_hours_of_the_house_also_when_clocks_change(past: Past) -> None:
    spring = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)  # 01:30 in Berlin; at 02:00 it is 03:00
    for at in (
        spring - HOUR,
        spring + 20 * timedelta(minutes=1),
        spring + 40 * timedelta(minutes=1),
        spring + 23 * HOUR,
    ):
        past.message(MessageState.QUEUED, at)
    past.occasion(state=MatchState.OPEN, due_at=spring + 2 * HOUR)
    brief = brief_of(past.house.app, spring)
    assert brief.hours == (Hour(1, 2, 0), Hour(3, 1, 0), Hour(4, 0, 1)), "tomorrow's is not in it"
    assert "| 03:00 | 1 |  |" in markdown(brief)


def test_the_next_brief_begins_where_the_last_one_ended(past: Past) -> None:
    app = past.house.app
    past.message(MessageState.SENT, NOON - HOUR)
    note_brief(app, brief_of(app, NOON))
    past.message(MessageState.SENT, NOON + HOUR)
    second = brief_of(app, NOON + 3 * DAY)
    assert (second.since, second.total) == (NOON, 1)
    assert brief_of(app, NOON + 60 * DAY).since == NOON + 29 * DAY, "no further back than a month"
    assert brief_of(app, NOON - HOUR).since == NOON - HOUR - DAY, "a clock that was ahead is not believed"


def test_far_more_than_usual_is_said_first() -> None:
    def brief(total: int, *before: int) -> str:
        return markdown(Brief(NOON - DAY, NOON, "UTC", sent={"sms": total}, before=before))

    assert "**That is far more than usual**" in brief(100, 10, 12)
    assert "**That is far less than usual**" in brief(3, 10, 12)
    assert "usual**" not in brief(11, 10, 12)
    assert "For comparison, the 2 days before: between 10 and 12, mostly 11." in brief(15, 10, 12)


def test_long_lists_are_cut() -> None:
    rules = tuple(OfRule(f"rule-{number}", found=number) for number in range(40))
    said = markdown(Brief(NOON - DAY, NOON, "UTC", rules=rules))
    assert "rules more with less" in said
    assert len(said.splitlines()) < 40


def test_the_command_shows_it_and_notes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = house_for_commands(tmp_path, monkeypatch)
    Past(house).message(MessageState.SENT, channel=Channel.EMAIL)
    until = NOON.isoformat()
    for _ in range(2):
        shown = CliRunner().invoke(commands, ["brief", "--now", until, "--json"])
        assert (shown.exit_code, json.loads(shown.stdout)["sent"]) == (0, {"email": 1})
    said = CliRunner().invoke(commands, ["brief", "--now", until, "--since", "2026-03-10T11:30:00+00:00"])
    assert "**0 messages** went out since today 11:30" in said.stdout
    assert CliRunner().invoke(commands, ["brief", "--now", until, "--since", until]).exit_code == 2
