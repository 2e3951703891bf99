"""The flow ``ingest``: read the sources of a mapping file into our tables."""

from pathlib import Path

from prefect import flow
from prefect.artifacts import acreate_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed

from beforehand.ingest import MappingErrors
from beforehand.ingest.mapping import load_mapping
from flows.hands import held
from flows.moving import moving
from flows.runs import link_to_console, rename, this_run


@flow(name="ingest", flow_run_name="ingest {sources}", retries=0, persist_result=False)
async def ingest_sources(sources: str) -> State:
    """Read what the mapping file ``sources`` (a path) declares; the artifact counts rows by source, never shows one."""
    hands = held()
    counts = await moving(
        "ingest", lambda told: hands.ingest(Path(sources), told), key="ingest-progress", stages=stages_of(Path(sources))
    )
    rows = [{"table": table, **figures} for table, figures in counts.items()]
    await acreate_table_artifact(rows, key="ingest", description=f"Read by the mapping file `{sources}`.")
    new = sum(figures.get("new", 0) for figures in counts.values())
    rejected = sum(figures.get("rejected", 0) for figures in counts.values())
    said = f"{new:,} new, {rejected:,} rejected"
    await rename(this_run(), f"ingest · {said}")
    await link_to_console(hands)
    return Completed(message=said)


def stages_of(mapping: Path) -> int | None:
    """How many files and tables an ingest goes through, for its bar; None where the mapping cannot be read."""
    try:
        plan = load_mapping(mapping)
    except (MappingErrors, OSError):  # the ingest itself says what is wrong
        return None
    return len(plan.sources) + len(plan.views) + len(plan.loads)
