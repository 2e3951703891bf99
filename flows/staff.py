"""The flow ``call-staff``: something happened that a person must know; automations of Prefect run it."""

import asyncio

from prefect import flow
from prefect.artifacts import acreate_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed

from beforehand.counting import some
from beforehand.staff_calls import Call
from flows.failure import plainly
from flows.hands import held
from flows.runs import link_to_console, rename, this_run

KEY = "staff-called"


@flow(name="call-staff", flow_run_name="call staff: {kind} {about}", retries=0, persist_result=False)
async def call_staff(kind: str, about: str) -> State:
    """Say what the event ``kind`` about ``about`` (``rule:ID``, ``provider:NAME``) means, and mail staff."""
    hands = held()
    call = await plainly("call-staff", asyncio.to_thread(hands.chores.call_staff, kind, about))
    await rename(this_run(), f"call staff · {call.said.title}")
    await acreate_markdown_artifact(words(call), key=KEY, description=call.said.what)
    await link_to_console(hands)
    return Completed(message=mailed(call))


def mailed(call: Call) -> str:
    """How many were told, in a sentence."""
    if not call.told and not call.failed and not call.left_out:
        return "Nobody was mailed: BEFOREHAND_STAFF_MAIL names no address."
    parts = [f"{some(call.told, 'address', 'addresses')} mailed"]
    if call.failed:
        parts.append(f"{call.failed:,} could not be reached")
    if call.left_out:
        parts.append(f"{call.left_out:,} left out, because trial mode reaches the guest list only")
    return ", ".join(parts) + "."


def words(call: Call) -> str:
    """What happened and what to do, in markdown."""
    steps = "\n".join(f"{number}. {line}" for number, line in enumerate(call.said.do, start=1))
    counts = [f"| {word} | {value} |" for word, value in call.counts.items() if isinstance(value, (int, str))]
    figures = "\n".join(["| figure | |", "| --- | --- |", *counts]) if counts else ""
    title = call.said.title[:1].upper() + call.said.title[1:]
    parts = [f"# {title}", call.said.what, f"## What to do\n\n{steps}", figures, mailed(call)]
    return "\n\n".join(part for part in parts if part) + "\n"
