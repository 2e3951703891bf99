"""The post room on a bad day: each fault as a client sees it, and the ledger on disk before any answer goes out."""

import contextlib
import json
import re
import smtplib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from beforehand.web.postroom import Fault, PostRoom
from beforehand.web.postroom.faults import KINDS, PHASES, WORDS
from messaging.channels.twilio_client import seconds
from tests.conformance.postroom_tools import ANNA, OURS, QUICK, SARA, Listener, listening, official


@pytest.fixture
def ear() -> Iterator[Listener]:
    with listening() as listener:
        yield listener


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostRoom]:
    """One post room for all of these: each begins with an empty one."""
    with PostRoom(pace=QUICK, path=tmp_path_factory.mktemp("room") / "ledger.jsonl") as room:
        yield room


@pytest.fixture
def room(opened: PostRoom) -> PostRoom:
    opened.faults.clear()
    opened.faults.happened = 0
    opened.house.fates.clear()
    opened.house.keys.clear()
    opened.ledger.clear(opened.house.now())
    return opened


def url(room: PostRoom, name: str) -> str:
    return f"{room.http_url}/2010-04-01/Accounts/{room.account_sid}/{name}.json"


def send(room: PostRoom, name: str = "Messages", **more: str) -> httpx.Response:
    form = {"To": ANNA, "From": OURS, "Body": "x", "Twiml": "<Response/>"} | more
    return httpx.post(url(room, name), data=form, auth=(room.account_sid, room.auth_token), timeout=5)


def on_disk(file: Path) -> int:
    """How many entries are in the ledger's file."""
    return sum(json.loads(line)["record"] == "entry" for line in file.read_text().splitlines())


@pytest.mark.parametrize(("where", "name"), [("messages", "Messages"), ("calls", "Calls")])
def test_what_is_accepted_is_on_disk_before_any_answer(tmp_path: Path, where: Any, name: str) -> None:
    file = tmp_path / "ledger.jsonl"
    with PostRoom(pace=QUICK, path=file) as room:
        _each_answer_is_late(room, file, where, name)


def _each_answer_is_late(room: PostRoom, file: Path, where: Any, name: str) -> None:
    kept = room.ledger.add

    def slow(**values: Any) -> Any:
        time.sleep(0.02)  # an answer that did not wait would be here before the entry
        return kept(**values)

    room.ledger.add = slow  # type: ignore[method-assign]
    expected = 0
    for what in KINDS[where]:
        for accepted in (True, False):
            room.faults.add(Fault(where, what, accepted=accepted, seconds=0.05))
            with contextlib.suppress(httpx.HTTPError):
                send(room, name)
            expected += what == "early" or accepted
            assert on_disk(file) == expected, (what, accepted)


@pytest.mark.parametrize(
    ("what", "status", "kind", "body"),
    [("bad_gateway", 502, "text/html", "502 Bad Gateway"), ("garbage", 201, "application/json", "\x00")],
)
def test_an_answer_that_is_none(room: PostRoom, what: Any, status: int, kind: str, body: str) -> None:
    room.faults.add(Fault("messages", what))
    answer = send(room)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith(kind)
    assert body in answer.content.decode("utf-8", "replace")


@pytest.mark.parametrize("as_date", [True, False])
def test_a_busy_api_says_when_to_come_back_in_seconds_or_as_a_moment(room: PostRoom, as_date: bool) -> None:
    room.faults.add(Fault("messages", "busy", retry_after=90, as_date=as_date))
    headers = send(room).headers
    assert ("GMT" in headers["Retry-After"]) is as_date
    wait = seconds(headers["Retry-After"], headers["Date"])
    assert wait is not None
    assert 88 <= wait <= 91


@pytest.mark.parametrize("said", ["soon", "", None, "Wed, 99 Foo 2026", "nan", "inf", "-5"])
def test_a_moment_that_is_none_asks_for_no_wait(said: str | None) -> None:
    assert seconds(said, "Sun, 22 Nov 2026 20:00:00 GMT") in (None, 0.0)
    assert seconds("Sun, 22 Nov 2026 20:00:30 GMT", None) is None
    assert seconds("Sun, 22 Nov 2026 20:00:30 GMT", "Sun, 22 Nov 2026 20:00:00 GMT") == 30


def test_a_listing_lags_and_then_catches_up(room: PostRoom) -> None:
    twilio = official(room)
    made = twilio.messages.create(to=ANNA, from_=OURS, body="x")
    room.faults.add(Fault("listing", "lag", seconds=60))
    assert twilio.messages.list(to=ANNA) == []
    assert [one.sid for one in twilio.messages.list(to=ANNA)] == [made.sid]


@pytest.mark.parametrize("what", ["error", "garbage", "drop", "truncate"])
def test_a_listing_can_fail_like_everything_else(room: PostRoom, what: Any) -> None:
    room.faults.add(Fault("listing", what))
    with pytest.raises(Exception, match=r"."):
        official(room).calls.list(to=ANNA)
    assert official(room).calls.list(to=ANNA) == []


def test_callbacks_come_before_our_own_answer(room: PostRoom, ear: Listener) -> None:
    room.faults.add(Fault("messages", "early"))
    made = official(room).messages.create(to=ANNA, from_=OURS, body="x", status_callback=ear.url)
    assert [one.form["MessageStatus"] for one in ear.heard] == ["sent", "delivered"]
    assert {one.form["MessageSid"] for one in ear.heard} == {made.sid}


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("double", ["sent", "sent", "delivered"]),
        ("reorder", ["delivered", "sent"]),
        ("late", ["delivered", "sent"]),
    ],
)
def test_callbacks_come_twice_late_and_out_of_order(room: PostRoom, ear: Listener, what: Any, told: list[str]) -> None:
    room.faults.add(Fault("callback", what, seconds=0.5))
    official(room).messages.create(to=ANNA, from_=OURS, body="x", status_callback=ear.url)
    assert [one.form["MessageStatus"] for one in ear.wait_for(len(told))] == told


def test_a_machine_answers_and_says_so_wherever_twilio_does(room: PostRoom, ear: Listener) -> None:
    room.house.fates[ANNA] = "machine"
    ear.answers = [(200, "<Response><Hangup/></Response>"), (200, "<Response><Say>Hi</Say></Response>"), (204, "")]
    twilio = official(room)
    for to in (ANNA, SARA):
        twilio.calls.create(to=to, from_=OURS, url=ear.url, status_callback=ear.url, machine_detection="Enable")
        room.wait_final(1)
    heard = ear.wait_for(4)
    by = {(one.form["To"], one.form["CallStatus"]): one.form["AnsweredBy"] for one in heard}
    assert set(by.values()) == {"machine_start", "human"}
    assert {to for (to, _), who in by.items() if who == "human"} == {SARA}
    assert sorted(by) == [(to, status) for to in sorted((ANNA, SARA)) for status in ("completed", "in-progress")]
    assert {call.to: call.answered_by for call in twilio.calls.list()} == {ANNA: "machine_start", SARA: "human"}


def test_nobody_is_told_of_machines_who_did_not_ask(room: PostRoom) -> None:
    room.house.fates[ANNA] = "machine"
    made = official(room).calls.create(to=ANNA, from_=OURS, twiml="<Response/>")
    room.wait_final(1)
    assert official(room).calls(made.sid).fetch().answered_by is None


def test_a_customer_presses_a_key_by_herself_and_redirects_are_followed(room: PostRoom, ear: Listener) -> None:
    room.house.keys[ANNA] = "9"
    menu = f'<Response><Gather numDigits="1" action="{ear.url}/key"><Say>Press 9.</Say></Gather></Response>'
    ear.answers = [
        (200, f"<Response><Redirect>{ear.url}/menu</Redirect></Response>"),
        (200, menu),
        (200, "<Response><Say>We never call again.</Say></Response>"),
    ]
    official(room).calls.create(to=ANNA, from_=OURS, url=ear.url + "/begin")
    [entry] = room.wait_final(1)
    assert [one.url.removeprefix(ear.url) for one in ear.heard] == ["/begin", "/menu", "/key"]
    assert (ear.heard[2].form["Digits"], entry.pressed) == ("9", ("9",))
    assert entry.body == "<Response><Say>We never call again.</Say></Response>"


def test_a_script_that_leads_in_a_circle_ends(room: PostRoom, ear: Listener) -> None:
    ear.answers = [(200, f"<Response><Redirect>{ear.url}</Redirect></Response>")]
    official(room).calls.create(to=ANNA, from_=OURS, url=ear.url)
    [entry] = room.wait_final(1)
    assert "leads on and on" in entry.notes[0]


SMTP_CALLS: dict[str, Callable[[smtplib.SMTP], Any]] = {
    "hello": lambda smtp: smtp.ehlo(),
    "login": lambda smtp: (smtp.ehlo(), smtp.docmd("AUTH", "PLAIN AHgAeA=="))[1],
    "mail": lambda smtp: (smtp.ehlo(), smtp.mail("a@b.example"))[1],
    "rcpt": lambda smtp: (smtp.ehlo(), smtp.mail("a@b.example"), smtp.rcpt("c@d.example"))[2],
    "data": lambda smtp: (smtp.ehlo(), smtp.mail("a@b.example"), smtp.rcpt("c@d.example"), smtp.docmd("DATA"))[3],
}


@pytest.mark.parametrize("phase", ["connect", *SMTP_CALLS, "body", "dot"])
@pytest.mark.parametrize(("what", "digit"), [("busy", 4), ("error", 5), ("drop", 0)])
def test_mail_fails_in_the_phase_it_is_told_to(room: PostRoom, phase: Any, what: Any, digit: int) -> None:
    room.faults.add(Fault("mail", what, phase=phase))
    try:
        got = _reply(room, phase)
    except smtplib.SMTPServerDisconnected:
        got = 0
    assert got // 100 == digit
    assert (room.faults.left, len(room.ledger)) == ([], 0)


def _reply(room: PostRoom, phase: str) -> int:
    smtp = smtplib.SMTP(timeout=5)
    try:
        greeting = smtp.connect("127.0.0.1", room.smtp_port)[0]
        if phase == "connect":
            return greeting
        if phase in SMTP_CALLS:
            return int(SMTP_CALLS[phase](smtp)[0])
        SMTP_CALLS["data"](smtp)
        smtp.send(b"Subject: x\r\n\r\n" + b"x\r\n" * 1000)
        if phase == "dot":
            smtp.send(b".\r\n")
        return smtp.getreply()[0]
    finally:
        smtp.close()


def test_mail_that_hangs_hangs_for_one_and_others_go_on(room: PostRoom) -> None:
    room.faults.add(Fault("mail", "hang", phase="rcpt", to="slow@d.example", seconds=30))
    with socket.create_connection(("127.0.0.1", room.smtp_port)) as slow:
        slow.sendall(b"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<slow@d.example>\r\n")
        with smtplib.SMTP("127.0.0.1", room.smtp_port, timeout=5) as smtp:
            smtp.sendmail("a@b.example", ["quick@d.example"], "Subject: x\r\n\r\nx")
    assert [entry.to for entry in room.entries] == ["quick@d.example"]


def test_delivery_reports_are_on_offer_and_their_words_are_checked(room: PostRoom) -> None:
    with smtplib.SMTP("127.0.0.1", room.smtp_port, timeout=5) as smtp:
        smtp.ehlo()
        assert smtp.has_extn("dsn")
        assert smtp.mail("a@b.example", ["RET=HDRS", "ENVID=17-0a1b"])[0] == 250
        assert smtp.rcpt("c@d.example", ["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;c@d.example"])[0] == 250
        assert smtp.data(b"Subject: x\r\n\r\nx")[0] == 250
        for wrong in ("RET=ALL", "ENVID=+", "NOTIFY=NEVER"):
            assert smtp.mail("a@b.example", [wrong])[0] == 501
            smtp.rset()
    options = dict(room.entries[0].options)
    assert (options["envid"], options["ret"], options["notify"]) == ("17-0a1b", "HDRS", "SUCCESS,FAILURE")


def test_a_person_can_plan_faults_and_fates_over_http(room: PostRoom) -> None:
    base = room.http_url + "/post-room"
    planned = httpx.post(f"{base}/faults", json={"where": "mail", "what": "busy", "phase": "rcpt", "times": 2})
    assert (planned.status_code, planned.json()["phase"]) == (200, "rcpt")
    for wrong in ({"where": "mail", "what": "early"}, {"where": "listing", "what": "drop", "accepted": True}, {}):
        assert httpx.post(f"{base}/faults", json=wrong).status_code == 422
    left = httpx.get(f"{base}/faults").json()
    assert (left["happened"], [one["left"] for one in left["left"]]) == (0, [2])
    assert httpx.delete(f"{base}/faults").json() == {"removed": 2}
    httpx.post(f"{base}/fate", json={"address": ANNA, "fate": "machine", "keys": "1"})
    assert (room.house.fates, room.house.keys) == ({ANNA: "machine"}, {ANNA: "1"})
    page = httpx.get(room.http_url).text
    assert re.search(rf"<bdi>{re.escape(ANNA)}</bdi>: machine", page)
    assert all(f'value="{what}"' in page for what in WORDS)
    assert all(f">{phase}</option>" in page for phase in PHASES)


def test_another_site_plans_no_faults(room: PostRoom) -> None:
    answer = httpx.post(
        f"{room.http_url}/post-room/faults",
        json={"where": "mail", "what": "busy"},
        headers={"sec-fetch-site": "cross-site"},
    )
    assert (answer.status_code, room.faults.left) == (403, [])


@pytest.mark.parametrize(
    "wrong",
    [
        {"where": "mail", "what": "garbage"},
        {"where": "callback", "what": "drop", "accepted": True},
        {"where": "mail", "what": "drop", "phase": "rcpt", "accepted": True},
        {"where": "elsewhere", "what": "drop"},
    ],
)
def test_what_cannot_go_wrong_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"cannot happen|nothing is accepted|after its final dot"):
        Fault(**wrong)


def test_the_plan_is_taken_by_many_threads_no_more_often_than_it_says(room: PostRoom) -> None:
    room.faults.add(Fault("messages", "error", 50))
    taken: list[object] = []
    threads = [
        threading.Thread(target=lambda: taken.extend(room.faults.take("messages", ANNA) for _ in range(25)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (sum(one is not None for one in taken), room.faults.happened) == (50, 50)
