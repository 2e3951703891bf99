"""The kill switches: what has been stopped, all of it or by rule, channel or endpoint."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, false, or_, select, true

from messaging.consents import EVERY
from models.housekeeping import Switch

switch = Switch.__table__  # type: ignore[attr-defined]

HOLD = "restore"
"""The scope that stops everything, the operator's own systems too, while the database is behind the journal."""


def stopped(
    connection: Connection, rule_id: ColumnElement[Any], kind: str, name: ColumnElement[Any]
) -> ColumnElement[bool]:
    """A condition on the table of these columns: a kill switch (all, its rule, its ``kind``) is set, or all is held.

    ``kind`` is the word before the name in a switch's scope, such as ``channel``. No switch set: SQL's ``false``.
    """
    scopes = connection.execute(select(switch.c.scope).where(switch.c.stopped_at.is_not(None))).scalars().all()
    if EVERY in scopes or HOLD in scopes:
        return true()
    rules, names = (
        [scope.removeprefix(f"{word}:") for scope in scopes if scope.startswith(f"{word}:")] for word in ("rule", kind)
    )
    return or_(false(), rule_id.in_(rules), name.in_(names)) if scopes else false()


def is_held(connection: Connection) -> bool:
    """Whether everything is held until the database has been reconciled with the journal."""
    held = select(switch.c.scope).where(switch.c.scope == HOLD, switch.c.stopped_at.is_not(None))
    return connection.execute(held).first() is not None
