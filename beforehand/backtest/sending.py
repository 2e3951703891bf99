"""What becomes of planned messages in a replay: the claim's last look, and then every one of them arrives."""

from datetime import datetime

from sqlalchemy import Connection, select, update

from beforehand.passes import cancel_stopped
from beforehand.passes.advancing import Versions
from beforehand.passes.house import policy_of
from beforehand.wiring import App
from messaging.candidates import message
from messaging.claims import CLAIMABLE
from messaging.recheck import recheck
from models.vocabulary import MessageState

AT_ONCE = 500
"""Messages looked at in one go, so that statements stay of a size."""


def send_due(connection: Connection, app: App, now: datetime, *, above: int, versions: Versions) -> int:
    """Let go what is due of the replay's own messages (ids over ``above``). Returns how many were looked at.

    The rule's ``stop_if``, suppression, consent, guest list, send-by and quiet hours are asked once more, as the claim
    asks them. What may go is taken as accepted and delivered at that moment.
    """
    m, looked = message.c, 0
    due = select(m.id).where(m.id > above, m.state.in_(CLAIMABLE), m.due_at <= now)
    while ids := list(connection.execute(due.order_by(m.priority.desc(), m.due_at, m.id).limit(AT_ONCE)).scalars()):
        looked += len(ids)
        cancel_stopped(app, connection, now, ids, versions=versions)
        left = select(m.id).where(m.id.in_(ids), m.state.in_(CLAIMABLE), m.due_at <= now)
        may, _withheld = recheck(connection, list(connection.execute(left).scalars()), now, policy_of(app), as_of=now)
        arrived = {"state": MessageState.DELIVERED, "reason": None, "tries": 1, "accepted_at": now, "ended_at": now}
        connection.execute(update(message).where(m.id.in_(list(may))).values(arrived))
    return looked
