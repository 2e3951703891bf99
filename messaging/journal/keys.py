"""The key by which a message is known again in a restored database: a keyed hash of what was said to whom.

A restored database gives its own ids out anew, so the occasion is named by the ids of the sources: ``order/1001``.
"""

import hmac
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, String, cast, literal, select

from messaging.candidates import TABLES, customer, outside_key

KEY_LETTERS = 32


def keys_of(connection: Connection, messages: Iterable[Mapping[str, Any]], secret: bytes) -> dict[int, str]:
    """Keys by message id, of rows with ``id, rule_id, occasion, step, customer_id``. Two or three statements a call."""
    rows = list(messages)
    if not rows:
        return {}
    people = select(customer.c.id, customer.c.external_id).where(
        customer.c.id.in_({row["customer_id"] for row in rows})
    )
    who = dict(connection.execute(people).tuples().all())
    names = _outside(connection, {row["occasion"] for row in rows})
    return {
        row["id"]: _key(secret, row["rule_id"], names[row["occasion"]], row["step"], who.get(row["customer_id"], ""))
        for row in rows
    }


def _key(secret: bytes, *parts: str) -> str:
    said = "\x1f".join(("send", *parts)).encode()
    return hmac.digest(secret, said, "sha256").hex()[:KEY_LETTERS]


def _outside(connection: Connection, occasions: Collection[str]) -> dict[str, str]:
    """Occasions with our own ids replaced by those of the sources; an occasion of another form stays as it is."""
    wanted: dict[str, set[int]] = defaultdict(set)
    parts = {occasion: occasion.split("/") for occasion in occasions}
    for said in parts.values():
        if len(said) > 1 and said[1].isdigit():
            wanted[said[0]].add(int(said[1]))
    names = {what: _names(connection, what, ids) for what, ids in wanted.items()}
    found = {}
    for occasion, said in parts.items():
        outside = names.get(said[0], {}).get(int(said[1])) if len(said) > 1 and said[1].isdigit() else None
        found[occasion] = occasion if outside is None else "/".join([said[0], outside, *said[2:]])
    return found


def _names(connection: Connection, what: str, ids: Collection[int]) -> dict[int, str]:
    """What the sources call these rows of a subject's table."""
    table = TABLES.get("orders" if what == "order" else what)
    if table is None:
        return {}
    if what == "exposure":  # found by us: named by its issue and its order line
        issue, line = TABLES["known_issue"], TABLES["order_line"]
        both = cast(issue.c.external_id, String) + literal("+") + cast(line.c.external_id, String)
        source = table.join(issue, issue.c.id == table.c.issue_id).join(line, line.c.id == table.c.order_line_id)
        chosen = select(table.c.id, both).select_from(source).where(table.c.id.in_(ids))
    else:
        chosen = select(table.c.id, cast(outside_key(table), String)).where(table.c.id.in_(ids))
    return dict(connection.execute(chosen).tuples().all())
