"""Ports: the one asked for where it is free, else the next one that is; kept for us from the first second on.

The Prefect server listens only after 15 s, so that looking is not enough: of two houses that start together, both would
find the same port free. A lock file for each port, held while the process lives, tells them apart.
"""

import fcntl
import os
import socket
import tempfile
from pathlib import Path
from typing import IO

FAR = 200

_kept: dict[int, IO[str]] = {}


class NoPortError(Exception):
    """No free port was found; the text says where we looked."""


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen on ``host:port`` now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def keep(port: int) -> bool:
    """Keep ``port`` for this process, as far as other houses of this user go. False where another has it."""
    if port in _kept:
        return False
    folder = Path(tempfile.gettempdir()) / f"beforehand-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    lock = (folder / str(port)).open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return False
    _kept[port] = lock
    return True


def let_go(port: int) -> None:
    """Let others have ``port``."""
    if lock := _kept.pop(port, None):
        lock.close()


def free_port(host: str, wanted: int) -> int:
    """``wanted``, or the next port after it that is free; it is kept for this process. Raises NoPortError."""
    for port in range(wanted, min(wanted + FAR, 65536)):
        if keep(port):
            if is_free(host, port):
                return port
            let_go(port)
    raise NoPortError(f"no free port on {host} from {wanted} to {wanted + FAR - 1}; set another one in the settings")
