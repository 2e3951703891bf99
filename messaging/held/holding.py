"""Holds a run: its matches are written and nothing else, beside the row that asks for a second person."""

from typing import Any

from sqlalchemy import ColumnElement, Connection, insert, select, update

from messaging.audit import write
from messaging.breaker import call_staff
from messaging.candidates import TABLES, candidate, match, open_for_decision
from messaging.events_out import BRAKE_PULLED, happened
from messaging.guards.brake import Over, held_run
from messaging.guards.case import Case, withhold
from messaging.held.runs import BY_ITSELF, HeldRunView, expires, run_of, templates_in, topic_of
from messaging.steps import leading_waits
from models.terms import Wait, after
from models.vocabulary import HeldState, MatchState, Reason

rule_version = TABLES["rule_version"]


def hold(connection: Connection, case_: Case, over: Over) -> int:
    """Hold the open candidates, whose matches are written already, as one run. Returns its number.

    They count as known from here on, but nothing of them has begun. ``due_at`` is what it would have been, so that
    send-by and waits count from the moment at which they were found. Their candidates end as withheld (BRAKE).
    """
    terms, now = case_.terms, case_.now
    hours = case_.policy.brakes.hours if case_.policy.brakes else 0
    version = (rule_version.c.rule_id == terms.rule_id, rule_version.c.version == terms.version)
    row = {
        "rule_id": terms.rule_id,
        "version": terms.version,
        "why": over.why.value,
        "most": over.most,
        "count": over.count,
        "subjects": over.subjects,
        "customers": over.customers,
        "author": connection.execute(select(rule_version.c.author).where(*version)).scalar_one_or_none(),
        "texts": case_.policy.digest_of(sorted(templates_in(terms))),
        "state": HeldState.WAITING.value,
        "held_at": now,
        "expires_at": expires(terms, now, hours),
        "canary": 0,
    }
    run_id = int(connection.execute(insert(held_run).values(row).returning(held_run.c.id)).scalar_one())
    held: dict[str, Any] = {"state": MatchState.HELD, "reason": Reason.BRAKE, "held_run_id": run_id, "next_step": 0}
    mine = update(match).where(match.c.id == candidate.c.match_id, open_for_decision())
    connection.execute(mine.values(held | _due(case_)))
    withhold(connection, Reason.BRAKE)
    run = run_of(connection, run_id)
    if run is not None:
        _tell(connection, run)
    return run_id


def _due(case_: Case) -> dict[str, ColumnElement[Any] | Any]:
    waits = leading_waits(case_.terms.steps)
    if not waits:
        return {"due_at": candidate.c.matched_at, "gives_up_at": None}
    return first_wait(waits[0], case_)


def first_wait(step: Wait, case_: Case) -> dict[str, Any]:
    """When the wait that a rule begins with is over, and when it has waited long enough."""
    now = case_.now
    return {
        "due_at": after(now, step.lasts) if step.lasts else now,
        "gives_up_at": after(now, step.at_most) if step.at_most else None,
    }


def _tell(connection: Connection, run: HeldRunView) -> None:
    about = f"rule:{run.rule_id}"
    told = {"held_run": run.id, "version": run.version, "why": run.why.value, "most": run.most, "count": run.count}
    happened(connection, BRAKE_PULLED, about, run.held_at, told)
    said = f"a run of {run.rule_id} is held. {run.because} See it with: beforehand approve {run.id}"
    call_staff(connection, topic_of(run.id), said, run.held_at)
    write(connection, by=BY_ITSELF, action="hold", about=about, now=run.held_at, details=told)
