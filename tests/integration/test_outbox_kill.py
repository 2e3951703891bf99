"""A real process, really killed, again and again: each message once in the post room's ledger, and none lost."""

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from beforehand.web.postroom.server import PostRoom
from messaging.outbox import reap
from messaging.unknown import settle
from tests.integration.out_world import plan_messages, references, rows_of, send_due, ways

ROOT = Path(__file__).resolve().parents[2]
CHILD = """
import sys
from datetime import UTC, datetime
from types import SimpleNamespace
from models.database import connect
from tests.integration.out_world import dispatch, envelopes, Plan, POLICY, ways
url, sid, token, http, smtp = sys.argv[1:]
room = SimpleNamespace(account_sid=sid, auth_token=token, http_url=http, host="127.0.0.1", smtp_port=int(smtp))
channels = ways(room, timeout=10)
channels["sms"].look(["SM" + "0" * 32])  # the SDK loads its parts when first used; that shall not be what is killed
print("ready", flush=True)
dispatch(connect(url), lambda: datetime.now(UTC), channels, envelopes, Plan(POLICY, batch=20, lease_seconds=30))
"""


def killed_dispatch(engine: Engine, room: PostRoom, after: float) -> None:
    """Dispatch in a process of its own and kill it ``after`` seconds."""
    url = engine.url.render_as_string(hide_password=False)
    given = [url, room.account_sid, room.auth_token, room.http_url, str(room.smtp_port)]
    child = subprocess.Popen([sys.executable, "-c", CHILD, *given], cwd=ROOT, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    time.sleep(after)
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()


@pytest.mark.prove
def test_killed_again_and_again(sqlite_engine: Engine) -> None:
    count, dice = 400, random.Random(7)
    with PostRoom() as room:
        plan_messages(sqlite_engine, count)
        for _ in range(12):
            killed_dispatch(sqlite_engine, room, dice.uniform(0.1, 0.9))
            # the reaper's clock is ahead, so that the next process finds the dead one's leases over
            reap(sqlite_engine, datetime.now(UTC) + timedelta(minutes=2))
        unknown = Counter(row.state for row in rows_of(sqlite_engine))["unknown"]
        ahead = datetime.now(UTC) + timedelta(hours=1)
        send_due(sqlite_engine, ways(room), ahead)
        report = settle(sqlite_engine, ways(room), ahead, send_timeout=2, settle_after=timedelta(minutes=15))
        send_due(sqlite_engine, ways(room), ahead + timedelta(hours=1))
        seen = references(room.ledger.of("sms"))
    print(f"{unknown} unknown after 12 kills; {report}")
    assert seen == sorted(f"R{n:07d}" for n in range(count))
    assert Counter(row.state for row in rows_of(sqlite_engine)) == {"accepted": count}


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
