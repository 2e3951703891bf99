"""Stand-ins: temporary tables that bear the names of the real ones, so that the real gates and planners use them.

In SQLite and in PostgreSQL a name without a schema means the temporary table first. What a replay writes so goes into
tables of its own, in a transaction that is rolled back; the real rows are read by their schema, and never locked.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    DefaultClause,
    Engine,
    FromClause,
    Index,
    MetaData,
    Select,
    Table,
    UniqueConstraint,
    and_,
    case,
    func,
    insert,
    literal,
    null,
    or_,
    select,
    text,
    update,
)

from beforehand.passes.in_force import last_live_pass
from messaging.candidates import TABLES, UNTOLD
from models.database import reading
from models.temporary import make_anew, temporary, temporary_schema
from models.types import UTCDateTime
from models.vocabulary import MatchState, MessageState, RuleStatus
from rules.loader import Rule

NAMES = (
    *("match", "message", "voucher", "task", "webhook", "survey", "rule_pass", "rule_version", "rule_in_force"),
    "past_send",
)
"""What a pass, an advance and a dispatch write; sends that a restored database had forgotten are left out."""

WRITES = (9, 18, 23)
"""SQLite's codes for DELETE, INSERT and UPDATE. Source: https://sqlite.org/c3ref/c_alter_table.html"""

_INDEXES = {"match": [("subject_id",), ("customer_id",), ("due_at",)], "message": [("due_at",)]}
_TEMP = MetaData()
_REAL = {"sqlite": MetaData(schema="main"), "postgresql": MetaData(schema="public")}


def _stand_in(table: Table) -> Table:
    """A temporary table with the columns and unique keys of ``table``; a foreign key cannot lead out of the schema."""
    columns = [
        Column(c.name, c.type, primary_key=c.primary_key, nullable=c.nullable, server_default=_filled(c))
        for c in table.columns
    ]
    keys = [UniqueConstraint(*(c.name for c in key.columns)) for key in _unique(table)]
    indexed = [tuple(c.name for c in index.columns) for index in table.indexes if not index.unique]
    wanted = dict.fromkeys([*indexed, *_INDEXES.get(table.name, [])])
    indexes = [Index(f"ix_stand_in_{table.name}_{number}", *names) for number, names in enumerate(wanted)]
    return temporary(table.name, _TEMP, *columns, *keys, *indexes, sqlite_autoincrement="id" in table.c)


def _filled(column: Column[Any]) -> Any:
    """What the database writes where a planner says nothing."""
    return column.server_default.arg if isinstance(column.server_default, DefaultClause) else None


def _unique(table: Table) -> list[Any]:
    keys: list[Any] = [each for each in table.constraints if isinstance(each, UniqueConstraint)]
    return keys + [index for index in table.indexes if index.unique]


STAND_INS = {name: _stand_in(TABLES[name]) for name in NAMES}
match, message = STAND_INS["match"], STAND_INS["message"]


def real(connection: Connection, name: str) -> FromClause:
    """The real table, by its schema: a stand-in does not hide it."""
    metadata = _REAL[connection.dialect.name]
    schema = str(metadata.schema)
    known = metadata.tables.get(f"{schema}.{name}")
    if known is None:
        known = TABLES[name].to_metadata(metadata, schema=schema)
    return known.alias(f"real_{name}")


@contextmanager
def replaying(engine: Engine) -> Iterator[Connection]:
    """One snapshot in which stand-ins may be made and written, and nothing else; all of it is rolled back.

    SQLite refuses a write to a real table outright. PostgreSQL: repeatable read, so that a long replay sees one state.
    """
    with reading(engine) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
            yield connection
            return
        raw = connection.connection.driver_connection
        assert raw is not None
        raw.set_authorizer(_only_temporary)
        try:
            yield connection
        finally:
            raw.set_authorizer(None)


def _only_temporary(action: int, table: str | None, _column: str | None, schema: str | None, _by: str | None) -> int:
    refused = action in WRITES and schema == "main" and not str(table).startswith("sqlite_")
    return 1 if refused else 0  # SQLITE_DENY, SQLITE_OK


def prepare(connection: Connection, rule: Rule, start: datetime) -> dict[str, int]:
    """Make the stand-ins and fill them with what was there before ``start``.

    Of the rule itself: what it had begun by then, ended, because it goes on as it really did; and what it withheld.
    Of everybody else: all, but for messages, which come as their time comes (:func:`feed`). Returns the highest number
    of a real row by table: the replay's own are above it.
    """
    highest = {}
    make_anew(connection, _TEMP.sorted_tables)
    for table in _TEMP.sorted_tables:
        if "id" in table.c:
            highest[table.name] = _number_on(connection, table)
    rule_id = rule.id
    _copy_matches(connection, rule_id, start)
    mine = _begun_later(connection, rule_id, start)
    for name in ("voucher", "survey"):
        rows = real(connection, name)
        others = or_(rows.c.match_id.is_(None), rows.c.match_id.not_in(mine))
        _copy(connection, name, select(rows).where(others))
    passes, versions = real(connection, "rule_pass"), real(connection, "rule_version")
    before = and_(passes.c.rule_id == rule_id, passes.c.started_at < start)
    _copy(connection, "rule_pass", select(passes).where(before))
    _copy(connection, "rule_version", select(versions).where(versions.c.rule_id == rule_id))
    _bring_into_force(connection, rule, start)
    feed(connection, rule_id, start, None, start, also=lambda rows: rows.c.created_at < start)
    settle_statistics(connection)
    return highest


def _bring_into_force(connection: Connection, rule: Rule, start: datetime) -> None:
    """As if the rule had gone live at ``start``; or as live before, where it really had a pass by then."""
    last = last_live_pass(connection, rule.id)
    since = start if last is None else last.started_at
    row = {"rule_id": rule.id, "version": rule.terms.version, "status": RuleStatus.LIVE, "since": since}
    connection.execute(insert(STAND_INS["rule_in_force"]).values(row | {"live_since": since}))


def settle_statistics(connection: Connection) -> None:
    """Let PostgreSQL count the stand-ins' rows."""
    if connection.dialect.name == "postgresql":
        for table in STAND_INS.values():
            connection.execute(text(f"ANALYZE {temporary_schema(connection)}.{table.name}"))


def _number_on(connection: Connection, table: Table) -> int:
    """New rows get numbers that no real row has: receipts and attempts point at real ones."""
    highest = int(connection.execute(select(func.max(real(connection, table.name).c.id))).scalar() or 0)
    if connection.dialect.name == "sqlite":
        made = text("INSERT INTO temp.sqlite_sequence (name, seq) VALUES (:name, :highest)")
        connection.execute(made, {"name": table.name, "highest": highest})
    else:
        named = text("SELECT setval(pg_get_serial_sequence(:name, 'id'), :next, false)")
        connection.execute(named, {"name": f"pg_temp.{table.name}", "next": highest + 1})
    return highest


def _copy(connection: Connection, name: str, rows: Select[Any]) -> None:
    connection.execute(insert(STAND_INS[name]).from_select([c.name for c in rows.selected_columns], rows))


def _begun_later(connection: Connection, rule_id: str, start: datetime) -> Select[Any]:
    """The rule's real matches that a replay from ``start`` takes the place of."""
    rows = real(connection, "match")
    later = or_(rows.c.started_at.is_(None), rows.c.started_at >= start)
    return select(rows.c.id).where(rows.c.rule_id == rule_id, later)


def _of_others(connection: Connection, rows: FromClause, rule_id: str, start: datetime) -> ColumnElement[bool]:
    """A condition on the real messages: of other rules, or of what the rule had begun before ``start``."""
    return or_(rows.c.rule_id != rule_id, rows.c.match_id.not_in(_begun_later(connection, rule_id, start)))


def _copy_matches(connection: Connection, rule_id: str, start: datetime) -> None:
    """Matches begun before ``start``, as ended; and those that were withheld then, as seen by the last pass before."""
    rows, passes = real(connection, "match"), real(connection, "rule_pass")
    last = select(func.max(passes.c.started_at)).where(passes.c.rule_id == rule_id, passes.c.started_at < start)
    seen = connection.execute(last).scalar()
    begun = rows.c.started_at < start
    unchanged = and_(rows.c.state == MatchState.WITHHELD.value, rows.c.seen_at < start)
    state = case((begun, literal(MatchState.DONE.value)), else_=literal(MatchState.WITHHELD.value))
    then = {
        "state": state,
        "started_at": case((begun, rows.c.started_at)),
        "seen_at": case((or_(begun, unchanged), rows.c.seen_at), else_=literal(seen, UTCDateTime())),
        "reason": case((rows.c.state == MatchState.WITHHELD.value, rows.c.reason)),
        "next_step": literal(0),
        "due_at": null(),
        "ended_at": case((begun, rows.c.started_at)),
    }
    columns = [then.get(c.name, c).label(c.name) for c in rows.c]
    known = or_(begun, and_(rows.c.matched_at < start, or_(unchanged, literal(seen is not None))))
    _copy(connection, "match", select(*columns).where(rows.c.rule_id == rule_id, known))


def feed(
    connection: Connection, rule_id: str, start: datetime, after: datetime | None, until: datetime, *, also: Any = None
) -> None:
    """Bring in the messages that others planned in (``after``, ``until``], and what became of earlier ones by then.

    ``after`` None: from the beginning. ``also`` (a condition on the real table) narrows those planned at ``until``.
    """
    rows = real(connection, "message")
    come = [rows.c.created_at <= until, _of_others(connection, rows, rule_id, start)]
    if after is not None:
        come.append(rows.c.created_at >= after)
    if also is not None:
        come.append(or_(rows.c.created_at < until, also(rows)))
    come.append(rows.c.id.not_in(select(message.c.id)))
    ended = and_(rows.c.ended_at > until, rows.c.state.in_([state.value for state in UNTOLD]))
    waiting = or_(rows.c.accepted_at > until, ended)
    then: dict[str, ColumnElement[Any]] = {"state": case((waiting, MessageState.PLANNED.value), else_=rows.c.state)}
    columns = [then.get(c.name, c).label(c.name) for c in rows.c]
    _copy(connection, "message", select(*columns).where(*come))
    if after is not None:
        news = or_(rows.c.accepted_at.between(after, until), rows.c.ended_at.between(after, until))
        became = and_(rows.c.id == message.c.id, news, func.coalesce(~waiting, True))
        connection.execute(update(message).where(became).values(state=rows.c.state))


def times_of_others(connection: Connection, rule_id: str, start: datetime, end: datetime) -> list[datetime]:
    """The moments in the period at which others' messages came or changed, oldest first."""
    rows = real(connection, "message")
    others = _of_others(connection, rows, rule_id, start)
    found: set[datetime] = set()
    for column in (rows.c.created_at, rows.c.accepted_at, rows.c.ended_at):
        times = select(column).where(others, column >= start, column < end).distinct()
        found.update(connection.execute(times).scalars())
    return sorted(found)
