"""Passes: what a clock, a person or the command line asks for. Evaluate, decide, plan; preview; advance what is due."""

from collections.abc import Sequence
from datetime import datetime

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
    vet,
)
from beforehand.passes.previewing import preview_rule
from beforehand.passes.reports import AdvanceReport, PassReport, Preview, Sample
from beforehand.passes.retiring import cancel_retired
from beforehand.wiring import App
from messaging.held.going import hold_stopped
from messaging.outbox import Stops
from models.vocabulary import Reason


def stops_of(app: App) -> Stops:
    """What the claim calls before it gives out messages: it cancels those whose rule stops them by now.

    That is a rule that is retired, or whose ``stop_if`` holds. Those of a held run that was stopped again are held.
    """

    def stops(connection: Connection, now: datetime, message_ids: Sequence[int]) -> dict[Reason, int]:
        retired = cancel_retired(app, connection, now, message_ids)
        stopped = cancel_stopped(app, connection, now, message_ids)
        held = hold_stopped(connection, message_ids)
        counts = {Reason.RULE_NOT_LIVE: retired, Reason.STOPPED: stopped, Reason.BRAKE: held}
        return {reason: count for reason, count in counts.items() if count}

    return stops


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
