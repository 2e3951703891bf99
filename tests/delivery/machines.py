"""Several machines, as local processes: one PostgreSQL, one Prefect server, one post room, houses that come and go."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, select, update

from beforehand.heartbeat.lease import LEASE
from beforehand.runtime.child import is_healthy
from beforehand.web.postroom.server import PostRoom
from flows.environment import SERVER_ONLY, api_url, prefect_environment
from messaging.breaker import opened
from messaging.claims import message
from models.database import reading, writing
from models.vocabulary import MessageState
from tests.acceptance.houses import ROOT, Up, free_ports, settings_in, until
from tests.deciding import House
from tests.integration.out_world import SECRET, rows_of

HELLO = "Good day ({{ message.reference }}).\n"
LOGIN = "staff:a login for the test"
"""What the Prefect server asks for."""
EVERY_MINUTE = '{cron: "* * * * *"}'


def the_room() -> PostRoom:
    """A post room that the placeholder account reaches."""
    return PostRoom(account_sid="AC" + "0" * 32, auth_token="change-me")


def rules_in(engine: Engine, folder: Path) -> House:
    """A rules folder with one live rule that runs every minute, and its templates with the message's reference."""
    house = House(engine, folder)
    house.template("hello", "sms", "voice")
    house.rule("hello", when=EVERY_MINUTE, limits="{once_per: customer, brake: 100% of customers}")
    for channel in ("sms", "voice"):
        (folder / "templates" / "hello" / f"{channel}.en.txt").write_text(HELLO)
    (folder / "templates" / "hello" / "email.en.txt").write_text(f"Subject: Good day\n\n{HELLO}")
    return house


def settings_for(engine: Engine, folder: Path, name: str, room: PostRoom, **more: str) -> dict[str, str]:
    """The settings of one machine: its own folders, the shared database, post room, rules and templates."""
    (own := folder / name).mkdir(exist_ok=True)
    return settings_in(
        own,
        BEFOREHAND_DATABASE_URL=engine.url.render_as_string(hide_password=False),
        BEFOREHAND_POST_ROOM_PORT=room.http_url.rpartition(":")[2],
        BEFOREHAND_POST_ROOM_SMTP_PORT=str(room.smtp_port),
        BEFOREHAND_RULES=str(folder / "rules"),
        BEFOREHAND_TEMPLATES=str(folder / "templates"),
        BEFOREHAND_ISSUES=str(folder / "no-issues"),
        BEFOREHAND_SECRET_KEY=SECRET.decode(),
        BEFOREHAND_MAIL_FROM="care@shop.example",  # the judge's own sender: a Message-ID has its domain
        BEFOREHAND_LIVE_FROM="the beginning",
        BEFOREHAND_QUIET_HOURS="{}",
        BEFOREHAND_QUIET_LAWS="",
        BEFOREHAND_STATUS_CALLBACKS="false",
        BEFOREHAND_SEND_TIMEOUT_SECONDS="5",
        BEFOREHAND_LEASE_SECONDS="8",
        **more,
    )


@contextmanager
def prefect_server(folder: Path) -> Iterator[str]:
    """A Prefect server that nobody of ours started, and that asks for a login; gives its API."""
    (port,) = free_ports(1)
    variables = {**os.environ, **prefect_environment(folder / "prefect", port), **SERVER_ONLY, "PYTHONPATH": str(ROOT)}
    variables["PREFECT_SERVER_API_AUTH_STRING"] = LOGIN
    (folder / "prefect").mkdir()
    with (folder / "prefect.log").open("wb") as out:
        server = subprocess.Popen(
            [sys.executable, "-m", "flows.server"], cwd=ROOT, env=variables, stdout=out, stderr=out
        )
    try:
        until(lambda: is_healthy(api_url(port)), 120, "the Prefect server")
        yield api_url(port)
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def holder(engine: Engine) -> str:
    """Who holds the heartbeat's lease now; empty: nobody."""
    held = select(LEASE.c.holder).where(LEASE.c.duty == "heartbeat", LEASE.c.until > datetime.now(UTC))
    with reading(engine) as connection:
        return connection.execute(held).scalar_one_or_none() or ""


def of(boot: str, machines: list[Up]) -> Up:
    """The machine behind a name."""
    pid = int(boot.rpartition("-")[0].rpartition("-")[2])
    return next(one for one in machines if one.process.pid == pid)


def as_accepted(engine: Engine) -> Counter[str]:
    """Take back what receipts said after the provider took a message; the judge knows of none. Gives what there was."""
    states = Counter(row.state for row in rows_of(engine))
    later = (MessageState.SENT, MessageState.DELIVERED, MessageState.UNDELIVERED)
    with writing(engine) as connection:
        connection.execute(update(message).where(message.c.state.in_(later)).values(state=MessageState.ACCEPTED))
    return states


def open_breakers(engine: Engine) -> list[str]:
    """What rests because a provider was at fault, as a busy machine's may seem to be."""
    with reading(engine) as connection:
        return [f"{one.name}: {one.code} x{one.times} until {one.until:%H:%M:%S}" for one in opened(connection)]


def moving(rows: list[Any]) -> int:
    """How many messages have not come to an end yet."""
    return sum(row.state in ("planned", "queued", "claimed", "in_flight") for row in rows)
