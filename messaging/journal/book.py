"""The journal of one process: asked in each claim, written between arming and the wire."""

import hmac
import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.engine import URL

from messaging.channels.base import Outcome
from messaging.claims import Claim
from messaging.journal import marks
from messaging.journal.files import (
    OWED,
    ROTATE_BYTES,
    SUFFIX,
    JournalError,
    JournalFile,
    Tails,
    check_room,
    header_of,
    remove_if_free,
    write_owed,
)
from messaging.journal.keys import keys_of
from messaging.journal.lines import Header, armed_line, done_line

_log = logging.getLogger(__name__)

KEPT = timedelta(days=35)

SAID = (
    "The database knows less than what was sent from it: it was restored from a backup, or a standby took over before "
    "it had everything. Nothing is sent until somebody runs `beforehand reconcile`."
)


def place_of(secret: bytes, url: URL) -> str:
    """A keyed hash of where a database is, its login left out."""
    where = url.set(username=None, password=None)
    if url.get_backend_name() == "sqlite" and url.database:
        where = where.set(database=str(Path(url.database).resolve()))
    return hmac.digest(secret, f"journal/{where}".encode(), "sha256").hex()[:16]


class Restored(Exception):
    """The database is behind the journal: nothing may be sent from it until it has been reconciled."""

    def __init__(self) -> None:
        super().__init__(SAID)


@dataclass(frozen=True)
class Number:
    """The number of a line that the database has counted, in which journal."""

    journal: str
    n: int


@dataclass
class Journal:
    """What this process puts on the wire, kept in ``folder``, outside the database.

    ``secret`` keys the hashes; ``place`` says where the database is (a keyed hash); ``live``: messages really leave.
    ``keep`` is how long a finished journal stays: longer than the age of any backup that will be restored.
    May be used by several threads. No file is made before something is armed.
    """

    folder: Path
    secret: bytes
    place: str = ""
    live: bool = False
    keep: timedelta = KEPT
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)
    _tails: Tails = field(default_factory=Tails, repr=False)
    _files: dict[str, JournalFile] = field(default_factory=dict, repr=False)
    _current: JournalFile | None = field(default=None, repr=False)
    _identity: int | None = field(default=None, repr=False)
    _others: tuple[Path, ...] = field(default=(), repr=False)
    _pruned_at: datetime | None = field(default=None, repr=False)

    def look(self, connection: Connection, now: datetime) -> bool:
        """Compare the database with the journals on this machine, and hold everything where it is behind one.

        Returns whether it is held. Must run in a write transaction, before anything is claimed in it.
        """
        with self._lock:
            ahead = self.ahead(connection, now)
            if ahead:
                if marks.hold(connection, SAID, now):
                    _log.error("%s", SAID)
                return True
            self._prune(connection, now)
        return marks.held_since(connection) is not None

    def ahead(self, connection: Connection, now: datetime) -> dict[Path, tuple[int, int]]:
        """The journals that know more than the database: its own number and theirs, by file."""
        with self._lock:
            files = {path: self._tails.last(path) for path in self._in_scope()}
            known = marks.marks_of(connection)  # after the files: what they say was committed before
            identity = known.get(marks.DATABASE)
            if identity is None or identity != self._identity:
                self._meet(identity if identity is not None else marks.new_identity(connection, now))
                files = {path: self._tails.last(path) for path in self._in_scope()}
                known = marks.marks_of(connection)
            found = {path: (known.get(path.stem, 0), last) for path, last in files.items()}
            return {path: pair for path, pair in found.items() if pair[1] > pair[0]}

    def in_scope(self) -> list[Path]:
        """The journals on this machine that are about this database."""
        with self._lock:
            return self._in_scope()

    def reads(self, path: Path) -> bool:
        """Whether a journal was written under our own secret."""
        header = header_of(path)
        return header is None or header.check == self._check()

    def keys(self, connection: Connection, claims: Sequence[Claim]) -> dict[int, str]:
        """The keys of what these claims say to whom, by attempt id."""
        rows = [
            {"id": c.attempt_id, "rule_id": c.rule_id, "occasion": c.occasion, "step": c.step}
            | {"customer_id": c.customer_id}
            for c in claims
        ]
        return keys_of(connection, rows, self.secret)

    def check(self) -> None:
        """Raise JournalError where nothing may be sent; asked before anything is claimed.

        That is where a journal could not be written, and where some process found the database damaged.
        """
        check_room(self.folder)
        if said := self.damage():
            raise JournalError(said)

    def damage(self) -> str:
        """What is said of the database since some process found it damaged; empty: nothing."""
        try:
            return self._damage_file.read_text()
        except FileNotFoundError:
            return ""

    def note_damage(self, said: str) -> None:
        """Stop every process of this machine that sends from this database; empty: it is whole again."""
        if said:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._damage_file.write_text(said)
        else:
            self._damage_file.unlink(missing_ok=True)

    @property
    def _damage_file(self) -> Path:
        return self.folder / f"{self.place or 'database'}.damaged"

    def step(self, connection: Connection, now: datetime, *, arming: bool = True) -> Number | None:
        """Count a line in the database, as the last thing in its transaction.

        Raises Restored where the database has lost lines that this process has written; and JournalError, but only
        when ``arming``: a result that cannot be written down is None, and is not lost for that.
        """
        try:
            file = self._open(connection, now, fresh=arming)
        except JournalError as wrong:
            if arming:
                raise
            _log.warning("%s", wrong)
            return None
        number = marks.advance(connection, file.journal, now)
        if number <= file.last:
            raise Restored
        return Number(file.journal, number)

    def armed(
        self,
        number: Number,
        claims: Sequence[Claim],
        keys: Mapping[int, str],
        fingerprints: Mapping[int, str],
        provider: str,
        now: datetime,
    ) -> None:
        """Write down an armed group, on the disk when this returns. Raises JournalError: then it must not be sent."""
        line = armed_line(number.n, claims, keys, fingerprints, provider, now, self.secret)
        with self._lock:
            self._file(number).append(line, number=number.n, sync=True)

    def done(self, number: Number, results: Sequence[tuple[Claim, Outcome]], now: datetime) -> None:
        """Write down what became of armed attempts; the next armed group brings it to the disk. Never raises."""
        try:
            with self._lock:
                line = done_line(number.n, results, now)
                self._file(number).append(line, number=number.n, sync=False)
        except JournalError as wrong:  # the database has it; without this line a restore asks the provider
            _log.warning("%s", wrong)

    def owe(self, results: Sequence[tuple[Claim, Outcome]], now: datetime) -> None:
        """Keep results that the database could not take; they are brought in when it can. Never raises."""
        try:
            write_owed(self.folder / self._name(), done_line(0, results, now))
        except JournalError as wrong:
            _log.error("%s", wrong)

    def owed(self) -> list[Path]:
        """The files of results that are owed to this database, by any process of this machine."""
        return [path for folder in self._folders() for path in sorted(folder.glob(f"*{OWED}"))]

    def close(self) -> None:
        """Let go of the files, so that another process goes on with them. The next armed group opens one anew."""
        with self._lock:
            for file in self._files.values():
                file.close()
            self._files.clear()
            self._current = None

    def _open(self, connection: Connection, now: datetime, *, fresh: bool) -> JournalFile:
        """The file to write to; ``fresh``: another one where it is full."""
        with self._lock:
            if self._identity is None:
                self.ahead(connection, now)
            if self._current is None or (fresh and self._current.size >= ROTATE_BYTES):
                header = Header("", self._name(), self.place, self.live, self._check())
                for finished in list(self._files.values())[:-1]:  # the newest may have a line under way
                    self._files.pop(finished.journal).close()
                self._current = JournalFile.open(self.folder / self._name(), header)
                self._files[self._current.journal] = self._current
            return self._current

    def _file(self, number: Number) -> JournalFile:
        """The file of a line that was counted. Raises JournalError where it was closed meanwhile."""
        try:
            return self._files[number.journal]
        except KeyError:
            raise JournalError("the journal was closed while something was armed: it is not sent") from None

    def _meet(self, identity: int) -> None:
        """A database that this process has not seen before, or one that was put in the place of another."""
        self._identity = identity
        self._others = tuple(self._same_place())

    def _same_place(self) -> list[Path]:
        """Journals of other databases that sent for real from the same place: this one may be new for want of them."""
        if not self.folder.is_dir():
            return []
        others = [path for path in self.folder.glob(f"*/*{SUFFIX}") if path.parent.name != self._name()]
        headers = ((path, header_of(path)) for path in sorted(others))
        return [path for path, header in headers if header and header.live and header.place == self.place != ""]

    def _in_scope(self) -> list[Path]:
        own = [file.path for file in self._files.values()]
        return sorted(
            {*own, *self._others, *(path for folder in self._folders() for path in folder.glob(f"*{SUFFIX}"))}
        )

    def _folders(self) -> list[Path]:
        here = [] if self._identity is None else [self.folder / self._name()]
        return [folder for folder in {*here, *(path.parent for path in self._others)} if folder.is_dir()]

    def _name(self) -> str:
        return f"{self._identity or 0:016x}"

    def _check(self) -> str:
        return hmac.digest(self.secret, b"journal", "sha256").hex()[:8]

    def _prune(self, connection: Connection, now: datetime) -> None:
        """Take finished journals away, once a day, that are older than ``keep``; the database is ahead of them."""
        if self._pruned_at is not None and now - self._pruned_at < timedelta(days=1):
            return
        self._pruned_at = now
        for path in self._in_scope():
            old = path.exists() and path.stat().st_mtime < (now - self.keep).timestamp()
            if old and path.stem not in self._files and remove_if_free(path):
                marks.forget(connection, path.stem)
