"""SMS and voice against servers that answer well, badly, late or not at all. The server's own ledger is the judge."""

import json
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs
from xml.etree import ElementTree

import pytest

from beforehand.web.postroom.server import PostRoom
from messaging.channels.base import Channel as Way
from messaging.channels.base import Envelope
from messaging.channels.sms import Sms
from messaging.channels.twilio_client import Account
from messaging.channels.voice import Voice, answer_key, hang_up, of_call, script
from messaging.progress import NOBODY_THERE
from models.vocabulary import MessageState, OutcomeClass
from tests.conformance.raw_servers import RawServer, answer, replying, request, reset
from tests.integration.out_world import SENDER, phone

SID = "SM" + "a" * 32
TOOK = json.dumps({"sid": SID, "status": "queued"})
TIMEOUT = 0.4
WAYS: dict[str, tuple[Callable[[Account], Way], str]] = {"sms": (Sms, "SM"), "voice": (Voice, "CA")}


def account(url: str) -> Account:
    return Account("AC" + "1" * 32, "token", SENDER, url, TIMEOUT)


@pytest.fixture(params=list(WAYS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def way(kind: str, to: Account) -> Way:
    return WAYS[kind][0](to)


def letter(to: str = phone(1), text: str = "Your order is late.", language: str = "en") -> Envelope:
    return Envelope(attempt_id=7, reference="7K2M9QXC", to=to, text=text, language=language)


@pytest.fixture
def room() -> Iterator[PostRoom]:
    with PostRoom() as opened:
        yield opened


def of_room(room: PostRoom, kind: str) -> Way:
    return way(kind, Account(room.account_sid, room.auth_token, SENDER, room.http_url, 2))


def error(code: int) -> str:
    return json.dumps({"code": code, "message": "no", "more_info": "x", "status": 400})


@pytest.mark.parametrize(
    ("said", "outcome", "code"),
    [
        (answer(201, TOOK), OutcomeClass.ACCEPTED, "201"),
        (answer(400, error(21211)), OutcomeClass.REFUSED, "21211"),
        (answer(400, error(21614)), OutcomeClass.REFUSED, "21614"),
        (answer(401, error(20003)), OutcomeClass.NOT_ACCEPTED, "20003"),
        (answer(429, error(20429), "Retry-After: 7"), OutcomeClass.NOT_ACCEPTED, "20429"),
        (answer(429, "slow down", "Retry-After: 7"), OutcomeClass.NOT_ACCEPTED, "429"),
        (answer(500, "oops"), OutcomeClass.UNKNOWN, "500"),
        (answer(502, "<html>bad gateway"), OutcomeClass.UNKNOWN, "502"),
        (answer(503, error(20503)), OutcomeClass.UNKNOWN, "20503"),
        (answer(302, "", "Location: http://127.0.0.1:1/"), OutcomeClass.UNKNOWN, "302"),
        (answer(400, "<html>a proxy says no"), OutcomeClass.UNKNOWN, "400"),
        (answer(201, "not json at all"), OutcomeClass.UNKNOWN, "garbled"),
        (answer(201, ""), OutcomeClass.UNKNOWN, "no_sid"),
        (answer(201, "[]"), OutcomeClass.UNKNOWN, "garbled"),
        (answer(201, json.dumps({"sid": "nonsense", "status": "queued"})), OutcomeClass.UNKNOWN, "no_sid"),
        (answer(201, TOOK, "Connection: close", cut=20), OutcomeClass.UNKNOWN, "ChunkedEncodingError"),
    ],
)
def test_each_answer_has_its_class_and_is_asked_for_once(
    kind: str, said: bytes, outcome: OutcomeClass, code: str
) -> None:
    with replying(said) as server:
        got = way(kind, account(server.url)).send(letter())
    assert (got.kind, got.code) == (outcome, code)
    assert len(server.took) == 1, "a second POST would be a second message"
    assert got.provider_id == (SID if outcome is OutcomeClass.ACCEPTED else None)
    assert got.retry_after_seconds == (7 if b"Retry-After" in said else None)
    assert got.stops == (code == "20003")


def test_a_connection_that_ends_after_the_request_is_unknown_and_not_asked_twice(kind: str) -> None:
    def drop(server: RawServer, connection: socket.socket) -> None:
        server.took.append(request(connection))
        reset(connection)

    with RawServer(drop) as server:
        got = way(kind, account(server.url)).send(letter())
    assert (got.kind, len(server.took), server.connections) == (OutcomeClass.UNKNOWN, 1, 1)


def test_a_server_that_speaks_no_tls_is_not_asked_twice(kind: str) -> None:
    with replying(answer(201, TOOK)) as server:
        got = way(kind, account(server.url.replace("http:", "https:"))).send(letter())
    assert got.kind in (OutcomeClass.UNKNOWN, OutcomeClass.NOT_ACCEPTED)
    assert server.connections == 1


def test_what_the_post_room_takes_is_what_we_sent(room: PostRoom, kind: str) -> None:
    got = of_room(room, kind).send(letter())
    (entry,) = room.ledger.of(kind)
    assert (got.kind, got.provider_id) == (OutcomeClass.ACCEPTED, entry.sid)
    assert entry.sid.startswith(WAYS[kind][1])
    assert (entry.to, entry.from_) == (phone(1), SENDER)
    assert "Your order is late." in entry.body


def test_a_wrong_token_names_its_code_and_stops(room: PostRoom, kind: str) -> None:
    got = way(kind, Account(room.account_sid, "wrong", SENDER, room.http_url, 2)).send(letter())
    assert (got.kind, got.code, got.stops) == (OutcomeClass.NOT_ACCEPTED, "20003", True)
    assert not room.ledger.entries


def test_stop_is_a_suppression(room: PostRoom) -> None:
    with replying(answer(400, error(21610))) as server:
        got = way("sms", account(server.url)).send(letter())
    assert (got.kind, got.code, got.suppress) == (OutcomeClass.REFUSED, "21610", True)


def test_the_listing_does_not_show_what_was_never_taken_or_is_another(room: PostRoom) -> None:
    sender, now = of_room(room, "sms"), datetime.now(UTC)
    sender.send(letter(text="Another text"))
    sender.send(letter(to=phone(2)))
    assert sender.find(phone(1), sender.fingerprint(letter()), now, now) == []
    sender.send(letter())
    assert sender.find(phone(1), sender.fingerprint(letter()), now + timedelta(hours=1), now + timedelta(hours=2)) == []


def test_statuses_are_asked_one_by_one_and_gaps_are_left_out(room: PostRoom, kind: str) -> None:
    sender = of_room(room, kind)
    sids = [str(sender.send(letter(phone(n))).provider_id) for n in range(5)]
    room.wait_final(5)
    seen = sender.look([*sids, WAYS[kind][1] + "0" * 32])
    assert [one.provider_id for one in seen] == sids
    assert {one.state for one in seen} == {MessageState.DELIVERED}


def test_a_callback_is_asked_for_only_where_it_is_wired(kind: str) -> None:
    for callback in (None, lambda key: f"https://shop.example/hooks/{key}"):
        with replying(answer(201, TOOK)) as server:
            way(kind, Account("AC" + "1" * 32, "t", SENDER, server.url, TIMEOUT, callback)).send(letter())
        form = parse_qs(server.took[0].partition(b"\r\n\r\n")[2].decode())
        assert form.get("StatusCallback") == (["https://shop.example/hooks/7"] if callback else None)


def voice_form(**more: object) -> dict[str, list[str]]:
    """What a call asks of Twilio."""
    with replying(answer(201, TOOK)) as server:
        Voice(Account("AC" + "1" * 32, "t", SENDER, server.url, TIMEOUT, **more)).send(letter())  # type: ignore[arg-type]
    return parse_qs(server.took[0].partition(b"\r\n\r\n")[2].decode())


def test_a_call_fetches_its_script_where_we_can_be_reached_and_has_it_inline_elsewhere() -> None:
    inline = voice_form()
    assert "Your order is late." in inline["Twiml"][0]
    assert not {"Url", "StatusCallback"} & set(inline)
    by_url = voice_form(
        callback=lambda key: f"https://shop.example/s/{key}", voice=lambda key: f"https://x.example/v/{key}"
    )
    assert (by_url["Url"], by_url["Method"]) == (["https://x.example/v/7"], ["POST"])
    assert by_url["StatusCallback"] == ["https://shop.example/s/7"]
    assert "Twiml" not in by_url, "what is said is decided when somebody answers"
    assert inline["MachineDetection"] == by_url["MachineDetection"] == ["Enable"]


@pytest.mark.parametrize("who", ["machine_start", "machine_end_beep", "fax", "human", "unknown", None])
def test_a_call_that_a_machine_took_has_not_reached_anybody(who: str | None) -> None:
    machine = who not in ("human", "unknown", None)
    ends = {of_call(status, who) for status in ("in-progress", "completed")}
    if machine:
        assert ends == {(MessageState.UNDELIVERED, "machine")}
    else:
        assert ends == {(MessageState.SENT, ""), (MessageState.DELIVERED, "")}
    assert of_call("busy", who) == (MessageState.UNDELIVERED, "busy")
    assert of_call("ringing", who) == (MessageState.ACCEPTED, "")
    assert of_call("levitating", who) is None


def test_a_machine_is_seen_by_asking_too(room: PostRoom) -> None:
    room.house.fates[phone(1)] = "machine"
    sender = of_room(room, "voice")
    sids = [str(sender.send(letter(to)).provider_id) for to in (phone(1), phone(2))]
    room.wait_final(2)
    assert [(one.state, one.code) for one in sender.look(sids)] == [
        (MessageState.UNDELIVERED, "machine"), (MessageState.DELIVERED, ""),
    ]  # fmt: skip
    assert "machine" in NOBODY_THERE, "the rule goes on with its else"


def test_a_hang_up_says_nothing() -> None:
    assert [verb.tag for verb in ElementTree.fromstring(hang_up())] == ["Hangup"]


def test_a_call_speaks_its_lines_and_listens_for_one_key() -> None:
    said = ElementTree.fromstring(script(letter(text="مرحبا\n\nاضغط 1", language="ar"), "https://shop.example/k"))
    gather = said.find("Gather")
    assert gather is not None
    assert (gather.get("numDigits"), gather.get("action")) == ("1", "https://shop.example/k")
    assert [(line.text, line.get("language")) for line in gather] == [("مرحبا", "arb"), ("اضغط 1", "arb")]
    assert said[-1].tag == "Hangup"


def test_a_script_cannot_be_broken_out_of() -> None:
    said = ElementTree.fromstring(script(letter(text="</Say><Dial>+1900</Dial><Say>")))
    assert not said.findall(".//Dial")


@pytest.mark.parametrize(("digit", "dials"), [("1", True), ("2", False), ("9", False), ("", False)])
def test_only_one_connects(digit: str, dials: bool) -> None:
    said = ElementTree.fromstring(answer_key(digit, "One moment.", "en", "+442079460001"))
    assert (said.find("Dial") is not None) == dials
    assert ElementTree.fromstring(answer_key("1", "", "en", None)).find("Dial") is None
