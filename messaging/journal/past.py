"""Sends that a restored database had forgotten whole: kept until their message is planned anew, and then put right.

So the match goes on, its tasks and its later steps come, and nobody is told a second time.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, delete, func, select, update

from messaging.candidates import match
from messaging.claims import message
from messaging.journal.keys import keys_of
from messaging.journal.lines import Entry, Result
from messaging.journal.putting_right import put_right
from models.database import dialect_insert
from models.delivery import PastSend
from models.vocabulary import Channel, OutcomeClass

past_send = PastSend.__table__  # type: ignore[attr-defined]

WORTH_KEEPING = (OutcomeClass.ACCEPTED, OutcomeClass.UNKNOWN, None)
"""What may have reached somebody; what was refused or not accepted may well be tried again."""


def keep(connection: Connection, entries: Sequence[Entry], now: datetime) -> int:
    """Keep what may have reached somebody and has no message any more. An accepted send outweighs an unknown one.

    Returns how many sends are kept.
    """
    rows: dict[str, dict[str, Any]] = {}
    for entry in entries:
        kind = entry.result.kind if entry.result else None
        if not entry.key or kind not in WORTH_KEEPING:
            continue
        if rows.get(entry.key, {}).get("state") != OutcomeClass.ACCEPTED:
            rows[entry.key] = _row(entry, now)
    if rows:
        put = dialect_insert(connection, past_send)
        new = {name: put.excluded[name] for name in ("state", "provider_id", "content", "sent_at")}
        better = past_send.c.state != OutcomeClass.ACCEPTED.value
        put = put.on_conflict_do_update(index_elements=["key"], set_=new, where=better)
        connection.execute(put, list(rows.values()))
    return len(rows)


def _row(entry: Entry, now: datetime) -> dict[str, Any]:
    result = entry.result
    content = {
        "attempt": entry.attempt_id,
        "lease": entry.lease,
        "hash": entry.address_hash,
        "provider": entry.provider,
        "fingerprint": entry.fingerprint,
        "until": entry.lease_until.isoformat(),
        "code": result.code if result else None,
        "answered": result.at.isoformat() if result else None,
        "suppress": bool(result and result.suppress),
    }
    return {
        "key": entry.key,
        "channel": entry.channel.value,
        "state": (result.kind if result else OutcomeClass.UNKNOWN).value,
        "provider_id": result.provider_id if result else None,
        "content": content,
        "sent_at": entry.armed_at,
        "found_at": now,
    }


def _entry(row: Any) -> Entry:
    said = row.content
    result = said["answered"] and Result(
        kind=OutcomeClass(row.state),
        code=said["code"],
        provider_id=row.provider_id,
        suppress=said["suppress"],
        at=datetime.fromisoformat(said["answered"]),
    )
    return Entry(
        attempt_id=said["attempt"],
        lease=said["lease"],
        message_id=0,
        key=row.key,
        address_hash=said["hash"],
        channel=Channel(row.channel),
        provider=said["provider"],
        armed_at=row.sent_at,
        lease_until=datetime.fromisoformat(said["until"]),
        fingerprint=said["fingerprint"],
        result=result or None,
    )


def recall(connection: Connection, ids: Sequence[int] | Select[Any], now: datetime, secret: bytes) -> int:
    """Put those of these messages right that went out before the database was restored. Returns how many they are.

    They are ACCEPTED under the provider's id, or UNKNOWN; their match began when they were sent. Costs one look at an
    empty table where nothing was forgotten.
    """
    if connection.execute(select(past_send.c.key).limit(1)).first() is None:
        return 0
    m = message.c
    rows = connection.execute(
        select(m.id, m.rule_id, m.occasion, m.step, m.customer_id, m.match_id).where(m.id.in_(ids))
    ).mappings()
    messages = {row["id"]: row for row in rows}
    keys = keys_of(connection, [dict(row) for row in messages.values()], secret)
    chosen = select(past_send).where(past_send.c.key.in_(set(keys.values())))
    known = {row.key: _entry(row) for row in connection.execute(chosen)}
    found = {key: [known[word]] for key, word in keys.items() if word in known}
    put_right(connection, found, now)
    for key, (entry,) in found.items():
        begun = func.coalesce(match.c.started_at, entry.armed_at, type_=match.c.started_at.type)
        earlier = update(match).where(match.c.id == messages[key]["match_id"], begun >= entry.armed_at)
        connection.execute(earlier.values(started_at=entry.armed_at))
    connection.execute(delete(past_send).where(past_send.c.key.in_(known)))
    return len(found)
