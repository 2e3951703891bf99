"""Whom each text reaches now, by the pass's own statement and gates, and the differences, all as sets in SQL.

``plan_reach`` is a temporary table: one row a side, rule and subject. It ends with the transaction.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Index,
    MetaData,
    Select,
    String,
    func,
    insert,
    literal,
    select,
)

from beforehand.passes.deciding import count_candidates, decide_on
from beforehand.planning.report import Moved, Reach
from beforehand.wiring import App
from messaging import guards
from messaging.candidates import candidate, open_for_decision, outside_key, settle_statistics, table_of
from models.temporary import temporary
from models.types import BigKey
from rules.loader import Rule

OLD, NEW = "old", "new"

FIRST = 5
"""So many ids of those who are added or drop out are shown."""

reach = temporary(
    "plan_reach",
    MetaData(),
    Column("side", String(3), nullable=False),
    Column("rule_id", String(100), nullable=False),
    Column("subject_id", BigKey, nullable=False),
    Column("customer_id", BigKey),
    Column("going", Boolean, nullable=False),
    Index("ix_temp_plan_reach", "rule_id", "side", "subject_id"),
)


def make_room(connection: Connection) -> None:
    """Make the temporary table, empty, in the running transaction."""
    reach.create(connection, checkfirst=False)


def look(
    connection: Connection, app: App, rule: Rule, side: str, now: datetime, *, as_live: bool = True
) -> tuple[Reach, guards.Case]:
    """Decide on everybody and keep whom ``rule`` reaches as one side; ``as_live``: as if it were, and had no backlog.

    The candidates stay in the transaction, for who asks more about them. Raises RuleErrors for mixed currencies.
    """
    case = decide_on(connection, app, rule, now, preview=as_live)
    names = ["side", "rule_id", "subject_id", "customer_id", "going"]
    found = select(
        literal(side), literal(rule.id), candidate.c.subject_id, candidate.c.customer_id, open_for_decision()
    )
    connection.execute(insert(reach).from_select(names, found))
    settle_statistics(connection, reach)
    matched, customers = count_candidates(connection)
    going, _people = count_candidates(connection, open_for_decision())
    return Reach(matched, customers, going, guards.withheld(connection)), case


def moved(connection: Connection, rule: Rule, *, going: bool, by_customer: bool = False) -> Moved:
    """Who is on the one side of a rule and not on the other; ``going``: only those whom no gate withholds.

    ``by_customer`` compares the customers behind the subjects, where the two texts are about other subjects.
    """
    key = "customer_id" if by_customer else "subject_id"
    added = _only_on(NEW, OLD, rule.id, key, going)
    dropped = _only_on(OLD, NEW, rule.id, key, going)
    subject = "customer" if by_customer else rule.terms.subject
    return Moved(
        _count(connection, added),
        _count(connection, dropped),
        _first(connection, added, subject),
        _first(connection, dropped, subject),
    )


def _only_on(side: str, other: str, rule_id: str, key: str, going: bool) -> Select[Any]:
    return select(_of(side, rule_id, key, going).except_(_of(other, rule_id, key, going)).subquery().c[key].label("id"))


def _of(side: str, rule_id: str, key: str, going: bool) -> Select[Any]:
    where: list[ColumnElement[bool]] = [reach.c.side == side, reach.c.rule_id == rule_id, reach.c[key].is_not(None)]
    if going:
        where.append(reach.c.going)
    return select(reach.c[key]).where(*where)


def _count(connection: Connection, which: Select[Any]) -> int:
    return int(connection.execute(select(func.count()).select_from(which.subquery())).scalar_one())


def _first(connection: Connection, which: Select[Any], subject: str) -> tuple[str, ...]:
    """The first few by the ids that the sources know them by."""
    table = table_of(subject)
    few = select(outside_key(table)).where(table.c.id.in_(which)).order_by(table.c.id).limit(FIRST)
    return tuple(map(str, connection.execute(few).scalars()))
