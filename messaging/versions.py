"""The versions of a rule that ever ran, by the words that people use for them: the first letters of a hash."""

from sqlalchemy import Connection, select

from messaging.candidates import TABLES
from messaging.claims import message

rule_version = TABLES["rule_version"]


class UnknownVersion(LookupError):
    """There is no such version of that rule, or there are several that begin so; the text says which there are."""


def versions_of(connection: Connection, rule_id: str) -> list[str]:
    """All versions of a rule that ever ran or planned a message, the newest text last."""
    v = rule_version.c
    kept = select(v.version).where(v.rule_id == rule_id).order_by(v.first_used_at, v.id)
    planned = select(message.c.version).where(message.c.rule_id == rule_id).distinct().order_by(message.c.version)
    found = [*connection.execute(planned).scalars(), *connection.execute(kept).scalars()]
    return list(reversed(dict.fromkeys(reversed(found))))


def version_named(connection: Connection, rule_id: str, given: str) -> str:
    """The one version of the rule that begins with ``given``. Raises UnknownVersion."""
    known = versions_of(connection, rule_id)
    if given in known:
        return given
    meant = [version for version in known if given and version.startswith(given)]
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise UnknownVersion(f"several versions of {rule_id} begin with {given!r}: {', '.join(meant)}")
    there = f"there are: {', '.join(known)}" if known else "nothing of that rule has ever run"
    raise UnknownVersion(f"there is no version {given!r} of {rule_id}; {there}")


def check_known(connection: Connection, rule_id: str) -> None:
    """Raise UnknownVersion where nothing of that rule has ever run."""
    if not versions_of(connection, rule_id):
        raise UnknownVersion(f"nothing of a rule {rule_id!r} has ever run")
