"""Which rows are about one person: whatever points to the customer, and whatever points to those rows.

Found by the foreign keys of the models, so that a new table is found by itself; links without a key are named here.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Row, Table, and_, false, or_, select

from messaging.addresses import address_hash
from messaging.candidates import table_of
from models import Base
from models.vocabulary import Channel
from rules.facts import subjects

TABLES: Sequence[Table] = Base.metadata.sorted_tables
"""Every table, parents before children."""

NOT_PERSONAL = frozenset(
    {
        "audit", "change", "event_out", "guesses", "held_run", "known_issue", "lease", "mark", "memo", "notice", "pace",
        "past_send", "process", "product", "rule_in_force", "rule_pass", "rule_version", "share_history",
        "suppression", "switch",
    }
)  # fmt: skip
"""Tables that hold nothing of a person but, in suppressions and past sends, a keyed hash that outlives them."""


@dataclass(frozen=True)
class Held:
    """What is held: primary keys by table, parents first. ``loose`` are other people's rows that point to these.

    ``addresses`` are the person's own (phone in E.164, e-mail), ``shared`` those of them that somebody else has, too;
    ``hashes`` are of all of them. ``name`` is the full name, empty where somebody else has it, too.
    """

    customer_id: int
    external_id: str
    name: str
    addresses: tuple[str, ...]
    shared: tuple[str, ...]
    hashes: tuple[str, ...]
    keys: dict[str, list[int]] = field(default_factory=dict)
    loose: list[tuple[Column[Any], list[int]]] = field(default_factory=list)

    @property
    def rows(self) -> dict[str, int]:
        """How many rows there are, by table."""
        return {name: len(keys) for name, keys in self.keys.items() if keys}


def held(connection: Connection, customer_id: int, secret: bytes) -> Held:
    """Find all rows about a customer. Raises LookupError where there is none with that key."""
    table = Base.metadata.tables["customer"]
    row = connection.execute(select(table).where(table.c.id == customer_id)).first()
    if row is None:
        raise LookupError(f"no customer has the key {customer_id}")
    addresses = tuple(address for address in (row.phone, row.email) if address)
    found = Held(
        customer_id=customer_id,
        external_id=row.external_id,
        name=_own_name(connection, table, row),
        addresses=addresses,
        shared=tuple(address for address in addresses if _is_shared(connection, table, customer_id, address)),
        hashes=tuple(address_hash(secret, _channel(address), address) for address in addresses),
        keys={"customer": [customer_id]},
    )
    before: dict[str, int] = {}
    while before != found.rows:  # a link without a key may lead to a table that was looked at already
        before = found.rows
        for one in TABLES:
            if one is not table and one.name not in NOT_PERSONAL:
                found.keys[one.name] = _keys(connection, one, _about(one, found, row.phone))
    _loose_ends(connection, found)
    return found


def key_of(table: Table) -> Column[Any]:
    """The primary key's column."""
    return next(iter(table.primary_key))


def _channel(address: str) -> Channel:
    return Channel.EMAIL if "@" in address else Channel.SMS


def _own_name(connection: Connection, table: Table, row: Row[Any]) -> str:
    if not row.first_name or not row.last_name:
        return ""
    same = (table.c.first_name == row.first_name, table.c.last_name == row.last_name, table.c.id != row.id)
    shared = connection.execute(select(table.c.id).where(*same).limit(1)).first()
    return "" if shared else f"{row.first_name} {row.last_name}"


def _is_shared(connection: Connection, table: Table, customer_id: int, address: str) -> bool:
    same = table.c.email == address if "@" in address else table.c.phone == address
    return connection.execute(select(table.c.id).where(same, table.c.id != customer_id).limit(1)).first() is not None


def _keys(connection: Connection, table: Table, about: ColumnElement[bool]) -> list[int]:
    key = key_of(table)
    return list(connection.execute(select(key).where(about).order_by(key)).scalars())


def _about(table: Table, found: Held, phone: str | None) -> ColumnElement[bool]:
    links = [
        column.in_(found.keys.get(target, []))
        for column in table.c
        for target in (key.column.table.name for key in column.foreign_keys)
        if found.keys.get(target)
    ]
    linked = or_(false(), *links, *_without_key(table, found, phone))
    if "customer_id" not in table.c:
        return linked
    return and_(linked, or_(table.c.customer_id.is_(None), table.c.customer_id == found.customer_id))


def _without_key(table: Table, found: Held, phone: str | None) -> list[ColumnElement[bool]]:
    """The links that no foreign key says."""
    c, attempts = table.c, found.keys.get("attempt", [])
    if table.name == "call" and phone and phone not in found.shared:
        return [and_(c.customer_id.is_(None), c.phone == phone)]
    if table.name == "match":
        return [and_(c.subject == name, c.subject_id.in_(keys)) for name, keys in _subjects(found)]
    if table.name in ("survey", "voucher"):
        return [c.match_id.in_(found.keys.get("match", []))]
    if table.name == "callback":
        sent = Base.metadata.tables["attempt"]
        named = select(sent.c.provider_id).where(sent.c.id.in_(attempts), sent.c.provider_id.is_not(None))
        return [c.attempt_id.in_(attempts), c.provider_id.in_(named)]
    if table.name == "reply":
        return [c.address_hash.in_(_own(found))]
    return []


def _own(found: Held) -> list[str]:
    pairs = zip(found.addresses, found.hashes, strict=True)
    return [hashed for address, hashed in pairs if address not in found.shared]


def _subjects(found: Held) -> list[tuple[str, Collection[int]]]:
    asked = [name for name, subject in subjects().items() if subject.for_each]
    named = [(name, found.keys.get(table_of(name).name, [])) for name in asked]
    return [(name, keys) for name, keys in named if keys]


def _loose_ends(connection: Connection, found: Held) -> None:
    """Other people's rows that point to these: the pointer is what goes, or the row where it cannot be without."""
    for table in TABLES:
        for column in table.c:
            targets = [found.keys.get(key.column.table.name, []) for key in column.foreign_keys]
            if not any(targets):
                continue
            mine = found.keys.get(table.name, [])
            others = _keys(connection, table, and_(column.in_(targets[0]), key_of(table).not_in(mine)))
            if others and column.nullable:
                found.loose.append((column, others))
            elif others:
                found.keys[table.name] = sorted({*mine, *others})
