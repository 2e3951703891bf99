"""Known issues: what staff declare in files becomes rows, and the order lines that they touch become exposures."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from sqlalchemy import ColumnElement, Connection, Engine, Executable, Select, Table, delete, exists, literal, select

from beforehand.ingest.issue_files import Declared, Scope, read_issues
from models import Change, Exposure, KnownIssue, Match, Order, OrderLine, Product
from models.database import dialect_insert, writing
from models.types import UTCDateTime

CHANGE, EXPOSURE, ISSUE, MATCH, ORDER, LINE, PRODUCT = (
    cast(Table, vars(model)["__table__"]) for model in (Change, Exposure, KnownIssue, Match, Order, OrderLine, Product)
)
GOODS = {"products": PRODUCT.c.external_id, "category": PRODUCT.c.category, "supplier": PRODUCT.c.supplier}
WINDOWS = {"ordered_between": ORDER.c.placed_at, "delivered_between": ORDER.c.delivered_at}


@dataclass(frozen=True)
class IssueReport:
    """What a reading of the issues folder led to. ``notes`` are sentences about what staff may want to look at."""

    issues: int
    new: int
    changed: int
    exposures_new: int
    exposures_gone: int = 0
    notes: tuple[str, ...] = ()


def declare(engine: Engine, folder: Path, now: datetime) -> IssueReport:
    """Read ``folder`` and bring known issues and exposures in line with it and with the orders as they are now.

    Idempotent: call it after each ingest, so that new orders are seen. An issue whose ``declared_at`` is still to come
    is left alone until then. An exposure that an edited scope no longer covers is removed as long as no rule has
    looked at it; a file that is removed changes nothing (close the issue by ``closed_at``). Raises MappingErrors with
    everything that is wrong; then nothing is changed.
    """
    declared = [issue for issue in read_issues(folder) if issue.declared_at is None or issue.declared_at <= now]
    with writing(engine) as connection:
        new, changed = _upsert(connection, declared, now)
        found = gone = 0
        for issue in declared:
            gone += _drop_exposures(connection, issue)
            if issue.closed_at is None or issue.closed_at > now:
                found += _find_exposures(connection, issue, now)
        events = {"issue.declared": new, "issue.changed": changed, "exposure.updated": found}
        _touch(connection, [event for event, count in events.items() if count], now)
        notes = tuple(note for issue in declared for note in _notes(connection, issue))
    return IssueReport(len(declared), new, changed, found, gone, notes)


def _upsert(connection: Connection, declared: list[Declared], now: datetime) -> tuple[int, int]:
    known = {row.external_id: row for row in connection.execute(select(ISSUE))}
    new = changed = 0
    for issue in declared:
        row = known.get(issue.external_id)
        values = _values(issue, first_seen=row.declared_at if row else now)
        if row is None:
            connection.execute(ISSUE.insert().values(external_id=issue.external_id, changed_at=now, **values))
            new += 1
        elif any(getattr(row, name) != value for name, value in values.items()):
            connection.execute(ISSUE.update().where(ISSUE.c.id == row.id).values(changed_at=now, **values))
            changed += 1
    return new, changed


def _values(issue: Declared, first_seen: datetime) -> dict[str, Any]:
    return {
        "title": issue.title,
        "severity": issue.severity,
        "advice": issue.advice,
        "texts": issue.texts,
        "affects": issue.scope.plainly(),
        "declared_at": issue.declared_at or first_seen,
        "closed_at": issue.closed_at,
    }


def _touched(scope: Scope) -> list[ColumnElement[bool]]:
    # an order that was called off never reached anybody
    parts: list[ColumnElement[bool]] = [ORDER.c.cancelled_at.is_(None)]
    parts += [GOODS[name].in_(values) for name, values in scope.goods.items()]
    for name, (begin, end) in scope.windows.items():
        column = WINDOWS[name]
        parts += [column.is_not(None)]
        parts += [column >= begin] if begin else []
        parts += [column < end] if end else []
    return parts


def _lines(scope: Scope, *columns: ColumnElement[Any]) -> Select[Any]:
    joined = LINE.join(ORDER, ORDER.c.id == LINE.c.order_id).join(PRODUCT, PRODUCT.c.id == LINE.c.product_id)
    return select(*columns).select_from(joined).where(*_touched(scope))


def _issue_id(issue: Declared) -> Any:
    return select(ISSUE.c.id).where(ISSUE.c.external_id == issue.external_id).scalar_subquery()


def _find_exposures(connection: Connection, issue: Declared, now: datetime) -> int:
    lines = _lines(
        issue.scope,
        _issue_id(issue),
        ORDER.c.customer_id,
        ORDER.c.id,
        LINE.c.id,
        LINE.c.product_id,
        literal(now, UTCDateTime()),
    )
    columns = ["issue_id", "customer_id", "order_id", "order_line_id", "product_id", "found_at"]
    insert = dialect_insert(connection, EXPOSURE).from_select(columns, lines)
    insert = insert.on_conflict_do_nothing(index_elements=["issue_id", "order_line_id"])
    return _count(connection, insert)


def _drop_exposures(connection: Connection, issue: Declared) -> int:
    seen = exists().where(MATCH.c.subject == "exposure", MATCH.c.subject_id == EXPOSURE.c.id)
    covered = _lines(issue.scope, LINE.c.id)
    gone = delete(EXPOSURE).where(
        EXPOSURE.c.issue_id == _issue_id(issue), EXPOSURE.c.order_line_id.not_in(covered), ~seen
    )
    return _count(connection, gone)


def _count(connection: Connection, statement: Executable) -> int:
    # without the option SQLAlchemy lets the driver's count of an INSERT .. SELECT go
    return connection.execution_options(preserve_rowcount=True).execute(statement).rowcount


def _touch(connection: Connection, events: list[str], now: datetime) -> None:
    for event in events:
        insert = dialect_insert(connection, CHANGE).values(event=event, changed_at=now)
        connection.execute(
            insert.on_conflict_do_update(index_elements=["event"], set_={"changed_at": insert.excluded.changed_at})
        )


def _notes(connection: Connection, issue: Declared) -> Iterable[str]:
    # a slip in a product's number would otherwise mean that nobody is told, and nobody notices
    for name, values in issue.scope.goods.items():
        column = GOODS[name]
        known = set(connection.execute(select(column).where(column.in_(values)).distinct()).scalars())
        for value in sorted(set(values) - known):
            yield f"{issue.place}: {issue.external_id} affects {name} '{value}', which no product known to us has"
