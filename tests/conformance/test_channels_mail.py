"""E-mail against servers that fail at each phase. What the server read to the dot is the judge."""

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from beforehand.web.postroom.faults import Fault
from beforehand.web.postroom.server import PostRoom
from messaging.channels.base import Envelope
from messaging.channels.mail import Mail, MailServer
from models.vocabulary import OutcomeClass
from tests.conformance.certificates import certificate_in, serving
from tests.conformance.raw_servers import RawServer, nobody_listens, smtp

LONG = ("x" * 900 + "\n") * 12_000
"""More than socket buffers hold: the server has read and acted before the last byte has left us."""

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
ACCEPTED, NOT_ACCEPTED, REFUSED, UNKNOWN = (
    OutcomeClass.ACCEPTED,
    OutcomeClass.NOT_ACCEPTED,
    OutcomeClass.REFUSED,
    OutcomeClass.UNKNOWN,
)


def letter(**more: str) -> Envelope:
    said = {"reference": "7K2M9QXC", "to": "a@kunde.example", "subject": "Late", "text": "Your order is late.\n.\n..x"}
    return Envelope(attempt_id=7, **(said | more))  # type: ignore[arg-type]


def mail(port: int, **more: object) -> Mail:
    server = {"host": "127.0.0.1", "port": port, "sender": "care@shop.example", "starttls": False, "timeout": 0.5}
    return Mail(MailServer(**(server | more)), lambda: NOW)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("at", "reply", "kind", "code", "taken"),
    [
        ("none", b"", ACCEPTED, "250", 1),
        ("connect", b"554 go away\r\n", NOT_ACCEPTED, "connect_554", 0),
        ("connect", b"421 busy\r\n", NOT_ACCEPTED, "connect_421", 0),
        ("connect", None, NOT_ACCEPTED, "connect_broken", 0),
        ("connect", b"", NOT_ACCEPTED, "connect_broken", 0),
        ("ehlo", b"421 busy\r\n", NOT_ACCEPTED, "hello_421", 0),
        ("ehlo", None, NOT_ACCEPTED, "hello_broken", 0),
        ("mail", b"451 later\r\n", NOT_ACCEPTED, "mail_451", 0),
        ("mail", b"550 not you\r\n", REFUSED, "mail_550", 0),
        ("mail", b"530 login first\r\n", NOT_ACCEPTED, "mail_530", 0),
        ("mail", None, NOT_ACCEPTED, "mail_broken", 0),
        ("rcpt", b"450 later\r\n", NOT_ACCEPTED, "rcpt_450", 0),
        ("rcpt", b"550 5.1.1 nobody\r\n", REFUSED, "rcpt_550", 0),
        ("rcpt", None, NOT_ACCEPTED, "rcpt_broken", 0),
        ("rcpt", b"", NOT_ACCEPTED, "rcpt_broken", 0),
        ("data", b"451 later\r\n", NOT_ACCEPTED, "data_451", 0),
        ("data", b"554 no\r\n", REFUSED, "data_554", 0),
        ("data", None, NOT_ACCEPTED, "data_broken", 0),
        ("dot", b"452 full\r\n", NOT_ACCEPTED, "dot_452", 1),
        ("dot", b"554 spam\r\n", REFUSED, "dot_554", 1),
        ("dot", None, UNKNOWN, "dot_broken", 1),
        ("dot", b"", UNKNOWN, "dot_broken", 1),
        ("dot", b"what?\r\n", UNKNOWN, "dot_-1", 1),
    ],
)
def test_each_phase_has_its_class(at: str, reply: bytes | None, kind: OutcomeClass, code: str, taken: int) -> None:
    with smtp(at, reply) as server:
        got = mail(server.port).send(letter())
    assert (got.kind, got.code) == (kind, code)
    assert len(server.took) == taken


def test_a_server_that_hangs_up_amid_the_text_has_not_got_the_mail() -> None:
    with smtp("body", None) as server:
        got = mail(server.port, timeout=5).send(letter(text=LONG))
    assert got.kind is NOT_ACCEPTED
    assert not server.took


def test_a_server_that_objects_amid_the_text_is_heard_before_the_dot() -> None:
    with smtp("body", b"552 too much\r\n") as server:
        got = mail(server.port, timeout=5).send(letter(text=LONG))
    assert got.kind in (REFUSED, NOT_ACCEPTED)
    assert not server.took


def test_where_nobody_listens_nothing_was_accepted_and_the_batch_stops() -> None:
    got = mail(nobody_listens()).send(letter())
    assert (got.kind, got.stops) == (NOT_ACCEPTED, True)


@pytest.mark.parametrize(("at", "stops"), [("connect", True), ("ehlo", True), ("rcpt", False), ("dot", False)])
def test_only_the_servers_own_trouble_stops_the_batch(at: str, stops: bool) -> None:
    with smtp(at, b"421 busy\r\n") as server:
        assert mail(server.port).send(letter()).stops is stops


def test_lines_of_dots_arrive_as_they_were_written() -> None:
    with PostRoom() as room:
        assert mail(room.smtp_port).send(letter()).kind is ACCEPTED
        assert room.ledger.entries[0].body.splitlines() == ["Your order is late.", ".", "..x"]


def test_one_connection_carries_a_batch_and_one_recipient_a_transaction() -> None:
    with smtp("none", b"") as server:
        sender = mail(server.port)
        for n in range(5):
            assert sender.send(letter(to=f"a{n}@kunde.example")).kind is ACCEPTED
        sender.close()
    assert (len(server.took), server.connections) == (5, 1)


def test_a_refused_recipient_leaves_the_connection_good() -> None:
    with smtp("rcpt", b"550 nobody\r\n") as server:
        sender = mail(server.port)
        assert [sender.send(letter()).code for _ in range(3)] == ["rcpt_550"] * 3
        assert server.connections == 1


def test_a_connection_that_went_stale_is_replaced_before_anything_is_said() -> None:
    with PostRoom() as room:
        sender = mail(room.smtp_port)
        sender.send(letter())
        kept = sender._kept.queue[0]
        kept.sock.shutdown(2)
        assert sender.send(letter(reference="7K2M9QXD")).kind is ACCEPTED
        assert len(room.ledger.entries) == 2


def test_the_second_copy_has_the_same_message_id() -> None:
    with PostRoom() as room:
        room.faults.add(Fault("mail", "drop", accepted=True))
        sender = mail(room.smtp_port)
        assert sender.send(letter()).kind is UNKNOWN
        assert sender.send(letter()).kind is ACCEPTED
        ids = [entry.header("Message-ID") for entry in room.ledger.entries]
    assert ids == ["<7K2M9QXC@shop.example>"] * 2


def test_a_bad_address_is_refused_without_a_connection() -> None:
    with smtp("none", b"") as server:
        got = mail(server.port).send(letter(to="nobody"))
    assert (got.kind, got.code, server.connections) == (REFUSED, "bad_mail", 0)


def test_a_mail_server_proves_nothing() -> None:
    sender = mail(1)
    assert sender.find("a@kunde.example", "f", NOW, NOW) is None
    assert sender.look(["x"]) == []


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for ``localhost`` that only this test trusts, with its key in one file."""
    return certificate_in(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def tls_room(certificate: Path) -> Iterator[PostRoom]:
    with PostRoom(tls=serving(certificate), smtp_user="shop", smtp_password="right", login_needed=True) as room:
        yield room


def trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


def test_starttls_and_login(tls_room: PostRoom, certificate: Path) -> None:
    sender = mail(
        tls_room.smtp_port, host="localhost", starttls=True, user="shop", password="right",
        context=trusting(certificate), timeout=3,
    )  # fmt: skip
    for n in range(3):
        assert sender.send(letter(to=f"a{n}@kunde.example")).kind is ACCEPTED
    sender.close()
    assert len(tls_room.ledger.entries) == 3


def test_a_wrong_password_stops_the_batch_and_is_in_no_evidence(tls_room: PostRoom, certificate: Path) -> None:
    got = mail(
        tls_room.smtp_port, host="localhost", starttls=True, user="shop", password="wrong-one",
        context=trusting(certificate), timeout=3,
    ).send(letter())  # fmt: skip
    assert (got.kind, got.code, got.stops) == (NOT_ACCEPTED, "login_535", True)
    assert "wrong-one" not in str(got)


def test_a_certificate_that_nobody_vouches_for_gets_no_mail_and_no_password(tls_room: PostRoom) -> None:
    got = mail(
        tls_room.smtp_port, host="localhost", starttls=True, user="shop", password="right", timeout=3
    ).send(letter())  # fmt: skip
    assert (got.kind, got.code, got.stops) == (NOT_ACCEPTED, "starttls_broken", True)
    assert not tls_room.ledger.entries


def test_without_starttls_on_offer_nothing_is_sent_in_the_clear() -> None:
    with smtp("none", b"") as server:
        got = mail(server.port, starttls=True, user="shop", password="right").send(letter())
    assert (got.kind, got.code) == (NOT_ACCEPTED, "starttls_502")
    assert not server.took


def test_a_server_that_never_greets_is_left_in_time() -> None:
    def silent(server: RawServer, _connection: object) -> None:
        server.wait(3)

    with RawServer(silent) as server:
        got = mail(server.port).send(letter())
    assert (got.kind, got.code) == (NOT_ACCEPTED, "connect_broken")
