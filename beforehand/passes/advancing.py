"""Advance: the due next steps of matches that have begun, set-based, one (rule, version, step) at a time."""

import logging
import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, not_, or_, select, update

from beforehand.passes.house import policy_of, secret_of, version_of
from beforehand.passes.reports import AdvanceReport
from beforehand.passes.retiring import WAITING, retired_of
from beforehand.passes.telling import tell_webhooks
from beforehand.wiring import App
from messaging import elsewhere, progress
from messaging.candidates import match, message
from messaging.guards import Case
from messaging.onlookers import Stepped, tell_once_committed
from messaging.plan import moment, one_decision_at_a_time
from messaging.policy import Policy
from messaging.progress import Advanced
from messaging.steps import other_of, run_at, step_index, wait_before
from messaging.taken_back import take_back
from messaging.vouchers import RandomBytes
from models.database import reading, writing
from models.terms import Send, Wait
from models.vocabulary import MatchState, MessageState, Reason
from rules.errors import RuleErrors
from rules.evaluate import known, stopping
from rules.loader import Rule

log = logging.getLogger("beforehand.passes")

UNTIL_LOOK = timedelta(minutes=1)
"""How long a match rests whose awaited fact is not yet known."""

UNREADABLE_LOOK = timedelta(minutes=10)
"""How long a message rests whose rule cannot be asked for its ``stop_if``: it must not go, nor hold up others."""

Versions = Callable[[App, Connection, str, str], Rule | None]
"""Finds a rule by its id and version, among the kept texts: :func:`beforehand.passes.house.version_of`."""


@dataclass(frozen=True)
class _Turn:
    """All matches of one rule version whose step ``place`` is due."""

    connection: Connection
    rule: Rule
    place: int
    now: datetime
    policy: Policy
    secret: bytes
    random: RandomBytes

    @property
    def chosen(self) -> ColumnElement[bool]:
        """The condition on ``match`` that selects them."""
        return progress.due_at_step(self.rule.id, self.rule.terms.version, self.place, self.now)

    def case(self, place: int) -> Case:
        return Case(self.rule.terms, run_at(self.rule.terms.steps, place), self.policy, self.now, first=False)

    def decide(self, place: int) -> Advanced:
        case = self.case(place)
        if case.run.is_empty:
            progress.pass_by(self.connection, case, self.chosen, place)
            return Advanced()
        return progress.decide_step(self.connection, case, self.chosen, self.secret, self.random)


def advance(app: App, now: datetime, *, random: RandomBytes = secrets.token_bytes) -> AdvanceReport:
    """Take every step that is due by ``now``, the more urgent rules first. Cheap where nothing is due.

    A step that fails, or whose rule version cannot be read any more, is reported in ``problems``; its matches stay as
    they are, and the others go on.
    """
    with reading(app.engine) as connection:
        asked = (progress.due_groups(now), elsewhere.groups(now))
        anything = any(connection.execute(one.limit(1)).first() for one in asked)
    if not anything:
        return AdvanceReport(now)
    retired = retired_of(app)
    with writing(app.engine) as connection:
        one_decision_at_a_time(connection)
        return advance_on(connection, app, now, random=random, retired=retired)


def advance_on(
    connection: Connection,
    app: App,
    now: datetime,
    *,
    random: RandomBytes = secrets.token_bytes,
    retired: Collection[str] = (),
    versions: Versions = version_of,
) -> AdvanceReport:
    """Every due step, in an open transaction. Matches of ``retired`` rules end; ``versions`` finds a rule's text."""
    report, policy = AdvanceReport(now), policy_of(app)
    for rule, step in _bad_addresses(app, connection, now, report, versions, retired):
        _say_otherwise(
            _Turn(connection, rule, step_index(step), now, policy, secret_of(app.settings), random), step, report
        )
    for rule, place in _groups(app, connection, now, report, versions):
        turn = _Turn(connection, rule, place, now, policy, secret_of(app.settings), random)
        if rule.id in retired:
            report.stopped += progress.stop_matches(connection, turn.chosen, Reason.RULE_NOT_LIVE, now)
            continue
        _take_alone(turn, report)
    return report


def _take_alone(turn: _Turn, report: AdvanceReport) -> None:
    """Take one group's step in a savepoint, so that its trouble stays its own."""
    done = AdvanceReport(turn.now)
    try:
        with turn.connection.begin_nested():
            _take(turn, done)
            if done.webhooks:
                tell_webhooks(turn.connection, turn.rule, turn.now, turn.policy.zone)
    except Exception as wrong:  # its text may quote a row
        report.problems.append(f"{turn.rule.id} {turn.rule.terms.version}, step {turn.place}: {type(wrong).__name__}")
        return
    report.steps += done.steps
    report.stopped += done.stopped
    advanced = Advanced(done.planned, done.tasks, done.vouchers, done.webhooks, withheld=done.withheld)
    _add(report, advanced)
    _tell(turn, advanced)


def _tell(turn: _Turn, done: Advanced) -> None:
    """Tell whoever looks on; a replay, which commits nothing, tells nobody."""
    if done.planned or done.withheld:
        tell_once_committed(turn.connection, Stepped(turn.rule.id, done.planned, dict(done.withheld)))


def _bad_addresses(
    app: App,
    connection: Connection,
    now: datetime,
    report: AdvanceReport,
    versions: Versions,
    retired: Collection[str],
) -> list[tuple[Rule, str]]:
    """The rules whose messages met a bad address, with the steps, the more urgent first."""
    groups = [row for row in connection.execute(elsewhere.groups(now)).all() if row.rule_id not in retired]
    found = [(_rule(app, connection, row.rule_id, row.version, report, versions), row.step) for row in groups]
    rules = [(rule, step) for rule, step in found if rule is not None]
    return sorted(rules, key=lambda pair: (-pair[0].terms.priority, pair[0].id, pair[1]))


def _say_otherwise(turn: _Turn, step: str, report: AdvanceReport) -> None:
    """Plan the other channel of one group in a savepoint, before its match goes on."""
    run = other_of(turn.rule.terms, step)
    if run is None:
        return
    case = Case(turn.rule.terms, run, turn.policy, turn.now, first=False)
    try:
        with turn.connection.begin_nested():
            done = elsewhere.plan_elsewhere(turn.connection, case, step, turn.secret)
    except Exception as wrong:  # its text may quote a row
        report.problems.append(f"{turn.rule.id} {turn.rule.terms.version}, step {step}: {type(wrong).__name__}")
        return
    _add(report, done)
    _tell(turn, done)


def _groups(
    app: App, connection: Connection, now: datetime, report: AdvanceReport, versions: Versions
) -> list[tuple[Rule, int]]:
    found = []
    for rule_id, version, place in connection.execute(progress.due_groups(now)).all():
        rule = _rule(app, connection, rule_id, version, report, versions)
        if rule is not None:
            found.append((rule, place))
    return sorted(found, key=lambda pair: (-pair[0].terms.priority, pair[0].id, pair[1]))


def _rule(
    app: App, connection: Connection, rule_id: str, version: str, report: AdvanceReport, versions: Versions
) -> Rule | None:
    """A rule's text; None, and a problem in the report, where it cannot be read any more."""
    try:
        rule = versions(app, connection, rule_id, version)
    except RuleErrors as wrong:
        report.problems.append(f"{rule_id} {version}: {wrong.problems[0]}")
        return None
    if rule is None:
        report.problems.append(f"{rule_id} {version}: the text of this version is not kept")
    return rule


def _take(turn: _Turn, report: AdvanceReport) -> None:
    steps = turn.rule.terms.steps
    step = steps[turn.place] if turn.place < len(steps) else None
    report.steps += 1
    if isinstance(step, Wait):
        report.stopped += _stop(turn, step)
        report.stopped += _rest_until_known(turn, step)
        _add(report, turn.decide(turn.place + 1))
    elif isinstance(step, Send) and turn.case(turn.place).run.awaits_outcome:
        case = turn.case(turn.place)
        for done in progress.settle(turn.connection, case, turn.chosen, turn.secret, turn.random):
            _add(report, done)
    else:
        _add(report, turn.decide(turn.place))


def _add(report: AdvanceReport, done: Advanced) -> None:
    report.planned += done.planned
    report.tasks += done.tasks
    report.vouchers += done.vouchers
    report.webhooks += done.webhooks
    report.stopped += done.stopped
    for reason, count in done.withheld.items():
        report.withheld[reason] = report.withheld.get(reason, 0) + count


def _stop(turn: _Turn, step: Wait) -> int:
    if step.stop_if is None:
        return 0
    ids = select(match.c.subject_id).where(turn.chosen)
    stops = stopping(turn.rule, turn.place, now=turn.now, zone=turn.policy.zone, ids=ids).subquery()
    chosen = and_(turn.chosen, match.c.subject_id.in_(select(stops.c.subject_id)))
    return progress.stop_matches(turn.connection, chosen, Reason.STOPPED, turn.now)


def _rest_until_known(turn: _Turn, step: Wait) -> int:
    """Let matches rest whose awaited moment has not come; end those that have waited long enough. Returns how many."""
    if step.until is None:
        return 0
    ids = select(match.c.subject_id).where(turn.chosen)
    found = known(turn.rule, step.until, ids=ids, now=turn.now, zone=turn.policy.zone).subquery()
    unknown = match.c.subject_id.not_in(select(found.c.subject_id).where(found.c.at <= turn.now))
    patient = or_(match.c.gives_up_at.is_(None), match.c.gives_up_at > turn.now)
    over = and_(turn.chosen, unknown, not_(patient))
    stopped = progress.stop_matches(turn.connection, over, Reason.TOO_LATE, turn.now)
    progress.rest_matches(turn.connection, and_(turn.chosen, unknown), turn.now + UNTIL_LOOK)
    return stopped


def cancel_stopped(
    app: App,
    connection: Connection,
    now: datetime,
    message_ids: Sequence[int] | None = None,
    *,
    versions: Versions = version_of,
) -> int:
    """Cancel messages about to go whose rule's ``stop_if`` holds by now, and stop their matches. Returns how many.

    Looks at the due messages, or only at ``message_ids``. Must run in the claim's write transaction. Messages whose
    rule cannot be asked any more are put off, so that they neither go unasked nor hold up the rest.
    """
    due = [message.c.state.in_(WAITING), message.c.due_at <= now]
    if message_ids is not None:
        due = [message.c.id.in_(message_ids)]
    groups = select(message.c.rule_id, message.c.version, message.c.step).where(*due, ~message.c.step.like("0%"))
    cancelled = 0
    for rule_id, version, step in connection.execute(groups.distinct()).all():
        here = [message.c.rule_id == rule_id, message.c.version == version, message.c.step == step, *due]
        try:
            with connection.begin_nested():
                rule = versions(app, connection, rule_id, version)
                if rule is not None:
                    cancelled += _cancel(app, connection, rule, step_index(step), here, now)
        except Exception as wrong:  # its text may quote a row
            log.error("%s %s: its stop_if cannot be asked (%s); messages rest", rule_id, version, type(wrong).__name__)
            rest = {"state": MessageState.QUEUED, "due_at": now + UNREADABLE_LOOK}
            connection.execute(update(message).where(*here, message.c.state.in_(WAITING)).values(rest))
    return cancelled


def _cancel(app: App, connection: Connection, rule: Rule, place: int, here: list[Any], now: datetime) -> int:
    waited = wait_before(rule.terms.steps, place)
    if waited is None:
        return 0
    subjects = select(match.c.subject_id).join(message, message.c.match_id == match.c.id).where(*here)
    stops = stopping(rule, waited, now=now, zone=app.settings.time_zone, ids=subjects).subquery()
    ended = select(match.c.id).where(match.c.rule_id == rule.id, match.c.subject_id.in_(select(stops.c.subject_id)))
    values = {"state": MessageState.CANCELLED, "reason": Reason.STOPPED, "ended_at": now}
    cancelled = update(message).where(*here, message.c.match_id.in_(ended)).values(values)
    match_ids = connection.execute(cancelled.returning(message.c.match_id)).scalars().all()
    values = {"state": MatchState.STOPPED, "reason": Reason.STOPPED, "due_at": None}
    values["ended_at"] = func.coalesce(match.c.ended_at, moment(now))
    connection.execute(update(match).where(match.c.id.in_(match_ids)).values(values))
    take_back(connection, match_ids, now)
    return len(match_ids)
