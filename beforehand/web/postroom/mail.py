"""The post room's mail server: takes every e-mail, sends none on."""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage, Message
from email.policy import default
from email.utils import parseaddr
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from beforehand.web.postroom.entries import language_of, new_sid
from beforehand.web.postroom.house import House
from beforehand.web.postroom.talk import Talk, hang_up, reply_of
from models.vocabulary import Channel


class Mailbox:
    """aiosmtpd's handler: one ledger entry per accepted recipient."""

    def __init__(self, house: House, *, dsn: bool = True) -> None:
        self._house = house
        self._dsn = dsn

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, to: str, options: list[str]) -> str:
        """Refuse only what is no address at all, or what the plan of faults says."""
        if "@" not in to:
            return "553 5.1.3 that is not an e-mail address"
        fate = self._house.fates.get(to)
        if fate in ("failed", "undelivered"):
            return "550 5.1.1 no such mailbox here"
        envelope.rcpt_tos.append(to)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Keep the e-mail, once for each recipient, before the answer goes out; or do what the plan of faults says."""
        fault = self._house.faults.take("mail", envelope.rcpt_tos[0])
        dsn = server.dsn if isinstance(server, Talk) else {}
        sids = self._keep(envelope, dsn) if fault is None or fault.accepted else ["nothing"]
        if fault is not None:
            match fault.what:
                case "hang":
                    await asyncio.sleep(fault.seconds)
                case "drop":
                    hang_up(server)
                    return "421 4.3.0 a planned fault"
                case _:
                    return reply_of("dot", fault)
        return f"250 2.0.0 accepted as {' '.join(sids)}"

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        """Offer delivery reports, where the door does."""
        session.host_name = hostname
        return [*responses[:-1], "250-DSN", responses[-1]] if self._dsn else responses

    def _keep(self, envelope: Envelope, dsn: Mapping[str, str]) -> list[str]:
        content = envelope.content or b""
        values = read_mail(content if isinstance(content, bytes) else content.encode())
        entries = [
            self._house.ledger.add(
                kind=Channel.EMAIL,
                direction="outbound-api",
                sid=new_sid("EM"),
                to=to,
                at=self._house.now(),
                status="accepted",
                options={"mail_from": str(envelope.mail_from or "")} | dict(dsn),
                **values,
            )
            for to in envelope.rcpt_tos
        ]
        return [entry.sid for entry in entries]


def read_mail(raw: bytes) -> dict[str, Any]:
    """Subject, sender, both parts, headers and language of a mail; whatever cannot be read is shown as it came."""
    try:
        message = message_from_bytes(raw, policy=default)
        headers = _headers(message)
        text, html = _part(message, "plain"), _part(message, "html")
    except (ValueError, LookupError, KeyError, IndexError, AttributeError, TypeError):
        # The standard parser raises all of these on odd mail; none of it may be lost.
        return {"body": raw.decode("utf-8", "replace"), "from_": "", "headers": {}}
    declared = headers.get("Content-Language", "").split("-")[0].strip().lower()
    return {
        "subject": headers.get("Subject", ""),
        "from_": parseaddr(headers.get("From", ""))[1],
        "body": text,
        "html": html,
        "headers": headers,
        "language": declared or language_of(headers.get("Subject", "") + " " + text),
    }


def _headers(message: Message) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in message.items():
        headers[name] = f"{headers[name]}\n{value}" if name in headers else str(value)
    return headers


def _part(message: EmailMessage | Message, kind: str) -> str:
    part = message.get_body((kind,)) if isinstance(message, EmailMessage) else None
    return str(part.get_content()) if part is not None else ""


@dataclass(frozen=True)
class MailDoor:
    """What the mail server asks for and offers: with ``user`` AUTH, with ``tls`` STARTTLS, with ``dsn`` RFC 3461."""

    user: str = ""
    password: str = field(default="", repr=False)
    login_needed: bool = False
    tls: ssl.SSLContext | None = None
    dsn: bool = True


def smtp_protocol(house: House, door: MailDoor) -> SMTP:
    """One connection's protocol."""

    def right(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        wanted = LoginPassword(door.user.encode(), door.password.encode())
        return AuthResult(success=isinstance(data, LoginPassword) and data == wanted, handled=False)

    return Talk(
        house,
        Mailbox(house, dsn=door.dsn),
        hostname="post-room.localhost",
        ident="Beforehand post room",
        enable_SMTPUTF8=True,
        data_size_limit=20_000_000,
        tls_context=door.tls,
        authenticator=right if door.user else None,
        auth_required=door.login_needed,
        auth_require_tls=door.tls is not None,
        loop=asyncio.get_running_loop(),
    )
