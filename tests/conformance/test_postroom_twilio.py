"""The post room driven by Twilio's official SDK: what it takes, what it refuses and how, lists, pages and statuses."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx
import pytest
from twilio.base.exceptions import TwilioRestException
from twilio.rest import Client

from beforehand.web.postroom import PostRoom
from tests.conformance.postroom_tools import ANNA, OURS, QUICK, SARA, official

SCRIPT = '<Response><Say language="arb">مرحبا</Say></Response>'


@pytest.fixture
def room() -> Iterator[PostRoom]:
    with PostRoom(pace=QUICK, numbers=[OURS]) as room:
        yield room


@pytest.fixture
def twilio(room: PostRoom) -> Client:
    return official(room)


def test_a_message_is_taken_once_and_moves_on_to_delivered(room: PostRoom, twilio: Client) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    made = twilio.messages.create(to=ANNA, from_=OURS, body="Grüße, Anna € " + "x" * 140)
    assert (made.status, made.num_segments, made.direction) == ("queued", "1", "outbound-api")
    assert made.date_sent is None
    assert made.sid.startswith("SM")
    assert len(made.sid) == 34
    room.wait_final(1)
    later = twilio.messages(made.sid).fetch()
    assert later.status == "delivered"
    assert before <= later.date_created <= later.date_sent <= later.date_updated
    [entry] = room.entries
    assert (entry.kind, entry.to, entry.from_, entry.sid) == ("sms", ANNA, OURS, made.sid)
    assert entry.body == "Grüße, Anna € " + "x" * 140
    assert [status for status, _ in entry.history] == ["queued", "sent", "delivered"]


def test_a_call_keeps_its_script_and_ends(room: PostRoom, twilio: Client) -> None:
    made = twilio.calls.create(to=ANNA, from_=OURS, twiml=SCRIPT)
    assert (made.status, made.start_time, made.duration) == ("queued", None, None)
    [entry] = room.wait_final(1)
    later = twilio.calls(made.sid).fetch()
    assert (later.status, later.duration) == ("completed", "1")
    assert later.start_time <= later.end_time
    assert (entry.kind, entry.body, entry.language) == ("voice", SCRIPT, "ar")
    assert [status for status, _ in entry.history] == ["queued", "ringing", "in-progress", "completed"]


REFUSED: list[tuple[str, dict[str, str], int, int]] = [
    ("nonsense for a recipient", {"to": "12", "body": "x"}, 400, 21211),
    ("a recipient without its country", {"to": "015112345678", "body": "x"}, 400, 21211),
    ("no recipient", {"to": "", "body": "x"}, 400, 21604),
    ("no text", {"to": ANNA, "body": "  "}, 400, 21602),
    ("too long a text", {"to": ANNA, "body": "x" * 1601}, 400, 21617),
    ("a sender that is no number", {"to": ANNA, "from_": "12", "body": "x"}, 400, 21212),
    ("a sender that is not ours", {"to": ANNA, "from_": "+442079460001", "body": "x"}, 400, 21606),
    ("Twilio's magic landline", {"to": "+15005550009", "body": "x"}, 400, 21614),
]


@pytest.mark.parametrize(("what", "given", "status", "code"), REFUSED, ids=[case[0] for case in REFUSED])
def test_a_refused_message_has_twilios_code_and_leaves_no_entry(
    room: PostRoom, twilio: Client, what: str, given: dict[str, str], status: int, code: int
) -> None:
    with pytest.raises(TwilioRestException) as refused:
        twilio.messages.create(**{"from_": OURS, **given})
    assert (refused.value.status, refused.value.code) == (status, code)
    assert len(room.ledger) == 0


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"to": "12", "twiml": SCRIPT}, 21211),
        ({"to": ANNA}, 21205),
        ({"to": ANNA, "url": "ftp://x"}, 21205),
        ({"to": ANNA, "twiml": "x" * 4001}, 21620),
        ({"to": ANNA, "twiml": SCRIPT, "from_": "12"}, 21212),
    ],
)
def test_a_refused_call_has_twilios_code(room: PostRoom, twilio: Client, given: dict[str, str], code: int) -> None:
    with pytest.raises(TwilioRestException) as refused:
        twilio.calls.create(**{"from_": OURS, **given})
    assert refused.value.code == code
    assert len(room.ledger) == 0


def test_an_error_reads_as_twilio_words_it(room: PostRoom) -> None:
    path = f"/2010-04-01/Accounts/{room.account_sid}/Messages/SM{'0' * 32}.json"
    answer = httpx.get(room.http_url + path, auth=(room.account_sid, room.auth_token))
    assert answer.status_code == 404
    assert answer.json() == {
        "code": 20404,
        "message": f"The requested resource {path} was not found",
        "more_info": "https://www.twilio.com/docs/errors/20404",
        "status": 404,
    }


@pytest.mark.parametrize("auth", [None, ("AC" + "1" * 32, "x"), ("", "")])
def test_the_wrong_account_or_token_is_kept_out(room: PostRoom, auth: tuple[str, str] | None) -> None:
    url = f"{room.http_url}/2010-04-01/Accounts/{room.account_sid}/Messages.json"
    answer = httpx.post(url, auth=auth, data={"To": ANNA, "From": OURS, "Body": "x"})
    assert (answer.status_code, answer.json()["code"]) == (401, 20003)
    with pytest.raises(TwilioRestException, match="Authenticate"):
        official(room, token="f" * 32).messages.create(to=ANNA, from_=OURS, body="x")
    assert len(room.ledger) == 0


def test_another_accounts_path_is_not_found(room: PostRoom) -> None:
    auth = (room.account_sid, room.auth_token)
    answer = httpx.get(f"{room.http_url}/2010-04-01/Accounts/AC{'1' * 32}/Messages.json", auth=auth)
    assert (answer.status_code, answer.json()["code"]) == (404, 20404)


def test_pages_hold_every_message_once_even_while_more_arrive(room: PostRoom, twilio: Client) -> None:
    made = [twilio.messages.create(to=ANNA, from_=OURS, body=str(n)).sid for n in range(7)]
    seen = []
    for message in twilio.messages.stream(page_size=3):
        seen.append(message.sid)
        if len(seen) == 2:
            twilio.messages.create(to=ANNA, from_=OURS, body="meanwhile")
    assert seen == made[::-1]


def test_a_page_leads_back_to_the_one_before(room: PostRoom, twilio: Client) -> None:
    for n in range(5):
        twilio.messages.create(to=ANNA, from_=OURS, body=str(n))
    first = twilio.messages.page(page_size=2)
    second = first.next_page()
    bodies = [[message.body for message in page] for page in (first, second, second.previous_page())]
    assert bodies == [["4", "3"], ["2", "1"], ["4", "3"]]
    assert first.previous_page() is None


NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
DATES: list[tuple[str, dict[str, object], list[str]]] = [
    ("to", {"to": SARA}, ["2"]),
    ("from", {"from_": "+15005550006"}, []),
    ("that day", {"date_sent": NOW - timedelta(days=1)}, ["1"]),
    ("before", {"date_sent_before": NOW - timedelta(hours=1)}, ["1", "0"]),
    ("after", {"date_sent_after": NOW - timedelta(hours=25)}, ["2", "1"]),
    ("both", {"date_sent_after": NOW - timedelta(days=2), "date_sent_before": NOW - timedelta(days=1)}, ["1", "0"]),
]


@pytest.mark.parametrize(("what", "asked", "bodies"), DATES, ids=[case[0] for case in DATES])
def test_a_list_is_filtered_as_asked(what: str, asked: dict[str, object], bodies: list[str]) -> None:
    clock = [NOW]
    with PostRoom(pace=QUICK, clock=lambda: clock[0]) as room:
        twilio = official(room)
        for n, (days, to) in enumerate([(2, ANNA), (1, ANNA), (0, SARA)]):
            clock[0] = NOW - timedelta(days=days)
            twilio.messages.create(to=to, from_=OURS, body=str(n))
            room.wait_final(n + 1)
        assert [message.body for message in twilio.messages.list(**asked)] == bodies


def test_calls_are_listed_by_status_and_start(room: PostRoom, twilio: Client) -> None:
    made = twilio.calls.create(to=ANNA, from_=OURS, twiml=SCRIPT)
    room.wait_final(1)
    soon, past = datetime.now(UTC) + timedelta(hours=1), datetime.now(UTC) - timedelta(hours=1)
    assert [call.sid for call in twilio.calls.list(status="completed", start_time_after=past)] == [made.sid]
    assert twilio.calls.list(status="busy") == []
    assert twilio.calls.list(start_time_after=soon) == []
    assert twilio.messages.list() == []


def test_a_wrong_date_is_said(room: PostRoom) -> None:
    url = f"{room.http_url}/2010-04-01/Accounts/{room.account_sid}/Messages.json"
    answer = httpx.get(url, params={"DateSent>": "soon"}, auth=(room.account_sid, room.auth_token))
    assert (answer.status_code, answer.json()["code"]) == (400, 20001)


def test_dates_are_rfc_2822_and_uris_lead_back(room: PostRoom, twilio: Client) -> None:
    auth = (room.account_sid, room.auth_token)
    url = f"{room.http_url}/2010-04-01/Accounts/{room.account_sid}/Messages.json"
    made = httpx.post(url, auth=auth, data={"To": ANNA, "From": OURS, "Body": "x"}).json()
    assert parsedate_to_datetime(made["date_created"]).utcoffset() == timedelta(0)
    assert made["date_created"].endswith(" +0000")
    assert httpx.get(room.http_url + made["uri"], auth=auth).json()["sid"] == made["sid"]


@pytest.mark.parametrize(
    ("address", "fate", "make", "ends"),
    [
        (ANNA, "undelivered", lambda twilio: twilio.messages.create(to=ANNA, from_=OURS, body="x"), "undelivered"),
        (ANNA, "busy", lambda twilio: twilio.calls.create(to=ANNA, from_=OURS, twiml=SCRIPT), "busy"),
        (ANNA, "no-answer", lambda twilio: twilio.calls.create(to=ANNA, from_=OURS, twiml=SCRIPT), "no-answer"),
        (SARA, "busy", lambda twilio: twilio.calls.create(to=ANNA, from_=OURS, twiml=SCRIPT), "completed"),
    ],
)
def test_a_fate_is_what_becomes_of_it(
    room: PostRoom, twilio: Client, address: str, fate: str, make: Callable[[Client], object], ends: str
) -> None:
    httpx.post(f"{room.http_url}/post-room/fate", json={"address": address, "fate": fate}).raise_for_status()
    make(twilio)
    assert [entry.status for entry in room.wait_final(1)] == [ends]
