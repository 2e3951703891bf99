"""Key 2 in a call: we ring again later, because the customer asked for it."""

from datetime import datetime, timedelta

from sqlalchemy import Connection, literal, null, select

from messaging.candidates import message
from messaging.plan import TRIES, reference
from messaging.steps import step_index
from models.database import dialect_insert
from models.types import UTCDateTime
from models.vocabulary import Channel, MessageState

LATER = timedelta(hours=2)
"""How long we wait before we ring again."""

WITHIN = timedelta(hours=4)
"""How long such a call is still what was asked for."""

MARK = ".later"


def ring_later(connection: Connection, message_id: int | None, now: datetime) -> bool:
    """Plan the same call once more, in two hours; quiet hours and everything else are looked at again at the claim.

    Returns whether it will be made: once a call, and not for what was no call.
    """
    m = message.c
    found = connection.execute(select(m.step, m.channel).where(m.id == message_id)).first()
    if found is None or found.channel != Channel.VOICE or found.step.endswith(MARK):
        return False
    due = now + LATER
    changed = {
        "step": literal(f"{found.step}{MARK}"),
        "state": literal(MessageState.PLANNED.value),
        "reason": null(),
        "created_at": literal(now, UTCDateTime()),
        "due_at": literal(due, UTCDateTime()),
        "expires_at": literal(due + WITHIN, UTCDateTime()),
        "tries": literal(0),
        "resends": literal(0),
        "reference": reference(m.match_id, literal(TRIES * step_index(found.step) + TRIES - 1)),
    }
    same = ("match_id", "rule_id", "version", "occasion", "customer_id", "purpose", "priority", "channel", "address")
    kept = {name: m[name] for name in (*same, "template", "language", "details", "consent_id")}
    values = kept | changed
    rows = select(*values.values()).where(m.id == message_id)
    put = dialect_insert(connection, message).from_select(list(values), rows, include_defaults=False)
    once = put.on_conflict_do_nothing()  # by its step; or by its reference, where the step's last ordinal is taken
    return bool(connection.execute(once, execution_options={"preserve_rowcount": True}).rowcount)
