"""Candidates: the subjects a pass is about to decide on, in a temporary table that every gate works on.

``candidate`` holds one row a subject; ``choice`` one row for each way to say it (channel and template); the small
tables hold what only Python can work out: zones of phone prefixes, local time, quiet hours, suppressed addresses.
All of them live in the running transaction: a preview rolls them back, a pass leaves nothing of them behind.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Date,
    FromClause,
    Index,
    Integer,
    MetaData,
    Select,
    String,
    Table,
    Text,
    and_,
    func,
    insert,
    literal,
    not_,
    select,
    text,
    update,
)

from messaging.whereabouts import LONGEST_PREFIX, is_zone, zones_of
from models import Base, Customer, Match, Message, Preference
from models.temporary import temporary, temporary_schema
from models.types import BigKey, Json, UTCDateTime
from models.vocabulary import MessageState, Reason

TEMP = MetaData()

TABLES: Mapping[str, Table] = Base.metadata.tables
customer = Customer.__table__  # type: ignore[attr-defined]
match = Match.__table__  # type: ignore[attr-defined]
message = Message.__table__  # type: ignore[attr-defined]
preference = Preference.__table__  # type: ignore[attr-defined]

UNDECIDED = (
    MessageState.PLANNED,
    MessageState.HELD,
    MessageState.QUEUED,
    MessageState.CLAIMED,
    MessageState.IN_FLIGHT,
)
"""States of a message in which nobody knows yet whether the customer heard of it."""

UNTOLD = (MessageState.SUPPRESSED, MessageState.EXPIRED, MessageState.CANCELLED, MessageState.FAILED)
"""Ends in which a message certainly was not seen: it never went. One sent and not delivered may have been."""

NOT_TOLD = (*UNTOLD, MessageState.UNDELIVERED)
"""States of a message that never reached the customer."""


def counts() -> ColumnElement[bool]:
    """Messages that count for caps and limits: what is planned or went, and did not come back from a bad address."""
    came_back = func.coalesce(message.c.reason, "") == Reason.BAD_ADDRESS.value
    return and_(message.c.state.not_in(UNTOLD), not_(came_back))


def table_of(subject: str) -> Table:
    """The table of a subject; ``order`` is a word of SQL, so its table has another name."""
    return TABLES["orders" if subject == "order" else subject]


def outside_key(table: FromClause) -> ColumnElement[Any]:
    """The id by which the sources know a row of a subject's table (or an alias of it); our own where there is none."""
    found: ColumnElement[Any] = table.c.external_id if "external_id" in table.c else table.c.id
    return found


candidate = temporary(
    "candidate",
    TEMP,
    Column("id", BigKey, primary_key=True),
    Column("subject_id", BigKey, nullable=False),
    Column("customer_id", BigKey),
    Column("facts", Json),
    Column("matched_at", UTCDateTime, nullable=False),
    Column("occasion", String(250)),
    Column("match_id", BigKey),
    Column("reason", String(30)),
    Column("preferred", String(10)),
    Column("language", String(35)),
    Column("zone", Text),
    Column("phone", String(20)),
    Column("email", String(320)),
    Column("country", String(2)),
    Column("person", BigKey),
    Column("own", String(11)),
    Column("channel", String(10)),
    Column("address", String(320)),
    Column("consent_id", BigKey),
    Column("template", String(100)),
    Column("step", String(20)),
    Column("due_at", UTCDateTime),
    Column("expires_at", UTCDateTime),
    Index("ix_temp_candidate_customer", "customer_id"),
    Index("ix_temp_candidate_person", "person"),
    Index("ix_temp_candidate_occasion", "occasion"),
)

choice = temporary(
    "choice",
    TEMP,
    Column("id", BigKey, primary_key=True),
    Column("candidate_id", BigKey, nullable=False),
    Column("place", Integer, nullable=False),
    Column("channel", String(10), nullable=False),
    Column("template", String(100), nullable=False),
    Column("step", String(20), nullable=False),
    Column("address", String(320)),
    Column("consent_id", BigKey),
    Column("reason", String(30)),
    Index("ix_temp_choice_candidate", "candidate_id", "place"),
)

prefix_zone = temporary(
    "prefix_zone",
    TEMP,
    Column("prefix", String(20), primary_key=True),
    Column("country", String(2), primary_key=True),
    Column("zone", Text),
)
local_time = temporary("local_time", TEMP, Column("zone", Text, primary_key=True), Column("today", Date))
quiet_time = temporary(
    "quiet_time",
    TEMP,
    Column("zone", Text, primary_key=True),
    Column("area", String(5), primary_key=True),
    Column("country", String(2), primary_key=True),
    Column("own", String(11), primary_key=True),
    Column("channel", String(10), primary_key=True),
    Column("since", UTCDateTime, primary_key=True),
    Column("free_at", UTCDateTime),
)
barred = temporary("barred", TEMP, Column("channel", String(10)), Column("address", String(320)))
guest = temporary("guest", TEMP, Column("address", String(320), primary_key=True))


def fresh(connection: Connection) -> None:
    """Make the temporary tables, empty. Must be called inside a transaction."""
    if connection.dialect.name == "postgresql":
        # Many middling statements: compiling each costs more than it saves, and hashes should stay in memory.
        connection.execute(text("SET LOCAL jit = off"))
        connection.execute(text("SET LOCAL work_mem = '64MB'"))
    schema = temporary_schema(connection)
    there = _there(connection)
    for table in TEMP.sorted_tables:
        if table.name in there:
            # Many passes in one transaction (a replay): dropping would keep a PostgreSQL lock for each table that was.
            empty = "DELETE FROM {}" if schema == "temp" else "TRUNCATE {} RESTART IDENTITY"
            connection.execute(text(empty.format(f"{schema}.{table.name}")))
        else:
            table.create(connection, checkfirst=False)


def _there(connection: Connection) -> set[str]:
    """The temporary tables of this connection, by name."""
    if connection.dialect.name == "sqlite":
        found = "SELECT name FROM temp.sqlite_master WHERE type = 'table'"
    else:
        found = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = pg_my_temp_schema()"
    return set(connection.execute(text(found)).scalars())


def open_for_decision() -> ColumnElement[bool]:
    """Candidates that no gate has withheld."""
    return candidate.c.reason.is_(None)


def settle_statistics(connection: Connection, *tables: Table) -> None:
    """Let PostgreSQL count the rows of temporary tables: it never does so by itself."""
    if connection.dialect.name == "postgresql":
        for table in tables:
            connection.execute(text(f"ANALYZE {table.name}"))


def fill_from_subjects(connection: Connection, matching: Select[Any], *, now: datetime, zone: str) -> int:
    """Take every subject a rule found (columns ``subject_id, customer_id, facts``). Returns how many there are.

    A column ``preferred``, where there is one, is the channel by which each is reached first.
    """
    found = matching.subquery("found")
    preferred, *known = _of_customer()
    if "preferred" in found.c:
        preferred = func.coalesce(found.c.preferred, preferred)
    source = (
        select(
            found.c.subject_id,
            found.c.customer_id,
            found.c.facts,
            literal(now, UTCDateTime()),
            literal(now, UTCDateTime()),
            preferred,
            *known,
        )
        .select_from(_with_preference(found, found.c.customer_id))
        .order_by(found.c.subject_id)
    )
    names = ["subject_id", "customer_id", "facts", "matched_at", "due_at", *_customer_columns()]
    return _fill(connection, names, source, zone)


def fill_from_matches(connection: Connection, chosen: ColumnElement[bool], *, now: datetime, zone: str) -> int:
    """Take the started matches that ``chosen`` (a condition on ``match``) selects. Returns how many there are.

    ``matched_at`` becomes the moment from which the step counts: when it fell due, never later than ``now``.
    """
    since = func.coalesce(match.c.due_at, literal(now, UTCDateTime()), type_=UTCDateTime())
    source = (
        select(match.c.subject_id, match.c.customer_id, match.c.facts, since, literal(now, UTCDateTime()))
        .add_columns(match.c.occasion, match.c.id)
        .add_columns(*_of_customer())
        .select_from(_with_preference(match, match.c.customer_id))
        .where(chosen)
        .order_by(match.c.id)
    )
    names = ["subject_id", "customer_id", "facts", "matched_at", "due_at", "occasion", "match_id", *_customer_columns()]
    return _fill(connection, names, source, zone)


def _customer_columns() -> list[str]:
    return ["preferred", "language", "zone", "phone", "email", "country", "person", "own"]


def _of_customer() -> list[ColumnElement[Any]]:
    c = customer.c
    own = preference.c
    channel, language = func.coalesce(own.channel, c.preferred_channel), func.coalesce(own.language, c.language)
    person = func.coalesce(-c.household_id, c.id)  # below 0, so that no household is taken for a customer
    own_hours = own.quiet_from + literal("-") + own.quiet_until
    return [channel, language, func.nullif(c.time_zone, ""), c.phone, c.email, c.country, person, own_hours]


def _with_preference(source: FromClause, customer_id: ColumnElement[int]) -> FromClause:
    """The customer behind each row, and what they chose themselves, which comes before what a source says of them."""
    known = source.outerjoin(customer, customer.c.id == customer_id)
    return known.outerjoin(preference, preference.c.customer_id == customer.c.id)


def _fill(connection: Connection, names: list[str], source: Select[Any], zone: str) -> int:
    fresh(connection)
    statement = insert(candidate).from_select(names, source)
    count = connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount
    settle_statistics(connection, candidate)
    _fill_zones(connection, zone)
    return count


def _fill_zones(connection: Connection, default: str) -> None:
    """The customer's own zone, else those where their phone number or they may be, else the default.

    Where nobody knows, :data:`messaging.whereabouts.ANYWHERE`.
    """
    c = candidate.c
    wrong = [name for name in connection.execute(select(c.zone).distinct()).scalars() if name and not is_zone(name)]
    if wrong:
        connection.execute(update(candidate).where(c.zone.in_(wrong)).values(zone=None))
    unknown = c.zone.is_(None)
    prefix, country = func.coalesce(func.substr(c.phone, 1, LONGEST_PREFIX + 1), ""), func.coalesce(c.country, "")
    found = connection.execute(select(prefix, country).where(unknown).distinct()).all()
    if found:
        rows = [{"prefix": p, "country": where, "zone": zones_of(None, p, where, default)} for p, where in found]
        connection.execute(insert(prefix_zone), rows)
        mine = (prefix_zone.c.prefix == prefix, prefix_zone.c.country == country)
        by_phone = select(prefix_zone.c.zone).where(*mine).scalar_subquery()
        connection.execute(update(candidate).where(unknown).values(zone=by_phone))


def with_messages_in(states: tuple[MessageState, ...]) -> ColumnElement[bool]:
    """Matches that have a message in one of ``states`` (a condition on ``match``)."""
    own = message.alias("own_message")
    return select(own.c.id).where(own.c.match_id == match.c.id, own.c.state.in_(states)).correlate(match).exists()


__all__ = [
    "NOT_TOLD",
    "TABLES",
    "UNDECIDED",
    "UNTOLD",
    "barred",
    "candidate",
    "choice",
    "counts",
    "customer",
    "fill_from_matches",
    "fill_from_subjects",
    "fresh",
    "guest",
    "local_time",
    "match",
    "message",
    "open_for_decision",
    "outside_key",
    "prefix_zone",
    "quiet_time",
    "settle_statistics",
    "table_of",
    "with_messages_in",
]
