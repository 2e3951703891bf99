"""E-mail by SMTP, driven phase by phase, so that it is known on which side of the final dot a connection died."""

import queue
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from messaging.channels.base import Envelope, Outcome, Sighting, fingerprint
from messaging.channels.callbacks import bounce_address
from messaging.channels.mail_text import BadMail, ascii_address, compose
from messaging.channels.mail_wire import Said, Wire
from messaging.outcomes import SMTP_BEFORE_DOT, of_smtp
from models.vocabulary import Channel, OutcomeClass

CONNECTIONS = 4
ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}(?!\S)")
"""An enhanced status code, with which the text of a reply begins: RFC 2034."""

BETWEEN_MAILS = 2.0
"""Seconds for a word beside a mail: RSET, QUIT."""

LOOKS_EVERY = 0.1
"""Seconds between two looks whether there is still a connection to wait for."""

GONE = ("mail_421", "mail_broken")
"""How a kept connection ends that its server gave up between two mails: nothing was begun, so another is opened."""

NOT_UNDERSTOOD = (501, 504, 555)
"""Replies of a server that offers an extension and then does not know its parameters."""


@dataclass(frozen=True)
class MailServer:
    """A mail server and how we come in. ``user`` empty: no login. ``context`` None: the default TLS context.

    ``timeout`` is how many seconds a mail has from the first byte to its final dot, connection, TLS and login included.
    ``patience`` is how long the answer to the dot may take (None: as long again); it is waited for longer, since a mail
    whose answer we do not wait for may arrive twice (RFC 5321 4.5.3.2.6).
    ``token`` names an attempt, for the envelope id where delivery reports are offered (RFC 3461), and for the envelope
    sender where ``bounces``, the address that bounces go to, is set.
    """

    host: str
    port: int
    sender: str
    sender_name: str = ""
    starttls: bool = True
    user: str = ""
    password: str = ""
    timeout: float = 10.0
    patience: float | None = None
    context: ssl.SSLContext | None = None
    bounces: str = ""
    token: Callable[[int], str] | None = None


@dataclass(frozen=True)
class _Letter:
    """One e-mail as it goes on the wire. ``told`` are the outcomes that delivery reports are asked for."""

    content: bytes
    sender: str
    to: str
    token: str
    told: str


class Mail:
    """Sends e-mail, one recipient a transaction; connections are kept until ``close``."""

    name = Channel.EMAIL
    provider = "smtp"
    parallel = CONNECTIONS

    def __init__(self, server: MailServer, clock: Callable[[], datetime]) -> None:
        self.server = server
        self.clock = clock
        self._kept: queue.LifoQueue[Wire] = queue.LifoQueue()
        self._counting = threading.Lock()
        self._busy = 0

    def send(self, envelope: Envelope) -> Outcome:
        """Connect where needed, then MAIL, RCPT, DATA, the body, the dot."""
        try:
            letter = self._letter(envelope)
        except BadMail as wrong:
            return Outcome(OutcomeClass.REFUSED, code="bad_mail", content={"error": str(wrong)})
        except Exception as wrong:  # the library raises many kinds for odd text; nothing has been sent, that is known
            return Outcome(OutcomeClass.REFUSED, code="bad_mail", content={"error": type(wrong).__name__})
        until = time.monotonic() + self.server.timeout
        kept = self._take(until)
        if kept is not None:
            with self._at_work():
                outcome = self._over(kept, letter)
            if outcome.code not in GONE or time.monotonic() >= until:
                return outcome
        with self._at_work():
            opened = self._open(until)
            if not isinstance(opened, Said):
                return opened if isinstance(opened, Outcome) else self._over(opened, letter)
        another = self._another(opened, until)
        if another is None:
            return _outcome(opened)
        with self._at_work():
            return self._over(another, letter)

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
        while (wire := self._take(time.monotonic() + BETWEEN_MAILS)) is not None:
            try:
                wire.quit()
            except (OSError, ValueError):
                wire.close()

    def _letter(self, envelope: Envelope) -> _Letter:
        server = self.server
        content = compose(envelope, server.sender, server.sender_name, self.clock())
        token = server.token(envelope.attempt_id) if server.token else ""
        sender = bounce_address(server.bounces, token) if server.bounces and token else server.sender
        told = "SUCCESS,FAILURE,DELAY" if server.bounces else "FAILURE"  # a person reads the sender's mailbox
        return _Letter(content, ascii_address(sender), ascii_address(envelope.to), token, told)

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        """Count as one who has a connection, or is about to: another one may wait for it."""
        with self._counting:
            self._busy += 1
        try:
            yield
        finally:
            with self._counting:
                self._busy -= 1

    def _over(self, wire: Wire, letter: _Letter) -> Outcome:
        """Send one mail over a connection, and keep that where it is still good."""
        try:
            answer = self._deliver(wire, letter)
        except Said as said:
            self._keep_or_drop(wire, said)
            return _outcome(said)
        except (OSError, ValueError) as broken:
            wire.close()
            return _broken(wire.phase, broken)
        else:
            self._kept.put(wire)
            name = letter.token or None  # what is told of this mail later names it by this
            return Outcome(OutcomeClass.ACCEPTED, code="250", provider_id=name, content={"reply": _plain(answer)})

    def _deliver(self, wire: Wire, letter: _Letter) -> str:
        dsn = bool(letter.token) and wire.has_extn("dsn")
        size = [f"size={len(letter.content)}"] if wire.has_extn("size") else []
        wire.phase = "mail"
        _say(wire, wire.mail, letter.sender, size + ([f"RET=HDRS ENVID={letter.token}"] if dsn else []))
        wire.phase = "rcpt"
        _say(wire, wire.rcpt, letter.to, [f"NOTIFY={letter.told}"] if dsn else [])
        wire.phase = "data"
        wire.must(wire.docmd("DATA"), 3)
        wire.phase = "body"
        wire.send(_stuffed(letter.content))
        if wire.speaks():
            raise Said("body", *wire.getreply())
        wire.left()  # a process that was stopped for a while does not come back to send the dot
        wire.phase = "dot"
        wire.until = time.monotonic() + (self.server.patience or self.server.timeout)
        wire.send(b".\r\n")
        return wire.must(wire.getreply(), 2).decode("utf-8", "replace")

    def _keep_or_drop(self, wire: Wire, said: Said) -> None:
        """Begin anew on a connection after a plain no; on any other, one cannot know what the server waits for."""
        try:
            wire.until = time.monotonic() + BETWEEN_MAILS
            plain_no = said.phase != "body" and said.code // 100 in (4, 5) and said.code != 421
            if plain_no and wire.rset()[0] == 250:
                self._kept.put(wire)
                return
        except (OSError, ValueError):
            pass
        wire.close()

    def _take(self, until: float, wait: float = 0) -> Wire | None:
        """A kept connection that is still quiet: a server that says something between two mails says goodbye."""
        while True:
            try:
                wire = self._kept.get(timeout=wait) if wait > 0 else self._kept.get_nowait()
            except queue.Empty:
                return None
            wire.until = until
            try:
                if not wire.speaks():
                    return wire
            except OSError:
                pass
            wire.close()

    def _open(self, until: float) -> Wire | Outcome | Said:
        """A new connection; what the server said where it takes none, and what that means where nothing was said."""
        server, wire = self.server, Wire(until)
        tls = (server.context or ssl.create_default_context()) if server.starttls else None
        try:
            wire.open(server.host, server.port, tls, server.user, server.password)
        except Said as said:
            wire.close()
            return said
        except (OSError, ValueError) as broken:
            wire.close()
            return _broken(wire.phase, broken, stops=True)
        except BaseException:
            wire.close()
            raise
        return wire

    def _another(self, said: Said, until: float) -> Wire | None:
        """A server that takes so many connections and no more: wait for one that we use, or are opening."""
        if said.phase not in ("connect", "hello") or said.code // 100 != 4:
            return None
        while (left := until - time.monotonic()) > 0:
            with self._counting:
                if not self._busy and self._kept.empty():
                    return None
            if (wire := self._take(until, wait=min(left, LOOKS_EVERY))) is not None:
                return wire
        return None


def _say(
    wire: Wire, command: Callable[[str, Sequence[str]], tuple[int, bytes]], address: str, options: Sequence[str]
) -> None:
    """Give a command with the parameters of extensions; without, where the server then does not know them."""
    reply = command(address, options)
    if options and reply[0] in NOT_UNDERSTOOD:
        reply = command(address, [])
    wire.must(reply, 2)


def _stuffed(content: bytes) -> bytes:
    """RFC 5321 4.5.2: a line that begins with a dot gets another one; the body ends with CRLF."""
    lines = content.replace(b"\r\n.", b"\r\n..")
    lines = b"." + lines if lines.startswith(b".") else lines
    return lines if lines.endswith(b"\r\n") else lines + b"\r\n"


def _outcome(said: Said) -> Outcome:
    found = ENHANCED.match(said.text)
    verdict = of_smtp(said.phase, said.code, found.group() if found else "")
    return Outcome(
        verdict.kind,
        code=f"{said.phase}_{said.code}",
        **verdict.marks,
        content={"phase": said.phase, "reply": said.code, "text": _plain(said.text)},
    )


def _broken(phase: str, broken: Exception, *, stops: bool = False) -> Outcome:
    kind = OutcomeClass.NOT_ACCEPTED if phase in SMTP_BEFORE_DOT else OutcomeClass.UNKNOWN
    return Outcome(kind, code=f"{phase}_broken", stops=stops, content={"phase": phase, "error": type(broken).__name__})


def _plain(line: str) -> str:
    """A server's reply as evidence: one short line without addresses."""
    return " ".join(word for word in line.split() if "@" not in word)[:200]
