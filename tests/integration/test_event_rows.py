"""What happens is written down for Prefect, in the transaction in which it happens: ids and counts, once."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from beforehand.passes import run_rule
from beforehand.passes.in_force import write_down
from beforehand.retention import clear_old_rows
from beforehand.staff_calls import call_staff
from beforehand.web.postroom import PostRoom
from messaging import breaker, outbox
from messaging.channels.base import Outcome
from messaging.claims import attempt
from messaging.events_out import happened, happened_unknown, note_told, untold
from models import Callback, Process
from models.database import reading, writing
from models.vocabulary import Channel, OutcomeClass
from rules.loader import load_folder
from tests.deciding import NOON, House
from tests.integration.out_world import NOW, POLICY, later, plan_messages, send_due

DAY = timedelta(days=1)


@pytest.fixture
def house(engine: Engine, tmp_path: Path) -> House:
    made = House(engine, tmp_path, {"caps": {}})
    made.template()
    return made


def told(engine: Engine) -> list[tuple[str, str, dict[str, Any]]]:
    with reading(engine) as connection:
        return [(row.event, row.about, dict(row.content)) for row in untold(connection)]


def test_a_pass_that_found_somebody_says_so(house: House) -> None:
    house.rule()
    run_rule(house.app, "hello", NOON)
    assert told(house.engine) == [], "nobody was found"
    house.customer()
    run_rule(house.app, "hello", NOON + DAY)
    run_rule(house.app, "hello", NOON + DAY)  # that slot was done before
    assert run_rule(house.app, "hello", NOON + 2 * DAY).matched == 1, "the same customer, of whom it is told already"
    ((event, about, content),) = told(house.engine)
    assert (event, about) == ("beforehand.rule.matched", "rule:hello")
    counts = {"matched": 1, "customers": 1, "planned": 1, "withheld": 0, "status": "live"}
    assert {name: content[name] for name in counts} == counts


def test_a_refused_edit_is_an_event_once_while_it_is_the_same(house: House) -> None:
    house.rule()
    loaded = load_folder(house.folder / "rules")
    for problems in ("a.yaml:1: wrong", "a.yaml:1: wrong", "a.yaml:2: wrong\nb.yaml:1: too", "", "a.yaml:1: wrong"):
        write_down(house.app, loaded, problems, NOON)
    assert [(event, content) for event, _, content in told(house.engine)] == [
        ("beforehand.rules.refused", {"problems": 1}),
        ("beforehand.rules.refused", {"problems": 2}),
        ("beforehand.rules.refused", {"problems": 1}),
    ]


def test_a_provider_that_goes_down_and_comes_back_is_two_events(engine: Engine) -> None:
    for number in range(3):
        with writing(engine) as connection:
            breaker.trip(connection, "twilio", "20003", later(hours=number))
    with writing(engine) as connection:
        breaker.close(connection, "twilio", later(hours=4))
        breaker.trip(connection, "smtp", "connect_broken", later(hours=4))  # a network that failed once is no news
        breaker.close(connection, "smtp", later(hours=5))
    down = {"channels": ["sms", "voice"], "code": "20003", "times": 1}
    assert told(engine) == [
        ("beforehand.provider.down", "provider:twilio", down),
        ("beforehand.provider.up", "provider:twilio", {}),
    ]


class NoAnswer:
    """A channel whose provider never answers."""

    name, provider, parallel = Channel.SMS, "twilio", 1

    def send(self, _envelope: Any) -> Outcome:
        return Outcome(OutcomeClass.UNKNOWN, code="ReadTimeout")

    def fingerprint(self, _envelope: Any) -> str:
        return "f" * 32

    def close(self) -> None: ...


def test_messages_without_a_clear_answer_are_counted_by_rule_and_channel(engine: Engine) -> None:
    plan_messages(engine, 3)
    send_due(engine, {Channel.SMS: NoAnswer()})  # type: ignore[dict-item]
    found = told(engine)
    assert {(event, about) for event, about, _ in found} == {("beforehand.message.unknown", "rule:late-order")}
    assert sum(content["by_channel"]["sms"] for _, _, content in found) == 3, "one event a batch of results"


def test_what_a_dead_process_had_on_the_wire_is_an_event_of_the_reaper(engine: Engine) -> None:
    plan_messages(engine, 2)
    with writing(engine) as connection:
        assert len(outbox.claim(connection, NOW, limit=10, lease_seconds=60, policy=POLICY).claims) == 2
        connection.execute(attempt.update().values(state="in_flight", armed_at=NOW))
        connection.exec_driver_sql("UPDATE message SET state = 'in_flight'")
    for _ in range(2):
        outbox.reap(engine, later(minutes=5))
    assert told(engine) == [("beforehand.message.unknown", "rule:late-order", {"by_channel": {"sms": 2}})]


def test_the_oldest_are_told_first_and_each_until_it_was_taken(engine: Engine) -> None:
    with writing(engine) as connection:
        for number in range(5):
            happened(connection, "beforehand.brake.pulled", f"rule:{number}", NOW)
        happened_unknown(connection, [], NOW)
        first = [row.id for row in untold(connection, 2)]
        note_told(connection, first, NOW)
    assert [about for _, about, _ in told(engine)] == ["rule:2", "rule:3", "rule:4"]


def test_staff_are_mailed_what_happened_and_what_to_do(house: House) -> None:
    content = {"why": "house", "most": 120, "count": 812, "held_run": 4}
    with writing(house.engine) as connection:
        happened(connection, "beforehand.brake.pulled", "rule:win-back", NOON - DAY, {"count": 1})
        happened(connection, "beforehand.brake.pulled", "rule:win-back", NOON, content)
    with PostRoom() as room:
        house.settings |= {
            "staff_mail": ["duty@example.com", "boss@example.com", "duty@example.com"],
            "post_room_port": int(room.http_url.rpartition(":")[2]),
            "post_room_smtp_port": room.smtp_port,
            "time_zone": "Europe/Berlin",
        }
        call = call_staff(house.app, "beforehand.brake.pulled", "rule:win-back", NOON)
        mails = list(room.ledger)
    assert (call.told, call.failed, call.left_out, call.happened_at) == (2, 0, 0, NOON)
    assert sorted(mail.to for mail in mails) == ["boss@example.com", "duty@example.com"]
    assert mails[0].subject.endswith("brake pulled, win-back")
    for words in ("812 at once, where the limit is 120", "Tuesday 10 March 2026 at 13:00", "- See who it would reach"):
        assert words in mails[0].body


def test_trial_mode_reaches_staff_on_the_guest_list_only(house: House) -> None:
    house.settings |= {
        "delivery": "live", "trial": True, "guest_list": ["duty@example.com"], "smtp_host": "127.0.0.1", "smtp_port": 9,
        "staff_mail": ["Duty@Example.com", "boss@example.com"], "public_url": "https://care.example.com",
        "twilio_account_sid": "AC" + "1" * 32, "twilio_auth_token": "t" * 32,
    }  # fmt: skip
    call = call_staff(house.app, "beforehand.provider.down", "provider:smtp", NOON)
    assert (call.told, call.failed, call.left_out) == (0, 1, 1), "port 9 takes nothing; the other was not tried"


def test_what_is_old_goes_and_nothing_else(house: House) -> None:
    with writing(house.engine) as connection:
        for days in (100, 40, 10):
            happened(connection, "beforehand.brake.pulled", f"rule:{days}", NOON - days * DAY)
        note_told(connection, [row.id for row in untold(connection) if row.about != "rule:100"], NOON - 40 * DAY)
    for days in (91, 89):
        house.add(Callback, provider="twilio", kind="status", digest=str(days), received_at=NOON - days * DAY)
    for days in (8, 1):
        seen = NOON - days * DAY
        with writing(house.engine) as connection:
            row = {"boot": f"h-{days}", "host": "h", "version": "1", "started_at": seen, "seen_at": seen}
            connection.execute(Process.__table__.insert().values(row))  # type: ignore[attr-defined]
    assert clear_old_rows(house.app, NOON) == {
        "events told to Prefect": 2,
        "callbacks of providers": 1,
        "processes that are gone": 1,
    }
    assert [about for _, about, _ in told(house.engine)] == ["rule:100"], "what was never told stays"
    assert set(clear_old_rows(house.app, NOON).values()) == {0}
    with reading(house.engine) as connection:
        left = connection.execute(select(Process.__table__.c.boot)).scalars().all()  # type: ignore[attr-defined]
    assert (json.dumps(left), house.rows(Callback, "digest")) == ('["h-1"]', ["89"])
