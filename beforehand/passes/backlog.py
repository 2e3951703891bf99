"""What a rule's pass must leave alone because it was so before the rule went live, or before it was edited."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, false, or_, select

from beforehand.passes.house import version_of
from beforehand.passes.in_force import IN_FORCE, last_live_pass, live_since
from beforehand.wiring import App
from messaging.candidates import candidate, match
from messaging.guards import Backlog
from models.terms import THE_BEGINNING
from models.vocabulary import MatchState
from rules.errors import RuleErrors
from rules.evaluate import matching
from rules.loader import Rule
from rules.reader import read


def backlog_of(
    connection: Connection, app: App, rule: Rule, now: datetime, *, live_from: datetime | None = None
) -> Backlog | None:
    """What is backlog in a pass at ``now``; None where the rule's text has had a live pass since it came into force.

    The rule is taken as live; ``live_from`` takes the place of its ``from``. Reads the candidates of the running
    transaction, which must be filled. The moment is the rule's ``from``, else the house's; else the last live pass of
    the text before, else when the rule went live. A ``from`` that the text before said, too, was for its first pass.
    """
    last = last_live_pass(connection, rule.id)
    live = _live_since(connection, rule, now)
    said = live_from or _said(app, connection, rule, last)
    went_on = last is not None and live <= last.started_at
    if went_on and last.version == rule.terms.version and (said is None or last.started_at >= said):
        return None
    at = said or (last.started_at if went_on else live)
    if at <= THE_BEGINNING:
        return Backlog(at, select(candidate.c.subject_id).where(false()), anew=True)
    if at >= now:
        return Backlog(at, anew=said is not None)
    if said is not None or not went_on:
        return Backlog(at, _found(app, rule, at), anew=said is not None)
    before = _text_before(app, connection, rule, last.version)
    if before is None:
        return Backlog(at, _found(app, rule, at))
    if _question(before) == _question(rule):
        return Backlog(at, known_only=True)
    return Backlog(at, _found(app, rule, at), _found(app, before, now))


def live_from_of(app: App, rule: Rule) -> datetime | None:
    """The moment from which the rule says it may act, else the house; None where neither says one."""
    return rule.terms.live_from or (None if rule.terms.from_now else app.settings.live_from)


def _said(app: App, connection: Connection, rule: Rule, last: Any) -> datetime | None:
    """The moment that the rule or the house says, unless the rule's last live pass was after it and under the same."""
    said = rule.terms.live_from
    if said is None:
        return live_from_of(app, rule)
    if last is None or last.started_at < said:
        return said
    try:
        before = rule if last.version == rule.terms.version else version_of(app, connection, rule.id, last.version)
    except RuleErrors:
        return said
    return None if before is not None and before.terms.live_from == said else said


def _live_since(connection: Connection, rule: Rule, now: datetime) -> datetime:
    row = connection.execute(select(IN_FORCE).where(IN_FORCE.c.rule_id == rule.id)).first()
    return live_since(connection, rule.id, row, now)


def _found(app: App, rule: Rule, at: datetime) -> Select[Any]:
    """Of the candidates that may be backlog, those whom the rule finds at ``at``: one column of ids."""
    withheld = select(match.c.id).where(match.c.id == candidate.c.match_id, match.c.state == MatchState.WITHHELD)
    asked = select(candidate.c.subject_id).where(or_(candidate.c.match_id.is_(None), withheld.exists()))
    found = matching(rule, now=at, zone=app.settings.time_zone, only=asked).subquery()
    return select(found.c.subject_id)


def _text_before(app: App, connection: Connection, rule: Rule, version: str) -> Rule | None:
    """The rule as it was at its last pass; None where that cannot be read, or named other occasions."""
    try:
        before = rule if version == rule.terms.version else version_of(app, connection, rule.id, version)
    except RuleErrors:
        return None
    same = before is not None and (before.terms.subject, before.terms.once) == (rule.terms.subject, rule.terms.once)
    return before if same else None


def _question(rule: Rule) -> dict[str, Any]:
    """What says whom a rule finds: where it is the same, a title or a limit was edited."""
    said = read(rule.text, rule.path).plainly()
    return {key: said.get(key) for key in ("for_each", "if", "unless")}
