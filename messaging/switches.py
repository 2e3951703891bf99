"""The kill switches: what has been stopped, all of it or by rule, channel or endpoint."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, false, or_, select, true, update

from messaging.consents import EVERY
from models.database import dialect_insert
from models.housekeeping import Switch

switch = Switch.__table__  # type: ignore[attr-defined]

HOLD = "restore"
"""The scope that stops everything, the operator's own systems too, while the database is behind the journal."""


def stopped(
    connection: Connection,
    rule_id: ColumnElement[Any],
    kind: str,
    name: ColumnElement[Any],
    *,
    halted: Collection[str] = (),
) -> ColumnElement[bool]:
    """A condition on the table of these columns: a kill switch (all, its rule, its ``kind``) is set, or all is held.

    ``kind`` is the word before the name in a switch's scope, such as ``channel``. ``halted`` are the scopes that the
    stop file names. No switch set: SQL's ``false``.
    """
    return covered({*scopes_set(connection), *halted}, rule_id, kind, name)


def scopes_set(connection: Connection) -> set[str]:
    """The scopes of all switches that are set, a restore's hold too."""
    return set(connection.execute(select(switch.c.scope).where(switch.c.stopped_at.is_not(None))).scalars())


def covered(
    scopes: Collection[str], rule_id: ColumnElement[Any], kind: str, name: ColumnElement[Any]
) -> ColumnElement[bool]:
    """The same for given ``scopes``."""
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


def stop(connection: Connection, scope: str, by: str, now: datetime) -> bool:
    """Set a kill switch: ``all``, ``rule:ID``, ``channel:NAME`` or ``webhook:NAME``. False: it was set already."""
    put = dialect_insert(connection, switch).values(scope=scope, stopped_at=now, by=by[:100])
    again = put.on_conflict_do_update(
        index_elements=["scope"], set_={"stopped_at": now, "by": by[:100]}, where=switch.c.stopped_at.is_(None)
    )
    return connection.execute(again.returning(switch.c.scope)).first() is not None


def resume(connection: Connection, scope: str) -> bool:
    """Take a kill switch back: what it held goes on. False: it was not set. A restore's hold is none of them."""
    held = update(switch).where(switch.c.scope == scope, switch.c.scope != HOLD, switch.c.stopped_at.is_not(None))
    return connection.execute(held.values(stopped_at=None).returning(switch.c.scope)).first() is not None


def set_now(connection: Connection) -> dict[str, str]:
    """The kill switches that are set, with who set them."""
    rows = select(switch.c.scope, switch.c.by).where(switch.c.stopped_at.is_not(None), switch.c.scope != HOLD)
    return {row.scope: row.by or "" for row in connection.execute(rows.order_by(switch.c.scope))}
