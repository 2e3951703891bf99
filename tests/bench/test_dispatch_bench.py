"""How fast messages go out, each durable before and after the wire."""

import time

import pytest
from sqlalchemy import Engine

from beforehand.web.postroom.server import PostRoom
from tests.integration.out_world import plan_messages, send_due, ways


@pytest.mark.bench
@pytest.mark.parametrize("channel", ["sms", "voice", "email"])
def test_how_many_messages_a_second(engine: Engine, channel: str) -> None:
    count = 500
    with PostRoom() as room:
        plan_messages(engine, count, channel=channel)
        began = time.monotonic()
        assert send_due(engine, ways(room, timeout=10)).sent == count
        rate = count / (time.monotonic() - began)
    print(f"{engine.dialect.name} {channel}: {rate:,.0f} messages/s, each durable before and after the wire")
    assert rate > 20
