"""The name of one start of one process: what it runs and holds carries it, so that dead runs and leases show."""

import os
import secrets
import socket


def new_boot() -> str:
    """``host-pid-random``."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


def earlier_life(name: str, boot: str) -> bool:
    """Whether ``name`` is of a process that had this one's number before (in a container it is always the same)."""
    return name != boot and name.rpartition("-")[0] == boot.rpartition("-")[0]


def gone_here(name: str) -> bool:
    """Whether ``name`` is of a process of this machine that is gone; other machines' are known by their heartbeat."""
    host, _, number = name.rpartition("-")[0].rpartition("-")
    if host != socket.gethostname() or not number.isdigit():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False
