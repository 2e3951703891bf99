"""Servers of a few lines that misbehave on purpose, on real sockets, and keep their own count of what they took."""

import socket
import struct
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

Handler = Callable[[socket.socket], None]


class RawServer:
    """Takes connections on a free port and hands each to ``handle``; ``took`` is what the handler put on record."""

    def __init__(self, handle: Callable[["RawServer", socket.socket], None]) -> None:
        self._handle = handle
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.took: list[bytes] = []
        self.connections = 0
        self._stop = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, wrong: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._listening.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait(self, seconds: float) -> None:
        """Sleep, but not beyond the end of the test."""
        self._stop.wait(seconds)

    def _serve(self) -> None:
        while not self._stop.is_set():
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        with connection:
            try:
                self._handle(self, connection)
            except OSError:
                return


def reset(connection: socket.socket) -> None:
    """End a connection with RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def request(connection: socket.socket) -> bytes:
    """Read one HTTP request with its body."""
    read = b""
    while b"\r\n\r\n" not in read:
        more = connection.recv(65536)
        if not more:
            return read
        read += more
    head, _, body = read.partition(b"\r\n\r\n")
    length = next(
        (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0
    )
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def answer(status: int, body: str | bytes, *headers: str, cut: int | None = None) -> bytes:
    """An HTTP answer; ``cut`` ends it after so many bytes of the body."""
    raw = body if isinstance(body, bytes) else body.encode()
    lines = [f"HTTP/1.1 {status} X", "Content-Type: application/json", f"Content-Length: {len(raw)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + raw[:cut]


def replying(*answers: bytes) -> RawServer:
    """An HTTP server that takes each request and gives the next answer, the last one for ever."""
    left = list(answers)

    def handle(server: RawServer, connection: socket.socket) -> None:
        while got := request(connection):
            server.took.append(got)
            said = left.pop(0) if len(left) > 1 else left[0]
            connection.sendall(said)
            if said.partition(b"\r\n\r\n")[2] == b"" or b"Connection: close" in said:
                return

    return RawServer(handle)


GOOD = {
    "connect": b"220 raw\r\n",
    "ehlo": b"250-raw\r\n250 8BITMIME\r\n",
    "mail": b"250 ok\r\n",
    "rcpt": b"250 ok\r\n",
    "data": b"354 go\r\n",
    "dot": b"250 taken\r\n",
}


def smtp(fault_at: str, reply: bytes | None) -> RawServer:
    """An SMTP server that gives ``reply`` at ``fault_at`` (a key of GOOD, or ``body``: amid the text); None hangs up.

    ``took`` holds the texts it has read to the dot, whatever it says about them.
    """

    def handle(server: RawServer, connection: socket.socket) -> None:
        _SmtpTalk(server, connection, fault_at, reply).run()

    return RawServer(handle)


class _SmtpTalk:
    def __init__(self, server: RawServer, connection: socket.socket, fault_at: str, reply: bytes | None) -> None:
        self.server, self.connection, self.fault_at, self.reply = server, connection, fault_at, reply
        self.lines = connection.makefile("rb")

    def run(self) -> None:
        self.say("connect")
        for line in self.lines:
            word = line[:4].decode().strip().lower()
            self.say("ehlo" if word == "helo" else word)
            if word == "data" and self.fault_at != "data":
                self.text()

    def say(self, at: str) -> None:
        if at != self.fault_at:
            self.connection.sendall(GOOD.get(at, b"250 ok\r\n"))
        elif self.reply is None:
            self.connection.shutdown(socket.SHUT_RDWR)
            raise ConnectionAbortedError
        else:
            self.connection.sendall(self.reply)

    def text(self) -> None:
        read: list[bytes] = []
        for line in self.lines:
            if line == b".\r\n":
                self.server.took.append(b"".join(read))
                self.say("dot")
                return
            read.append(line)
            if self.fault_at == "body" and len(read) == 3:
                self.say("body")


def nobody_listens() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    time.sleep(0.01)
    return port
