"""The run that we are in: which it is, its name, and the link to the console on it."""

from prefect.artifacts import acreate_link_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext

from flows.hands import Hands


def this_run() -> FlowRun:
    """The flow run that we are in. Raises RuntimeError outside of one."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise RuntimeError("this is only known inside a flow run")
    return context.flow_run


async def rename(run: FlowRun, name: str) -> None:
    """Give a run the name that staff read in the list of runs."""
    async with get_client() as client:
        await client.update_flow_run(run.id, name=name)


async def link_to_console(hands: Hands) -> None:
    """Put a link to the console on the run, where there is one."""
    if hands.console:
        await acreate_link_artifact(hands.console, "Open the console", key="console", description="Switches, held runs")
