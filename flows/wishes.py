"""The deployments that there should be: one for each rule that runs, and those of the house itself."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prefect import Flow

from flows.backtest import backtest_rule
from flows.brief import morning_brief
from flows.dispatch import dispatch_due
from flows.evaluate import evaluate_rule
from flows.hands import Hands
from flows.ingest import ingest_sources
from flows.reconcile import reconcile_journal
from flows.retention import clear_what_is_old
from flows.shown import rule_description, rule_tags
from flows.staff import call_staff
from models.terms import Terms
from models.vocabulary import RUNNING

OURS = "beforehand"
HEAVY = "heavy"
"""The tag of work that takes the machine for a while: one such run at a time, in all processes together."""

FLOWS: dict[str, Flow[Any, Any]] = {
    flow.name: flow
    for flow in (
        evaluate_rule,
        dispatch_due,
        ingest_sources,
        morning_brief,
        backtest_rule,
        reconcile_journal,
        clear_what_is_old,
        call_staff,
    )
}
"""Every flow of the house, by its name."""


@dataclass(frozen=True)
class Wanted:
    """A deployment as it should be. ``at_once`` False: a second run while one is under way is cancelled."""

    flow: Flow[Any, Any]
    entrypoint: str
    name: str
    description: str
    tags: list[str]
    parameters: dict[str, Any]
    crons: tuple[str, ...] = ()
    zone: str = "UTC"
    at_once: bool = False

    @property
    def heavy(self) -> bool:
        """Whether its runs wait for one another, and for those of every other heavy deployment."""
        return HEAVY in self.tags

    @property
    def version(self) -> str:
        """The hash of all of it: unchanged deployments are left alone."""
        told = [self.entrypoint, self.description, self.tags, self.parameters, self.crons, self.zone]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def wanted(rules: Mapping[str, Terms], hands: Hands, sources: str | None = None) -> list[Wanted]:
    """The house's own deployments, then those of the rules in force, the more urgent first.

    Only live and shadow rules have one. ``sources`` is the mapping file that ``ingest`` offers.
    """
    running = [terms for terms in rules.values() if terms.status in RUNNING]
    urgent_first = sorted(running, key=lambda terms: (-terms.priority, terms.rule_id))
    own = [*_by_clock(hands), *_by_hand(sources)]
    return [*own, *(_for_rule(terms, hands) for terms in urgent_first)]


def _for_rule(terms: Terms, hands: Hands) -> Wanted:
    return Wanted(
        flow=evaluate_rule,
        entrypoint="flows.evaluate.evaluate_rule",
        name=terms.rule_id,
        description=rule_description(terms, hands),
        tags=[*rule_tags(terms), OURS],
        parameters={"rule_id": terms.rule_id},
        crons=terms.cron,
        zone=hands.time_zone,
    )


def _by_clock(hands: Hands) -> list[Wanted]:
    hour, _, minute = hands.brief_at.partition(":")
    return [
        Wanted(
            call_staff,
            "flows.staff.call_staff",
            "call-staff",
            "Say what happened and what to do about it, and mail it to every address of `BEFOREHAND_STAFF_MAIL`. The "
            "automations *brake pulled* and *provider down* run it; nobody needs to.",
            [OURS],
            {},
            at_once=True,
        ),
        Wanted(
            morning_brief,
            "flows.brief.morning_brief",
            "brief",
            "**The morning brief**: what was sent, what was withheld and why, what is unclear, what waits for a "
            "person, and what is due today. Run it at any time; it begins where the last one ended.",
            [OURS],
            {},
            crons=(f"{int(minute)} {int(hour)} * * *",),
            zone=hands.time_zone,
        ),
        Wanted(
            clear_what_is_old,
            "flows.retention.clear_what_is_old",
            "retention",
            "Clear away what nobody needs any more: finished runs and artifacts after `BEFOREHAND_PREFECT_DAYS`, and "
            "rows that the house kept for itself. Customers, messages and their story are not touched.",
            [OURS, HEAVY],
            {},
            crons=("30 3 * * *",),
            zone=hands.time_zone,
        ),
    ]


def _by_hand(sources: str | None) -> list[Wanted]:
    return [
        Wanted(
            dispatch_due,
            "flows.dispatch.dispatch_due",
            "dispatch",
            "Send what is due now. The heartbeat does this every second; run it by hand to see what it does.",
            [OURS],
            {},
        ),
        Wanted(
            ingest_sources,
            "flows.ingest.ingest_sources",
            "ingest",
            "Read customers, orders, calls and the rest from the sources that a mapping file declares.",
            [OURS, HEAVY],
            {"sources": sources} if sources else {},
        ),
        Wanted(
            backtest_rule,
            "flows.backtest.backtest_rule",
            "backtest",
            "Replay a rule over the past, with the data as it was known then: how many it would have reached, day by "
            "day. Nothing is written and nothing is sent. Days are written like `2026-03-10`.",
            [OURS, HEAVY],
            {},
        ),
        Wanted(
            reconcile_journal,
            "flows.reconcile.reconcile_journal",
            "reconcile",
            "After a backup was put back: bring the database in line with the journal of what was sent, and let "
            "sending go on. Harmless at any time; where nothing is held it changes nothing.",
            [OURS],
            {},
        ),
    ]
