"""E-mail that comes back: delivery reports (RFC 3464), complaints (ARF, RFC 5965), absence notes, and real replies.

A report is not signed by anybody. Only one that names an attempt by our own token (in the address it came to, or as
envelope id) has an effect; whatever else it says is not believed.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from email import message_from_bytes
from email.errors import MessageError
from email.message import EmailMessage, Message
from email.utils import getaddresses
from html.parser import HTMLParser
from itertools import islice

from messaging.channels.callbacks import attempt_of_bounce, attempt_of_envid, attempt_token
from messaging.mail_events.event import Kind, MailEvent, Reject
from messaging.short_headers import SHORT

LARGEST = 5 * 1024 * 1024
"""Bytes of a mail that are read; a bounce with the whole mail in it is smaller."""

MOST_TEXT = 5000

MOST_PARTS = 200
"""Parts, and blocks of a report, that are looked at; a real mail has a few. ``MOST_SAME``: headers of one name."""

ADDRESSED = ("Delivered-To", "X-Original-To", "Envelope-To", "X-Envelope-To", "To")
"""Where a mail server writes the envelope's recipient, where the pipe does not tell it; the first that names us."""

ACTIONS = {"failed": Kind.BOUNCED, "delivered": Kind.DELIVERED, "delayed": Kind.DEFERRED}
"""RFC 3464 2.3.3. ``relayed`` and ``expanded`` say only that nobody knows more."""

MOST_SAME = 20

REPORTED = ("Action", "Status", "Diagnostic-Code", "Original-Envelope-Id")
"""The fields of a delivery report that we read."""

ANSWER_TO = re.compile(r"^(re|aw|sv|رد|回复)\s*[:：]\s*", re.IGNORECASE)
"""What mail programs put before a subject that is answered."""

QUOTED = re.compile(r"^(>|On .+ wrote:$|-{2,}\s*Original Message|_{5,}|From: )", re.MULTILINE)
"""Where what we wrote ourselves begins in an answer."""


@dataclass(frozen=True)
class Returned:
    """A mail that came back. ``event``: what it tells of one of ours; else ``text``: what ``sender`` answers.

    ``name`` is stable: the same mail is known again. ``attempt_id`` is the try that the address or envelope id names.
    """

    name: str
    event: MailEvent | None = None
    attempt_id: int | None = None
    sender: str = ""
    to: str = ""
    text: str = ""


def read_returned(raw: bytes, secret: bytes, recipients: Sequence[str] = ()) -> Returned:
    """Read a mail that came to our bounce address. ``recipients`` are those of the envelope, where they are known.

    Never raises for what a mail holds: one that cannot be read is neither a report nor an answer.
    """
    name = "mail:" + hashlib.sha256(raw).hexdigest()[:48]
    try:
        mail = message_from_bytes(raw[:LARGEST], policy=SHORT)
        return _read(mail, name, secret, recipients)
    except (ValueError, LookupError, AttributeError, TypeError, RecursionError, MessageError, AssertionError):
        return Returned(name)  # the standard parser raises all of these on odd mail


def _read(mail: EmailMessage | Message, name: str, secret: bytes, recipients: Sequence[str]) -> Returned:
    by_address = _by_address(mail, secret, recipients)
    kind = mail.get_content_type()
    if kind == "multipart/report" and mail.get_param("report-type") == "feedback-report":
        return _found(name, by_address or _by_inside(mail, secret), Kind.COMPLAINED, Reject.SPAM)
    fields = _delivery_status(mail)
    if fields:
        action = str(fields.get("Action") or "").strip().lower()
        status = str(fields.get("Status") or "").split(" ")[0]
        key = by_address or attempt_of_envid(secret, str(fields.get("Original-Envelope-Id") or ""))
        said = " ".join(str(fields.get("Diagnostic-Code") or "").split())[:200]
        return _found(name, key, ACTIONS.get(action, Kind.UNKNOWN), None, status, said)
    if _is_automatic(mail):
        return Returned(name, attempt_id=by_address)
    sender = next((address for _, address in getaddresses(_all(mail, "From")) if address), "")
    to = next((address for _, address in getaddresses(_all(mail, "To")) if address), "")
    return Returned(name, None, by_address, sender, to, _own_words(mail))


def _found(
    name: str, key: int | None, kind: Kind, reason: Reject | None, status: str = "", response: str = ""
) -> Returned:
    if key is None:
        return Returned(name)
    lasting = not status.startswith("4")
    why = reason or (Reject.BOUNCED if kind is Kind.BOUNCED and lasting else None)
    return Returned(name, MailEvent(kind, status=status, response=response, reason=why, lasting=lasting), key)


def event_of(returned: Returned, secret: bytes) -> MailEvent | None:
    """The event with our token in it, as ``happen`` takes it."""
    if returned.event is None or returned.attempt_id is None:
        return None
    event = returned.event
    return MailEvent(
        kind=event.kind,
        event_id=returned.name,
        reason=event.reason,
        status=event.status,
        token=attempt_token(secret, returned.attempt_id),
        lasting=event.lasting,
    )


def _by_address(mail: EmailMessage | Message, secret: bytes, recipients: Sequence[str]) -> int | None:
    told = list(recipients)
    for name in ADDRESSED:
        told += [address for _, address in getaddresses(_all(mail, name))]
    return _first(attempt_of_bounce(secret, address) for address in told)


def _by_inside(mail: EmailMessage | Message, secret: bytes) -> int | None:
    """A complaint comes to the mailbox that is registered for it; the mail inside has our envelope sender."""
    inside = [part for part in islice(mail.walk(), MOST_PARTS) if part is not mail]
    told = [value for part in inside for name in ("Return-Path", "Original-Mail-From") for value in _all(part, name)]
    return _first(attempt_of_bounce(secret, address) for address in told)


def _all(part: Message, name: str) -> list[str]:
    """The values of a header; only the first ones are parsed."""
    first = [(known, value) for known, value in part.raw_items() if known.lower() == name.lower()][:MOST_SAME]
    return [str(part.policy.header_fetch_parse(known, value)) for known, value in first]


def _first(found: Iterable[int | None]) -> int | None:
    return next((key for key in found if key is not None), None)


def _delivery_status(mail: EmailMessage | Message) -> dict[str, str]:
    """The fields of the report about the message and its (one) recipient; empty where there is no report."""
    for part in islice(mail.walk(), MOST_PARTS):
        if part.get_content_type() == "message/delivery-status":
            blocks = part.get_payload()
            if isinstance(blocks, list):
                read = [block for block in blocks[:MOST_PARTS] if isinstance(block, Message)]
                return {name: str(block[name]) for block in read for name in REPORTED if name in block}
    return {}


def _is_automatic(mail: EmailMessage | Message) -> bool:
    """An absence note or another machine's letter (RFC 3834): nobody has said anything."""
    automatic = str(mail.get("Auto-Submitted") or "no").strip().lower() != "no"
    bulk = str(mail.get("Precedence") or "").strip().lower() in ("bulk", "junk", "auto_reply", "list")
    empty = str(mail.get("Return-Path") or "").strip() == "<>"
    return automatic or bulk or empty or "X-Autoreply" in mail or "X-Autorespond" in mail


def _text_of(part: Message) -> str:
    """The text of a part; in UTF-8 where it names a charset that nobody knows. Of HTML what is to be read."""
    content = part.get_payload(decode=True)
    try:
        text = bytes(content).decode(part.get_content_charset("utf-8"), "replace")
    except (LookupError, ValueError):
        text = bytes(content).decode("utf-8", "replace")
    if part.get_content_subtype() != "html":
        return text
    reader = _Html()
    reader.feed(text)
    return "\n".join(line.strip() for line in "".join(reader.words).splitlines())


class _Html(HTMLParser):
    """The words of a mail in HTML, a block a line, without those that it quotes and those that nobody sees."""

    HIDDEN = ("style", "script", "title", "blockquote")
    BLOCKS = ("p", "div", "br", "tr", "li", "hr")

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.hidden = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        """A block begins a line."""
        self.hidden += tag in self.HIDDEN
        self.words += ["\n"] if tag in self.BLOCKS else []

    def handle_endtag(self, tag: str) -> None:
        """What is hidden ends."""
        self.hidden = max(self.hidden - (tag in self.HIDDEN), 0)

    def handle_data(self, data: str) -> None:
        """Words between tags."""
        self.words += [] if self.hidden else [" ".join(data.split()) or " "]


def _own_words(mail: EmailMessage | Message) -> str:
    """What the person wrote, without what they quote; the subject where the body is empty."""
    part = mail.get_body(("plain", "html")) if isinstance(mail, EmailMessage) else None
    body = _text_of(part) if part is not None else ""
    quoted = QUOTED.search(body)
    own = (body[: quoted.start()] if quoted else body).strip()
    return (own or ANSWER_TO.sub("", str(mail.get("Subject") or "")))[:MOST_TEXT]
