"""The gates about time: quiet hours move a message to the morning, send-by withholds what would come too late."""

from collections.abc import Callable
from datetime import datetime
from functools import cache, partial
from typing import Any

from dateutil.relativedelta import relativedelta
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    and_,
    cast,
    func,
    insert,
    literal,
    null,
    select,
    update,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement, GenericFunction

from messaging.candidates import candidate, local_time, open_for_decision, quiet_time
from messaging.guards.case import Case, withhold
from messaging.quiet import Hours, free_at, zones_in
from messaging.whereabouts import AREA, law_of
from models.terms import Send, after
from models.types import UTCDateTime
from models.vocabulary import Channel, Reason


class moment_plus(GenericFunction[datetime]):
    """A moment and a number of microseconds: ``moment_plus(moment, micros) -> moment``."""

    type = UTCDateTime()
    inherit_cache = True


@compiles(moment_plus, "sqlite")
def _plus_sqlite(element: FunctionElement[datetime], compiler: SQLCompiler, **kw: Any) -> str:
    moment, micros = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"({moment} + {micros})"


@compiles(moment_plus, "postgresql")
def _plus_postgresql(element: FunctionElement[datetime], compiler: SQLCompiler, **kw: Any) -> str:
    moment, micros = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"({moment} + {micros} * INTERVAL '1 microsecond')"


def later(moment: ColumnElement[Any], lasts: relativedelta, now: datetime) -> ColumnElement[Any]:
    """``moment`` plus a duration, in SQL. Months and years are as long as they would be from ``now`` on."""
    span = after(now, lasts) - now
    micros = (span.days * 86_400 + span.seconds) * 1_000_000 + span.microseconds
    return moment_plus(moment, literal(micros, BigInteger()))


class next_hour(GenericFunction[datetime]):
    """The full hour (UTC) that a moment is at, or the next one: ``next_hour(moment) -> moment``."""

    type = UTCDateTime()
    inherit_cache = True


HOUR = 3_600_000_000


@compiles(next_hour, "sqlite")
def _hour_sqlite(element: FunctionElement[datetime], compiler: SQLCompiler, **kw: Any) -> str:
    (moment,) = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"(({moment} + {HOUR - 1}) / {HOUR} * {HOUR})"


@compiles(next_hour, "postgresql")
def _hour_postgresql(element: FunctionElement[datetime], compiler: SQLCompiler, **kw: Any) -> str:
    (moment,) = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"date_trunc('hour', {moment} + INTERVAL '3599999999 microseconds', 'UTC')"


def tell_local_times(connection: Connection, case_: Case) -> None:
    """Work out, once for each zone, its calendar day."""
    zones = connection.execute(select(candidate.c.zone).distinct()).scalars().all()
    home = case_.policy.zone
    rows = [{"zone": key, "today": case_.now.astimezone(zones_in(key, home)[0]).date()} for key in zones]
    if rows:
        connection.execute(insert(local_time), rows)


def quiet_hours(connection: Connection, case_: Case) -> None:
    """Set when each message may go: when it is due, or when the quiet hours of its place and customer end.

    The row waits for the morning, and send-by decides whether that is too late. Who may be anywhere, so that no hour
    is decent wherever they are, is withheld.
    """
    if case_.run.send is None:
        return
    spoken = (open_for_decision(), candidate.c.channel.is_not(None))
    places = connection.execute(select(*_place()).where(*spoken).distinct()).all()
    limits = cache(partial(_hours, case_))
    rows = [_quiet_row(limits, *place) for place in places]
    late = [row for row in rows if row["free_at"] != row["since"]]
    if not late:
        return
    connection.execute(insert(quiet_time), late)
    here = and_(*(quiet_time.c[column.name] == column for column in _place()))
    withhold(connection, Reason.NO_COMMON_HOUR, candidate.c.channel.is_not(None), here, quiet_time.c.free_at.is_(None))
    connection.execute(update(candidate).where(*spoken, here).values(due_at=quiet_time.c.free_at))


def _place() -> list[ColumnElement[Any]]:
    """What a candidate's quiet hours hang on; columns named as in ``quiet_time``."""
    c = candidate.c
    area = func.coalesce(func.substr(c.phone, 1, AREA), "")
    country, own = func.coalesce(c.country, ""), func.coalesce(c.own, "")
    said = {"zone": c.zone, "area": area, "country": country, "own": own, "channel": c.channel, "since": c.due_at}
    return [column.label(name) for name, column in said.items()]


def _hours(case_: Case, area: str, country: str, own: str, channel: str) -> Hours:
    return case_.policy.hours(case_.terms.purpose, Channel(channel), *law_of(area, country), own)


def _quiet_row(
    limits: Callable[[str, str, str, str], Hours],
    zone: str,
    area: str,
    country: str,
    own: str,
    channel: str,
    since: datetime,
) -> dict[str, Any]:
    free = free_at(since, zone, limits(area, country, own, channel))
    said = {"zone": zone, "area": area, "country": country, "own": own, "channel": channel, "since": since}
    return {**said, "free_at": free}


def send_by(connection: Connection, case_: Case) -> None:
    """Withhold what could only go after ``valid_for`` is over; it counts from when the subject was matched."""
    send = case_.run.send
    connection.execute(update(candidate).values(expires_at=ends_of(case_, send)))
    if send is not None and send.otherwise is not None:
        other = update(candidate).where(candidate.c.step.like("%.else"))
        connection.execute(other.values(expires_at=ends_of(case_, send.otherwise)))
    if send is not None:
        withhold(connection, Reason.TOO_LATE, candidate.c.due_at >= candidate.c.expires_at)


def ends_of(case_: Case, send: Send | None = None) -> ColumnElement[Any]:
    """When a candidate's ``send`` is too late, by its own word or else the rule's; null: never."""
    send = send or case_.run.send
    lasts = (send.valid_for if send else None) or case_.terms.valid_for
    return later(candidate.c.matched_at, lasts, case_.now) if lasts else cast(null(), UTCDateTime())


def count_waiting(connection: Connection, case_: Case) -> int:
    """How many of the messages that may go wait for the end of the quiet hours."""
    waiting = (open_for_decision(), candidate.c.channel.is_not(None), candidate.c.due_at > case_.now)
    return int(connection.execute(select(func.count()).select_from(candidate).where(*waiting)).scalar_one())
