"""The page without a browser: what it lists, what it lets through, and how it bears ten thousand messages."""

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import pytest

from beforehand.web.postroom import Ledger, PostRoom
from models.vocabulary import Channel
from tests.conformance.postroom_tools import ANNA, OURS, QUICK, SARA

NOW = datetime(2026, 3, 10, 10, tzinfo=UTC)
ALL = "<script>alert(1)</script>"


def _add(ledger: Ledger, n: int, kind: str = "sms", to: str = ANNA, body: str = "Hello", **further: object) -> None:
    values = {"status": "delivered", "direction": "outbound-api", "sid": f"SM{n}", "from_": OURS, "at": NOW, **further}
    ledger.add(kind=Channel(kind), to=to, body=body, **values)


@pytest.fixture
def room() -> Iterator[PostRoom]:
    with PostRoom(pace=QUICK) as room:
        _add(room.ledger, 1, body=f"Hello Anna {ALL}")
        _add(room.ledger, 2, to=SARA, body="مرحبا", language="ar")
        _add(room.ledger, 3, "voice", body=f"<Response><Say>Your callback dropped &lt;b&gt; {'x' * 9}</Say></Response>")
        mail = {"subject": f"你好 {ALL}", "html": f'<p onclick="x">{ALL}</p>', "headers": {"X-Odd": ALL}}
        _add(room.ledger, 4, "email", to="li@example.com", language="zh", **mail)
        _add(room.ledger, 5, "voice", body="no TwiML <b>")
        yield room


def _rows(page: str) -> list[int]:
    return [int(n) for n in re.findall(r'<a class="row [^>]*[?;&]n=(\d+)"', page)]


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ({}, [5, 4, 3, 2, 1]),
        ({"channel": "sms"}, [2, 1]),
        ({"channel": "voice"}, [5, 3]),
        ({"language": "ar"}, [2]),
        ({"customer": "LI@"}, [4]),
        ({"customer": "+9715"}, [2]),
        ({"q": "hello anna"}, [1]),
        ({"q": "你好"}, [4]),
        ({"q": "callback", "channel": "sms"}, []),
        ({"channel": "pigeon"}, []),
    ],
)
def test_the_list_shows_what_is_asked_for(room: PostRoom, asked: dict[str, str], shown: list[int]) -> None:
    answer = httpx.get(room.http_url, params=asked)
    assert answer.status_code == 200
    assert _rows(answer.text) == shown
    assert ("Nothing fits" in answer.text) is (not shown)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_nothing_of_a_message_becomes_part_of_the_page(room: PostRoom, n: int) -> None:
    answer = httpx.get(room.http_url, params={"n": n})
    assert ALL not in answer.text
    assert re.findall(r"<script[^>]*>", answer.text) == ['<script src="/post-room/static/room.js" defer>']
    frames = re.findall(r"<iframe[^>]* sandbox=\"([a-z -]*)\"", answer.text)
    assert frames == (["allow-popups allow-popups-to-escape-sandbox"] if n == 4 else [])


def test_the_page_names_no_other_host_and_says_so_to_the_browser(room: PostRoom) -> None:
    answer = httpx.get(room.http_url)
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'self'; ")
    assert "script-src" not in policy
    assert not re.findall(r'(?:src|href|action)="(?!/|\?)', answer.text)
    for path in re.findall(r'(?:src|href)="(/post-room/static/[^"]+)"', answer.text):
        file = httpx.get(room.http_url + path)
        assert file.status_code == 200
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", file.text)


def test_a_script_that_cannot_be_spoken_is_said_in_words(room: PostRoom) -> None:
    page = httpx.get(room.http_url, params={"n": 5}).text
    assert "This script cannot be spoken" in page
    assert "no TwiML &lt;b&gt;" in page


def test_a_message_that_is_gone_is_not_found(room: PostRoom) -> None:
    assert httpx.get(room.http_url, params={"n": 99}).status_code == 404


def test_an_empty_room_says_what_will_happen() -> None:
    with PostRoom(pace=QUICK) as room:
        assert "No messages yet" in httpx.get(room.http_url).text


def test_ten_thousand_messages_stay_quick() -> None:
    with PostRoom(pace=QUICK) as room:
        for n in range(10_000):
            _add(room.ledger, n, to=f"+49151{n:08}", body=f"Hello {n}")
        with httpx.Client(base_url=room.http_url, auth=(room.account_sid, room.auth_token)) as client:
            begun = time.process_time()  # of this process, whatever else the machine is at
            newest = client.get("/").text
            older = client.get("/", params={"page": 1, "q": "Hello"}).text
            last = client.get("/", params={"page": 49}).text
            took = time.process_time() - begun
            assert (_rows(newest)[0], len(_rows(newest))) == (10_000, 200)
            assert (_rows(older)[0], _rows(last)[-1], len(_rows(last))) == (9_800, 1, 200)
            assert "10000 messages, 200 shown" in newest
            url = f"/2010-04-01/Accounts/{room.account_sid}/Messages.json"
            listed = client.get(url, params={"To": "+4915100000017"}).json()
            assert [one["body"] for one in listed["messages"]] == ["Hello 17"]
        assert took < 2, "more than half a second a page is far too slow"


@pytest.mark.bench
def test_how_many_messages_a_second() -> None:
    with PostRoom(pace=QUICK) as room:
        url = f"{room.http_url}/2010-04-01/Accounts/{room.account_sid}/Messages.json"
        with httpx.Client(auth=(room.account_sid, room.auth_token)) as client:
            begun, cpu = time.monotonic(), time.process_time()
            for n in range(2000):
                client.post(url, data={"To": ANNA, "From": OURS, "Body": str(n)})
            seconds, cpu = time.monotonic() - begun, time.process_time() - cpu
        print(f"\npost room: {2000 / seconds:.0f} messages/s, {2000 / cpu:.0f} a CPU second, client included")
        assert 2000 / cpu >= 300
