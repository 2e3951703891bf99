"""The text of an e-mail: headers that nobody can smuggle anything into, plain and HTML parts, a stable Message-ID."""

import re
import unicodedata
from datetime import datetime
from email.headerregistry import Address, BaseHeader, HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage
from email.policy import SMTP, Policy
from email.utils import format_datetime

from email_validator import EmailNotValidError, validate_email

from messaging.channels.base import Envelope

LONGEST_LINE = 998
"""Bytes of a header line, by RFC 5322 2.1.1."""


class _Addresses(UnstructuredHeader, BaseHeader):
    """A list of ``<...>`` as RFC 2369 writes it, one a line. The library would make encoded-words of long ones."""

    def fold(self, *, policy: Policy) -> str:
        """The header as it goes on the wire."""
        lines = f"{self.name}: " + f",{policy.linesep} ".join(str(self).split(", "))
        if not lines.isascii() or max(map(len, lines.split(policy.linesep))) > LONGEST_LINE:
            raise BadMail(f"{self.name} holds an address that no header can carry")
        return lines + policy.linesep


_HEADERS = HeaderRegistry()
_HEADERS.map_to_type("list-unsubscribe", _Addresses)
POLICY = SMTP.clone(cte_type="7bit", header_factory=_HEADERS)  # 7 bits: any server takes it, with or without 8BITMIME

OURS = {
    "from", "to", "subject", "date", "message-id", "auto-submitted", "mime-version", "content-type",
    "content-transfer-encoding", "content-language",
}  # fmt: skip
BARE = re.compile(rb"(?<!\r)\n|\r(?!\n)")
"""What one server takes for the end of a line and another does not: a second mail could hide behind it."""
HEADER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,60}")


class BadMail(Exception):
    """This e-mail cannot be put on the wire; the text says why."""


def clean(value: str) -> str:
    """A header value free of CR, LF, other control characters and encoded-words.

    CPython 3.11.7 decodes ``=?utf-8?q?hi=0ABcc:..?=`` in a value and writes the line break out: a real Bcc.
    """
    plain = "".join(" " if _breaks(letter) else letter for letter in value)
    while "=?" in plain:
        plain = plain.replace("=?", "?")
    return " ".join(plain.split())


def _breaks(letter: str) -> bool:
    return unicodedata.category(letter) in ("Cc", "Zl", "Zp", "Cs")


def ascii_address(address: str) -> str:
    """An address for the envelope, its domain in IDNA form. Raises BadMail where there is none."""
    try:
        checked = validate_email(address, check_deliverability=False, test_environment=True)
    except EmailNotValidError as wrong:
        raise BadMail(f"not an e-mail address: {type(wrong).__name__}") from wrong
    if checked.ascii_email is None:
        raise BadMail("the part before the @ has letters beyond ASCII, which plain SMTP cannot carry")
    return str(checked.ascii_email)


def message_id(reference: str, sender: str) -> str:
    """``<reference@domain>``: of the message and never of the attempt, so that a second copy can be told as one."""
    safe = re.sub(r"[^A-Za-z0-9._-]", "", reference) or "message"
    return f"<{safe}@{ascii_address(sender).rpartition('@')[2]}>"


def compose(envelope: Envelope, sender: str, sender_name: str, now: datetime) -> bytes:
    """The whole e-mail as it goes on the wire, lines ending in CRLF. Raises BadMail for a bad address."""
    mail = EmailMessage(policy=POLICY)
    mail["From"] = Address(clean(sender_name), addr_spec=ascii_address(sender))
    mail["To"] = Address(addr_spec=ascii_address(envelope.to))
    mail["Subject"] = clean(envelope.subject)
    mail["Date"] = format_datetime(now)
    mail["Message-ID"] = message_id(envelope.reference, sender)
    mail["Auto-Submitted"] = "auto-generated"
    for name, value in envelope.headers.items():
        if HEADER_NAME.fullmatch(name) and name.lower() not in OURS:
            mail[name] = clean(value)
    mail.set_content(_lines(envelope.text))
    if envelope.html:
        mail.add_alternative(_lines(envelope.html), subtype="html")
    mail["Content-Language"] = clean(envelope.language)  # last: setting the content clears what begins with Content-
    content = mail.as_bytes()
    _nothing_smuggled(content, envelope)
    return content


def _lines(text: str) -> str:
    return "\n".join(text.splitlines()) + "\n"


def _nothing_smuggled(content: bytes, envelope: Envelope) -> None:
    """A last look at what was written: no header is there that we did not put there, none twice, no bare CR or LF."""
    if BARE.search(content):
        raise BadMail("a line ends in another way than mail servers agree on")
    block = content.split(b"\r\n\r\n", 1)[0].decode("ascii", "replace")
    names = [line.partition(":")[0].lower() for line in block.split("\r\n") if not line.startswith((" ", "\t"))]
    allowed = OURS | {name.lower() for name in envelope.headers}
    if len(names) != len(set(names)) or not set(names) <= allowed:
        raise BadMail("the headers hold something that we did not put there")
