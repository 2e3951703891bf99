"""Canary values in every personal field, flow runs that fail in many ways, and the search for what they let slip."""

import base64
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
from sqlalchemy import Engine, insert

import models
from beforehand.heartbeat import Beat, Heartbeat
from beforehand.heartbeat.duties import Work, run_event_rules, take_steps
from beforehand.passes import deciding
from beforehand.web.postroom.faults import Fault
from beforehand.web.postroom.server import PostRoom
from flows.hands import Hands, hold, of_app
from messaging.channels.sms import Sms
from tests.deciding import NOON, House
from tests.delivery.night import noon_now

CANARIES = {
    "first name": "Zarathea",
    "last name": "Quendelbrook",
    "phone": "49151777",
    "e-mail": "qx-kunde",
    "street": "Hexenstieg",
    "free text": "mephistocat",
    "order": "ORDQX",
    "customer": "KDNQX",
}
QUOTE = "Zarathea Quendelbrook, +4915177700001, zarathea@qx-kunde.example, Hexenstieg 7, mephistocat, ORDQX1, KDNQX1"
"""What a careless error says: all of them."""

SOURCES = """
sources:
  people: people.csv
load:
  - into: customers
    from: people
    key: id
    fields: {{first_name: name, phone: phone, email: mail, country: country, birthday: born{more}}}
"""
ODD = [("+49151777", "yesterday"), ("mephistocat", "1980-01-01"), ("+4915177700009", "")]
ROWS = "id,name,phone,mail,country,born\n" + "".join(
    f"KDNQX{n},Zarathea,{phone},zarathea{n}@qx-kunde.example,DE,{born}\n" for n, (phone, born) in enumerate(ODD, 1)
)


class Panic(BaseException):
    """What a Rust library raises in us: no Exception, and it quotes what it choked on."""


@dataclass
class World:
    """A house full of canaries, whose flows can be made to fail."""

    engine: Engine
    folder: Path
    room: PostRoom
    ways: dict[str, Callable[[], Awaitable[Any]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        host, port = self.room.http_url.rpartition(":")[::2]
        assert host == "http://127.0.0.1"
        own = {
            "post_room_port": int(port),
            "post_room_smtp_port": self.room.smtp_port,
            "twilio_account_sid": self.room.account_sid,
            "twilio_auth_token": self.room.auth_token,
            "send_timeout_seconds": 0.5,
            "status_callbacks": False,
            "time_zone": noon_now(),
            "quiet_laws": None,
            "brake": 100,
            "journal": self.folder / "journal",
            "var": self.folder / "rejects",
        }
        self.house = House(self.engine, self.folder, own)
        self.house.template("hello")
        self.house.template("odd", "sms", "email")
        (self.folder / "templates" / "odd" / "sms.en.txt").write_text("{{ {'gold': 1}[customer.first_name] }}")
        for rule, send in (("hello", "hello"), ("odd", "odd"), ("mail", "hello")):
            way = f"  - {{send: {send}, by: {'email' if rule == 'mail' else 'sms'}}}"
            self.house.rule(rule, steps=way, limits="{once_per: customer}")
        self.app = self.house.app
        object.__setattr__(self.app, "clock", lambda: datetime.now(UTC))
        self.hands: Hands = of_app(self.app)
        hold(self.hands)
        self.people = 0
        self.more_people(3)
        self.files()

    def more_people(self, count: int) -> None:
        """Customers, each with an order, a ticket and a call, all of canaries."""
        for _ in range(count):
            self.people += 1
            n = self.people
            phone = f"+49151777{n:05}"
            who = self.house.customer(
                external_id=f"KDNQX{n}", first_name="Zarathea", last_name="Quendelbrook", phone=phone,
                email=f"zarathea{n}@qx-kunde.example", time_zone=noon_now(), tier="mephistocat",
                attributes={"street": "Hexenstieg 7", "note": "mephistocat"},
            )  # fmt: skip
            self.house.add(models.Order, number=f"ORDQX{n}", external_id=f"ORDQX{n}", customer_id=who, placed_at=NOON)
            self.house.add(models.Ticket, customer_id=who, topic="mephistocat", opened_at=NOON)
            self.house.add(models.Call, customer_id=who, phone=phone, agent="Quendelbrook", started_at=NOON)

    def files(self) -> None:
        """Mapping files: one that rejects rows, one with an expression that fails, one whose source is broken."""
        (self.folder / "people.csv").write_text(ROWS)
        (self.folder / "broken.jsonl").write_text('{"id": "KDNQX1", "name": "Zarathea Quendelbrook\n')
        (self.folder / "people.parquet").write_bytes(b"PAR1" + QUOTE.encode())
        (self.folder / "bad-rows.yaml").write_text(SOURCES.format(more=""))
        (self.folder / "wrong.yaml").write_text(SOURCES.format(more=", Zarathea: Quendelbrook"))
        for name, source in (("lines", "broken.jsonl"), ("columns", "people.parquet"), ("gone", "mephistocat.csv")):
            (self.folder / f"{name}.yaml").write_text(SOURCES.format(more="").replace("people.csv", source))

    def wrongs(self) -> "dict[str, tuple[str, Callable[[], Any]]]":
        """By name: the flow that is run, and what is made to go wrong in it meanwhile."""
        quoting = {
            "a value error": ValueError(QUOTE),
            "a key error": KeyError(QUOTE),
            "several errors": ExceptionGroup(QUOTE, [ValueError(QUOTE), TypeError(QUOTE)]),
            "a panic": Panic(QUOTE),
        }
        stages = {"evaluate": (deciding, "matching"), "decide": (deciding.guards, "decide")}
        places = stages | {"plan": (deciding, "plan_new")}
        found: dict[str, tuple[str, Callable[[], Any]]] = {
            f"{what} in {where}": ("hello", lambda place=place, error=error: patch.object(*place, side_effect=error))
            for where, place in places.items()
            for what, error in quoting.items()
        }
        cuts = {"an SMS refused": "error", "an answer cut": "truncate", "garbage": "garbage"}
        found |= {name: ("hello", lambda what=what: self.faulty("messages", what)) for name, what in cuts.items()}
        return found | {
            "nothing": ("hello", lambda: self.faulty()),
            "a mail refused": ("mail", lambda: self.faulty("mail", "error")),
            "a mail dropped": ("mail", lambda: self.faulty("mail", "drop")),
            "a template": ("odd", lambda: self.faulty()),
            "rows quoted by the database": ("hello", lambda: patch.object(deciding, "plan_new", twice_the_same)),
            "a statement quoted by the database": ("hello", lambda: patch.object(deciding, "plan_new", no_such_column)),
            "a channel": ("hello", lambda: patch.object(Sms, "send", side_effect=RuntimeError(QUOTE))),
            "sending": ("dispatch", lambda: self.with_hands(dispatch=careless)),
            "looking back": ("hello", lambda: self.with_hands(became=careless)),
            "ingest itself": ("bad-rows", lambda: self.with_hands(ingest=careless)),
            "an ingest that panics": ("bad-rows", lambda: self.with_hands(ingest=panicking)),
            **{f"ingest of {name}": (name, lambda: self.faulty()) for name in MAPPINGS},
        }  # fmt: skip

    @contextmanager
    def faulty(self, where: Any = None, what: Any = None) -> Iterator[None]:
        """New people, and a post room that has something go wrong with one of them."""
        self.more_people(1)
        if where:
            self.room.faults.add(Fault(where, what))
        yield

    @contextmanager
    def with_hands(self, **functions: Any) -> Iterator[None]:
        from dataclasses import replace

        hold(replace(self.hands, **functions))
        yield
        hold(self.hands)

    async def run(self, name: str) -> str:
        """One flow run with that going wrong; the type of the state it ended in."""
        from flows.dispatch import dispatch_due
        from flows.evaluate import evaluate_rule
        from flows.ingest import ingest_sources

        what, wrong = self.wrongs()[name]
        with wrong():
            if what == "dispatch":
                state = await dispatch_due(return_state=True)
            elif what in MAPPINGS:
                state = await ingest_sources(str(self.folder / f"{what}.yaml"), return_state=True)
            else:
                state = await evaluate_rule(what, return_state=True)
        return str(state.type.value)

    async def beats(self) -> None:
        """The heartbeat's own ways of saying that something went wrong."""
        heart = Heartbeat(self.engine, self.app.clock, "canary", [])

        async def failing() -> None:
            raise ValueError(QUOTE)

        await heart.beat(Beat("failing", 1, failing, alone=False))
        work = Work(careless, lambda _now: ["hello"], careless, careless)
        with suppress(ValueError):
            take_steps(self.hands, work, set())
        with self.with_hands(run_rule=careless), suppress(ValueError):
            run_event_rules(self.hands, work, {})


MAPPINGS = ("bad-rows", "wrong", "lines", "columns", "gone")


def careless(*_given: Any) -> Any:
    """Quote everybody."""
    raise ValueError(QUOTE)


def panicking(*_given: Any) -> Any:
    """Quote everybody, as no Exception."""
    raise Panic(QUOTE)


def twice_the_same(connection: Any, *_given: Any) -> Any:
    """The database quotes the row: a customer's key is there already."""
    row = {"external_id": "KDNQX1", "first_name": "Zarathea", "email": "zarathea@qx-kunde.example"}
    connection.execute(insert(models.Customer), [row | {"phone": "+4915177700001", "changed_at": NOON, "bucket": 1}])


def no_such_column(connection: Any, *_given: Any) -> Any:
    """The database quotes the statement and its values."""
    connection.exec_driver_sql(f"SELECT nothing FROM customer WHERE last_name = 'Quendelbrook' /* {QUOTE} */")


def spellings(canary: str) -> list[bytes]:
    """The bytes to look for: as it is, as UTF-16, and as it looks inside base64, wherever it begins."""
    raw = canary.encode()
    packed = [_inside_base64(raw, shift) for shift in range(3)]
    return [raw.lower(), canary.encode("utf-16-le").lower(), *packed]


def _inside_base64(raw: bytes, shift: int) -> bytes:
    """The signs that do not depend on what stands before and behind."""
    whole = base64.b64encode(b"\0" * shift + raw)
    return whole[(0, 2, 3)[shift] : (None, -3, -2)[(shift + len(raw)) % 3]]


def slipped(texts: "dict[str, bytes]") -> list[tuple[str, str]]:
    """Which canary is in which of the texts."""
    return [
        (place, name)
        for place, content in texts.items()
        for name, canary in CANARIES.items()
        if any(one in (content if one != one.lower() else content.lower()) for one in spellings(canary))
    ]


def files_in(*folders: Path) -> "dict[str, bytes]":
    """Every file below, raw: databases with their write-ahead logs, logs."""
    return {str(path): path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}


LISTS = ("flow_runs", "task_runs", "deployments", "artifacts", "logs", "flows", "variables")


def answers(api: str) -> "dict[str, bytes]":
    """All that the API tells."""
    with httpx.Client(base_url=api, trust_env=False, timeout=60) as client:
        return {place: page for what in LISTS for place, page in _pages(client, what)} | dict(_events(client))


def _pages(client: httpx.Client, what: str) -> Iterator[tuple[str, bytes]]:
    for offset in range(0, 100_000, 200):
        answer = client.post(f"/{what}/filter", json={"limit": 200, "offset": offset}).raise_for_status()
        if not answer.json():
            return
        yield f"{what} {offset}", answer.content


def _events(client: httpx.Client) -> Iterator[tuple[str, bytes]]:
    answer = client.post("/events/filter", json={"limit": 50}).raise_for_status()
    for number in range(100):
        yield f"events {number}", answer.content
        following = answer.json()["next_page"]
        if not following:
            return
        answer = client.get(following).raise_for_status()


def log_to(file: Path) -> None:
    """The house's own log."""
    from beforehand.runtime import logs

    logs.set_up(file, terminal=logging.CRITICAL)
