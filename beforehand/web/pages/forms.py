"""What a browser or a mail program posts: urlencoded or multipart, read in memory, never trusted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email import message_from_bytes
from email.errors import MessageError
from email.message import EmailMessage
from urllib.parse import parse_qsl

from fastapi import HTTPException, Request

from messaging.short_headers import SHORT

LARGEST = 64 * 1024
"""Bytes: more than any of our forms can have."""

MOST_FIELDS = 200


@dataclass(frozen=True)
class Form:
    """The fields of a form by name, in the order in which they came."""

    fields: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def one(self, name: str) -> str:
        """The only value of a field; an empty text where there is none, or several."""
        found = self.fields.get(name, ())
        return found[0] if len(found) == 1 else ""

    def all(self, name: str) -> Sequence[str]:
        """Every value of a field."""
        return self.fields.get(name, ())


async def form_of(request: Request) -> Form:
    """Read the body of a request as a form; what is no form is an empty one. Answers 413 to what is too large."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > LARGEST:
            raise HTTPException(413, "That is more than we take.")
    return read_form(request.headers.get("content-type", ""), bytes(body))


def read_form(content_type: str, body: bytes) -> Form:
    """Read ``multipart/form-data``, and anything else as ``application/x-www-form-urlencoded``. Never raises."""
    multipart = content_type.strip().lower().startswith("multipart/form-data")
    try:
        pairs = _parts(body) if multipart else _pairs(body)
    except (ValueError, LookupError, AttributeError, TypeError, RecursionError, MessageError):
        pairs = []  # the standard parser raises all of these on odd headers
    fields: dict[str, list[str]] = {}
    for name, value in pairs[:MOST_FIELDS]:
        fields.setdefault(name, []).append(value)
    return Form(fields)


def _pairs(body: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        return []


def _parts(body: bytes) -> list[tuple[str, str]]:
    """The text fields of a multipart body. Its boundary is what the first line says, whatever the header says.

    The example in RFC 8058 8.3 as first printed (errata 5117, 8927, 5559) has two hyphens too many in its header.
    """
    first = body.lstrip(b"\r\n").split(b"\n", 1)[0].strip()
    if not first.startswith(b"--") or len(first) > 200 or b'"' in first:
        return []
    head = b'Content-Type: multipart/form-data; boundary="' + first[2:] + b'"\r\n\r\n'
    mail = message_from_bytes(head + body, policy=SHORT)
    found = []
    for part in mail.iter_parts() if isinstance(mail, EmailMessage) and mail.is_multipart() else ():
        name, content = part.get_param("name", header="content-disposition"), part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(content, bytes) and part.get_filename() is None:
            found.append((name, content.decode("utf-8", "replace")))
    return found
