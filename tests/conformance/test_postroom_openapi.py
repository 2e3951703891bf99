"""Our SDK's requests and the post room's answers, held against Twilio's published OpenAPI document.

The document requires no property at all; here every property is required and no other allowed, which is stricter than
Twilio is. Not checked by it: formats such as ``date-time-rfc-2822``, which test_postroom_twilio.py covers.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from openapi_core import OpenAPI
from openapi_core.contrib.requests import RequestsOpenAPIRequest, RequestsOpenAPIResponse
from openapi_core.exceptions import OpenAPIError

from beforehand.web.postroom import PostRoom
from messaging.channels.base import Envelope
from messaging.channels.sms import Sms
from messaging.channels.twilio_client import Account
from messaging.channels.voice import Voice
from models.vocabulary import OutcomeClass
from tests.conformance.postroom_tools import ANNA, OURS, QUICK

ACCOUNT = "/2010-04-01/Accounts/{AccountSid}"
PATHS = ("/Messages.json", "/Messages/{Sid}.json", "/Calls.json", "/Calls/{Sid}.json")


def _refs(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        for key, value in part.items():
            if key == "$ref":
                yield value.rsplit("/", 1)[-1]
            else:
                yield from _refs(value)
    elif isinstance(part, list):
        for value in part:
            yield from _refs(value)


def _needed(document: dict[str, Any]) -> dict[str, Any]:
    """The document with our four paths and the schemas that they name: the whole takes a minute to load."""
    paths = {ACCOUNT + path: document["paths"][ACCOUNT + path] for path in PATHS}
    schemas, kept, todo = document["components"]["schemas"], {}, set(_refs(paths))
    while todo:
        name = todo.pop()
        kept[name] = schemas[name]
        todo |= set(_refs(schemas[name])) - set(kept)
    for name in ("api.v2010.account.message", "api.v2010.account.call"):
        kept[name] |= {"required": list(kept[name]["properties"]), "additionalProperties": False}
    for path in (ACCOUNT + "/Messages.json", ACCOUNT + "/Calls.json"):
        listed = paths[path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        listed |= {"required": list(listed["properties"]), "additionalProperties": False}
    return document | {"paths": paths, "components": {**document["components"], "schemas": kept}}


@pytest.fixture(scope="module")
def twilio_api(shared_data: Path) -> OpenAPI:
    text = (shared_data / "specs" / "twilio" / "twilio_api_v2010.json").read_text(encoding="utf-8")
    return OpenAPI.from_dict(_needed(json.loads(text)))


@pytest.fixture
def room() -> Iterator[PostRoom]:
    with PostRoom(pace=QUICK, numbers=[OURS]) as room:
        yield room


class Wire(requests.Session):
    """Keeps every request and answer that the SDK makes, and holds each against the document."""

    def __init__(self, api: OpenAPI, room: PostRoom) -> None:
        super().__init__()
        self.api, self.room, self.seen = api, room, []

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        answer = super().send(request, **kwargs)
        asked = request.copy()
        asked.url = str(request.url).replace(self.room.http_url, "https://api.twilio.com")
        as_asked = RequestsOpenAPIRequest(asked)
        self.api.validate_request(as_asked)
        self.api.validate_response(as_asked, RequestsOpenAPIResponse(answer))
        self.seen.append((request.method, answer.status_code))
        return answer


def _base(room: PostRoom) -> str:
    return room.http_url + ACCOUNT.replace("{AccountSid}", room.account_sid)


def _account(room: PostRoom) -> Account:
    return Account(room.account_sid, room.auth_token, OURS, room.http_url, callback=lambda n: f"http://127.0.0.1:9/{n}")


@pytest.mark.parametrize(("kind", "text"), [(Sms, "Hello Anna, your order is late."), (Voice, "Hello Anna.\nPress 1.")])
def test_our_channels_and_the_answers_conform(
    twilio_api: OpenAPI, room: PostRoom, kind: type[Sms] | type[Voice], text: str
) -> None:
    channel = kind(_account(room))
    wire = Wire(twilio_api, room)
    channel.client.http_client.session = wire
    now = room.house.now()
    outcome = channel.send(Envelope(attempt_id=7, reference="7K", to=ANNA, text=text))
    assert outcome.kind is OutcomeClass.ACCEPTED
    for _ in range(2):  # once on its way, once at its end
        found = channel.find(ANNA, channel.fingerprint(Envelope(7, "7K", ANNA, text)), now, now)
        assert [one.provider_id for one in found or []] == [outcome.provider_id]
        room.wait_final(1)
    plural = "messages" if kind is Sms else "calls"
    login = (room.account_sid, room.auth_token)
    page = wire.get(f"{_base(room)}/{plural.title()}.json", params={"PageSize": 1}, auth=login).json()
    fetched = wire.get(room.http_url + page[plural][0]["uri"], auth=login).json()
    assert fetched["sid"] == outcome.provider_id
    assert wire.seen == [("POST", 201), ("GET", 200), ("GET", 200), ("GET", 200), ("GET", 200)]


def test_a_wrong_answer_would_be_seen(twilio_api: OpenAPI, room: PostRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beforehand.web.postroom.api.new_sid", lambda prefix: "XX1")
    with pytest.raises(OpenAPIError):
        Wire(twilio_api, room).post(
            f"{_base(room)}/Messages.json",
            data={"To": ANNA, "From": OURS, "Body": "x"},
            auth=(room.account_sid, room.auth_token),
        )
