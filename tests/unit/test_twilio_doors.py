"""The validators in front of everything that Twilio posts: each can say no, none is skipped, nothing slips through."""

import base64
import hashlib
import hmac
import json
import random
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from beforehand.settings import Settings
from beforehand.web.hooks.twilio import Account, Letter, account_of, digest_of, refusals
from beforehand.web.postroom.callbacks import signature as made_by_the_post_room
from beforehand.web.refusals import REFUSAL_TEXT, Refusal
from messaging.channels.twilio_signature import is_signed, with_and_without_port

SID, TOKEN = "AC" + "1" * 32, "the token of today"
URL = "https://care.shop.example/hooks/twilio/status/17-abc"
FORM, JSON = "application/x-www-form-urlencoded", "application/json"
SAID = {"AccountSid": SID, "MessageSid": "SM" + "a" * 32, "MessageStatus": "delivered", "Body": "50 € & más =?"}


def post(fields: dict[str, str] = SAID, *, url: str = URL, token: str = TOKEN, **other: Any) -> Letter:
    given = {
        "url": url,
        "query": urlsplit(url).query,
        "method": "POST",
        "content_type": FORM,
        "body": urlencode(fields).encode(),
        "signatures": (made_by_the_post_room(token, url, fields),),
    }
    return Letter(**(given | other))


def judged(letter: Letter, *tokens: str) -> list[Refusal]:
    return refusals(letter, Account(SID, tokens or (TOKEN,)))


def vectors(folder: Path) -> list[dict[str, Any]]:
    found = json.loads((folder / "vectors/twilio-signature/vectors.json").read_text())["vectors"]
    assert len(found) == 7
    return list(found)


def test_all_published_vectors(shared_data: Path) -> None:
    for one in vectors(shared_data):
        pairs = [(name, value) for name, value in one.get("params", [])]
        assert is_signed([one["auth_token"]], one["url"], pairs, one["signature"]) is one["valid"], one["name"]
        assert not is_signed(["another"], one["url"], pairs, one["signature"]), one["name"]
        assert not is_signed([one["auth_token"]], one["url"] + "&x=1", pairs, one["signature"]), one["name"]


def test_the_vectors_at_the_door(shared_data: Path) -> None:
    """The door is stricter than the signature: a field that comes twice is refused, also where Twilio signed it."""
    for one in vectors(shared_data):
        body = one["raw_body"] if "raw_body" in one else urlencode([(name, value) for name, value in one["params"]])
        letter = post(
            url=one["url"],
            body=body.encode(),
            content_type=JSON if "raw_body" in one else FORM,
            signatures=(one["signature"],),
        )
        repeated = {Refusal.DUPLICATE_KEY} if one["name"].startswith("repeated") else set()
        assert set(judged(letter, one["auth_token"])) == {Refusal.ACCOUNT} | repeated, one["name"]


def test_a_right_request_passes() -> None:
    assert judged(post()) == []


def test_the_token_before_still_counts_and_an_empty_one_never_does() -> None:
    assert judged(post(token="of yesterday"), TOKEN, "of yesterday") == []
    assert judged(post(token=""), TOKEN, "") == [Refusal.SIGNATURE]


@pytest.mark.parametrize(
    ("letter", "reasons"),
    [
        (post(signatures=()), [Refusal.NO_SIGNATURE, Refusal.SIGNATURE]),
        (post(signatures=("",)), [Refusal.NO_SIGNATURE, Refusal.SIGNATURE]),
        (post(signatures=("päckchen",)), [Refusal.SIGNATURE]),
        (post(signatures=post().signatures * 2), [Refusal.NO_SIGNATURE]),
        (post(token="another"), [Refusal.SIGNATURE]),
        (post(url=URL.replace("https", "http"), signatures=post().signatures), [Refusal.SIGNATURE]),
        (post(url=URL + "?a=1", signatures=post().signatures), [Refusal.SIGNATURE]),
        (post(SAID | {"AccountSid": "AC" + "2" * 32}), [Refusal.ACCOUNT]),
        (post({"MessageSid": "SM1"}), [Refusal.ACCOUNT]),
        (post({}), [Refusal.ACCOUNT]),
        (post(url=URL + f"?AccountSid={SID}"), [Refusal.DUPLICATE_KEY]),
        (post(url=URL + "?a=1&a=2"), [Refusal.DUPLICATE_KEY]),
        (post(content_type="text/plain"), [Refusal.CONTENT_TYPE, Refusal.SIGNATURE]),
        (post(content_type="multipart/form-data"), [Refusal.CONTENT_TYPE, Refusal.SIGNATURE]),
        (post(content_type=""), [Refusal.CONTENT_TYPE, Refusal.SIGNATURE]),
        (post(body=None), [Refusal.TOO_LARGE, Refusal.SIGNATURE, Refusal.ACCOUNT]),
        (post(body=b"AccountSid=%ff"), [Refusal.GARBLED, Refusal.SIGNATURE, Refusal.ACCOUNT]),
        (post(body=b"\xff"), [Refusal.GARBLED, Refusal.SIGNATURE, Refusal.ACCOUNT]),
        (post(body=b"&".join(b"a%d=1" % n for n in range(300))), [Refusal.GARBLED, Refusal.SIGNATURE, Refusal.ACCOUNT]),
    ],
)
def test_each_no_has_its_name(letter: Letter, reasons: list[Refusal]) -> None:
    assert judged(letter) == reasons
    assert all(REFUSAL_TEXT[reason] for reason in reasons)


def test_a_field_twice_is_refused_although_the_signature_is_right() -> None:
    body = urlencode([*SAID.items(), ("MessageStatus", "delivered")]).encode()
    assert judged(post(body=body)) == [Refusal.DUPLICATE_KEY]


def test_a_get_is_signed_by_its_address() -> None:
    url = f"{URL}?{urlencode(SAID)}"
    letter = post({}, url=url, method="GET", content_type="", body=b"")
    assert judged(letter) == []
    assert Refusal.CONTENT_TYPE in judged(post({}, url=url, method="GET", content_type=FORM, body=b"x=1"))
    assert judged(
        post({}, url=url.replace("delivered", "failed"), method="GET", signatures=letter.signatures, body=b"")
    )


def in_json(said: str, *, hashed: str | None = None) -> Letter:
    url = f"{URL}?bodySHA256={hashed or hashlib.sha256(said.encode()).hexdigest()}"
    return post({}, url=url, body=said.encode(), content_type=JSON)


def test_json_counts_by_its_hash() -> None:
    said = json.dumps({"AccountSid": SID, "deep": {"AccountSid": "other", "a": [1]}})
    assert judged(in_json(said)) == []
    assert judged(in_json(said, hashed="0" * 64)) == [Refusal.BODY_HASH]
    without = post({}, body=said.encode(), content_type=JSON)
    assert judged(without) == [Refusal.BODY_HASH]
    assert judged(in_json(f'{{"AccountSid": "{SID}", "AccountSid": "{SID}"}}')) == [Refusal.DUPLICATE_KEY]
    assert judged(in_json(f'{{"AccountSid": "{SID}"}}, {{}}')) == [Refusal.GARBLED, Refusal.ACCOUNT]
    assert judged(in_json("[1]")) == [Refusal.GARBLED, Refusal.ACCOUNT]


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("https://shop.example:8443/a?b=%2F", "https://shop.example/a?b=%2F"),
        ("http://shop.example/a", "http://shop.example:80/a"),
        ("https://[::1]:8443/a", "https://[::1]/a"),
        ("https://[::1]/a", "https://[::1]:443/a"),
        ("https://shop.example/a%2Fb?x=a:1", "https://shop.example:443/a%2Fb?x=a:1"),
    ],
)
def test_ports_come_and_go_and_nothing_else_changes(url: str, same: str) -> None:
    assert with_and_without_port(url) == [url, same]
    assert is_signed([TOKEN], url, [("a", "1")], sign(same, [("a", "1")]))


def sign(url: str, pairs: list[tuple[str, str]]) -> str:
    """The published scheme over an address letter by letter."""
    text = url + "".join(name + value for name, value in sorted(pairs))
    return base64.b64encode(hmac.new(TOKEN.encode(), text.encode(), hashlib.sha1).digest()).decode()


def test_any_single_change_is_noticed() -> None:
    """1,000 requests with one letter of address or body changed: none passes."""
    dice, right = random.Random(4), post()
    body = right.body or b""
    for _ in range(500):
        at = dice.randrange(len(body))
        other = bytes([dice.choice([byte for byte in b"abcXYZ019" if byte != body[at]])])
        assert judged(post(body=body[:at] + other + body[at + 1 :]))
        at = dice.randrange(len("https://care.shop.example/"), len(URL))
        letter = dice.choice([sign for sign in "abcXYZ019" if sign != URL[at]])
        assert judged(post(url=URL[:at] + letter + URL[at + 1 :], signatures=right.signatures))


def test_the_digest_is_over_what_was_signed_whoever_signed_it() -> None:
    assert digest_of(post()) == digest_of(post(token="of yesterday"))
    assert digest_of(post()) == digest_of(post(dict(reversed(SAID.items()))))
    assert digest_of(post()) != digest_of(post(SAID | {"MessageStatus": "sent"}))
    assert digest_of(post()) != digest_of(post(url=URL + "?again=1"))
    assert digest_of(in_json('{"a": 1}')) != digest_of(in_json('{"a": 2}'))


def test_a_captured_request_cut_into_other_fields_is_the_same_request() -> None:
    """Twilio signs names and values without a mark between them, so this passes; it must at least be no news."""
    cut = dict(SAID) | {"MessageStatu": "sdelivered"}
    del cut["MessageStatus"]
    assert judged(post(cut, signatures=post().signatures)) == []
    assert digest_of(post(cut)) == digest_of(post())


def test_a_placeholder_is_no_token_when_live() -> None:
    live = Settings.model_construct(**(Settings(_env_file=None).model_dump() | {"delivery": "live"}))
    assert account_of(live).tokens == ("", "")
    assert account_of(Settings(_env_file=None)).tokens == ("change-me", "")


@pytest.mark.parametrize("body", [b"[" * 60_000, b'{"a":' * 10_000, b'{"AccountSid": "\\ud800"}', b"9" * 5000])
def test_whatever_is_posted_is_judged_without_an_error(body: bytes) -> None:
    assert Refusal.SIGNATURE in judged(post(body=body, content_type=JSON))
