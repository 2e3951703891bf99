"""The flow ``ingest``: read the sources of a mapping file into our tables."""

import asyncio
from pathlib import Path

from prefect import flow
from prefect.artifacts import acreate_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.failure import plainly
from flows.hands import held


@flow(name="ingest", flow_run_name="ingest {sources}", retries=0, persist_result=False)
async def ingest_sources(sources: str) -> State:
    """Read what the mapping file ``sources`` (a path) declares; the artifact counts rows by source, never shows one."""
    counts = await plainly("ingest", asyncio.to_thread(held().ingest, Path(sources)))
    rows = [{"source": source, **figures} for source, figures in counts.items()]
    await acreate_table_artifact(rows, key="ingest", description=f"Read by the mapping file `{sources}`.")
    new = sum(figures.get("new", 0) for figures in counts.values())
    rejected = sum(figures.get("rejected", 0) for figures in counts.values())
    return Completed(message=f"{new:,} new, {rejected:,} rejected")
