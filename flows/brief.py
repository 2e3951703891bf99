"""The flow ``brief``: the morning brief as an artifact; its clock is the setting ``brief_at``."""

import asyncio

from prefect import flow
from prefect.artifacts import acreate_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed

from beforehand.briefing_words import headline, markdown
from flows.failure import plainly
from flows.hands import held
from flows.runs import link_to_console, rename, this_run

KEY = "morning-brief"


@flow(name="brief", flow_run_name="morning brief", retries=0, persist_result=False)
async def morning_brief() -> State:
    """Write the brief of what happened since the last one."""
    hands = held()
    brief = await plainly("brief", asyncio.to_thread(hands.chores.brief))
    said = headline(brief)
    await rename(this_run(), f"morning brief · {said}")
    about = "The morning brief: what was sent, withheld and why, what is unclear, what waits, what is due today."
    await acreate_markdown_artifact(markdown(brief), key=KEY, description=about)
    await link_to_console(hands)
    return Completed(message=said)
