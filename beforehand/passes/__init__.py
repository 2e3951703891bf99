"""Passes: what a clock, a person or the command line asks for. Evaluate, decide, plan; preview; advance what is due."""

from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import Connection

from beforehand.passes.advancing import advance, cancel_stopped
from beforehand.passes.deciding import event_rules_due, run_rule
from beforehand.passes.house import UnknownRule, brand_of, policy_of, rule_of, rules_of, secret_of, templates_of
from beforehand.passes.previewing import preview_rule
from beforehand.passes.reports import AdvanceReport, PassReport, Preview, Sample
from beforehand.wiring import App


def stops_of(app: App) -> Callable[[Connection, datetime, Sequence[int]], int]:
    """What the claim calls before it gives out messages: cancels those whose rule's ``stop_if`` holds by now."""

    def stops(connection: Connection, now: datetime, message_ids: Sequence[int]) -> int:
        return cancel_stopped(app, connection, now, message_ids)

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
    "policy_of",
    "preview_rule",
    "rule_of",
    "rules_of",
    "run_rule",
    "secret_of",
    "stops_of",
    "templates_of",
]
