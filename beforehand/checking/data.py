"""What only the data can say of a rule set: the languages of the customers, and whom two rules find at once."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from sqlalchemy import Column, Connection, Engine, Integer, MetaData, Table, func, insert, literal, select
from sqlalchemy.exc import SQLAlchemyError

import models
from models.database import DatabaseError, connect, normal_url, reading
from rules.evaluate import matching
from rules.loader import Rule

Pair = tuple[str, str]

_customer = models.Customer.__table__  # type: ignore[attr-defined]


class Unreachable(Exception):
    """There is no database to ask; the text says why, and is the end of a sentence."""


def open_database(url: str, *, allow_unsafe_sqlite: bool = False) -> Engine:
    """The database to ask, as it is: nothing is made or migrated. Raises Unreachable where there is none."""
    try:
        parsed = normal_url(url)
        if parsed.get_backend_name() == "sqlite" and not (parsed.database and Path(parsed.database).is_file()):
            raise Unreachable(f"there is no database at {parsed.database} yet")
        if parsed.get_backend_name() == "postgresql" and "connect_timeout" not in parsed.query:
            parsed = parsed.update_query_dict({"connect_timeout": "3"})
        engine = connect(parsed.render_as_string(hide_password=False), allow_unsafe_sqlite=allow_unsafe_sqlite)
        with reading(engine) as connection:
            connection.execute(select(_customer.c.language).limit(1))
    except DatabaseError as wrong:
        raise Unreachable(str(wrong)) from wrong
    except (SQLAlchemyError, OSError) as wrong:
        said = str(getattr(wrong, "orig", None) or wrong).strip().splitlines()[0]
        raise Unreachable(f"the database does not answer as it should ({said})") from wrong
    return engine


def languages(connection: Connection) -> dict[str, int]:
    """How many customers there are by language tag, as stored; an empty tag where none is known."""
    language = func.coalesce(_customer.c.language, "")
    statement = select(language, func.count(_customer.c.id)).group_by(language)
    return dict(connection.execute(statement).tuples().all())


def found_by_both(
    connection: Connection, rules: Sequence[Rule], pairs: Iterable[Pair], *, now: datetime, zone: str
) -> dict[Pair, int]:
    """How many customers two rules both find at ``now``, for the pairs that find any; one statement a rule, one more.

    Must run in a transaction that is rolled back: what was found stands in a temporary table until then.
    """
    found = Table(
        "found_by_rule",
        MetaData(),
        Column("rule", Integer),
        Column("customer_id", Integer, index=True),
        prefixes=["TEMPORARY"],
    )
    found.create(connection)
    for number, rule in enumerate(rules):
        matched = matching(rule, now=now, zone=zone).subquery()
        who = select(literal(number), matched.c.customer_id).where(matched.c.customer_id.is_not(None)).distinct()
        connection.execute(insert(found).from_select(["rule", "customer_id"], who))
    one, other = found.alias(), found.alias()
    both = (
        select(one.c.rule, other.c.rule, func.count())
        .join(other, (one.c.customer_id == other.c.customer_id) & (one.c.rule < other.c.rule))
        .group_by(one.c.rule, other.c.rule)
    )
    ids = [rule.id for rule in rules]
    counted = {(ids[first], ids[second]): count for first, second, count in connection.execute(both)}
    return {pair: counted[pair] for pair in pairs if pair in counted}
