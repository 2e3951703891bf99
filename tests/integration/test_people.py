"""Access and erasure: all of one person as JSON; gone from rows, free pages and files; a new load revives nothing."""

import gzip
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, Table, insert, select

import models
from beforehand.passes import run_rule
from beforehand.people import OnTheWire, export, forget, held
from beforehand.people.held import NOT_PERSONAL, TABLES
from beforehand.people.traces import remaining
from messaging.addresses import address_hash
from models import Base
from models.database import reading, writing
from models.vocabulary import Channel, Reason
from tests.deciding import NOON, House

SECRET = b"s" * 32
PHONE, MAIL, NAME = "+4915112345678", "grace.hopper@kunde.example", "Grace Hopper"
OTHER = "+4915187654321"
TIME = {"changed_at": NOON}


def table(name: str) -> Table:
    return Base.metadata.tables[name]


@pytest.fixture
def house(engine: Engine, tmp_path: Path) -> House:
    made = House(engine, tmp_path, {"consent_needed": ["marketing"]})
    made.template()
    return made


def put(house: House, name: str, /, **columns: Any) -> int:
    """One row; gives its key."""
    with writing(house.engine) as connection:
        key = next(iter(table(name).primary_key))
        return int(connection.execute(insert(table(name)).values(**columns).returning(key)).scalar_one())


def grace(house: House, **columns: Any) -> int:
    """A customer with a row in every table that can hold one."""
    said = {"first_name": "Grace", "last_name": "Hopper", "phone": PHONE, "email": MAIL, "country": "DE"} | columns
    who = put(house, "customer", external_id="grace-1906", time_zone="Europe/Berlin", bucket=7, **TIME, **said)
    agreed = {"channel": "all", "purpose": "all", "verdict": "granted", "source": "shop", "text_version": "v1"}
    put(house, "consent", customer_id=who, given_at=NOON, recorded_at=NOON, **agreed)
    put(house, "preference", customer_id=who, language="de", updated_at=NOON)
    product = put(house, "product", external_id="p1", name="Kettle", **TIME)
    order = put(house, "orders", external_id="o1", customer_id=who, placed_at=NOON, **TIME)
    line = put(house, "order_line", external_id="l1", order_id=order, product_id=product, **TIME)
    put(house, "payment", external_id="pay1", customer_id=who, order_id=order, **TIME)
    put(house, "subscription", external_id="sub1", customer_id=who, **TIME)
    put(house, "call", external_id="call1", customer_id=who, phone=PHONE, **TIME)
    put(house, "call", external_id="call2", phone=PHONE, **TIME)  # nobody was known behind it
    put(house, "ticket", external_id="t1", customer_id=who, order_id=order, **TIME)
    put(house, "event", external_id="e1", customer_id=who, name="seen", properties={"mail": MAIL}, **TIME)
    issue = put(house, "known_issue", external_id="i1", title="A fault", severity="high", **TIME)
    put(
        house, "exposure", issue_id=issue, customer_id=who, order_id=order, order_line_id=line, product_id=product,
        found_at=NOON,
    )  # fmt: skip
    sent(house, who)
    return who


def sent(house: House, who: int, **columns: Any) -> int:
    """A match, its message and all that came of it; gives the attempt."""
    match = put(
        house, "match", rule_id="hello", version="v", occasion=f"customer/grace-1906/{who}", subject="customer",
        subject_id=who, customer_id=who, facts={"phone": PHONE}, matched_at=NOON, seen_at=NOON, state="open",
    )  # fmt: skip
    message = put(
        house, "message", match_id=match, rule_id="hello", version="v", occasion=f"customer/grace-1906/{who}", step="0",
        customer_id=who, purpose="service", channel="sms", address=PHONE, template="hello", state="accepted",
        created_at=NOON, due_at=NOON, reference=f"R{who}", priority=0, tries=1,
    )  # fmt: skip
    attempt = put(
        house, "attempt", message_id=message, number=1, state="accepted", lease="x", lease_until=NOON, claimed_at=NOON,
        provider_id=f"SM{who:032}", **columns,
    )  # fmt: skip
    put(house, "evidence", attempt_id=attempt, kind="reply", seen_at=NOON, content={"to": PHONE})
    put(house, "receipt", message_id=message, state="delivered", code="", seen_at=NOON)
    told = {"provider": "twilio", "kind": "status", "received_at": NOON, "code": ""}
    put(house, "callback", provider_id=f"SM{who:032}", digest=f"d{who}", content={"to": PHONE}, **told)
    put(house, "task", match_id=match, step="1", customer_id=who, desk="care", what=f"Ring {NAME}", created_at=NOON)
    put(house, "survey", external_id=f"s{who}", match_id=match, customer_id=who, comment=f"I am {NAME}", **TIME)
    put(
        house, "voucher", external_id=f"v{who}", customer_id=who, match_id=match, salt="0" * 32, currency="EUR",
        worth=500, **TIME,
    )  # fmt: skip
    put(
        house, "webhook", match_id=match, rule_id="hello", version="v", occasion="o", step="2", endpoint="crm",
        subject="customer", subject_id=who, customer_id=who, customer_key="grace-1906", state="delivered",
        created_at=NOON, due_at=NOON, tries=1,
    )  # fmt: skip
    hashed = address_hash(SECRET, Channel.SMS, PHONE)
    put(house, "reply", channel="sms", address_hash=hashed, text=f"from {NAME}", said="other", received_at=NOON)
    return attempt


def gone(house: House, who: int, tmp_path: Path, **more: Any) -> Any:
    return forget(house.engine, who, secret=SECRET, folder=tmp_path / "var", clock=lambda: NOON, **more)


def rows(house: House) -> dict[str, int]:
    with reading(house.engine) as connection:
        return {one.name: len(connection.execute(select(one)).all()) for one in TABLES}


def test_each_table_is_either_a_persons_or_nobodys(house: House) -> None:
    who = grace(house)
    with reading(house.engine) as connection:
        found = held(connection, who, SECRET)
    personal = {one.name for one in TABLES} - NOT_PERSONAL
    assert set(found.rows) == personal, "a new table must be reached from the customer, or be named as nobody's"


def test_all_of_one_person_and_nothing_of_another(house: House) -> None:
    who = grace(house)
    other = house.customer(first_name="Ada", phone=OTHER)
    sent(house, other)
    with reading(house.engine) as connection:
        told = export(connection, held(connection, who, SECRET), secret=SECRET, now=NOON)
    text = json.dumps(told)
    assert told["customer"]["email"] == MAIL
    assert {row["external_id"] for row in told["rows"]["call"]} == {"call1", "call2"}
    assert [row["verdict"] for row in told["rows"]["consent"]] == ["granted"]
    assert len(told["rows"]["voucher"][0]["code"]) == 23
    assert "Ada" not in text
    assert "code_hash" not in text
    assert len(told["rows"]["message"]) == 1


def test_forgotten_is_gone_and_the_others_stay(house: House, tmp_path: Path) -> None:
    who = grace(house)
    ada = house.customer(first_name="Ada", phone=OTHER)
    ticket = put(house, "ticket", external_id="t2", customer_id=ada, order_id=house.rows(models.Order, "id")[0], **TIME)
    said = gone(house, who, tmp_path)
    left = rows(house)
    assert {name for name, count in left.items() if count} == {
        "customer", "ticket", "product", "known_issue", "suppression",
    }  # fmt: skip
    assert (left["customer"], left["suppression"], said.suppressed, said.left) == (1, 2, 2, {})
    with reading(house.engine) as connection:
        assert connection.execute(select(table("ticket"))).one().order_id is None
        assert connection.execute(select(table("ticket").c.id)).scalar_one() == ticket


def test_no_byte_stays_in_the_database_nor_in_our_files(sqlite_engine: Engine, tmp_path: Path) -> None:
    house = House(sqlite_engine, tmp_path)
    who = grace(house)
    for _ in range(20):  # rows that were written anew leave their old texts in free space
        house.set(models.Order, changed_at=NOON)
    folder = tmp_path / "var"
    (folder / "rejects").mkdir(parents=True)
    (folder / "house.log").write_text(f"a line\nsent to {PHONE}\nanother\n")
    (folder / "rejects" / "shop.csv").write_text(f"id,mail\n1,ada@x.example\n2,{MAIL.upper()}\n")
    (folder / "post-room.jsonl").write_text('{"body": "Hello Grace Hopper"}\n{"body": "Hello Ada"}\n')
    (folder / "odd.bin").write_bytes(b"\0" + MAIL.encode() + b"\0")
    (folder / "orders.csv.gz").write_bytes(gzip.compress(f"1,{MAIL}\n2,ada@x.example\n".encode()))
    (folder / "broken.gz").write_bytes(b"no gzip")
    (folder / "journal").mkdir()
    (folder / "journal" / "x.jsonl").write_text('{"provider": "grace-1906"}\n')
    database = str(sqlite_engine.url.database)
    files = [folder, Path(database), Path(f"{database}-wal")]
    assert len(remaining(files, [PHONE, MAIL])) >= 4
    said = gone(house, who, tmp_path)
    assert sum(said.lines.values()) == 3
    assert (folder / "house.log").read_text() == "a line\nanother\n"
    left = {folder / "odd.bin": 1, folder / "orders.csv.gz": 1}
    assert said.left == left
    assert remaining(files, [PHONE, MAIL, NAME, "grace-1906"]) == left
    assert (folder / "journal" / "x.jsonl").read_text() == '{"provider": "grace-1906"}\n'


def test_a_new_load_does_not_revive_what_was_agreed(house: House, tmp_path: Path) -> None:
    gone(house, grace(house), tmp_path)
    who = put(
        house, "customer", external_id="grace-1906", phone=PHONE, email=MAIL, country="DE", bucket=7,
        time_zone="Europe/Berlin", **TIME,
    )  # fmt: skip
    agreed = {"channel": "all", "purpose": "all", "verdict": "granted", "source": "shop"}
    put(house, "consent", customer_id=who, given_at=NOON, recorded_at=NOON, **agreed)
    house.template("hello", "sms", "email", "voice")
    house.rule(steps="  - {send: hello, by: [sms, email, voice]}", purpose="marketing")
    assert run_rule(house.app, "hello", NOON).withheld == {Reason.SUPPRESSED: 1}


def test_an_address_that_somebody_else_has_stays_in_use(house: House, tmp_path: Path) -> None:
    who = grace(house)
    house.customer(phone=PHONE)
    said = gone(house, who, tmp_path)
    assert (said.suppressed, said.kept) == (1, 1)
    house.rule()
    assert run_rule(house.app, "hello", NOON).planned == 1


def test_what_waits_is_cancelled_and_what_is_on_the_wire_is_waited_for(house: House, tmp_path: Path) -> None:
    who = grace(house)
    house.set(models.Message, lambda c: c.customer_id == who, state="in_flight")
    house.set(models.Attempt, state="in_flight")
    clock = iter(NOON + timedelta(seconds=30 * tick) for tick in range(99))
    with pytest.raises(OnTheWire):
        forget(
            house.engine, who, secret=SECRET, folder=tmp_path / "var", clock=lambda: next(clock), pause=lambda _: None
        )
    assert house.rows(models.Message, "state") == ["in_flight"]

    def landed(_seconds: float) -> None:
        house.set(models.Attempt, state="unknown")

    assert gone(house, who, tmp_path, pause=landed).rows["message"] == 1


def test_nobody_by_that_key(house: House, tmp_path: Path) -> None:
    with pytest.raises(LookupError):
        gone(house, 99, tmp_path)
