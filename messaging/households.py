"""Households: customers who share a phone number or an e-mail address count as one for caps and holdouts.

Set-based: the customers who share an address are the edges of a graph, and each connected part of it is a household.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
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
    null,
    or_,
    select,
    union_all,
    update,
)

from messaging.candidates import customer, settle_statistics
from models.temporary import make_anew, temporary
from models.types import BigKey

MOST = 6
"""An address that more people than this share makes no household: a shop's desk, an office, a made-up number."""

ROUNDS = 50
"""So many steps from one member to the farthest are followed; real households have two or three."""

TEMP = MetaData()

shared = temporary(
    "shared_address",
    TEMP,
    Column("address", String(321)),
    Column("customer_id", BigKey),
    Index("ix_temp_shared_address", "address"),
    Index("ix_temp_shared_customer", "customer_id"),
)
member = temporary(
    "household_member",
    TEMP,
    Column("customer_id", BigKey, primary_key=True, autoincrement=False),
    Column("root", BigKey),
    Column("before", BigKey),
    Column("household_id", BigKey),
    Index("ix_temp_member_root", "root"),
)


@dataclass(frozen=True)
class Formed:
    """How many households there are, how many customers live in them, and whose household changed."""

    households: int
    people: int
    changed: int


def form(connection: Connection) -> Formed:
    """Work out anew who forms a household, and write it into ``customer.household_id``. In a write transaction.

    A household keeps its id as long as one of its members had it, so that a holdout stays as it was: who joins takes
    over the household's place. Where two households become one, the older one's (smaller) id stays.
    """
    make_anew(connection, TEMP.sorted_tables)
    connection.execute(insert(shared).from_select(["address", "customer_id"], _sharing()))
    settle_statistics(connection, shared)
    own = select(shared.c.customer_id, shared.c.customer_id, customer.c.household_id).distinct()
    own = own.join(customer, customer.c.id == shared.c.customer_id)
    connection.execute(insert(member).from_select(["customer_id", "root", "before"], own))
    settle_statistics(connection, member)
    for _ in range(ROUNDS):
        if not _spread(connection):
            break
    _name(connection)
    changed = _write(connection)
    households, people = connection.execute(
        select(func.count(member.c.household_id.distinct()), func.count()).select_from(member)
    ).one()
    return Formed(households, people, changed)


def _sharing() -> Any:
    """Who has an address that two to MOST people have: columns address and customer id."""
    return union_all(_with(customer.c.phone, "p"), _with(func.lower(customer.c.email), "m"))


def _with(address: ColumnElement[Any], kind: str) -> Select[Any]:
    known = (address.is_not(None), address != "")
    few = select(address.label("address")).where(*known).group_by(address)
    few = few.having(func.count().between(2, MOST))
    held = few.subquery()
    return select(literal(kind) + address, customer.c.id).join(held, held.c.address == address)


def _spread(connection: Connection) -> int:
    """Let each member take the smallest root known at one of their addresses. Returns how many got another."""
    at = (
        select(shared.c.address, func.min(member.c.root).label("root"))
        .join(member, member.c.customer_id == shared.c.customer_id)
        .group_by(shared.c.address)
        .subquery()
    )
    best = (
        select(shared.c.customer_id, func.min(at.c.root).label("root"))
        .join(at, at.c.address == shared.c.address)
        .group_by(shared.c.customer_id)
        .subquery()
    )
    moved = update(member).where(member.c.customer_id == best.c.customer_id, best.c.root < member.c.root)
    return int(connection.execute(moved.values(root=best.c.root)).rowcount)


def _name(connection: Connection) -> None:
    """Each connected part takes the smallest id that one of its members had before; a new one its first member's.

    Where a household fell apart, the part with most of those who were in it keeps its id.
    """
    kept = (
        select(member.c.root, member.c.before, func.count().label("were"))
        .where(member.c.before.is_not(None))
        .group_by(member.c.root, member.c.before)
        .subquery()
    )
    claim = func.row_number().over(partition_by=kept.c.before, order_by=(kept.c.were.desc(), kept.c.root))
    claims = select(kept.c.root, kept.c.before, claim.label("claim")).subquery()
    chosen = (
        select(claims.c.root, func.min(claims.c.before).label("name"))
        .where(claims.c.claim == 1)
        .group_by(claims.c.root)
        .subquery()
    )
    connection.execute(update(member).values(household_id=member.c.root))
    connection.execute(update(member).where(member.c.root == chosen.c.root).values(household_id=chosen.c.name))


def _write(connection: Connection) -> int:
    """Write what changed, and nothing else."""
    differs = or_(customer.c.household_id.is_(None), customer.c.household_id != member.c.household_id)
    here = update(customer).where(customer.c.id == member.c.customer_id, differs)
    joined = int(connection.execute(here.values(household_id=member.c.household_id)).rowcount)
    gone = update(customer).where(
        customer.c.household_id.is_not(None), customer.c.id.not_in(select(member.c.customer_id))
    )
    return joined + int(connection.execute(gone.values(household_id=null())).rowcount)
