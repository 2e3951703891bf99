"""One SMTP connection of the post room: delivery reports on offer (RFC 3461), and faults at each of nine phases."""

import asyncio
import re
from collections.abc import Mapping
from typing import Any

from aiosmtpd.smtp import SMTP

from beforehand.web.postroom.faults import Fault, Phase
from beforehand.web.postroom.house import House

_LATER: Mapping[Phase, str] = {
    "connect": "421 4.3.2 a planned fault: closing",
    "starttls": "454 4.7.0 a planned fault: no TLS now",
    "login": "454 4.7.0 a planned fault: no login now",
}
_NEVER: Mapping[Phase, str] = {
    "hello": "554 5.3.2 a planned fault",
    "login": "535 5.7.8 a planned fault: wrong login",
    "rcpt": "550 5.1.1 a planned fault: no such mailbox",
    "body": "552 5.3.4 a planned fault: enough",
}
_DSN = re.compile(r"\s(RET|ENVID|NOTIFY|ORCPT)=([\x21-\x7e]+)", re.IGNORECASE)
_DSN_VALUES = {
    "ret": re.compile(r"FULL|HDRS", re.IGNORECASE),
    "envid": re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2}){1,100}"),
    "notify": re.compile(r"NEVER|(?:SUCCESS|FAILURE|DELAY)(?:,(?:SUCCESS|FAILURE|DELAY))*", re.IGNORECASE),
    "orcpt": re.compile(r"[A-Za-z0-9-]+;[!-*,-<>-~]+"),
}


def reply_of(phase: Phase, fault: Fault) -> str:
    """What the server says in a phase when it is busy (4xx) or has an error (5xx)."""
    if fault.what == "busy":
        return _LATER.get(phase, "451 4.3.0 a planned fault, try again later")
    return _NEVER.get(phase, "554 5.0.0 a planned fault")


def hang_up(server: SMTP) -> None:
    """End a session without a word."""
    if isinstance(server.transport, asyncio.WriteTransport):
        server.transport.abort()


class Talk(SMTP):
    """aiosmtpd's protocol with the house's faults. ``dsn`` holds what the transaction asks of delivery reports."""

    def __init__(self, house: House, handler: Any, **options: Any) -> None:
        super().__init__(handler, **options)
        self._house = house
        self.dsn: dict[str, str] = {}

    async def _handle_client(self) -> None:
        fault = self._house.faults.take("mail", "", phase="connect")
        if fault is None or await self._goes_on(fault, "connect"):
            await super()._handle_client()
        elif self.transport is not None:
            self.transport.close()

    async def smtp_HELO(self, hostname: str) -> None:
        """HELO, or its fault."""
        if not await self._fails("hello"):
            await super().smtp_HELO(hostname)

    async def smtp_EHLO(self, hostname: str) -> None:
        """EHLO, or its fault."""
        if not await self._fails("hello"):
            await super().smtp_EHLO(hostname)

    async def smtp_STARTTLS(self, arg: str) -> None:
        """STARTTLS, or its fault."""
        if not await self._fails("starttls"):
            await super().smtp_STARTTLS(arg)

    async def smtp_AUTH(self, arg: str) -> None:
        """AUTH, or its fault."""
        if not await self._fails("login"):
            await super().smtp_AUTH(arg)

    async def smtp_MAIL(self, arg: str | None) -> None:
        """MAIL with RET and ENVID, or its fault."""
        if not await self._fails("mail"):
            self.dsn = {}
            if await self._understood(arg, ("ret", "envid")):
                await super().smtp_MAIL(_without_dsn(arg))

    async def smtp_RCPT(self, arg: str | None) -> None:
        """RCPT with NOTIFY and ORCPT, or its fault."""
        found = re.search(r"<([^>]*)>", arg or "")
        if await self._fails("rcpt", found.group(1) if found else ""):
            return
        if await self._understood(arg, ("notify", "orcpt")):
            await super().smtp_RCPT(_without_dsn(arg))

    async def smtp_DATA(self, arg: str) -> None:
        """DATA; or a fault before the text, or amid it."""
        to = self.envelope.rcpt_tos[0] if self.envelope and self.envelope.rcpt_tos else ""
        if await self._fails("data", to):
            return
        fault = self._house.faults.take("mail", to, phase="body") if to else None
        if fault is None:
            await super().smtp_DATA(arg)
            return
        await self.push("354 End data with <CR><LF>.<CR><LF>")
        await self._reader.readuntil(b"\r\n")
        await self._goes_on(fault, "body")
        while self.transport is not None and await self._reader.read(65536):
            pass  # whatever else comes is nobody's mail

    async def _understood(self, arg: str | None, names: tuple[str, ...]) -> bool:
        """Keep the DSN parameters; False: one of them is wrong here, and that was said."""
        for name, value in _DSN.findall(arg or ""):
            key = name.lower()
            if key not in names or not _DSN_VALUES[key].fullmatch(value):
                await self.push(f"501 5.5.4 {name} is not understood here")
                return False
            self.dsn[key] = value
        return True

    async def _fails(self, phase: Phase, to: str = "") -> bool:
        """Whether a fault was due in this phase; then it has happened, and the command is not carried out."""
        fault = self._house.faults.take("mail", to, phase=phase)
        return fault is not None and not await self._goes_on(fault, phase)

    async def _goes_on(self, fault: Fault, phase: Phase) -> bool:
        """Let the fault happen. True: the server goes on as if nothing had been (it was silent for a while)."""
        if fault.what == "hang":
            await asyncio.sleep(fault.seconds)
            return True
        if fault.what == "drop":
            hang_up(self)
        else:
            await self.push(reply_of(phase, fault))
        return False


def _without_dsn(arg: str | None) -> str | None:
    return _DSN.sub("", arg) if arg else arg
