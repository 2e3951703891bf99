"""What stands in a journal: one JSON object a line, and nothing by which a person could be known without our secret.

The first line says whose journal it is. A line with ``armed`` lists attempts that were about to go on the wire, one
with ``done`` what became of some. ``n`` numbers the lines that the database counts too (see ``marks``).
"""

import hmac
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from messaging.channels.base import Outcome
from messaging.claims import Claim
from models.vocabulary import Channel, OutcomeClass

Key = tuple[int, str]
"""An attempt's id and lease: ids may be given out anew by a restored database, a lease never is."""


@dataclass(frozen=True)
class Header:
    """Whose journal it is: ``database`` its id, ``place`` a keyed hash of where it was, ``live``: it really sent.

    ``check`` is a keyed hash of nothing, by which a changed secret is known.
    """

    journal: str
    database: str
    place: str
    live: bool
    check: str


@dataclass(frozen=True)
class Result:
    """What became of an attempt, as it was answered; ``suppress``: its address must not be used any more."""

    kind: OutcomeClass
    code: str
    provider_id: str | None
    suppress: bool
    at: datetime


@dataclass(frozen=True)
class Entry:
    """One attempt that was about to go on the wire; ``result`` None: nobody wrote down what became of it.

    ``key`` is the keyed hash of what was said to whom (see ``keys``), ``fingerprint`` what a listing is matched by.
    """

    attempt_id: int
    lease: str
    message_id: int
    key: str
    address_hash: str
    channel: Channel
    provider: str
    armed_at: datetime
    lease_until: datetime
    fingerprint: str
    result: Result | None = None


def header_line(header: Header) -> str:
    """The first line of a journal."""
    return _line({"v": 1} | asdict(header))


def read_header(line: str) -> Header | None:
    """The first line of a journal; None where it is none."""
    said = _read(line)
    try:
        return Header(*(said[name] for name in ("journal", "database", "place", "live", "check")))
    except KeyError:
        return None


def armed_line(
    number: int,
    claims: Sequence[Claim],
    keys: Mapping[int, str],
    fingerprints: Mapping[int, str],
    provider: str,
    now: datetime,
    secret: bytes,
) -> str:
    """The line of one armed group: claims of one channel, with their keys and fingerprints by attempt id."""
    rows = [
        [
            c.attempt_id,
            c.lease,
            c.message_id,
            keys.get(c.attempt_id, ""),
            c.address_hash,
            _masked(secret, c.lease, c.attempt_id, fingerprints.get(c.attempt_id, "")),
        ]
        for c in claims
    ]
    said = {"n": number, "t": now.isoformat(), "u": claims[0].lease_until.isoformat()}
    return _line(said | {"c": claims[0].channel.value, "p": provider, "armed": rows})


def done_line(number: int, results: Iterable[tuple[Claim, Outcome]], now: datetime) -> str:
    """The line of some results; ``number`` 0: the database has not written them down."""
    rows = [
        [c.attempt_id, c.lease, o.kind.value, o.code[:40], o.provider_id, int(o.suppress or o.bad_address)]
        for c, o in results
    ]
    return _line({"n": number, "t": now.isoformat(), "done": rows})


def entries(
    lines: Iterable[str], secret: bytes, *, after: int, told_besides: Mapping[Key, Result] | None = None
) -> Iterator[Entry]:
    """The attempts of which these lines of one journal say anything behind the number ``after`` (0: everything).

    ``told_besides`` are results that stand elsewhere. A torn line is left out: what it says never went on the wire.
    """
    armed: dict[Key, Entry] = {}
    told: dict[Key, Result] = {}
    fresh: set[Key] = set(told_besides or ())
    for said in filter(None, map(_read, lines)):
        news: set[Key] = set()
        if "armed" in said:
            found = {(entry.attempt_id, entry.lease): entry for entry in _armed(said, secret)}
            armed |= found
            news = set(found)
        elif "done" in said:
            results = dict(_done(said))
            told |= results
            news = set(results)
        if said.get("n", 0) > after:
            fresh |= news
    told |= told_besides or {}
    for key in sorted(fresh & armed.keys(), key=lambda one: (armed[one].armed_at, one)):
        yield replace(armed[key], result=told.get(key))


def owed(lines: Iterable[str]) -> dict[Key, Result]:
    """The results in these lines, whatever their numbers."""
    found: dict[Key, Result] = {}
    for said in filter(None, map(_read, lines)):
        if "done" in said:
            found |= dict(_done(said))
    return found


def unreadable(lines: Iterable[str]) -> int:
    """How many of these lines nobody can read: torn by a crash, or broken since."""
    return sum(not _read(line) for line in lines if line.strip())


def _armed(said: Mapping[str, Any], secret: bytes) -> Iterator[Entry]:
    for attempt_id, lease, message_id, key, address_hash, mark in said["armed"]:
        yield Entry(
            attempt_id=attempt_id,
            lease=lease,
            message_id=message_id,
            key=key,
            address_hash=address_hash,
            channel=Channel(said["c"]),
            provider=said["p"],
            armed_at=datetime.fromisoformat(said["t"]),
            lease_until=datetime.fromisoformat(said["u"]),
            fingerprint=_masked(secret, lease, attempt_id, mark),
        )


def _done(said: Mapping[str, Any]) -> Iterator[tuple[Key, Result]]:
    at = datetime.fromisoformat(said["t"])
    for attempt_id, lease, kind, code, provider_id, suppress in said["done"]:
        yield (attempt_id, lease), Result(OutcomeClass(kind), code, provider_id, bool(suppress), at)


def _masked(secret: bytes, lease: str, attempt_id: int, fingerprint: str) -> str:
    """A fingerprint under a keyed mask of its own, and back: it is a plain hash, and phone numbers can be tried."""
    try:
        bare = bytes.fromhex(fingerprint)
    except ValueError:
        return ""
    mask = hmac.digest(secret, f"journal/{lease}/{attempt_id}".encode(), "sha256")
    return bytes(one ^ other for one, other in zip(bare, mask, strict=False)).hex()


def _line(said: Mapping[str, Any]) -> str:
    return json.dumps(said, separators=(",", ":")) + "\n"


def _read(line: str) -> dict[str, Any]:
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
