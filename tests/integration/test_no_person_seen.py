"""A busy house with canaries in every personal field: no log line, metric, span or page for staff lets one slip."""

import asyncio
import base64
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import SecretStr
from sqlalchemy import Engine, insert, select, text

import models
from beforehand.dispatching import dispatch_due, poll_receipts, reap
from beforehand.heartbeat.beats import Beat, Heartbeat
from beforehand.passes import advance, deciding, run_rule
from beforehand.returned import read_maildir
from beforehand.runtime.logs import Json
from beforehand.sight.counting import COUNTS
from beforehand.sight.tracing import Traces
from beforehand.web.postroom.faults import Fault
from beforehand.web.postroom.house import Pace
from beforehand.web.serving import Pages
from beforehand.web.staff import create_staff_app
from messaging.channels.sms import Sms
from messaging.onlookers import look_away, look_on
from models.database import reading, writing
from models.housekeeping import Notice
from models.staff import EventOut
from models.terms import THE_BEGINNING
from tests.deciding import NOON, House
from tests.delivery.pages import World, world
from tests.integration.out_world import SECRET, attempts_of

CANARIES = (
    "Zarathea", "Quendelbrook", "49151777", "qx-kunde", "Hexenstieg", "mephistocat", "ORDQX", "KDNQX", "whisperword",
)  # fmt: skip
"""First name, last name, phone, e-mail, street, free text, order, customer number, and what customers write."""

QUOTE = "Zarathea Quendelbrook, +4915177700001, zarathea@qx-kunde.example, Hexenstieg 7, mephistocat, ORDQX1, KDNQX1"
KEY = "user:password"
STEPS = "  - {send: hello, by: [sms]}\n  - wait: 1 day\n  - {send: hello, by: [sms]}"
REPORT = """From: MAILER-DAEMON@mx.example
To: bounces+{token}@shop.example
Subject: Undelivered: whisperword
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: text/plain

Zarathea Quendelbrook has left. whisperword
--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example

Final-Recipient: rfc822; zarathea1@qx-kunde.example
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 no zarathea1@qx-kunde.example, whisperword

--b--
"""


class Kept(logging.Handler):
    """Every line that is logged, in both of our formats, tracebacks included."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []
        self._formats = (logging.Formatter("%(levelname)s %(name)s %(message)s"), Json("boot"))

    def emit(self, record: logging.LogRecord) -> None:
        self.lines += [one.format(record) for one in self._formats]


@contextmanager
def listening() -> Iterator[Kept]:
    kept, root = Kept(), logging.getLogger()
    before = root.level
    root.addHandler(kept)
    root.setLevel(logging.INFO)
    quiet = {name: logging.getLogger(name).level for name in ("httpx", "httpcore", "mail.log", "alembic")}
    for name in quiet:
        logging.getLogger(name).setLevel(logging.WARNING)  # the test's own client, and the post room
    yield kept
    root.removeHandler(kept)
    root.setLevel(before)
    for name, level in quiet.items():
        logging.getLogger(name).setLevel(level)


def people(house: House, first: int, last: int) -> None:
    for n in range(first, last + 1):
        phone = f"+49151777{n:05}"
        who = house.customer(
            external_id=f"KDNQX{n}", first_name="Zarathea", last_name="Quendelbrook", phone=phone,
            email=f"zarathea{n}@qx-kunde.example", tier="mephistocat",
            attributes={"street": "Hexenstieg 7", "note": "mephistocat"},
        )  # fmt: skip
        house.add(models.Order, number=f"ORDQX{n}", external_id=f"ORDQX{n}", customer_id=who, placed_at=NOON)
        house.add(models.Ticket, customer_id=who, topic="mephistocat", opened_at=NOON - timedelta(days=9))
        house.add(models.Call, customer_id=who, phone=phone, agent="Quendelbrook", started_at=NOON)


def rules(house: House) -> None:
    house.template()
    house.template("odd", "sms")
    (house.folder / "templates" / "odd" / "sms.en.txt").write_text("{{ {'gold': 1}[customer.first_name] }}")
    once = {"limits": "{once_per: customer}"}
    house.rule("hello", steps=STEPS, **once)
    house.rule("mail", steps="  - {send: hello, by: [email]}", **once)
    house.rule("call", steps="  - {call: hello, connect_to: voice-desk}", **once)
    house.rule("odd", steps="  - {send: odd, by: [sms]}", **once)


def send_and_fail(house: House, here: World) -> None:
    """Everything goes out, and much of it goes wrong, some of it in ways that quote the customer."""
    for rule in ("hello", "mail", "call", "odd"):
        run_rule(here.app, rule, NOON)
    for fault in (
        Fault("messages", "error"), Fault("messages", "garbage"), Fault("messages", "drop", accepted=True),
        Fault("mail", "error", phase="rcpt"), Fault("calls", "truncate", accepted=True),
    ):  # fmt: skip
        here.room.faults.add(fault)
    dispatch_due(here.app, NOON)
    people(house, 5, 5)
    run_rule(here.app, "hello", NOON + timedelta(minutes=5))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Sms, "send", careless)
        dispatch_due(here.app, NOON + timedelta(minutes=10))
        patch.setattr(deciding, "decide_on", careless)
        with suppress(ValueError):
            run_rule(here.app, "hello", NOON + timedelta(minutes=1))
    for minutes in (20, 90):
        dispatch_due(here.app, NOON + timedelta(minutes=minutes))
        reap(here.app, NOON + timedelta(minutes=minutes))
        poll_receipts(here.app, NOON + timedelta(minutes=minutes))
    advance(here.app, NOON + timedelta(days=1, hours=1))


def careless(*_args: Any, **_more: Any) -> Any:
    raise ValueError(QUOTE)


def hear_back(here: World) -> None:
    """Callbacks, replies, events of mail, visits to pages; with canaries wherever a stranger may put them."""
    tries = attempts_of(here.app.engine)
    taken = [one for one in tries if one.provider_id and one.provider_id.startswith(("SM", "CA"))]
    for one in taken:
        here.status(one.id, one.provider_id, "undelivered", ErrorCode="30003", To="+4915177700001", Body="whisperword")
        here.status(one.id, "SM" + "9" * 32, "delivered", To="+4915177700001")
    here.post(here.url("/hooks/twilio/status", tries[0].id, "?name=Zarathea"), {"To": "+4915177700001"}, token="wrong")
    here.post(f"{here.pages.url}/hooks/twilio/status/Zarathea", {"To": "+4915177700001"})
    for number, said in enumerate(("whisperword, leave me be", "STOP", "what is whisperword?", "START"), 1):
        form = {"From": f"+4915177700{number:03}", "To": "+442079460000", "Body": said, "MessageSid": f"SM{number:032}"}
        here.post(f"{here.pages.url}/hooks/twilio/sms", form)
    here.post(f"{here.pages.url}/hooks/twilio/call", {"From": "+4915177700002", "CallSid": "CA" + "7" * 32})
    basic = {"Authorization": "Basic " + base64.b64encode(KEY.encode()).decode()}
    with httpx.Client(base_url=here.pages.url, trust_env=False) as ask:
        for kind in ("Bounce", "SpamComplaint", "whisperword"):
            event = {
                "RecordType": kind,
                "Type": "HardBounce",
                "Email": "zarathea1@qx-kunde.example",
                "Description": QUOTE,
            }
            ask.post("/hooks/mail/postmark", json=event, headers=basic)
            ask.post("/hooks/mail/postmark", json=event)
        ask.post("/hooks/mail/postmark", content=b'{"Email": "zarathea1@qx-kunde.example"', headers=basic)
        ask.post("/p/whisperword", data={"note": QUOTE})
        ask.get("/s/Zarathea")


def bounces(house: House, here: World, folder: Path) -> None:
    for name in ("new", "cur", "tmp"):
        (folder / name).mkdir(parents=True)
    from messaging.channels.callbacks import attempt_token

    for one in attempts_of(house.engine):
        said = REPORT.format(token=attempt_token(SECRET, one.id))
        (folder / "new" / f"{one.id}").write_text(said)
    (folder / "new" / "odd").write_text("To: Zarathea@qx-kunde.example\nSubject: whisperword\n\nwhisperword")
    read_maildir(here.app, folder)


def the_database_refuses(here: World) -> None:
    """A request and a beat whose statement fails, with a customer's values in it."""

    def twice() -> None:
        with writing(here.app.engine) as connection:
            row = {"external_id": "KDNQX1", "changed_at": NOON, "bucket": 0, "first_name": "Zarathea"}
            connection.execute(insert(models.Customer), [row, row])  # type: ignore[call-overload]

    async def beats() -> None:
        heart = Heartbeat(here.app.engine, lambda: NOON, "me", [])
        await heart.beat(Beat("twice", 1, lambda: asyncio.to_thread(twice), alone=False))

    asyncio.run(beats())
    with writing(here.app.engine) as connection:
        connection.execute(text("ALTER TABLE reply RENAME TO reply_gone"))
    form = {"From": "+4915177700003", "To": "+442079460000", "Body": "whisperword", "MessageSid": "SM" + "8" * 32}
    here.post(f"{here.pages.url}/hooks/twilio/sms", form)
    with writing(here.app.engine) as connection:
        connection.execute(text("ALTER TABLE reply_gone RENAME TO reply"))


def a_page_breaks(house: House, kept: Kept) -> None:
    """An error of our own in a request, which uvicorn logs to a handler of its own."""
    uvicorn = logging.getLogger("uvicorn.error")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("beforehand.web.health.not_ready", careless)
        with Pages(house.app) as pages:
            uvicorn.addHandler(kept)
            assert httpx.get(f"{pages.url}/readyz", trust_env=False).status_code == 500
    uvicorn.removeHandler(kept)


def slipped(said: str) -> list[str]:
    return [word for word in CANARIES if word.lower() in said.lower()]


def test_no_person_in_what_staff_and_machines_are_shown(engine: Engine, tmp_path: Path) -> None:
    house = House(engine, tmp_path, {"caps": {}})
    rules(house)
    people(house, 1, 4)
    spans = InMemorySpanExporter()
    traces = Traces(SECRET, [spans])
    look_on(traces)
    said = {
        "rules": tmp_path / "rules", "templates": tmp_path / "templates", "live_from": THE_BEGINNING,
        "mail_provider": "postmark", "mail_provider_key": SecretStr(KEY), "caps": {}, "var": tmp_path / "var",
        "bounce_address": "bounces@shop.example",
    }  # fmt: skip
    try:
        with listening() as kept, world(engine, pace=Pace(sent=60), **said) as here:
            staff = TestClient(create_staff_app(here.app), base_url="http://127.0.0.1")
            send_and_fail(house, here)
            hear_back(here)
            bounces(house, here, tmp_path / "mail")
            the_database_refuses(here)
            a_page_breaks(house, kept)
            shown = {path: staff.get(path).text for path in ("/metrics", "/", "/readyz")}
    finally:
        traces.close()
        look_away(COUNTS)
    assert [line for line in kept.lines if slipped(line)] == []
    assert {path: slipped(text) for path, text in shown.items() if slipped(text)} == {}
    told = [
        json.dumps([span.name, dict(span.attributes or {}), span.status.description])
        for span in spans.get_finished_spans()
    ]
    assert [one for one in told if slipped(one)] == []
    with reading(engine) as connection:
        notices = connection.execute(select(Notice.__table__.c.topic, Notice.__table__.c.said)).all()  # type: ignore[attr-defined]
        events = connection.execute(select(EventOut.__table__.c.about, EventOut.__table__.c.content)).all()  # type: ignore[attr-defined]
    assert [row for row in (*notices, *events) if slipped(str(row))] == []
    it_was_busy(kept.lines, shown["/metrics"], told, len(notices))


def it_was_busy(lines: list[str], metrics: str, spans: list[str], notices: int) -> None:
    """The house did say, count and trace what went wrong, so that there was something to let slip."""
    for wanted in (
        "broke its promise not to raise: ValueError", "message ", "refused a request to", "the beat 'twice' failed",
        "was refused: ", "/hooks/twilio/sms was not done", "Exception in ASGI application: ValueError at",
    ):  # fmt: skip
        assert any(wanted in line for line in lines), wanted
    for wanted in (
        'beforehand_provider_outcomes_total{channel="sms"',
        'beforehand_receipts_total{channel="sms",state="undelivered"',
        'beforehand_callbacks_refused_total{reason="signature"}', 'beforehand_suppressions_total{cause="stop"} ',
        'beforehand_messages_failed_total{channel="sms"}', 'beforehand_pass_failures_total{rule="hello"}',
    ):  # fmt: skip
        assert any(line.startswith(wanted) and not line.endswith(" 0.0") for line in metrics.splitlines()), wanted
    assert {json.loads(one)[0] for one in spans} >= {"occasion", "decide", "wait", "send", "receipt"}
    assert notices >= 1
