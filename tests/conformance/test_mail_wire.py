"""Mail servers that do what no server should: endless, slow, out of turn, in between. A mail has an end as a whole."""

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from beforehand.web.postroom import PostRoom
from messaging.channels.base import Envelope, Outcome
from messaging.channels.callbacks import attempt_of_bounce, attempt_of_envid, attempt_token, bounce_address
from messaging.channels.mail import Mail
from messaging.channels.mail_wire import Wire
from models.vocabulary import OutcomeClass
from tests.conformance.certificates import certificate_in, serving
from tests.conformance.raw_servers import RawServer, smtp
from tests.conformance.test_channels_mail import LONG, letter, mail, trusting

ACCEPTED, NOT_ACCEPTED, UNKNOWN = OutcomeClass.ACCEPTED, OutcomeClass.NOT_ACCEPTED, OutcomeClass.UNKNOWN
SECRET = b"a secret for tests"


def timed(sender: Mail, envelope: Envelope) -> tuple[Outcome, float]:
    began = time.monotonic()
    return sender.send(envelope), time.monotonic() - began


def endless(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"250-and another thing\r\n" * 100)


def one_line(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"250-" + b"a" * 4096)


def drip(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"2")
        time.sleep(0.05)


def drip_lines(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"250-wait\r\n")
        time.sleep(0.05)


def noise(connection: socket.socket) -> None:
    connection.sendall(b"\x00\xff\x16\x03\x01 HTTP/1.1 400\r\n\r\n")
    time.sleep(0.2)


AWFUL = [endless, one_line, drip, drip_lines, noise]


def awful_at(word: str, how: Callable[[socket.socket], None]) -> RawServer:
    """A server that is fine until it hears ``word`` (empty: from its greeting on)."""
    replies = {"": b"220 raw\r\n", "ehlo": b"250 raw\r\n", "data": b"354 go\r\n"}

    def handle(server: RawServer, connection: socket.socket) -> None:
        lines = connection.makefile("rb")
        if not word:
            how(connection)
        connection.sendall(replies[""])
        text = False
        for line in lines:
            said = "." if line == b".\r\n" else "" if text else line[:4].decode().strip().lower()
            if said:
                if said == word:
                    server.took.append(line)
                    how(connection)
                text = said == "data"
                connection.sendall(replies.get(said, b"250 ok\r\n"))

    return RawServer(handle)


@pytest.mark.parametrize(
    ("word", "how"),
    [("", how) for how in AWFUL] + [(".", how) for how in AWFUL]
    + [("ehlo", drip_lines), ("ehlo", noise), ("mail", endless), ("rcpt", drip), ("data", one_line)],
)  # fmt: skip
def test_a_mail_ends_in_time_whatever_the_server_says(word: str, how: Callable[[socket.socket], None]) -> None:
    with awful_at(word, how) as server:
        got, seconds = timed(mail(server.port, timeout=0.25), letter())
    assert got.kind is (UNKNOWN if word == "." else NOT_ACCEPTED)
    assert got.stops == (word in ("", "ehlo")), "a server that talks nonsense before any mail is what is at fault"
    assert seconds < 1.5


def test_a_server_that_reads_slowly_does_not_hold_a_mail_for_ever() -> None:
    def sips(server: RawServer, connection: socket.socket) -> None:
        lines = connection.makefile("rb", buffering=0)
        connection.sendall(b"220 raw\r\n")
        for line in lines:
            connection.sendall(b"354 go\r\n" if line.startswith(b"DATA") else b"250 ok\r\n")
            while line.startswith(b"DATA") and connection.recv(20_000):
                time.sleep(0.02)

    with RawServer(sips) as server:
        got, seconds = timed(mail(server.port, timeout=0.6), letter(text=LONG))
    assert (got.kind, got.code) == (NOT_ACCEPTED, "body_broken")
    assert seconds < 5, "the server would have read for a minute"


def test_the_answer_to_the_dot_is_waited_for_longer() -> None:
    def thinks(server: RawServer, connection: socket.socket) -> None:
        time.sleep(0.6)
        connection.sendall(b"250 taken after all\r\n")

    with awful_at(".", lambda connection: thinks(server, connection)) as server:
        assert mail(server.port, timeout=0.3, patience=5).send(letter()).kind is ACCEPTED


def test_a_process_that_was_stopped_does_not_come_back_to_send_the_dot(monkeypatch: pytest.MonkeyPatch) -> None:
    quiet = Wire.speaks

    def stopped(wire: Wire) -> bool:
        time.sleep(0.5)
        return quiet(wire)

    monkeypatch.setattr(Wire, "speaks", stopped)
    with smtp("none", b"") as server:
        got = mail(server.port, timeout=0.4).send(letter())
    assert (got.kind, got.code, server.took) == (NOT_ACCEPTED, "body_broken", [])


def closing_after_each(say: bytes) -> RawServer:
    """A server that takes one mail a connection and then says ``say``, or hangs up where that is empty."""

    def handle(server: RawServer, connection: socket.socket) -> None:
        lines = connection.makefile("rb")
        connection.sendall(b"220 raw\r\n")
        for line in lines:
            word = line[:4].upper()
            done = bool(server.took) and word == b"MAIL" and server.connections == 1
            if done:
                connection.sendall(say)
                return
            connection.sendall(b"354 go\r\n" if word == b"DATA" else b"250 ok\r\n")
            if word == b"DATA":
                while lines.readline() != b".\r\n":
                    pass
                server.took.append(line)
                connection.sendall(b"250 taken\r\n")

    return RawServer(handle)


@pytest.mark.parametrize("say", [b"", b"421 enough for one connection\r\n"])
def test_a_server_that_gives_up_a_kept_connection_costs_no_mail_and_no_time(say: bytes) -> None:
    with closing_after_each(say) as server:
        sender = mail(server.port)
        assert [sender.send(letter()).kind for _ in range(3)] == [ACCEPTED] * 3
        assert (len(server.took), server.connections) == (3, 2)


def test_a_server_that_takes_few_connections_gets_its_mails_over_those() -> None:
    gate, limit = threading.Semaphore(2), 2

    def handle(server: RawServer, connection: socket.socket) -> None:
        if not gate.acquire(blocking=False):
            connection.sendall(b"421 4.7.0 too many connections\r\n")
            return
        lines = connection.makefile("rb")
        time.sleep(0.3)  # seen: those that are refused are told so while the first ones still wait for their greeting
        connection.sendall(b"220 raw\r\n")
        for line in lines:
            connection.sendall(b"354 go\r\n" if line[:4] == b"DATA" else b"250 ok\r\n")
            if line[:4] == b"DATA":
                while lines.readline() != b".\r\n":
                    pass
                time.sleep(0.05)
                server.took.append(line)
                connection.sendall(b"250 taken\r\n")

    with RawServer(handle) as server:
        sender, got = mail(server.port, timeout=5), []
        threads = [threading.Thread(target=lambda: got.append(sender.send(letter()).kind)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (got, len(server.took)) == ([ACCEPTED] * 8, 8)
    assert sender._kept.qsize() <= limit


def test_where_no_connection_is_taken_nobody_waits_for_another() -> None:
    with RawServer(lambda _, connection: connection.sendall(b"421 4.7.0 too many connections\r\n")) as server:
        sender, got = mail(server.port, timeout=60), []
        threads = [threading.Thread(target=lambda: got.append(sender.send(letter()).kind)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert got == [NOT_ACCEPTED] * 8


def test_words_before_tls_are_not_taken_for_words_within() -> None:
    def handle(server: RawServer, connection: socket.socket) -> None:
        lines = connection.makefile("rb")
        connection.sendall(b"220 raw\r\n")
        for line in lines:
            server.took.append(line)
            tls = b"220 go\r\n250 no TLS needed here\r\n"
            connection.sendall(tls if line.startswith(b"STARTTLS") else b"250-raw\r\n250 STARTTLS\r\n")

    with RawServer(handle) as server:
        got = mail(server.port, starttls=True, user="shop", password="right").send(letter())
    assert (got.kind, got.stops) == (NOT_ACCEPTED, True)
    assert not any(b"AUTH" in line for line in server.took)


def test_a_certificate_for_another_name_gets_no_mail(tmp_path: Path) -> None:
    certificate = certificate_in(tmp_path)
    with PostRoom(tls=serving(certificate)) as room:
        for host, kind in (("127.0.0.1", NOT_ACCEPTED), ("localhost", ACCEPTED)):
            got = mail(room.smtp_port, host=host, starttls=True, context=trusting(certificate), timeout=3).send(
                letter()
            )
            assert got.kind is kind
        assert len(room.entries) == 1


def test_a_password_that_smtp_cannot_carry_is_a_fault_before_any_mail() -> None:
    with PostRoom(smtp_user="shop", smtp_password="right") as room:
        got = mail(room.smtp_port, user="shop", password="schlüssel").send(letter())
    assert (got.kind, got.stops) == (NOT_ACCEPTED, True)


def tokens(attempt_id: int) -> str:
    return attempt_token(SECRET, attempt_id)


@pytest.mark.parametrize("offered", [True, False])
def test_the_envelope_names_the_attempt(offered: bool) -> None:
    with PostRoom(dsn=offered) as room:
        mail(room.smtp_port, bounces="bounces@shop.example", token=tokens).send(letter())
        mail(room.smtp_port, token=tokens).send(letter())
        first, second = (dict(entry.options) for entry in room.entries)
    assert attempt_of_bounce(SECRET, first["mail_from"]) == 7
    assert second["mail_from"] == "care@shop.example"
    if offered:
        assert attempt_of_envid(SECRET, first["envid"]) == 7
        assert (first["ret"], first["notify"], second["notify"]) == ("HDRS", "SUCCESS,FAILURE,DELAY", "FAILURE")
    assert ("envid" in first, "envid" in second) == (offered, offered)


def test_an_extension_that_is_offered_and_not_understood_costs_no_mail() -> None:
    def handle(server: RawServer, connection: socket.socket) -> None:
        lines = connection.makefile("rb")
        connection.sendall(b"220 raw\r\n")
        for line in lines:
            word = line[:4].upper()
            refused = b"ENVID" in line or b"NOTIFY" in line
            replies = {b"EHLO": b"250-raw\r\n250-SIZE\r\n250 DSN\r\n", b"DATA": b"354 go\r\n"}
            connection.sendall(b"555 what?\r\n" if refused else replies.get(word, b"250 ok\r\n"))
            if word == b"DATA":
                while lines.readline() != b".\r\n":
                    pass
                server.took.append(line)
                connection.sendall(b"250 taken\r\n")

    with RawServer(handle) as server:
        assert mail(server.port, token=tokens).send(letter()).kind is ACCEPTED
    assert len(server.took) == 1


@pytest.mark.parametrize("attempt_id", [1, 17, 2**63 - 1])
def test_a_bounce_address_fits_and_comes_back_from_any_server(attempt_id: int) -> None:
    address = bounce_address("b" * 27 + "@shop.example", tokens(attempt_id))
    assert len(address.rpartition("@")[0]) <= 64
    for seen in (address, address.upper(), f"<{address}>", f" {address.title()} "):
        assert attempt_of_bounce(SECRET, seen) == attempt_id
    for forged in (address.replace("+", "+1"), "bounces@shop.example", "bounces+@shop.example", "", "@", "+"):
        assert attempt_of_bounce(SECRET, forged) is None
