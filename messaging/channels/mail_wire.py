"""One connection to a mail server, with an end: at a fixed moment it is over, whatever the server does.

``smtplib`` waits anew for each byte, so that a server of one byte every nine seconds would hold a sender for hours, and
it reads a reply of a million lines into memory. Here one deadline covers them all, and a reply has a size.
"""

import re
import smtplib
import socket
import ssl
import time
from functools import cache
from typing import Any

LONGEST_REPLY = 64 * 1024
"""Bytes of one reply, all its lines together: RFC 5321 4.5.3.1.5 has 512 a line."""

CODE = re.compile(rb"[2-5][0-9]{2}(?=[ -]|$)")


class Said(Exception):
    """The server's reply in a phase, where it was not the one we need."""

    def __init__(self, phase: str, code: int, text: bytes | str) -> None:
        super().__init__(phase, code, text)
        self.phase, self.code = phase, code
        self.text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text


@cache
def our_name() -> str:
    """What we call ourselves in EHLO; asked of the name service once."""
    return smtplib.SMTP().local_hostname


class Wire(smtplib.SMTP):
    """A connection whose every wait ends at ``until`` (``time.monotonic()``); ``phase`` says how far it has come.

    Raises OSError (smtplib's errors and timeouts are), ValueError, and :class:`Said`.
    """

    def __init__(self, until: float) -> None:
        super().__init__(local_hostname=our_name())
        self.until = until
        self.phase = "connect"
        self._read = b""

    def open(self, host: str, port: int, tls: ssl.SSLContext | None, user: str, password: str) -> None:
        """Connect, say hello, change to TLS where there is a context, log in where there is a user."""
        # smtplib takes the name for STARTTLS's certificate check from the constructor only
        self._host = host
        self.must(self.connect(host, port), 2)
        self._hello()
        if tls is not None:
            self.phase = "starttls"
            if not self.has_extn("starttls"):
                raise Said("starttls", 502, "the server offers no STARTTLS")
            try:
                self.starttls(context=tls)
            except smtplib.SMTPResponseException as said:
                raise Said("starttls", said.smtp_code, said.smtp_error) from said
            if self._read:
                raise smtplib.SMTPServerDisconnected("words before TLS began, which anybody may have said")
            self._hello()
        if user:
            self._log_in(user, password)

    def must(self, reply: tuple[int, bytes], wanted: int) -> bytes:
        """The reply's text where its first digit is ``wanted``. Raises Said where it is not."""
        code, text = reply
        if code // 100 != wanted:
            raise Said(self.phase, code, text)
        return text

    def left(self) -> float:
        """Seconds until the end. Raises TimeoutError where there are none."""
        seconds = self.until - time.monotonic()
        if seconds <= 0:
            raise TimeoutError("the time for this e-mail is over")
        return seconds

    def speaks(self) -> bool:
        """Whether the server has hung up or says something unasked. Raises OSError where the connection is broken."""
        if self._read or self.sock is None:
            return True
        self.sock.settimeout(0)
        try:
            self._read = self.sock.recv(4096)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        return True

    def send(self, s: Any) -> None:
        """Send all of it."""
        if self.sock is None:
            raise smtplib.SMTPServerDisconnected("there is no connection")
        rest = memoryview(s.encode("ascii") if isinstance(s, str) else s)
        while rest:
            self.sock.settimeout(self.left())
            rest = rest[self.sock.send(rest) :]

    def getreply(self) -> tuple[int, bytes]:
        """The next reply: its code and its lines; -1 for what is no reply of RFC 5321 4.2."""
        lines: list[bytes] = []
        codes: set[bytes] = set()
        while sum(map(len, lines)) < LONGEST_REPLY:
            line = self._line()
            found = CODE.match(line)
            lines.append(line[4:].strip())
            codes.add(found.group() if found else b"")
            if not found or line[3:4] != b"-":
                known = found is not None and len(codes) == 1
                return int(line[:3]) if known else -1, b"\n".join(lines)
        raise smtplib.SMTPServerDisconnected("a reply without an end")

    def _line(self) -> bytes:
        while b"\n" not in self._read:
            if len(self._read) > LONGEST_REPLY:
                raise smtplib.SMTPServerDisconnected("a line without an end")
            if self.sock is None:
                raise smtplib.SMTPServerDisconnected("there is no connection")
            self.sock.settimeout(self.left())
            more = self.sock.recv(4096)
            if not more:
                raise smtplib.SMTPServerDisconnected("the server hung up")
            self._read += more
        line, _, self._read = self._read.partition(b"\n")
        return line.rstrip(b"\r")

    def _get_socket(self, host: str, port: int, timeout: object) -> socket.socket:
        """Connect to one of the host's addresses; each has its share of the time, so that a dead one leaves some."""
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        wrong: OSError = OSError("the name has no address")
        for at, (family, kind, protocol, _, address) in enumerate(addresses):
            made = socket.socket(family, kind, protocol)
            try:
                made.settimeout(self.left() / (len(addresses) - at))
                made.connect(address)
                # body and dot go out one after the other: without this each mail waits 40 ms for a delayed ACK
                made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError as broken:
                made.close()
                wrong = broken
            else:
                return made
        raise wrong

    def _hello(self) -> None:
        self.phase = "hello"
        reply = self.ehlo()
        if 500 <= reply[0] < 600:  # RFC 5321 3.2: a server of the old days
            reply = self.helo()
        self.must(reply, 2)

    def _log_in(self, user: str, password: str) -> None:
        self.phase = "login"
        try:
            self.login(user, password)
        except smtplib.SMTPResponseException as said:
            raise Said("login", said.smtp_code, "") from said
        except smtplib.SMTPNotSupportedError as said:
            raise Said("login", 502, "the server offers no login") from said
