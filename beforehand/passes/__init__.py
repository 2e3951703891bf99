"""Passes: what a clock, a person or the command line asks for. Evaluate, decide, plan; preview; advance what is due."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection

from beforehand.passes.advancing import advance, cancel_stopped
from beforehand.passes.deciding import event_rules_due, run_rule
from beforehand.passes.house import (
    UnknownRule,
    brand_of,
    links_of,
    policy_of,
    rule_of,
    rules_of,
    secret_of,
    templates_of,
    version_of,
    vet,
)
from beforehand.passes.previewing import preview_rule
from beforehand.passes.reports import AdvanceReport, PassReport, Preview, Sample
from beforehand.passes.retiring import cancel_retired
from beforehand.wiring import App
from messaging.cancelling import cancel_cancelled
from messaging.held.going import cancel_refused, going_with, hold_stopped, rest
from messaging.held.runs import HeldRunView, run_of, templates_in
from messaging.outbox import Stops
from models.vocabulary import Reason
from rules.errors import RuleErrors


def stops_of(app: App) -> Stops:
    """What the claim calls before it gives out messages: it cancels those whose rule stops them by now.

    That is a rule that is retired, whose ``stop_if`` holds, or that staff have cancelled. Those of a held run that was
    stopped again are held.
    """

    def stops(connection: Connection, now: datetime, message_ids: Sequence[int]) -> dict[Reason, int]:
        cancelled = cancel_cancelled(connection, now, message_ids)
        retired = cancel_retired(app, connection, now, message_ids)
        stopped = cancel_stopped(app, connection, now, message_ids)
        refused = cancel_refused(connection, message_ids, now)
        held = hold_stopped(connection, message_ids) + _rest_changed(app, connection, message_ids, now)
        counts = {
            Reason.CANCELLED_BY_STAFF: cancelled,
            Reason.RULE_NOT_LIVE: retired,
            Reason.STOPPED: stopped,
            Reason.BRAKE: held,
            Reason.BRAKE_REFUSED: refused,
        }
        return {reason: count for reason, count in counts.items() if count}

    return stops


LOOKED_AT = timedelta(seconds=15)
"""Within this somebody has looked at the held runs (the heartbeat, every few seconds)."""


def _rest_changed(app: App, connection: Connection, message_ids: Sequence[int], now: datetime) -> int:
    """What was approved is what is sent: messages of a run whose texts were changed since rest, until it is stopped."""
    count = 0
    for run in filter(None, (run_of(connection, key) for key in going_with(connection, message_ids))):
        if _texts_of(app, connection, run) != run.texts:
            count += rest(connection, message_ids, run.id, now + LOOKED_AT)
    return count


def _texts_of(app: App, connection: Connection, run: HeldRunView) -> str | None:
    """The digest of what the run's rule says now; None where its text cannot be read any more."""
    try:
        rule = version_of(app, connection, run.rule_id, run.version)
    except RuleErrors:
        return None
    return policy_of(app).digest_of(sorted(templates_in(rule.terms))) if rule else None


__all__ = [
    "AdvanceReport",
    "PassReport",
    "Preview",
    "Sample",
    "UnknownRule",
    "advance",
    "brand_of",
    "cancel_stopped",
    "event_rules_due",
    "links_of",
    "policy_of",
    "preview_rule",
    "rule_of",
    "rules_of",
    "run_rule",
    "secret_of",
    "stops_of",
    "templates_of",
    "vet",
]
