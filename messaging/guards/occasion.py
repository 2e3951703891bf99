"""The occasion of each candidate, and the gates about it: spoken already, nobody there, rule not live."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, String, case, cast, func, literal, select, update

from messaging.candidates import candidate, match, open_for_decision, table_of
from messaging.guards.case import Case, withhold
from messaging.owners import OWNED, changed_hands
from models.types import UTCDateTime
from models.vocabulary import MatchState, Reason, RuleStatus


def _key(case_: Case) -> ColumnElement[Any]:
    """The row that the occasion is about: the subject itself, its customer, or what the subject belongs to."""
    what, subject = case_.terms.once.what, case_.terms.subject
    if what == subject:
        return candidate.c.subject_id
    if what == "customer":
        return func.coalesce(candidate.c.customer_id, candidate.c.subject_id)
    table = table_of(subject)
    parent = select(table.c[f"{what}_id"]).where(table.c.id == candidate.c.subject_id).scalar_subquery()
    return func.coalesce(parent, candidate.c.subject_id)


def _spoken(case_: Case) -> list[ColumnElement[bool]]:
    """Matches of this rule that were not withheld and are about the candidate's customer (or subject)."""
    about = match.c.customer_id == candidate.c.customer_id
    if case_.terms.once.what != "customer":
        about = (match.c.subject == case_.terms.subject) & (match.c.subject_id == candidate.c.subject_id)
    return [match.c.rule_id == case_.terms.rule_id, match.c.started_at.is_not(None), about]


def name_occasions(connection: Connection, case_: Case) -> None:
    """Write each candidate's occasion: ``order/17``, ``customer/5``, or ``customer/5/2`` where it may come again."""
    stem: ColumnElement[Any] = literal(f"{case_.terms.once.what}/") + cast(_key(case_), String)
    if case_.terms.once.every:
        connection.execute(update(candidate).values(occasion=stem + literal("/0")))
        _number_occasions(connection, case_, stem)
    else:
        connection.execute(update(candidate).values(occasion=stem))
    _link_withheld(connection, case_)


def _number_occasions(connection: Connection, case_: Case, stem: ColumnElement[Any]) -> None:
    """Count the occasions that were, grouped: PostgreSQL without statistics scans ``match`` anew for each candidate."""
    about = match.c.customer_id if case_.terms.once.what == "customer" else match.c.subject_id
    mine = [match.c.rule_id == case_.terms.rule_id, match.c.started_at.is_not(None), about.is_not(None)]
    if case_.terms.once.what != "customer":
        mine.append(match.c.subject == case_.terms.subject)
    here = candidate.c.customer_id if case_.terms.once.what == "customer" else candidate.c.subject_id
    mine.append(about.in_(select(here)))
    counted = select(about.label("about"), func.count().label("times")).where(*mine).group_by(about).subquery()
    numbered = stem + literal("/") + cast(counted.c.times, String)
    connection.execute(update(candidate).values(occasion=numbered).where(counted.c.about == here))


def _link_withheld(connection: Connection, case_: Case) -> None:
    """Find the match rows of earlier passes. One that had stopped matching meanwhile counts as found anew."""
    now = literal(case_.now, UTCDateTime())
    still = match.c.seen_at >= case_.last_pass if case_.last_pass else literal(1) == literal(1)
    known = case(
        (match.c.state == MatchState.HELD, literal(Reason.BRAKE.value)),
        (match.c.state != MatchState.WITHHELD, literal(Reason.KNOWN_OCCASION.value)),
    )
    connection.execute(
        update(candidate)
        .values(match_id=match.c.id, matched_at=case((still, match.c.matched_at), else_=now), reason=known)
        .where(match.c.rule_id == case_.terms.rule_id, match.c.occasion == candidate.c.occasion)
    )


def known_occasion(connection: Connection, case_: Case) -> None:
    """Withhold what we have spoken about: the occasion's match has begun, its pause is not over, or it came twice."""
    every = case_.terms.once.every
    if every:
        recent = [match.c.started_at > case_.now - every, *_spoken(case_)]
        withhold(connection, Reason.KNOWN_OCCASION, select(match.c.id).where(*recent).exists())
    if case_.terms.once.what != case_.terms.subject:
        # without its match: that row is the first one's, and says what became of that
        repeated = update(candidate).where(open_for_decision(), candidate.c.id.in_(_repeats()))
        connection.execute(repeated.values(reason=Reason.KNOWN_OCCASION, match_id=None))


def _repeats() -> Select[Any]:
    turn = func.row_number().over(partition_by=candidate.c.occasion, order_by=candidate.c.id)
    ranked = select(candidate.c.id, turn.label("turn")).where(open_for_decision()).subquery()
    return select(ranked.c.id).where(ranked.c.turn > 1)


def no_customer(connection: Connection, case_: Case) -> None:
    """Withhold where nobody is known behind the subject; a task for a desk needs nobody."""
    if case_.run.speaks:
        withhold(connection, Reason.NO_CUSTOMER, candidate.c.customer_id.is_(None))


def owner_changed(connection: Connection, case_: Case) -> None:
    """Withhold a later step whose subject belongs to somebody else by now: what began was said to the first owner."""
    if not case_.first and case_.terms.subject in OWNED:
        changed = changed_hands(case_.terms.subject, candidate.c.subject_id, candidate.c.customer_id)
        withhold(connection, Reason.OWNER_CHANGED, candidate.c.customer_id.is_not(None), changed)


def rule_not_live(connection: Connection, case_: Case) -> None:
    """Withhold everything of a rule that is a draft or retired; a preview decides as if it were live."""
    if case_.terms.status not in (RuleStatus.LIVE, RuleStatus.SHADOW) and not case_.pretend_live:
        withhold(connection, Reason.RULE_NOT_LIVE)


def in_shadow(connection: Connection, case_: Case) -> None:
    """Withhold whatever a shadow rule would have sent; a preview decides as if it were live."""
    if case_.terms.status is RuleStatus.SHADOW and not case_.pretend_live:
        withhold(connection, Reason.SHADOW)
