"""Journal files: appended and fsynced by one process each, readable by all, tolerant of a torn last line.

``FOLDER/DATABASE/UUID.jsonl``. A file belongs to the process that holds its lock; where that is over, the next process
goes on with it, so that there are about as many files as processes. A full one is left, and taken away when it is old.
"""

import contextlib
import fcntl
import os
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from messaging.journal.lines import Header, header_line, read_header

ROTATE_BYTES = 8 * 2**20
HEADROOM_BYTES = 2**20
"""Where the disk has less room than this, nothing is armed: a journal must not end in the middle of a line."""

_NUMBER = re.compile(rb'^\{"n":(\d+),', re.MULTILINE)
_HEAD_BYTES = 4096
SUFFIX = ".jsonl"
OWED = ".owed"


class JournalError(Exception):
    """Nothing may be sent: the journal cannot be written, or the database is damaged. The text says what to do."""


@dataclass
class Tail:
    """How far a file was read: up to which byte (the end of a line), and the highest number until there."""

    size: int = 0
    last: int = 0


class Tails:
    """The highest number in each file, read on from where the last look ended. Not for several threads at once."""

    def __init__(self) -> None:
        self._known: dict[Path, Tail] = {}

    def last(self, path: Path) -> int:
        """The highest number that a whole line of the file shows; 0 for none, or where the file is gone."""
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            self._known.pop(path, None)
            return 0
        known = self._known.get(path)
        if known is None or size < known.size:
            known = self._known[path] = Tail()
        if size > known.size:
            self._read_on(path, known)
        return known.last

    @staticmethod
    def _read_on(path: Path, known: Tail) -> None:
        with path.open("rb") as file:
            file.seek(known.size)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        known.last = max([known.last, *(int(found) for found in _NUMBER.findall(whole))])
        known.size += len(whole)


class JournalFile:
    """A journal that this process appends to."""

    def __init__(self, path: Path, handle: int, header: Header, last: int, size: int) -> None:
        self.path, self.header, self.last, self.size = path, header, last, size
        self._handle = handle
        self._torn = False

    @classmethod
    def open(cls, folder: Path, header: Header) -> "JournalFile":
        """Go on with a journal of the same kind that nobody holds and that is not full, or begin a new one.

        Raises JournalError where the folder cannot be written.
        """
        with _said(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for path in sorted(folder.glob(f"*{SUFFIX}")):
                if path.stat().st_size < ROTATE_BYTES and (found := cls._adopt(path, header)):
                    return found
            return cls._begin(folder, header)

    @classmethod
    def _adopt(cls, path: Path, header: Header) -> "JournalFile | None":
        found = header_of(path)
        if found is None or replace(found, journal="") != replace(header, journal=""):
            return None
        handle = os.open(path, os.O_RDWR | os.O_APPEND)
        if not _locked(handle) or not _still_there(path, handle):
            os.close(handle)
            return None
        size = os.fstat(handle).st_size
        opened = cls(path, handle, found, Tails().last(path), size)
        opened._torn = os.pread(handle, 1, size - 1) != b"\n"
        return opened

    @classmethod
    def _begin(cls, folder: Path, header: Header) -> "JournalFile":
        header = replace(header, journal=str(uuid.uuid4()))
        path = folder / f"{header.journal}{SUFFIX}"
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        if not _locked(handle):
            raise JournalError(f"the new journal {path} is locked by somebody else")
        opened = cls(path, handle, header, 0, 0)
        opened.append(header_line(header), sync=True)
        _sync_folder(folder)
        return opened

    @property
    def journal(self) -> str:
        """The journal's id."""
        return self.header.journal

    def append(self, line: str, *, number: int = 0, sync: bool) -> None:
        """Write one line; ``sync``: return only when the disk has it. Raises JournalError."""
        said = line.encode()
        with _said(self.path):
            _write(self._handle, b"\n" + said if self._torn else said, self)
            if sync:
                os.fsync(self._handle)
        self.last = max(self.last, number)

    def note_write(self, count: int, *, torn: bool) -> None:
        """Keep count of what was written, and whether a line was left unfinished."""
        self.size += count
        self._torn = torn

    def close(self) -> None:
        """Sync what is written and let go of the file. Safe to call twice."""
        if self._handle >= 0:
            with contextlib.suppress(OSError):
                os.fsync(self._handle)
            os.close(self._handle)
            self._handle = -1


def _write(handle: int, said: bytes, file: JournalFile) -> None:
    left = said
    while left:
        file.note_write(0, torn=True)
        count = os.write(handle, left)
        left = left[count:]
        file.note_write(count, torn=bool(left))


@contextlib.contextmanager
def _said(where: Path) -> Iterator[None]:
    try:
        yield
    except OSError as wrong:
        said = f"the journal {where} cannot be written ({wrong.strerror or type(wrong).__name__})"
        raise JournalError(
            f"{said}: nothing is sent without it. Make room there, or let BEFOREHAND_JOURNAL name another folder; "
            "what is due goes out as soon as it can be written"
        ) from wrong


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _still_there(path: Path, handle: int) -> bool:
    try:
        return path.stat().st_ino == os.fstat(handle).st_ino
    except FileNotFoundError:
        return False


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def header_of(path: Path) -> Header | None:
    """The header of a journal file; None where it has none, or is gone."""
    try:
        with path.open("rb") as file:
            line = file.read(_HEAD_BYTES).partition(b"\n")[0]
    except FileNotFoundError:
        return None
    return read_header(line.decode("utf-8", "replace"))


def lines_of(path: Path) -> Iterator[str]:
    """The lines of a file, a torn one too; nothing where it is gone."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            yield from file
    except FileNotFoundError:
        return


def check_room(folder: Path) -> None:
    """Raise JournalError where the disk has hardly any room left."""
    with _said(folder):
        folder.mkdir(parents=True, exist_ok=True)
        there = os.statvfs(folder)
    if there.f_bavail * there.f_frsize < HEADROOM_BYTES:
        raise JournalError(
            f"the disk with the journal {folder} is full: nothing is sent without a record of it. Make room there; "
            "what is due goes out as soon as there is some"
        )


def write_owed(folder: Path, line: str) -> Path:
    """Keep results that the database could not take, whole or not at all. Raises JournalError."""
    path = folder / f"{uuid.uuid4()}{OWED}"
    with _said(folder):
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        with unfinished.open("w", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(path)
        _sync_folder(folder)
    return path


def remove_if_free(path: Path) -> bool:
    """Take a journal away that nobody writes. Returns whether it is gone."""
    try:
        handle = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return True
    try:
        if not _locked(handle):
            return False
        path.unlink(missing_ok=True)
        return True
    finally:
        os.close(handle)
