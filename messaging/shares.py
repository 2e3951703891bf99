"""The history of holdouts: which share was kept out, of a rule or of everything, from which moment on.

Whoever measures an effect later must know who was kept out at the time, and the draw is the same for ever: with the
share of that time, anybody can work out who it was.
"""

from datetime import datetime

from sqlalchemy import Connection, select

from messaging.guards.draw import EVERY_RULE
from models.database import dialect_insert
from models.housekeeping import ShareHistory

history = ShareHistory.__table__  # type: ignore[attr-defined]


def note_share(connection: Connection, percent: float, now: datetime, *, rule_id: str = EVERY_RULE) -> bool:
    """Write down the share that is held out from now on, where it differs from the last one. In a write transaction.

    ``percent`` 0 to 100; without ``rule_id`` the house's own. True where it was written.
    """
    h = history.c
    last = select(h.percent).where(h.rule_id == rule_id, h.what == "holdout").order_by(h.since.desc()).limit(1)
    if (connection.execute(last).scalar() or 0) == percent:
        return False
    row = {"rule_id": rule_id, "what": "holdout", "percent": percent, "since": now}
    put = dialect_insert(connection, history).values(row)
    again = put.on_conflict_do_update(index_elements=["rule_id", "what", "since"], set_={"percent": percent})
    connection.execute(again)
    return True


def share_at(connection: Connection, at: datetime, *, rule_id: str = EVERY_RULE) -> float:
    """The share (percent) that was held out at a moment; 0 where nobody was."""
    h = history.c
    then = select(h.percent).where(h.rule_id == rule_id, h.what == "holdout", h.since <= at)
    return float(connection.execute(then.order_by(h.since.desc()).limit(1)).scalar() or 0)
