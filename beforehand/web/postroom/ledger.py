"""The post room's own ledger: in memory, and as a JSON Lines file that only grows and survives a restart.

It knows nothing of our database, so that tests can judge the one by the other.
"""

import json
import os
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from beforehand.web.postroom.entries import Callback, Entry
from models.vocabulary import Channel

# Twilio's default words: https://www.twilio.com/docs/messaging/tutorials/advanced-opt-out
STOP_WORDS = frozenset({"stop", "stopall", "unsubscribe", "cancel", "end", "quit", "optout", "revoke"})
START_WORDS = frozenset({"start", "yes", "unstop"})


class Ledger:
    """Every entry, oldest first. Safe to use from many threads; reading changes nothing.

    ``path`` None keeps it in memory only. An entry's line is on the disk (fsync) before :meth:`add` returns, so that
    what was accepted is on record even when the machine loses power the moment after.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._changed = threading.Condition(threading.RLock())
        self._entries: list[Entry] = []
        self._index: dict[str, int] = {}
        self._stopped: set[tuple[str, str]] = set()
        self._n = 0
        self.version = 0
        self._file = None
        if path is not None:
            with self._changed:
                self._load(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a", encoding="utf-8")

    def __len__(self) -> int:
        with self._changed:
            return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    @property
    def entries(self) -> list[Entry]:
        """All entries as they are now, oldest first."""
        with self._changed:
            return list(self._entries)

    @property
    def last(self) -> int:
        """The highest ``n`` given out so far."""
        return self._n

    def of(self, kind: Channel | str, *, to: str | None = None) -> list[Entry]:
        """The outbound entries of one channel, oldest first, all or those to one address."""
        return [e for e in self.entries if e.kind == kind and not e.inbound and to in (None, e.to)]

    def after(self, n: int, limit: int | None = None) -> list[Entry]:
        """Entries with a higher number than ``n``, oldest first, at most ``limit``."""
        with self._changed:
            first = bisect_right(self._entries, n, key=lambda entry: entry.n)
            return self._entries[first : None if limit is None else first + limit]

    def get(self, sid: str) -> Entry | None:
        """The entry with this id."""
        with self._changed:
            at = self._index.get(sid)
            return None if at is None else self._entries[at]

    def by_number(self, n: int) -> Entry | None:
        """The entry with this ``n``."""
        return next((entry for entry in self.after(n - 1, 1) if entry.n == n), None)

    def add(self, **values: Any) -> Entry:
        """Keep one more entry; its number and first history line are given here."""
        with self._changed:
            self._n += 1
            entry = Entry(n=self._n, history=((values["status"], values["at"]),), **values)
            self._write({"record": "entry", **entry.as_json()}, durable=True)
            self._put(entry)
            return entry

    def status(self, sid: str, status: str, at: datetime, error_code: int | None = None) -> Entry | None:
        """Move an entry to its next status. None when it is not (or no longer) here."""
        return self._change({"record": "status", "sid": sid, "status": status, "at": at, "error_code": error_code})

    def callback(self, sid: str, callback: Callback) -> Entry | None:
        """Keep one try of a status callback."""
        return self._change({"record": "callback", "sid": sid, **vars(callback)})

    def script(self, sid: str, body: str, pressed: str | None = None) -> Entry | None:
        """Keep the call script that was fetched, and the key that led to it."""
        return self._change({"record": "script", "sid": sid, "body": body, "pressed": pressed})

    def answered(self, sid: str, who: str) -> Entry | None:
        """Keep who picked up a call."""
        return self._change({"record": "answered", "sid": sid, "who": who})

    def note(self, sid: str, text: str) -> Entry | None:
        """Keep a remark on what went wrong."""
        return self._change({"record": "note", "sid": sid, "text": text})

    def stopped(self, ours: str, theirs: str) -> bool:
        """Whether that customer has written STOP to that number of ours, and not START since."""
        return (ours, theirs) in self._stopped

    def clear(self, at: datetime) -> None:
        """Forget all entries and all STOPs. The file keeps its lines and says so; numbers go on counting."""
        with self._changed:
            self._write({"record": "cleared", "at": at, "n": self._n})
            self._forget()
            self._tell()

    def wait_for(
        self, n: int, matching: Callable[[Entry], bool] = lambda entry: True, timeout: float = 10
    ) -> list[Entry]:
        """Wait until ``n`` entries match, and give them. Raises TimeoutError, saying how many came."""

        until = time.monotonic() + timeout
        while True:
            with self._changed:
                found = [entry for entry in self._entries if matching(entry)]
                if len(found) >= n:
                    return found
                left = until - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"{len(found)} of {n} messages reached the post room in {timeout} s")
                self._changed.wait(left)
            # Looking through thousands at every single change would slow down what is waited for.
            time.sleep(0.002 + len(found) / 200_000)

    def close(self) -> None:
        """Close the file; memory stays readable."""
        with self._changed:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _change(self, record: dict[str, Any]) -> Entry | None:
        with self._changed:
            if record["sid"] not in self._index:
                return None
            self._write(record)
            return self._apply(record)

    def _apply(self, record: dict[str, Any]) -> Entry:
        at = self._index[record["sid"]]
        entry = _changed(self._entries[at], record)
        self._entries[at] = entry
        self._tell()
        return entry

    def _put(self, entry: Entry) -> None:
        self._index[entry.sid] = len(self._entries)
        self._entries.append(entry)
        if entry.kind == Channel.SMS and entry.inbound:
            word = entry.body.strip().lower()
            if word in STOP_WORDS:
                self._stopped.add((entry.to, entry.from_))
            elif word in START_WORDS:
                self._stopped.discard((entry.to, entry.from_))
        self._tell()

    def _tell(self) -> None:
        self.version += 1
        self._changed.notify_all()

    def _forget(self) -> None:
        self._entries.clear()
        self._index.clear()
        self._stopped.clear()

    def _write(self, record: dict[str, Any], *, durable: bool = False) -> None:
        if self._file is not None:
            self._file.write(json.dumps(record, ensure_ascii=False, default=datetime.isoformat) + "\n")
            self._file.flush()
            if durable:
                os.fsync(self._file.fileno())

    def _load(self, path: Path) -> None:
        if not path.exists():
            return
        text = path.read_text(encoding="utf-8", errors="replace")
        if not text.endswith("\n") and text:
            # A killed process may leave half a line; the next record must not be glued to it.
            with path.open("a", encoding="utf-8") as file:
                file.write("\n")
        for line in text.split("\n"):
            try:
                record = json.loads(line) if line else None
            except ValueError:
                continue
            if record:
                self._replay(record)

    def _replay(self, record: dict[str, Any]) -> None:
        kind = record["record"]
        if kind == "entry":
            entry = Entry.from_json({key: value for key, value in record.items() if key != "record"})
            self._n = max(self._n, entry.n)
            self._put(entry)
        elif kind == "cleared":
            self._n = max(self._n, record["n"])
            self._forget()
        elif record["sid"] in self._index:
            if "at" in record:
                record["at"] = datetime.fromisoformat(record["at"])
            self._apply(record)


def _changed(entry: Entry, record: dict[str, Any]) -> Entry:
    """The entry as a record of the file changes it."""
    match record["record"]:
        case "status":
            history = (*entry.history, (record["status"], record["at"]))
            return replace(entry, status=record["status"], history=history, error_code=record["error_code"])
        case "callback":
            values = {key: value for key, value in record.items() if key not in ("record", "sid")}
            return replace(entry, callbacks=(*entry.callbacks, Callback(**values)))
        case "script":
            pressed = (record["pressed"],) if record["pressed"] else ()
            return replace(entry, body=record["body"], pressed=entry.pressed + pressed)
        case "note":
            return replace(entry, notes=(*entry.notes, record["text"]))
        case "answered":
            return replace(entry, answered_by=record["who"])
    raise ValueError(f"unknown record {record['record']!r}")
