"""Ports: the one asked for where it is free, else the next one that is."""

import socket

FAR = 200


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


def free_port(host: str, wanted: int, *, taken: set[int] | None = None) -> int:
    """``wanted``, or the next free port after it; never one of ``taken``. Raises NoPortError."""
    for port in range(wanted, min(wanted + FAR, 65536)):
        if port not in (taken or set()) and is_free(host, port):
            return port
    raise NoPortError(f"no free port on {host} from {wanted} to {wanted + FAR - 1}; set another one in the settings")
