"""Puts a batch of rows into a temporary table, finds what they are linked to, and upserts them: all set-based."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    MetaData,
    Select,
    String,
    Table,
    and_,
    cast,
    false,
    func,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.sql import ColumnElement

from beforehand.ingest.targets import SUBJECTS, TARGETS, Target
from models.changes import touch
from models.database import dialect_insert
from models.types import Json, UTCDateTime

NULL = "\\N"


@dataclass(frozen=True)
class Shape:
    """The columns of a load: ``fields`` are written, ``once`` only with a new row; ``links`` name the ways to find."""

    target: Target
    fields: tuple[str, ...]
    once: tuple[str, ...]
    links: dict[str, tuple[str, ...]]

    def stage(self) -> Table:
        """The temporary table: fields, the keys of what is linked, and room for the ids found."""
        columns: list[Column[Any]] = [Column("n", Integer)]
        if self.target.keyed:
            columns.append(Column("external_id", String))
        table = self.target.table
        columns.extend(Column(name, table.c[name].type) for name in (*self.fields, *self.once))
        for link, ways in self.links.items():
            columns.extend(Column(f"{link}:{way}", String) for way in ways)
        columns.extend(Column(f"{link}_id", BigInteger) for link in self.targets())
        return Table(f"stage_{table.name}", MetaData(), *columns, prefixes=["TEMPORARY"])

    def targets(self) -> tuple[str, ...]:
        """The links to write; a customer also where only the order or ticket leads to one."""
        found = dict.fromkeys(self.links)
        if found and "customer" in self.target.links:
            found["customer"] = None
        return tuple(found)


@dataclass
class Outcome:
    """What became of a batch. ``unlinked`` and ``shared`` are row numbers by link; the latter were too many to choose.

    ``lost`` are rows that could not be written, since what they must belong to is unknown.
    """

    new: int = 0
    changed: int = 0
    unlinked: dict[str, list[int]] = field(default_factory=dict)
    shared: list[int] = field(default_factory=list)
    lost: dict[str, list[int]] = field(default_factory=dict)


@contextmanager
def staged(connection: Connection, shape: Shape, frame: pl.DataFrame) -> Iterator[Table]:
    """A temporary table with the rows of ``frame``."""
    stage = shape.stage()
    stage.create(connection)
    frame = frame.select(*(column.name for column in stage.columns if column.name in frame.columns))
    if connection.dialect.name == "sqlite":
        _insert_sqlite(connection, stage, frame)
    else:
        _copy_postgresql(connection, stage, frame)
    yield stage
    stage.drop(connection)


def _insert_sqlite(connection: Connection, stage: Table, frame: pl.DataFrame) -> None:
    names = ", ".join(f'"{name}"' for name in frame.columns)
    marks = ", ".join("?" * frame.width)
    ready = frame.with_columns(pl.col(pl.Date).cast(pl.String))
    cursor = connection.connection.cursor()
    cursor.executemany(f"INSERT INTO {stage.name} ({names}) VALUES ({marks})", ready.rows())  # noqa: S608
    cursor.close()


def _copy_postgresql(connection: Connection, stage: Table, frame: pl.DataFrame) -> None:
    moments = [name for name in frame.columns if isinstance(stage.c[name].type, UTCDateTime)]
    ready = frame.with_columns(
        pl.from_epoch(pl.col(name), time_unit="us").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ") for name in moments
    ).with_columns(pl.col(pl.String).str.replace_all("\x00", "", literal=True))
    names = ", ".join(f'"{name}"' for name in frame.columns)
    driver = connection.connection.driver_connection
    assert driver is not None
    with driver.cursor().copy(f"COPY {stage.name} ({names}) FROM STDIN (FORMAT csv, NULL '{NULL}')") as copy:
        copy.write(ready.write_csv(None, include_header=False, null_value=NULL, quote_style="necessary"))


def upsert(connection: Connection, shape: Shape, frame: pl.DataFrame, now: datetime) -> Outcome:
    """Write one batch (``n`` numbers its rows; keys are unique in it). Only rows that differ are touched."""
    outcome = Outcome()
    with staged(connection, shape, frame) as stage:
        _find_links(connection, shape, stage, outcome)
        rows = select(stage).where(stage.c.n >= 0)
        for link, must in shape.target.links.items():
            if must:
                rows = rows.where(stage.c[f"{link}_id"].is_not(None))
        if shape.target.keyed:
            _write(connection, shape, stage, rows, now, outcome)
        else:
            _append(connection, shape, rows, now, outcome)
    if outcome.new or outcome.changed:
        touch(connection, events(shape.target), now)
    return outcome


def _find_links(connection: Connection, shape: Shape, stage: Table, outcome: Outcome) -> None:
    for link, ways in shape.links.items():
        for way in ways:
            connection.execute(_found(stage, link, way))
        wanted = and_(stage.c[f"{link}_id"].is_(None), or_(*(stage.c[f"{link}:{way}"].is_not(None) for way in ways)))
        unlinked = list(connection.execute(select(stage.c.n).where(wanted)).scalars())
        if unlinked:
            outcome.unlinked[link] = unlinked
    _find_customer_behind(connection, shape, stage)
    for way in ("phone", "email"):
        if way in shape.links.get("customer", ()):
            outcome.shared.extend(_shared(connection, stage, way))
    for link, must in shape.target.links.items():
        if must:
            lost = connection.execute(select(stage.c.n).where(stage.c[f"{link}_id"].is_(None)))
            outcome.lost[link] = list(lost.scalars())


def _found(stage: Table, link: str, way: str) -> Any:
    other = TARGETS[SUBJECTS[link]].table
    wanted = stage.c[f"{link}:{way}"]
    if way == "key":
        found = select(other.c.id).where(other.c.external_id == wanted).scalar_subquery()
    else:  # several customers behind one address: nobody can be chosen for sure
        only = func.count() == 1
        found = select(func.min(other.c.id)).where(other.c[way] == wanted).having(only).scalar_subquery()
    here = stage.c[f"{link}_id"]
    return update(stage).where(here.is_(None), wanted.is_not(None)).values({here: found})


def _find_customer_behind(connection: Connection, shape: Shape, stage: Table) -> None:
    if "customer" not in shape.target.links:
        return
    for link in ("order", "ticket"):
        if link in shape.links:
            other = TARGETS[SUBJECTS[link]].table
            found = select(other.c.customer_id).where(other.c.id == stage.c[f"{link}_id"]).scalar_subquery()
            connection.execute(update(stage).where(stage.c.customer_id.is_(None)).values(customer_id=found))


def _shared(connection: Connection, stage: Table, way: str) -> list[int]:
    customer, wanted = TARGETS["customers"].table, stage.c[f"customer:{way}"]
    several = select(func.count() > 1).where(customer.c[way] == wanted).scalar_subquery()
    asked = select(stage.c.n).where(stage.c.customer_id.is_(None), wanted.is_not(None), several)
    return list(connection.execute(asked).scalars())


def _write(
    connection: Connection, shape: Shape, stage: Table, rows: Select[Any], now: datetime, outcome: Outcome
) -> None:
    table = shape.target.table
    known = rows.with_only_columns(func.count()).join(table, table.c.external_id == stage.c.external_id)
    total = connection.execute(rows.with_only_columns(func.count())).scalar_one()
    outcome.new = total - connection.execute(known).scalar_one()
    names = [*shape.fields, *(f"{link}_id" for link in shape.targets())]
    sent: dict[str, ColumnElement[Any]] = {
        "external_id": stage.c.external_id,
        "changed_at": literal(now, UTCDateTime()),
    }
    for name in (*names, *shape.once):
        sent[name] = _merged(connection, None, stage.c[name]) if _is_json(table, name) else stage.c[name]
    source = rows.with_only_columns(*sent.values()).order_by(stage.c.n)
    statement = dialect_insert(connection, table).from_select(list(sent), source)
    new: dict[str, ColumnElement[Any]] = {name: statement.excluded[name] for name in names}
    for name in filter(lambda name: _is_json(table, name), names):
        new[name] = _merged(connection, table.c[name], statement.excluded[name])
    differs = or_(false(), *(table.c[name].is_distinct_from(value) for name, value in new.items()))
    if names:
        new["changed_at"] = statement.excluded.changed_at
        statement = statement.on_conflict_do_update(index_elements=["external_id"], set_=new, where=differs)
    else:
        statement = statement.on_conflict_do_nothing(index_elements=["external_id"])
    outcome.changed = _affected(connection, statement) - outcome.new


def _append(connection: Connection, shape: Shape, rows: Select[Any], now: datetime, outcome: Outcome) -> None:
    stage = rows.get_final_froms()[0]
    names = [*shape.fields, *(f"{link}_id" for link in shape.targets())]
    sent = {name: stage.c[name] for name in names}
    recorded = literal(now, UTCDateTime())
    source = rows.with_only_columns(*sent.values(), recorded).order_by(stage.c.n)
    statement = dialect_insert(connection, shape.target.table).from_select([*sent, "recorded_at"], source)
    outcome.new = _affected(connection, statement.on_conflict_do_nothing())


def _affected(connection: Connection, statement: Any) -> int:
    return int(connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount)


def _is_json(table: Table, name: str) -> bool:
    return name in ("attributes", "properties") and type(table.c[name].type) is type(Json)


def _merged(connection: Connection, old: ColumnElement[Any] | None, new: ColumnElement[Any]) -> ColumnElement[Any]:
    """JSON with what the source says put over what is there; a null in the source takes a key away."""
    if connection.dialect.name == "sqlite":
        from sqlalchemy import type_coerce

        base: Any = func.coalesce(type_coerce(old, String), "{}") if old is not None else "{}"
        return type_coerce(func.json_patch(base, type_coerce(new, String)), String)
    if old is None:
        return func.jsonb_strip_nulls(new)
    return func.jsonb_strip_nulls(func.coalesce(old, cast(literal({}, Json), Json)).op("||")(new))


def events(target: Target) -> tuple[str, ...]:
    """The words of the rule language that a change of a table sets off."""
    also = {
        "lines": ("order.updated",),
        "payments": ("order.updated", "customer.updated"),
        "vouchers": ("customer.updated",),
        "consents": ("customer.updated",),
    }
    return (f"{target.subject}.updated", *target.events, *also.get(target.name, ()))
