"""The backlog: what was so before a rule went live, or before an edit of it, is left alone (DESIGN section 4)."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, false, func, literal, not_, or_, select

from messaging.candidates import candidate, match, open_for_decision
from messaging.guards import draw
from messaging.guards.case import Backlog, Case, withhold
from models.vocabulary import MatchState, Reason, RuleStatus

NEVER_ACTED_ON = (Reason.SHADOW, Reason.RULE_NOT_LIVE)
"""Reasons of earlier passes in which the rule acted on nobody: such rows are no better than none."""

DRAWN = (Reason.HOUSE_HOLDOUT, Reason.HOLDOUT, Reason.NOT_IN_ROLLOUT)
"""The same for those who were left out by the draw, once they no longer are."""


def left_alone(connection: Connection, case_: Case) -> None:
    """Withhold the backlog of a live rule, and what was backlog before and has gone on matching. Not in a preview."""
    if case_.terms.status is RuleStatus.LIVE and not case_.pretend_live:
        withhold(connection, Reason.BACKLOG, is_backlog(case_))


def count(connection: Connection, case_: Case) -> int:
    """How many of the candidates that would go are backlog: a preview lets them pass and tells the number."""
    left = select(func.count()).select_from(candidate).where(open_for_decision(), is_backlog(case_))
    return int(connection.execute(left).scalar_one())


def is_backlog(case_: Case) -> ColumnElement[bool]:
    """A condition on ``candidate``: the rule leaves it alone."""
    backlog = case_.backlog
    if backlog is None:
        return _still_backlog(case_)
    first = _known_before(case_, backlog) if backlog.known_only else _found_before(case_, backlog)
    return first if backlog.anew else or_(_still_backlog(case_), first)


def _row(*where: ColumnElement[bool]) -> ColumnElement[bool]:
    """The candidate has a withheld match row of an earlier pass that is so."""
    mine = [match.c.id == candidate.c.match_id, match.c.state == MatchState.WITHHELD, *where]
    return select(match.c.id).where(*mine).correlate(candidate).exists()


def _still_backlog(case_: Case) -> ColumnElement[bool]:
    still = match.c.seen_at >= case_.last_pass if case_.last_pass else literal(1) == literal(1)
    # The house's holdout is a setting: when it ends, no text of a rule changes, and nobody has asked for the past.
    drawn = draw.is_held_out_of_all(case_)
    released = _row(match.c.reason == Reason.HOUSE_HOLDOUT, still)
    return or_(
        _row(match.c.reason == Reason.BACKLOG, still), released if drawn is None else and_(released, not_(drawn))
    )


def _draws(case_: Case) -> list[ColumnElement[bool] | None]:
    return [draw.is_held_out_of_all(case_), draw.is_held_out(case_), draw.is_not_rolled_out(case_)]


def _not_acted_on(backlog: Backlog, case_: Case) -> ColumnElement[bool]:
    reasons = (*NEVER_ACTED_ON, Reason.BACKLOG) if backlog.anew else NEVER_ACTED_ON
    in_draw = [found for found in _draws(case_) if found is not None]
    let_in = and_(_row(match.c.reason.in_(DRAWN)), *[not_(found) for found in in_draw])
    return or_(_row(match.c.reason.in_(reasons)), let_in)


def _known_before(case_: Case, backlog: Backlog) -> ColumnElement[bool]:
    """The question is the same as at the pass before: whoever has no row of it began to match since."""
    return and_(_not_acted_on(backlog, case_), candidate.c.matched_at <= backlog.at)


def _found_before(case_: Case, backlog: Backlog) -> ColumnElement[bool]:
    unknown: ColumnElement[bool] = candidate.c.match_id.is_(None)
    if backlog.began is not None:
        unknown = and_(unknown, candidate.c.subject_id.not_in(backlog.began))
    parts: list[ColumnElement[Any]] = [or_(unknown, _not_acted_on(backlog, case_))]
    if backlog.found is not None:
        parts.append(candidate.c.subject_id.in_(backlog.found))
    parts.append(not_(_pausing(case_, backlog)))
    return and_(*parts)


def _pausing(case_: Case, backlog: Backlog) -> ColumnElement[bool]:
    """Spoken to so lately that ``once_per ... every`` kept the rule from it then: its turn came later."""
    every = case_.terms.once.every
    if every is None:
        return false()
    about = match.c.customer_id == candidate.c.customer_id
    if case_.terms.once.what != "customer":
        about = and_(match.c.subject == case_.terms.subject, match.c.subject_id == candidate.c.subject_id)
    spoken = [match.c.rule_id == case_.terms.rule_id, match.c.started_at > backlog.at - every, about]
    return select(match.c.id).where(*spoken).correlate(candidate).exists()
