"""E-mail by SMTP, driven phase by phase, so that it is known on which side of the final dot a connection died."""

import queue
import re
import select
import smtplib
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from messaging.channels.base import Envelope, Outcome, Sighting, fingerprint
from messaging.channels.mail_text import BadMail, ascii_address, compose
from messaging.outcomes import SMTP_BEFORE_DOT, of_smtp
from models.vocabulary import Channel, OutcomeClass

CONNECTIONS = 4
ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}(?!\S)")
"""An enhanced status code, with which the text of a reply begins: RFC 2034."""


@dataclass(frozen=True)
class MailServer:
    """A mail server and how we come in. ``user`` empty: no login. ``context`` None: the default TLS context."""

    host: str
    port: int
    sender: str
    sender_name: str = ""
    starttls: bool = True
    user: str = ""
    password: str = ""
    timeout: float = 10.0
    context: ssl.SSLContext | None = None


class _Said(Exception):
    """The server's reply in a phase, where it was not the one we need."""

    def __init__(self, phase: str, code: int, text: str) -> None:
        super().__init__(phase, code, text)
        self.phase, self.code, self.text = phase, code, text


class Mail:
    """Sends e-mail, one recipient a transaction; connections are kept until ``close``."""

    name = Channel.EMAIL
    provider = "smtp"
    parallel = CONNECTIONS

    def __init__(self, server: MailServer, clock: Callable[[], datetime]) -> None:
        self.server = server
        self.clock = clock
        self._kept: queue.LifoQueue[smtplib.SMTP] = queue.LifoQueue()

    def send(self, envelope: Envelope) -> Outcome:
        """Connect where needed, then MAIL, RCPT, DATA, the body, the dot."""
        try:
            content = compose(envelope, self.server.sender, self.server.sender_name, self.clock())
            to, sender = ascii_address(envelope.to), ascii_address(self.server.sender)
        except BadMail as wrong:
            return Outcome(OutcomeClass.REFUSED, code="bad_mail", content={"error": str(wrong)})
        phase = ["connect"]
        try:
            smtp = self._connection(phase)
        except _Said as said:
            return _outcome(said)
        except (OSError, smtplib.SMTPException) as broken:
            return _broken(phase[0], broken, stops=True)
        return self._transact(smtp, phase, sender, to, content)

    def fingerprint(self, envelope: Envelope) -> str:
        """By address and text, for the record: a mail server keeps no listing."""
        return fingerprint(envelope.to, envelope.text)

    def look(self, provider_ids: list[str]) -> list[Sighting]:
        """A mail server cannot be asked."""
        return []

    def find(self, to: str, fingerprint: str, since: datetime, until: datetime) -> list[Sighting] | None:
        """A mail server keeps no listing: nothing can be proven."""
        return None

    def close(self) -> None:
        """Say QUIT on the kept connections."""
        while True:
            try:
                smtp = self._kept.get_nowait()
            except queue.Empty:
                return
            try:
                smtp.quit()
            except (OSError, smtplib.SMTPException):
                smtp.close()

    def _transact(self, smtp: smtplib.SMTP, phase: list[str], sender: str, to: str, content: bytes) -> Outcome:
        try:
            answer = _deliver(smtp, phase, sender, to, content)
        except _Said as said:
            self._keep_or_drop(smtp, said.code)
            return _outcome(said)
        except (OSError, smtplib.SMTPException) as broken:
            smtp.close()
            return _broken(phase[0], broken)
        self._kept.put(smtp)
        return Outcome(OutcomeClass.ACCEPTED, code="250", content={"reply": answer})

    def _keep_or_drop(self, smtp: smtplib.SMTP, code: int) -> None:
        try:
            if code != 421 and smtp.rset()[0] == 250:
                self._kept.put(smtp)
                return
        except (OSError, smtplib.SMTPException):
            pass
        smtp.close()

    def _connection(self, phase: list[str]) -> smtplib.SMTP:
        while not self._kept.empty():
            try:
                kept = self._kept.get_nowait()
            except queue.Empty:
                break
            if _alive(kept):
                return kept
            kept.close()
        return self._connect(phase)

    def _connect(self, phase: list[str]) -> smtplib.SMTP:
        server = self.server
        smtp = smtplib.SMTP(timeout=server.timeout)
        try:
            _must(phase, "connect", smtp.connect(server.host, server.port), 2)
            # body and dot go out one after the other: without this each mail waits 40 ms for a delayed ACK
            cast(socket.socket, smtp.sock).setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # smtplib takes the name for STARTTLS's certificate check from the constructor only
            smtp._host = server.host  # type: ignore[attr-defined]
            _hello(smtp, phase)
            if server.starttls:
                phase[0] = "starttls"
                if not smtp.has_extn("starttls"):
                    raise _Said("starttls", 502, "the server offers no STARTTLS")
                _must(phase, "starttls", smtp.starttls(context=server.context or ssl.create_default_context()), 2)
                _hello(smtp, phase)
            if server.user:
                self._login(smtp, phase)
        except BaseException:
            smtp.close()
            raise
        return smtp

    def _login(self, smtp: smtplib.SMTP, phase: list[str]) -> None:
        phase[0] = "login"
        try:
            smtp.login(self.server.user, self.server.password)
        except smtplib.SMTPResponseException as said:
            raise _Said("login", said.smtp_code, "") from said
        except smtplib.SMTPNotSupportedError as said:
            raise _Said("login", 502, "the server offers no login") from said


def _deliver(smtp: smtplib.SMTP, phase: list[str], sender: str, to: str, content: bytes) -> str:
    options = ["body=8bitmime"] if smtp.has_extn("8bitmime") else []
    phase[0] = "mail"
    _must(phase, "mail", smtp.mail(sender, options), 2)
    phase[0] = "rcpt"
    _must(phase, "rcpt", smtp.rcpt(to), 2)
    phase[0] = "data"
    _must(phase, "data", smtp.docmd("DATA"), 3)
    phase[0] = "body"
    smtp.send(_stuffed(content))
    if _spoke_early(smtp):
        code, text = smtp.getreply()
        raise _Said("body", code, _plain(text))
    phase[0] = "dot"
    smtp.send(b".\r\n")
    code, text = smtp.getreply()
    _must(phase, "dot", (code, text), 2)
    return _plain(text)


def _hello(smtp: smtplib.SMTP, phase: list[str]) -> None:
    phase[0] = "hello"
    reply = smtp.ehlo()
    if not 200 <= reply[0] < 300:
        reply = smtp.helo()
    _must(phase, "hello", reply, 2)


def _must(phase: list[str], name: str, reply: tuple[int, bytes], wanted: int) -> None:
    code, text = reply
    if code // 100 != wanted:
        raise _Said(name, code, _plain(text))


def _stuffed(content: bytes) -> bytes:
    """RFC 5321 4.5.2: a line that begins with a dot gets another one; the body ends with CRLF."""
    lines = content.replace(b"\r\n.", b"\r\n..")
    lines = b"." + lines if lines.startswith(b".") else lines
    return lines if lines.endswith(b"\r\n") else lines + b"\r\n"


def _spoke_early(smtp: smtplib.SMTP) -> bool:
    """Whether the server hung up or spoke before the dot: then the dot is not sent, and it is not delivered."""
    sock: Any = smtp.sock
    if sock is None or isinstance(sock, ssl.SSLSocket):
        return False  # TLS may have records of its own waiting, which say nothing
    sock.settimeout(0)
    try:
        return sock.recv(1, socket.MSG_PEEK) is not None
    except (BlockingIOError, ssl.SSLError):
        return False
    finally:
        sock.settimeout(smtp.timeout)


def _alive(smtp: smtplib.SMTP) -> bool:
    """Whether a kept connection is still quiet: a server that has something to say between mails says goodbye."""
    try:
        return smtp.sock is not None and not select.select([smtp.sock], [], [], 0)[0]
    except (OSError, ValueError):
        return False


def _outcome(said: _Said) -> Outcome:
    found = ENHANCED.match(said.text)
    verdict = of_smtp(said.phase, said.code, found.group() if found else "")
    return Outcome(
        verdict.kind,
        code=f"{said.phase}_{said.code}",
        **verdict.marks,
        content={"phase": said.phase, "reply": said.code, "text": said.text},
    )


def _broken(phase: str, broken: Exception, *, stops: bool = False) -> Outcome:
    kind = OutcomeClass.NOT_ACCEPTED if phase in SMTP_BEFORE_DOT else OutcomeClass.UNKNOWN
    return Outcome(kind, code=f"{phase}_broken", stops=stops, content={"phase": phase, "error": type(broken).__name__})


def _plain(text: bytes | str) -> str:
    """A server's reply as evidence: one short line without addresses."""
    line = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return " ".join(word for word in line.split() if "@" not in word)[:200]
