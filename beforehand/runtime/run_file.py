"""Which houses run with this VAR: a file for each process in ``VAR/run``, locked while it lives.

The lock is what counts. A file without one was left by a process that was killed, and is no house.
"""

import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

MACHINE = Path("/proc/sys/kernel/random/boot_id")


def this_machine() -> str:
    """This start of this machine; the host's name where the kernel does not tell."""
    try:
        return MACHINE.read_text(encoding="ascii").strip()
    except OSError:
        return socket.gethostname()


@dataclass(frozen=True)
class Running:
    """A process of the house that runs: its ``boot`` name and process id, where, with which parts, since when (ISO).

    ``own_server``: its Prefect server is its child. ``staff`` is the address of its staff pages.
    """

    boot: str
    pid: int
    host: str
    machine: str
    parts: list[str]
    own_server: bool
    started_at: str
    staff: str = ""

    @property
    def is_here(self) -> bool:
        """Whether its process id means something on this machine."""
        return self.machine == this_machine() and self.host == socket.gethostname()


class AlreadyRunning(Exception):
    """A house with a Prefect server of its own runs with this VAR; the text says what to do."""


class RunFile:
    """The file of this process, locked until :meth:`close`. Raises AlreadyRunning.

    Two houses with Prefect servers of their own must not share a VAR, as they would share that server's database.
    """

    def __init__(self, var: Path, told: Running) -> None:
        folder = var / "run"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("w") as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)
            other = next((one for one in running(var) if one.own_server and told.own_server), None)
            if other is not None:
                raise AlreadyRunning(
                    f"A house runs here already (process {other.pid} on {other.host}). `beforehand down` stops it; for "
                    "a second one set another BEFOREHAND_VAR, or start it with --only and parts but prefect."
                )
            self._path = folder / f"{told.boot}.json"
            self._file = _locked(folder / f".{told.boot}", json.dumps(asdict(told), indent=2))
            (folder / f".{told.boot}").replace(self._path)

    def close(self) -> None:
        """We run no more."""
        self._path.unlink(missing_ok=True)
        self._file.close()


def _locked(path: Path, text: str) -> IO[str]:
    file = path.open("w", encoding="utf-8")
    fcntl.flock(file, fcntl.LOCK_EX)
    file.write(text)
    file.flush()
    return file


def running(var: Path) -> list[Running]:
    """The processes that run with this VAR; files that dead ones left are taken away."""
    return [told for path in sorted((var / "run").glob("*.json")) for told in _read(path)]


def _read(path: Path) -> Iterator[Running]:
    with contextlib.suppress(FileNotFoundError), path.open("r+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with contextlib.suppress(ValueError, TypeError):
                yield Running(**json.loads(file.read()))
        else:
            path.unlink(missing_ok=True)


def lives(var: Path, one: Running) -> bool:
    """Whether a process that ran still does: its lock is gone with it."""
    return any(True for _ in _read(var / "run" / f"{one.boot}.json"))


def told_of(boot: str, parts: Collection[str], *, own_server: bool, started_at: str, staff: str) -> Running:
    """What this process says of itself."""
    host = socket.gethostname()
    return Running(boot, os.getpid(), host, this_machine(), sorted(parts), own_server, started_at, staff)
