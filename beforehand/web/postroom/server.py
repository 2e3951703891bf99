"""The post room as one process: its HTTP and its mail server on one event loop."""

import asyncio
import secrets
import signal
import ssl
from collections.abc import Callable, Iterable
from pathlib import Path
from weakref import WeakSet

from aiosmtpd.smtp import SMTP

from beforehand.settings import Settings
from beforehand.web.listening import InThread, first, listening, reachable, server_for
from beforehand.web.postroom.app import create_app
from beforehand.web.postroom.callbacks import Teller
from beforehand.web.postroom.carrier import Carrier
from beforehand.web.postroom.entries import Entry
from beforehand.web.postroom.faults import Fault, Faults
from beforehand.web.postroom.house import House, Pace
from beforehand.web.postroom.ledger import Ledger
from beforehand.web.postroom.mail import MailDoor, smtp_protocol
from beforehand.web.postroom.talk import hang_up
from beforehand.wiring import Clock, wall_clock
from models.vocabulary import Channel


class PostRoom(InThread):
    """A post room. ``with PostRoom() as room:`` runs it in a thread on free ports, ``await room.serve(stop)`` here.

    ``numbers`` are the senders it owns (none named: any valid number), ``path`` its ledger file (None: memory only),
    ``inbound_url`` where customers' replies are posted, ``faults`` what shall go wrong, ``login_needed``, ``tls`` and
    ``dsn`` what the mail server asks for and offers. Raises OSError when a port is taken.
    """

    name = "post room"

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        http_port: int = 0,
        smtp_port: int = 0,
        path: Path | None = None,
        account_sid: str | None = None,
        auth_token: str | None = None,
        numbers: Iterable[str] = (),
        inbound_url: str | None = None,
        pace: Pace | None = None,
        faults: Iterable[Fault] = (),
        smtp_user: str = "",
        smtp_password: str = "",
        login_needed: bool = False,
        tls: ssl.SSLContext | None = None,
        dsn: bool = True,
        clock: Clock = wall_clock,
    ) -> None:
        super().__init__()
        self.account_sid = account_sid or "AC" + secrets.token_hex(16)
        self.auth_token = auth_token or secrets.token_hex(16)
        self.ledger = Ledger(path)
        self.faults = Faults(faults)
        self.house = House(
            account_sid=self.account_sid,
            auth_token=self.auth_token,
            ledger=self.ledger,
            clock=clock,
            pace=pace or Pace(),
            numbers=frozenset(numbers),
            inbound_url=inbound_url,
            faults=self.faults,
        )
        self._door = MailDoor(smtp_user, smtp_password, login_needed, tls, dsn)
        self._http_socket = listening(host, http_port)
        try:
            self._smtp_socket = listening(host, smtp_port)
        except OSError:
            self._http_socket.close()
            raise
        self.host = host
        self.http_port: int = self._http_socket.getsockname()[1]
        self.smtp_port: int = self._smtp_socket.getsockname()[1]

    @property
    def http_url(self) -> str:
        """Where the page and the API are."""
        return f"http://{reachable(self.host)}:{self.http_port}"

    @property
    def entries(self) -> list[Entry]:
        """What is in the ledger, oldest first."""
        return self.ledger.entries

    def wait_for(self, n: int, kind: Channel | str | None = None, timeout: float = 10) -> list[Entry]:
        """Wait for ``n`` outbound messages (of one channel) and give them. Raises TimeoutError."""
        return self.ledger.wait_for(n, lambda entry: not entry.inbound and kind in (None, entry.kind), timeout)

    def wait_final(self, n: int, timeout: float = 10) -> list[Entry]:
        """Wait until ``n`` outbound messages have a status that will not change. Raises TimeoutError."""
        return self.ledger.wait_for(n, lambda entry: not entry.inbound and entry.final, timeout)

    async def serve(self, stop: asyncio.Event, started: Callable[[], None] | None = None) -> None:
        """Run until ``stop`` is set or the task is cancelled, then close ports, connections and the ledger's file."""
        teller = Teller(self.house)
        carrier = Carrier(self.house, teller)
        server = server_for(create_app(self.house, carrier, teller, host=self.host))
        web = asyncio.create_task(server.serve(sockets=[self._http_socket]))
        loop = asyncio.get_running_loop()
        sessions: WeakSet[SMTP] = WeakSet()

        def session() -> SMTP:
            sessions.add(opened := smtp_protocol(self.house, self._door))
            return opened

        mail = await loop.create_server(session, sock=self._smtp_socket)
        carrier.resume()
        try:
            while not server.started and not web.done():
                await asyncio.sleep(0.01)
            if started:
                started()
            await first(stop.wait(), web)
        finally:
            server.should_exit = True
            mail.close()
            for opened in sessions:
                hang_up(opened)
            await carrier.close()
            await asyncio.gather(web, return_exceptions=True)
            await teller.close()
            self.ledger.close()


def from_settings(settings: Settings, *, inbound_url: str | None = None) -> PostRoom:
    """The post room as the settings say, its ledger in ``var/post-room.jsonl``. Raises OSError for a taken port."""
    return PostRoom(
        host=settings.host,
        http_port=settings.post_room_port,
        smtp_port=settings.post_room_smtp_port,
        path=settings.var / "post-room.jsonl",
        account_sid=settings.twilio_account_sid,
        auth_token=settings.twilio_auth_token.get_secret_value(),
        numbers=[settings.twilio_from],
        inbound_url=inbound_url,
        smtp_user=settings.smtp_user,
        smtp_password=settings.smtp_password.get_secret_value(),
    )


async def serve(
    settings: Settings,
    stop: asyncio.Event | None = None,
    *,
    inbound_url: str | None = None,
    started: Callable[[PostRoom], None] | None = None,
) -> None:
    """Run the post room on this loop until ``stop`` is set or the task is cancelled."""
    room = from_settings(settings, inbound_url=inbound_url)
    await room.serve(stop or asyncio.Event(), lambda: started(room) if started else None)


def run(
    settings: Settings, *, inbound_url: str | None = None, started: Callable[[PostRoom], None] | None = None
) -> None:
    """Run the post room as a process of its own until SIGINT or SIGTERM; returns after a clean stop."""

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        await serve(settings, stop, inbound_url=inbound_url, started=started)

    asyncio.run(main())
