"""The flow ``evaluate``: one run is one pass of one rule: evaluate, decide, plan, then dispatch what may go now."""

import asyncio
from datetime import datetime, timedelta

from prefect import flow
from prefect.artifacts import acreate_table_artifact
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Completed

from flows.again import AGAIN
from flows.dispatch import send_what_is_due
from flows.failure import plainly
from flows.hands import Hands, held
from flows.runs import link_to_console, rename, this_run
from flows.shown import late_name, pass_rows, rule_description, run_name
from flows.slots import grace, plain
from models.terms import Terms


@flow(name="evaluate", flow_run_name="{rule_id}", retries=0, persist_result=False, validate_parameters=True)
async def evaluate_rule(rule_id: str) -> State:
    """One pass of the rule ``rule_id``. A scheduled run that comes too late, or whose slot is done, does nothing."""
    hands = held()
    run = this_run()
    terms = hands.rules().get(rule_id)
    if terms is None:
        return await _end(run, f"{rule_id} · not among the rules in force")
    late = await lateness(run, terms, hands)
    if late:
        return await _end(run, late_name(rule_id, late))
    return await _pass(run, terms, hands)


async def _pass(run: FlowRun, terms: Terms, hands: Hands) -> State:
    slot = plain(run.expected_start_time) if run.expected_start_time else None
    now = hands.clock()
    figures = await plainly(terms.rule_id, asyncio.to_thread(hands.run_rule, terms.rule_id, now, slot))
    name = run_name(terms.rule_id, figures)
    await rename(run, name)
    await plainly(terms.rule_id, send_what_is_due(hands))
    became = await plainly(terms.rule_id, asyncio.to_thread(hands.became, terms.rule_id, now))
    rows = pass_rows(figures, became)
    await acreate_table_artifact(rows, key=terms.rule_id, description=rule_description(terms, hands))
    await link_to_console(hands)
    return Completed(message=f"{name}, {figures.planned:,} planned, {became.sent:,} sent")


async def lateness(run: FlowRun, terms: Terms, hands: Hands) -> timedelta | None:
    """How late a scheduled run is, where that is beyond the rule's grace; a run that a person asked for never is."""
    due: datetime | None = run.expected_start_time
    if not (run.auto_scheduled or AGAIN in run.tags) or due is None:
        return None
    late = hands.clock() - due
    return late if late > await grace(terms.cron, hands.time_zone, due) else None


async def _end(run: FlowRun, name: str) -> State:
    await rename(run, name)
    return Completed(message=name, name="Skipped")
