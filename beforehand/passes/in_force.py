"""What is in force, as rows: each rule's version and status, since when, and what staff should know of the rest."""

from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, Engine, delete, func, select

from beforehand.passes.authors import authors_of
from beforehand.wiring import App
from messaging.plan import keep_version
from messaging.shares import note_share
from models.database import dialect_insert, reading, writing
from models.delivery import RulePass, RuleVersion
from models.housekeeping import Notice, RuleInForce
from models.vocabulary import RuleStatus
from rules.loader import Rule, RuleSet

IN_FORCE: Any = RuleInForce.__table__  # type: ignore[attr-defined]
NOTICE: Any = Notice.__table__  # type: ignore[attr-defined]
RULE_PASS: Any = RulePass.__table__  # type: ignore[attr-defined]
RULE_VERSION: Any = RuleVersion.__table__  # type: ignore[attr-defined]

NOBODY: Mapping[str, str] = MappingProxyType({})
"""No author is known."""

GONE = "gone"
"""The status of a rule whose file was taken away."""

RULES = "rules"
"""The notice's topic while an edit of the rules is refused."""


def write_down(app: App, loaded: RuleSet, problems: str, now: datetime) -> None:
    """What a long-lived process has in force; ``problems`` say why an edit was refused, empty where none was."""
    authors = authors_of_new(app.engine, loaded.rules.values())
    with writing(app.engine) as connection:
        bring_into_force(connection, loaded.rules, now, authors)
        note_share(connection, app.settings.holdout, now)
        notice(connection, RULES, problems, now)


def authors_of_new(engine: Engine, rules: Collection[Rule]) -> dict[str, str]:
    """Who wrote the texts that have not been kept yet, by rule. Git is asked for those alone, outside of any write."""
    kept = select(RULE_VERSION.c.rule_id, RULE_VERSION.c.version)
    with reading(engine) as connection:
        of_these = kept.where(RULE_VERSION.c.version.in_([rule.terms.version for rule in rules]))
        known = {(row.rule_id, row.version) for row in connection.execute(of_these)}
    new = {rule.id: Path(rule.path) for rule in rules if (rule.id, rule.terms.version) not in known}
    authors = authors_of(new.values())
    return {rule_id: authors[path] for rule_id, path in new.items() if path in authors}


def bring_into_force(
    connection: Connection, rules: Mapping[str, Rule], now: datetime, authors: Mapping[str, str] = NOBODY
) -> None:
    """Write down a whole set as the one in force, and keep the text of each rule. Must run in a write transaction.

    ``authors`` are those of new texts, by rule, where they are known.
    """
    there = {row.rule_id: row for row in connection.execute(select(IN_FORCE))}
    for rule in rules.values():
        _bring(connection, rule, there.get(rule.id), now, authors.get(rule.id))
    for rule_id, row in there.items():
        if rule_id not in rules and row.status != GONE:
            _write(connection, rule_id, version=row.version, status=GONE, since=now, live_since=None)


def bring_one_into_force(connection: Connection, rule: Rule, now: datetime, author: str | None = None) -> None:
    """The same for one rule: a pass from the command line runs what the files say, with no house to tell of it."""
    row = connection.execute(select(IN_FORCE).where(IN_FORCE.c.rule_id == rule.id)).first()
    _bring(connection, rule, row, now, author)


def _bring(connection: Connection, rule: Rule, row: Any, now: datetime, author: str | None) -> None:
    terms = rule.terms
    if row is not None and (row.version, row.status) == (terms.version, terms.status):
        return
    keep_version(connection, rule.id, terms.version, rule.text, now, author=author)
    note_share(connection, terms.holdout_percent or 0, now, rule_id=rule.id)
    live = live_since(connection, rule.id, row, now) if terms.status is RuleStatus.LIVE else None
    _write(connection, rule.id, version=terms.version, status=terms.status.value, since=now, live_since=live)


def live_since(connection: Connection, rule_id: str, row: Any, now: datetime) -> datetime:
    """Since when a rule that is live now has been so; ``row`` is what was in force (None: nobody wrote it down)."""
    if row is not None:
        return row.live_since if row.status == RuleStatus.LIVE else now
    last = last_live_pass(connection, rule_id)
    return last.started_at if last else now


def last_live_pass(connection: Connection, rule_id: str) -> Any:
    """The newest finished pass of a rule that was live then: a row with ``version`` and ``started_at``, or None."""
    c = RULE_PASS.c
    mine = [c.rule_id == rule_id, c.finished_at.is_not(None), c.status == RuleStatus.LIVE]
    newest = select(func.max(c.started_at)).where(*mine).scalar_subquery()
    found = select(c.version, c.started_at).where(*mine, c.started_at == newest)
    return connection.execute(found.order_by(c.id.desc()).limit(1)).first()


def _write(connection: Connection, rule_id: str, **values: Any) -> None:
    put = dialect_insert(connection, IN_FORCE).values(rule_id=rule_id, **values)
    connection.execute(put.on_conflict_do_update(index_elements=["rule_id"], set_=values))


def notice(connection: Connection, topic: str, said: str, now: datetime) -> None:
    """Let staff know something, or with an empty ``said`` that it is over."""
    if not said:
        connection.execute(delete(NOTICE).where(NOTICE.c.topic == topic))
        return
    put = dialect_insert(connection, NOTICE).values(topic=topic, said=said, since=now)
    connection.execute(put.on_conflict_do_update(index_elements=["topic"], set_={"said": said, "since": now}))
