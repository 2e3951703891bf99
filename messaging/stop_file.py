"""The kill switch as a file: what it names is not sent by this machine, also while the database does not answer.

One scope a line (``rule:ID``, ``channel:sms``, ``webhook:NAME``, ``all``); blank lines and ``#`` comments do not count.
A file without a scope stops everything, and so does one that cannot be read or that holds a line which is no scope:
whoever reaches for it in a hurry must not have to spell.
"""

import fcntl
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from messaging.consents import EVERY
from models.vocabulary import Channel

Halted = Callable[[], frozenset[str]]
"""Gives the scopes that are stopped by a file at this moment; ``all`` among them: everything."""

NOTHING: frozenset[str] = frozenset()
ALL = frozenset({EVERY})

SCOPE = re.compile(rf"all|rule:[a-z0-9]+(-[a-z0-9]+)*|channel:({'|'.join(Channel)})|webhook:[a-z0-9]+([-_][a-z0-9]+)*")
LONGEST = 65_536
"""Bytes of a stop file that are read; a longer one is none of ours, and stops everything."""

KILL_SWITCH = "kill_switch"
"""The code of a try that was armed or claimed and then not made, because its kill switch was set."""


def halts_nothing() -> frozenset[str]:
    """No file is looked at."""
    return NOTHING


def is_halted(halted: Halted, *scopes: str) -> bool:
    """Whether something of these ``scopes`` (``rule:ID``, ``channel:sms`` ...) is stopped right now."""
    return not halted().isdisjoint((EVERY, *scopes))


@dataclass(frozen=True)
class Said:
    """What a stop file says: the ``scopes`` that are stopped, and what is wrong with it (``problem``)."""

    scopes: frozenset[str] = NOTHING
    problem: str = ""


@dataclass(frozen=True)
class StopFile:
    """The stop file at ``path``, whether or not it is there. Nothing is kept: each look sees what is there now."""

    path: Path

    def halted(self) -> frozenset[str]:
        """The scopes that are stopped right now; where there is no file this costs one look at the folder."""
        return self.look().scopes

    def look(self) -> Said:
        """What the file says, with what is wrong with it."""
        try:
            os.lstat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return Said()
        except OSError as wrong:
            return Said(ALL, f"it cannot be looked at: {wrong.strerror}")
        try:
            lines = self._lines()
        except (OSError, ValueError) as wrong:
            return Said(ALL, f"it cannot be read: {getattr(wrong, 'strerror', None) or wrong}")
        strange = [line for line in lines if not SCOPE.fullmatch(line)]
        if strange:
            return Said(ALL, f"{strange[0][:80]!r} is nothing that can be stopped")
        return Said(frozenset(lines) or ALL)

    def since(self) -> datetime | None:
        """When the file was last written; None where there is none."""
        try:
            return datetime.fromtimestamp(self.path.stat().st_mtime, UTC)
        except OSError:
            return None

    def add(self, scope: str) -> None:
        """Put ``scope`` into the file, and make it. Raises OSError where that cannot be written."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._alone():
            kept = self._kept() if os.path.lexists(self.path) else []
            self._write([*kept, *([] if scope in kept else [scope])])

    def take_back(self, scope: str) -> bool:
        """Take ``scope`` out of the file; with ``all`` also lines that are no scope. False: it was not stopped by it.

        The last line taken out takes the file away: an empty one would stop everything. Raises OSError.
        """
        if not os.path.lexists(self.path):
            return False
        with self._alone():
            kept = self._kept()
            left = [line for line in kept if line != scope and (scope != EVERY or SCOPE.fullmatch(line))]
            if len(left) == len(kept):
                return False
            if left:
                self._write(left)
            else:
                self.path.unlink(missing_ok=True)
            return True

    def _kept(self) -> list[str]:
        """The lines as they stand, ``all`` where the file says no scope or cannot be read: it must stay stopped."""
        try:
            return self._lines() or [EVERY]
        except (OSError, ValueError):
            return [EVERY]

    def _lines(self) -> list[str]:
        if not stat.S_ISREG(self.path.stat().st_mode):
            raise ValueError("it is no plain file")
        with self.path.open("rb") as stream:
            raw = stream.read(LONGEST + 1)
        if len(raw) > LONGEST:
            raise ValueError("it is too long")
        found = (line.partition("#")[0].strip() for line in raw.decode("utf-8-sig").splitlines())
        return list(dict.fromkeys(line for line in found if line))

    def _write(self, lines: list[str]) -> None:
        """Put another file in its place in one step, and on the disk: nobody reads half of it."""
        place = self.path.resolve()
        fresh = place.with_name(f"{place.name}.{os.getpid()}")
        with fresh.open("w", encoding="utf-8") as stream:
            stream.write("".join(f"{line}\n" for line in lines))
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(place)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Two commands at once must not lose a line of each other's."""
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)
