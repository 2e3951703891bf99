"""The gates about time: quiet hours move a message to the morning, send-by withholds what would come too late."""

from datetime import datetime
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
    or_,
    select,
    update,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement, GenericFunction

from messaging.candidates import candidate, local_time, open_for_decision
from messaging.guards.case import Case, withhold
from messaging.quiet import NEVER_QUIET, free_at, zones_in
from models.terms import Send, after
from models.types import UTCDateTime
from models.vocabulary import Channel, Purpose, Reason


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


def tell_local_times(connection: Connection, case_: Case) -> None:
    """Work out, once for each zone, its calendar day and the first moment that is not quiet."""
    zones = connection.execute(select(candidate.c.zone).distinct()).scalars().all()
    policy, quiet = case_.policy, case_.policy.quiet_hours(case_.terms.purpose)
    rows = [
        {
            "zone": key,
            "today": case_.now.astimezone(zones_in(key, policy.zone)[0]).date(),
            "free_at": free_at(case_.now, key, quiet, default=policy.zone),
        }
        for key in zones
    ]
    if rows:
        connection.execute(insert(local_time), rows)


def quiet_hours(connection: Connection, case_: Case) -> None:
    """Set when each message may go: now, or when the customer's quiet hours end. Service e-mail may go at any hour.

    Withholds nothing: the row waits for the morning, and send-by decides whether that is too late.
    """
    if case_.run.send is None or case_.policy.quiet_hours(case_.terms.purpose) == NEVER_QUIET:
        return
    here = and_(local_time.c.zone == candidate.c.zone, local_time.c.free_at > case_.now)
    held: list[ColumnElement[bool]] = [open_for_decision(), here]
    if case_.terms.purpose is Purpose.SERVICE:
        held.append(or_(candidate.c.channel.is_(None), candidate.c.channel != Channel.EMAIL.value))
    connection.execute(update(candidate).where(*held).values(due_at=local_time.c.free_at))


def send_by(connection: Connection, case_: Case) -> None:
    """Withhold what could only go after ``valid_for`` is over; it counts from when the subject was matched."""
    send = case_.run.send
    connection.execute(update(candidate).values(expires_at=_ends(case_, send)))
    if send is not None and send.otherwise is not None:
        other = update(candidate).where(candidate.c.step.like("%.else"))
        connection.execute(other.values(expires_at=_ends(case_, send.otherwise)))
    if send is not None:
        withhold(connection, Reason.TOO_LATE, candidate.c.due_at >= candidate.c.expires_at)


def _ends(case_: Case, send: Send | None) -> ColumnElement[Any]:
    """When a candidate's ``send`` is too late, by its own word or else the rule's; null: never."""
    lasts = (send.valid_for if send else None) or case_.terms.valid_for
    return later(candidate.c.matched_at, lasts, case_.now) if lasts else cast(null(), UTCDateTime())


def count_waiting(connection: Connection, case_: Case) -> int:
    """How many of the messages that may go wait for the end of the quiet hours."""
    waiting = (open_for_decision(), candidate.c.channel.is_not(None), candidate.c.due_at > case_.now)
    return int(connection.execute(select(func.count()).select_from(candidate).where(*waiting)).scalar_one())
